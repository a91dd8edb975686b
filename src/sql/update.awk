# Puts an update script together.
#
#   awk -f update.awk OLD PART... TEMPLATE
#
# OLD: the install script that was released; PART: the parts of the present one; TEMPLATE: what an
# update does, in SQL, and
#   --@ part 95_private      here stands a whole part
#   --@ functions            here stand, in the order of the parts, all functions, procedures and
#                            views that are new or read otherwise than in OLD, with their comments
# So nothing stands in two places while a version is being made; a release freezes what comes out.

FNR == 1 {
  name = FILENAME
  sub(/.*\//, "", name)
  sub(/\.sql$/, "", name)
  object = ""
}

FILENAME == ARGV[ARGC - 1] {
  if ($0 == "--@ functions") {
    for (i = 1; i <= objects; i++) {
      known = (order[i], "old") in text
      if (!(order[i] in printed) && !(known && text[order[i], "old"] == text[order[i], "new"]))
        print replacing(text[order[i], "new"], known)
    }
  } else if (/^--@ part / && $3 in part) {
    printf "%s", part[$3]
    for (i = 1; i <= objects; i++)
      if (home[order[i]] == $3)
        printed[order[i]]
  } else if (/^--@/) {
    print FILENAME ":" FNR ": " $0 ": there is no such thing" > "/dev/stderr"
    exit 1
  } else
    print
  next
}

{ which = FILENAME == ARGV[1] ? "old" : "new" }

which == "new" { part[name] = part[name] $0 "\n" }

# An object begins with its CREATE and ends with its COMMENT, which names it: of a function with the types of
# its arguments, since two may have one name.
object == "" && match($0, /^CREATE (FUNCTION|PROCEDURE|VIEW) payguard\.[a-z0-9_]+/) {
  object = substr($0, 1, RLENGTH)
  sub(/.*\./, "", object)
  signature = said = ""
}

object != "" {
  said = said $0 "\n"
  if ($0 ~ "^COMMENT ON (FUNCTION|PROCEDURE|VIEW) payguard\\." object "[ (]") {
    signature = $0
    sub(/ IS( .*)?$/, "", signature)
  }
  if (signature != "" && /;$/) {
    if (which == "new") {
      order[++objects] = signature
      home[signature] = name
    }
    text[signature, which] = said
    object = ""
  }
}

function replacing(definition, known) {
  definition = "\n" definition
  if (known)
    gsub(/\nCREATE /, "\nCREATE OR REPLACE ", definition)
  return substr(definition, 2)
}
