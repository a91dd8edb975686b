#!/bin/bash
# pg_upgrade: a cluster that PostgreSQL 15 has filled goes on under 17, and nothing is lost of it.
#
#   make test-pg_upgrade           as root; PAYGUARD_LINK=1: with hard links
#
# 15 is that of the system that runs this. Its programs, with payguard built for it, are copied into
# the Debian chroot of 17 (test/systems/versions.sh), with the libraries that are missing there.
set -u -o pipefail

TREE=$(cd "$(dirname "$0")/../.." && pwd)
. "$TREE/test/lib/server.sh"
. "$TREE/test/lib/chroot.sh"

OLD=15
NEW=17
PASSED=0
FAILED=0
PLACE=

# check NAME GOT WANTED: one of the count.
check() {
  if [ "$2" = "$3" ]; then
    PASSED=$((PASSED + 1))
    say "ok - $1"
  else
    FAILED=$((FAILED + 1))
    say "not ok - $1"
    diff <(say "$3") <(say "$2")
  fi
}

# outside: makes both servers, and goes on inside of the chroot.
outside() {
  local folder=$CHROOTS/$NEW library
  [ "$(id -u)" = 0 ] || die "chroots need root"
  trap 'clean_up; [ -z "$PLACE" ] || rm -rf "$PLACE"' EXIT
  PGMAJOR=$OLD
  need_packages debootstrap $BUILD_PACKAGES
  if [ ! -d "$folder" ]; then
    mkdir -p "$CHROOTS"
    say "Making the chroot $folder"
    make_chroot "$NEW" "$folder" >/dev/null 2>&1 || die "debootstrap failed"
  fi
  make_work
  copy_server
  copy_source "$TREE"
  own_work
  build_and_install
  PLACE=$(mktemp -d "$folder/upgrade.XXXXXX")
  chmod 755 "$PLACE"
  copy_tree "$PLACE/source"
  cp -a "$WORK/root" "$PLACE/old"
  mkdir "$PLACE/libraries"
  # a library of the chroot's own is left to serve
  ldd "$BINDIR/postgres" "$BINDIR/pg_ctl" "$BINDIR/initdb" "$BINDIR/pg_dump" | awk '/=> \// {print $3}' | sort -u |
    while read -r library; do
      [ -e "$folder/usr/lib/x86_64-linux-gnu/${library##*/}" ] || cp "$library" "$PLACE/libraries/"
    done
  inside "$folder" PAYGUARD_LINK="${PAYGUARD_LINK:-}" "/${PLACE##*/}/source/test/systems/pg_upgrade.sh" inside "/${PLACE##*/}"
}

# newest_release: the last minor release of the new version, in the private copy. What a cluster has from a
# release that is newer than that, pg_upgrade may not know.
newest_release() {
  local apt=$WORK/apt package
  apt_alone "$apt" "deb $MIRROR-security $(suite_of "$NEW")-security main"
  cd "$apt" || die "cannot enter $apt"
  apt-get "${APT[@]}" update && apt-get "${APT[@]}" download "postgresql-$NEW" "postgresql-client-$NEW" || return 1
  for package in ./*.deb; do dpkg -x "$package" "$WORK/root"; done
  cd "$WORK" || return 1
}

# inside_chroot FOLDER: what is there, of both versions.
inside_chroot() {
  PGMAJOR=$NEW
  BUILD_PACKAGES="gcc make postgresql-$NEW postgresql-server-dev-$NEW postgresql-client-$NEW"
  trap clean_up EXIT
  need_packages $BUILD_PACKAGES
  make_work
  copy_server
  newest_release >"$WORK/apt.log" 2>&1 || say "no newer release of $NEW was found"
  copy_source "$1/source"
  cp -a "$1/old" "$WORK/old"
  own_work
  build_and_install
  OLDBIN=$WORK/old/usr/lib/postgresql/$OLD/bin
  NEWBIN=$PGBIN
  # what only the old version needs
  export LD_LIBRARY_PATH=$1/libraries
  upgrade
  say "$PASSED passed, $FAILED failed"
  [ "$FAILED" = 0 ] && [ "$PASSED" != 0 ]
}

sql() { as_user "$NEWBIN/psql" -qXAt -v ON_ERROR_STOP=1 "$@"; }

# contents: each table's rows as one hash, and each sequence's place.
contents() {
  sql <<'SQL'
SELECT format('SELECT %L, count(*), md5(string_agg(t::text, ''|'' ORDER BY t::text COLLATE "C")) FROM %s t', c.oid::regclass, c.oid::regclass)
FROM pg_class c WHERE c.relnamespace = 'payguard'::regnamespace AND c.relkind = 'r' OR c.oid = 'shop'::regclass
ORDER BY c.oid::regclass::text COLLATE "C" \gexec
SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'payguard' ORDER BY 1;
SQL
}

# rights: who may do what with what is payguard's, the guards, and whose the objects are.
rights() {
  sql -c "SELECT p.oid::regprocedure::text COLLATE \"C\", ARRAY(SELECT unnest(coalesce(p.proacl, acldefault('f', p.proowner)))::text ORDER BY 1), p.prosecdef
          FROM pg_proc p WHERE p.pronamespace = 'payguard'::regnamespace ORDER BY 1" \
    -c "SELECT evtname, evtenabled FROM pg_event_trigger ORDER BY 1" \
    -c "SELECT tgrelid::regclass::text COLLATE \"C\", tgname, tgenabled FROM pg_trigger ORDER BY 1, 2" \
    -c "SELECT extversion, array_length(extconfig, 1) FROM pg_extension WHERE extname = 'payguard'"
}

# error_of SQL: its SQLSTATE.
error_of() { sql -v VERBOSITY=sqlstate -c "$1" 2>&1 | sed -n 's/^ERROR:  //p'; }

upgrade() {
  local before rights after payment events rest last keep
  keep=$PGBIN
  PGBIN=$OLDBIN
  start_server before
  sql -f "$SRC/test/systems/pg_upgrade.sql" >/dev/null || die "the old cluster was not filled"
  check "the old server is $OLD" "$(sql -c "SELECT current_setting('server_version_num')::int / 10000")" $OLD
  say "# from $("$OLDBIN/postgres" --version) to $("$NEWBIN/postgres" --version)"
  check "verify() finds nothing before" "$(sql -c 'SELECT * FROM payguard.verify()')" ""
  before=$(contents)
  rights=$(rights)
  payment=$(sql -c "SELECT payment_id FROM payguard.payments WHERE idempotency_key = 'key-7'")
  # what the reader has not committed yet; an event for each of what comes after the upgrade
  last=$(sql -c "SELECT greatest(last_event, low_event) FROM payguard.consumers WHERE consumer = 'reader'")
  events=$(sql -c "SELECT string_agg(event_id::text, ' ' ORDER BY event_id) FROM payguard.events WHERE event_id > $last")
  as_user "$OLDBIN/pg_ctl" -D "$SERVER" -m fast -w stop >/dev/null || die "the old server did not stop"

  PGBIN=$keep
  as_user "$NEWBIN/initdb" -D "$WORK/after" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >/dev/null || die "initdb failed"
  printf "%s\n" "listen_addresses = ''" "unix_socket_directories = '$PGHOST'" "fsync = off" "max_prepared_transactions = 20" |
    as_user tee -a "$WORK/after/postgresql.conf" >/dev/null
  if (cd "$SERVER" && as_user "$NEWBIN/pg_upgrade" -b "$OLDBIN" -B "$NEWBIN" -d "$SERVER" -D "$WORK/after" -U postgres \
    --socketdir "$PGHOST" ${PAYGUARD_LINK:+--link}) >"$WORK/upgrade.log" 2>&1; then
    check "pg_upgrade" done done
  else
    cat "$WORK/upgrade.log"
    grep -rhiE -A3 'error:|could not' "$WORK/after/pg_upgrade_output.d"
    die "pg_upgrade failed"
  fi
  SERVER=$WORK/after
  as_user "$NEWBIN/pg_ctl" -D "$SERVER" -l "$SERVER/server.log" -w start >/dev/null ||
    { cat "$SERVER/server.log"; die "the new server did not start"; }

  check "the new server is $NEW" "$(sql -c "SELECT current_setting('server_version_num')::int / 10000")" $NEW
  after=$(contents)
  check "each row and each sequence is as it was" "$after" "$before"
  check "and so are rights, triggers and the extension" "$(rights)" "$rights"
  check "verify() finds nothing" "$(sql -c 'SELECT * FROM payguard.verify()')" ""
  check "a key is replayed" \
    "$(sql -c "SELECT outcome, replayed, payment_id FROM payguard.pay_order('order-7', 'key-7', channel := 'wallet')")" "paid|t|$payment"
  check "a paid order is not paid again" "$(error_of "SELECT payguard.pay_order('order-7', 'another')")" PY101
  check "a revoked key stays spent" "$(error_of "SELECT payguard.pay_order('order-250', 'revoked')")" PY302
  check "an approval is still asked for" "$(error_of "SELECT payguard.pay_order('large', 'key-large')")" PY601
  check "an order is paid, as the till" \
    "$(PGUSER=till sql -c "SELECT outcome, version FROM payguard.pay_order('order-251', 'key-251')")" "paid|2"
  check "whose event comes after all others" \
    "$(sql -c "SELECT event_id > (SELECT max(event_id) FROM payguard.events WHERE order_id <> 'order-251') FROM payguard.events WHERE order_id = 'order-251' AND version = 2")" t
  check "an attempt that was open is paid when the channel says so" \
    "$(sql -c "SELECT outcome FROM payguard.payments p CROSS JOIN LATERAL payguard.report_payment(p.payment_id, 'succeeded', 'txn-late', 244, 'EUR') WHERE p.order_id = 'order-244'")" paid
  check "a task that was due is claimed" \
    "$(sql -c "SELECT count(*) > 0 FROM payguard.claim_tasks('worker', 100)")" t
  check "what a worker holds is held" "$(sql -c "SELECT count(*) FROM payguard.leases WHERE leased_until > now() + '30 min'")" 2
  check "the tables are not changed by hand" "$(error_of "UPDATE payguard.orders SET status = 'paid'")" PY901
  check "nor dropped" "$(error_of "DROP TABLE payguard.orders CASCADE")" PY902
  check "the shop's table is still guarded" "$(error_of "UPDATE shop SET status = 'new', version = 3 WHERE id = 1")" 23514
  check "and lives" "$(sql -c "UPDATE shop SET status = 'done', version = 2 WHERE id = 2 RETURNING status")" done
  rest=$(for window in 1 2 3 4 5; do
    sql -c "WITH e AS MATERIALIZED (SELECT window_id, event_id FROM payguard.read_events('reader', 10000))
            SELECT string_agg(event_id::text, ' ' ORDER BY event_id) FROM e
            GROUP BY window_id HAVING payguard.commit_events('reader', window_id, max(event_id)) IS NOT NULL"
  done | tr '\n' ' ')
  check "a consumer goes on with the first event that it has not committed, without a gap" "${rest:0:${#events}}" "$events"
  check "up to the last one" "$(printf '%s' "${rest% }" | awk '{print $NF}')" "$(sql -c 'SELECT max(event_id) FROM payguard.events')"
  check "maintain() goes on" "$(sql -c 'SELECT duty, problem FROM payguard.maintain() WHERE problem IS NOT NULL')" ""
  check "verify() finds nothing after all that" "$(sql -c 'SELECT * FROM payguard.verify()')" ""
}

if [ "${1:-}" = inside ]; then inside_chroot "$2"; else outside; fi
