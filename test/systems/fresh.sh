#!/bin/bash
# The two commands of the README on a bare machine: a Debian 12 as `debootstrap --variant=minbase` makes it, in a
# chroot. Root runs both, which installs what is missing; then an ordinary user runs both. Before that they tell
# the user what is missing.
#
#   make test-fresh            as root; TESTS="pay_once replay" for only these of each suite
#
# The chroot is made anew below PAYGUARD_CHROOTS each time, and removed (PAYGUARD_KEEP=1 keeps it); a clean system
# to copy from is kept there. The trees lie where people have theirs: in homes that nobody else may enter.
set -u -o pipefail

TREE=$(cd "$(dirname "$0")/../.." && pwd)
. "$TREE/test/lib/server.sh"
. "$TREE/test/lib/chroot.sh"

PASSED=0
FAILED=0
NEW=$CHROOTS/fresh
LOG=$NEW.log
# what a newcomer would have to wonder about
WARNINGS='could not|cannot|[Ww]arning: |WARNING: |[Pp]ermission denied|No such file|not found'

# there USER COMMAND: in the user's own copy of the tree, as after a login.
there() { inside "$NEW" su - "$1" -c "cd payguard && $2"; }

# judge NAME STATUS: one of the count; LOG is shown where it failed.
judge() {
  if [ "$2" = 0 ]; then
    PASSED=$((PASSED + 1))
    grep -E '^[a-z]+: [0-9]+ passed' "$LOG" || true
    say "ok - $1"
  else
    FAILED=$((FAILED + 1))
    cat "$LOG"
    say "not ok - $1"
  fi
}

# step NAME COMMAND...
step() {
  local name=$1
  shift
  "$@" >"$LOG" 2>&1
  judge "$name" $?
}

# works USER COMMAND LAST: with this last line, and nothing to wonder about.
works() {
  local began=$SECONDS status
  : >"$LOG.warnings"
  there "$1" "$2" >"$LOG" 2>&1
  status=$?
  if [ $status = 0 ]; then
    tail -n 1 "$LOG" | grep -qxE "$3" && ! grep -nE "$WARNINGS" "$LOG" >"$LOG.warnings"
    status=$?
    sed 's/^/to wonder about: /' "$LOG.warnings"
  fi
  judge "$2 as $1, in $((SECONDS - began)) s" $status
}

# refuses USER COMMAND: since packages are missing, of which it tells the user how to get them.
refuses() {
  ! there "$1" "$2" >"$LOG" 2>&1 && grep -q 'packages are missing; as root run: apt-get install' "$LOG"
  judge "$2 as $1 says what is missing" $?
}

# ready_trees: one for root, one for a new user.
ready_trees() {
  inside "$NEW" useradd --create-home --shell /bin/bash newcomer && copy_tree "$NEW/root/payguard" &&
    copy_tree "$NEW/home/newcomer/payguard" && inside "$NEW" chown -R newcomer: /home/newcomer &&
    chmod 700 "$NEW/root" "$NEW/home/newcomer"
}

[ "$(id -u)" = 0 ] || die "chroots need root"
need_packages debootstrap
mkdir -p "$CHROOTS"
trap '[ -n "${PAYGUARD_KEEP:-}" ] || rm -rf "$NEW" "$LOG" "$LOG.warnings"' EXIT
FIRST=$(sed -n 's/^    \(apt-get .*\) && make demo$/\1/p' "$TREE/README.md")
CHOSEN=${TESTS:+ TESTS=\"$TESTS\"}
DEMO_ENDS='The demonstration went as expected\.'
TEST_ENDS='[1-9][0-9]* passed, 0 failed'

step "a clean system" clean_system 15 "$NEW"
step "a tree for root and for a new user" ready_trees
step "$FIRST" there root "${FIRST:-false}"
refuses newcomer "make demo"
refuses newcomer "make test"
for user in root newcomer; do
  works $user "make demo" "$DEMO_ENDS"
  works $user "make test$CHOSEN" "$TEST_ENDS"
done
say "$PASSED passed, $FAILED failed"
[ "$FAILED" = 0 ]
