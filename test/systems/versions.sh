#!/bin/bash
# Every suite on every PostgreSQL that Debian offers, and a table of the results.
#
#   make test-versions             as root; PAYGUARD_VERSIONS="15 17 18 19"
#   test/systems/versions.sh [SUITE...]    only these suites: regress, isolation, tap, pgtap, hygiene
#
# The version of the system that runs this is tested in place. The others live in Debian chroots
# below PAYGUARD_CHROOTS (/var/cache/payguard), which are made once, of 2 GB each, and kept for
# the next run: remove the folder when it is not needed any more. TESTS is passed on.
set -u -o pipefail

TREE=$(cd "$(dirname "$0")/../.." && pwd)
. "$TREE/test/lib/server.sh"
. "$TREE/test/lib/chroot.sh"

VERSIONS=${PAYGUARD_VERSIONS:-15 17 18 19}
LOGS=$(mktemp -d "${TMPDIR:-/tmp}/payguard-versions.XXXXXX")

# borrow_pgtap FOLDER: pgTAP is the same SQL for every version, and not yet packaged for 19.
borrow_pgtap() {
  [ -e "$1/usr/share/postgresql/19/extension/pgtap.control" ] ||
    inside "$1" sh -e -c '
      apt-get update -q
      cd /tmp && apt-get download postgresql-18-pgtap && dpkg -x postgresql-18-pgtap_*.deb pgtap
      mkdir -p /usr/share/postgresql/19/extension
      cp pgtap/usr/share/postgresql/18/extension/pgtap* /usr/share/postgresql/19/extension/
      rm -r pgtap postgresql-18-pgtap_*.deb'
}

# run_version VERSION SUITE: test/run there.
run_version() {
  local version=$1 suite=$2 folder=$CHROOTS/$1
  if [ -x "/usr/lib/postgresql/$version/bin/postgres" ] || [ "$(. /etc/os-release; say "${VERSION_CODENAME:-}")" = "$(suite_of "$version")" ]; then
    PGMAJOR=$version "$TREE/test/run" "$suite"
    return
  fi
  if [ ! -d "$folder" ]; then
    mkdir -p "$CHROOTS"
    say "Making the chroot $folder"
    make_chroot "$version" "$folder" >"$LOGS/$version.debootstrap" 2>&1 ||
      { cat "$LOGS/$version.debootstrap"; return 1; }
  fi
  copy_tree "$folder/payguard" || return 1
  if [ "$version" = 19 ]; then borrow_pgtap "$folder" >"$LOGS/$version.pgtap" 2>&1 || return 1; fi
  inside "$folder" TMPDIR=/dev/shm PGMAJOR="$version" TESTS="${TESTS:-}" \
    WATCH_PACKAGES= FUZZ_PACKAGES= CLIENT_PACKAGES= CONSOLE_PACKAGES= BROWSER_PACKAGES= $([ "$version" = 19 ] && say PGTAP_PACKAGE= PLPROXY_PACKAGE=) /payguard/test/run "$suite"
}

# server_version VERSION: with its minor number, as it is installed there.
server_version() {
  local postgres=/usr/lib/postgresql/$1/bin/postgres
  [ -x "$postgres" ] || postgres=$CHROOTS/$1$postgres
  chroot_of=${postgres%/usr/lib/*}
  chroot "${chroot_of:-/}" "/usr/lib/postgresql/$1/bin/postgres" --version 2>/dev/null | awk '{print $3}'
}

# table: a line for each version, a column for each suite. Each run of test/run must have ended well.
table() {
  local version suite line status=0
  printf '\n%-10s %-9s' PostgreSQL Debian
  for suite in $NAMES; do printf ' %-14s' "$suite"; done
  printf '\n'
  for version in $VERSIONS; do
    printf '%-10s %-9s' "$(server_version "$version")" "$(suite_of "$version")"
    for suite in $NAMES; do
      line=$(sed -n "s/^$suite: \([0-9]*\) passed, \([0-9]*\) failed.*/\1 ok, \2 bad/p" "$LOGS/$version.log")
      printf ' %-14s' "${line:--}"
    done
    printf '\n'
    [ "$(grep -cE '^[1-9][0-9]* passed, 0 failed$' "$LOGS/$version.log")" = "$RUNS" ] || status=1
  done
  return $status
}

[ "$(id -u)" = 0 ] || die "chroots need root"
trap 'rm -rf "$LOGS"' EXIT
need_packages debootstrap
NAMES=${*:-regress isolation tap pgtap hygiene}
RUNS=1
if [ $# -gt 1 ]; then RUNS=$#; fi
for version in $VERSIONS; do
  say "PostgreSQL $version"
  for suite in ${*:-all}; do
    if [ "$suite" = all ]; then suite=test; else suite=test-$suite; fi
    run_version "$version" "$suite" 2>&1
  done | tee "$LOGS/$version.log"
done
table
