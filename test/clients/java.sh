#!/bin/bash
# JDBC, Spring JDBC and EclipseLink, from Debian's packages.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
BUILT=$(mktemp -d)
trap 'rm -rf "$BUILT"' EXIT
JARS=$BUILT
for jar in postgresql spring3-jdbc spring3-core spring3-beans spring3-transaction commons-logging \
  eclipselink eclipselink-jpa-2.1-spec org.eclipse.persistence.jpa.jpql; do
  JARS=$JARS:/usr/share/java/$jar.jar
done
javac -nowarn -d "$BUILT" -cp "$JARS" "$HERE"/java/*.java 2>&1 | grep -v "^Note:" >&2 || true
cp -R "$HERE/java/META-INF" "$BUILT/"
java -cp "$JARS" Clients 2>&1
