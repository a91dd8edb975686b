#!/bin/bash
# The handlers for Spring as a program; test/clients/handlers.py says what it is asked.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/../java/lib.sh"
run_java HandlersApp "$HERE" "$PAYGUARD_SRC/examples/handlers/SpringPayments.java" "$HERE/HandlersApp.java" 2>/dev/null
