#!/bin/bash
# The shop in examples/spring, in a database of its own.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
EXAMPLE=$HERE/../../examples/spring
. "$HERE/java/lib.sh"
psql -qX -c 'CREATE DATABASE spring' >&2
psql -qXAt -v ON_ERROR_STOP=1 -d spring -f "$EXAMPLE/setup.sql" >/dev/null
run_java SpringTest "$EXAMPLE" "$EXAMPLE"/shop/*.java "$HERE"/spring/*.java "$HERE/java/Tap.java"
