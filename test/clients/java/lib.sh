# Java from Debian's packages; sourced.

MORE_JARS=  # of Debian's, beside those that all need

# run_java MAIN FOLDER FILE...: compiles the files and runs the class, with its arguments; META-INF is in the folder,
# if it needs one.
run_java() {
  local main=$1 folder=$2 jar jars
  shift 2
  BUILT=$(mktemp -d)
  trap 'rm -rf "$BUILT"' EXIT
  jars=$BUILT
  for jar in postgresql spring3-jdbc spring3-core spring3-beans spring3-transaction commons-logging \
    eclipselink eclipselink-jpa-2.1-spec org.eclipse.persistence.jpa.jpql jackson-databind jackson-core jackson-annotations \
    $MORE_JARS; do
    jars=$jars:/usr/share/java/$jar.jar
  done
  javac -nowarn -d "$BUILT" -cp "$jars" "$@" 2>&1 | grep -v "^Note:" >&2 || true
  if [ -d "$folder/META-INF" ]; then cp -R "$folder/META-INF" "$BUILT/"; fi
  java -cp "$jars" $main 2>&1
}
