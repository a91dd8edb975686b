# Puts an update script together.
#
#   awk -f update.awk PART... TEMPLATE
#
# PART: the parts of the install script; TEMPLATE: what changes from one version to the next, SQL and
#   --@ part 95_private      a whole part stands here
#   --@ create f             a new function, procedure or view with its comment: payguard.f
#   --@ replace f            one that is there already, as it is now
# So nothing stands in two places while a version is being made; a release freezes what comes out.

FNR == 1 {
  name = FILENAME
  sub(/.*\//, "", name)
  sub(/\.sql$/, "", name)
  object = ""
}

FILENAME != ARGV[ARGC - 1] {
  part[name] = part[name] $0 "\n"
  if (object == "" && match($0, /^CREATE (FUNCTION|PROCEDURE|VIEW) payguard\.[a-z0-9_]+/)) {
    object = substr($0, 1, RLENGTH)
    sub(/.*\./, "", object)
    said = 0
  }
  if (object != "") {
    definition[object] = definition[object] $0 "\n"
    said = said || $0 ~ "^COMMENT ON (FUNCTION|PROCEDURE|VIEW) payguard\\." object "[ (]"
    if (said && /;$/)
      object = ""
  }
  next
}

/^--@ / {
  text = $2 == "part" ? part[$3] : definition[$3]
  if (NF != 3 || $2 !~ /^(part|create|replace)$/ || text == "") {
    print FILENAME ":" FNR ": " $0 ": there is no such thing" > "/dev/stderr"
    exit 1
  }
  if ($2 == "replace") {
    text = "\n" text
    gsub(/\nCREATE /, "\nCREATE OR REPLACE ", text)
    text = substr(text, 2)
  }
  printf "%s", text
  next
}

{ print }
