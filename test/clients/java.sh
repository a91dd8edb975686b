#!/bin/bash
# JDBC, Spring JDBC and EclipseLink, from Debian's packages.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/java/lib.sh"
run_java Clients "$HERE/java" "$HERE"/java/*.java
