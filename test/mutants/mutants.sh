#!/bin/bash
# Mutants: do the tests notice when a safeguard is missing? Each mutant of test/mutants/list.sh is
# the source with one small edit, and the test that is named there must fail on it. The same tests must
# pass on the source as it is, in the same place: otherwise they would kill anything.
#
#   test/mutants/mutants.sh [short | NAME...]    TAP, and a table of what killed which; without a name: all
#
# PAYGUARD_SEED and PAYGUARD_SECONDS as in the stress test.

set -u
TOP=$(cd "$(dirname "$0")/../.." && pwd)
. "$TOP/test/lib/server.sh"
trap clean_up EXIT
export PAYGUARD_STOP=1 PAYGUARD_SECONDS=${PAYGUARD_SECONDS:-0.8} PAYGUARD_SEED=${PAYGUARD_SEED:-$RANDOM}
TESTS=0 FAILED=0 TABLE= HARMLESS=

# wanted NAME SHORT: whether a mutant was asked for.
wanted() {
  case " ${WANTED:-$1} " in
    *" $1 "*) return 0 ;;
    *" short "*) [ -n "$2" ] ;;
    *) return 1 ;;
  esac
}

# mutant NAME "FILE..." KILLER SED-SCRIPT [short]: builds it, and runs its killer.
mutant() {
  local name=$1 file killer=$3 killed="" stopped=""
  # also of those that are not built now: the list is to fit the source
  for file in $2; do
    if sed -E "$4" "$WORK/clean/$file" | cmp -s - "$WORK/clean/$file"; then die "$name: the edit of $file changes nothing"; fi
  done
  wanted "$name" "${5:-}" || return 0
  rm -rf "$SRC"
  cp -a "$WORK/clean" "$SRC"
  for file in $2; do
    as_user sed -E -i "$4" "$SRC/$file" || die "$name: sed failed"
  done
  build_and_install
  case "$killer" in
    stress) run_stress "$name" ;;
    *) run_killer "$name" $killer ;;
  esac
  TESTS=$((TESTS + 1))
  if [ -n "$killed" ]; then
    say "ok $TESTS - $name is killed by $killer"
  else
    FAILED=$((FAILED + 1)) killed="SURVIVES"
    say "not ok $TESTS - $name is killed by $killer"
    tail -5 "$WORK/$name.log" | sed 's/^/# /'
  fi
  TABLE="$TABLE$(printf '# %-22s %-26s %s' "$name" "$killer" "$killed")
"
}

# unharmed NAME "FILE..." KILLER SED-SCRIPT [short]: stands in for mutant() and runs its killer, once, on the
# source as it is.
unharmed() {
  local killed="" stopped=""
  wanted "$1" "${5:-}" || return 0
  case " $HARMLESS " in *" ${3// /_} "*) return 0 ;; esac
  HARMLESS="$HARMLESS ${3// /_}"
  case "$3" in
    stress) run_stress clean_stress ;;
    *) run_killer "clean_${3// /_}" $3 ;;
  esac
  TESTS=$((TESTS + 1))
  if [ -z "$killed" ]; then
    say "ok $TESTS - $3 passes on the source as it is"
  else
    FAILED=$((FAILED + 1))
    say "not ok $TESTS - $3 passes on the source as it is: $killed"
  fi
}

# run_stress NAME: sets killed to the first assertion that failed.
run_stress() {
  as_user env PATH="$PGBIN:$PATH" /usr/bin/python3 "$SRC/test/t/concurrency/stress.py" >"$WORK/$1.log" 2>&1 ||
    stopped="the test could not go on"
  killed=$(sed -n 's/^not ok [0-9]* - //p' "$WORK/$1.log" | head -1)
  killed=${killed:-$stopped}
}

# run_killer NAME regress|isolation TEST: sets killed to what the test's first difference is.
run_killer() {
  local out=$WORK/out.$1 options=(--inputdir="$SRC" --dbname=mutant)
  local program=regress/pg_regress
  if [ "$2" = isolation ]; then
    program=isolation/pg_isolation_regress options=(--inputdir="$SRC/test" --dbname=mutant)
  fi
  as_user mkdir -p "$out"
  # a killed test leaves its roles
  as_user "$PGBIN/psql" -qX -c 'DROP DATABASE IF EXISTS mutant WITH (FORCE)' 2>/dev/null
  as_user "$PGBIN/psql" -qXAt -c "SELECT format('DROP ROLE %I;', rolname) FROM pg_roles
    WHERE rolname <> 'postgres' AND rolname NOT LIKE 'pg\_%'" | as_user "$PGBIN/psql" -qX -v ON_ERROR_STOP=1 ||
    die "the roles of the last test cannot be dropped"
  (cd "$out" && as_user env LC_MESSAGES=C PG_REGRESS_DIFF_OPTS=-U0 timeout 300 \
    "$PGXS/src/test/$program" --bindir="$PGBIN" --host="$PGHOST" --port="$PGPORT" --user=postgres \
    --outputdir="$out" --load-extension=payguard "${options[@]}" "$3") >"$WORK/$1.log" 2>&1 && return
  # a mutant that cannot even be installed proves nothing about its test
  if [ ! -s "$out/regression.diffs" ] && [ ! -e "$out/results/$3.out" ]; then return; fi
  killed=$(grep -E '^[-+][^-+]' "$out/regression.diffs" | grep -vE '^[-+][ |(-]*$' | head -1 | cut -c1-70)
  killed=${killed:-the test could not go on}
}

WANTED="$*"
need_packages $TEST_PACKAGES
make_work
copy_server
copy_source "$TOP"
own_work
PGXS=$(dirname "$("$PGCONFIG" --pgxs)")/../..
say "# PAYGUARD_SEED=$PAYGUARD_SEED"
build_and_install
cp -a "$SRC" "$WORK/clean"
start_server server
# the list twice: its killers alone, then the mutants
declare -f mutant >"$WORK/mutant.sh"
mutant() { unharmed "$@"; }
. "$TOP/test/mutants/list.sh"
. "$WORK/mutant.sh"
. "$TOP/test/mutants/list.sh"
say "# mutant                 its killer                 the first thing that differs"
printf '%s' "$TABLE"
say "1..$TESTS"
[ "$FAILED" = 0 ] && [ "$TESTS" != 0 ]
