# The demonstration: sourced by test/run, which has prepared the server.

# show FILE: runs it as a newcomer would type it.
show() {
  as_user "$PGBIN/psql" -X --echo-queries -v ON_ERROR_STOP=1 -f "$SRC/test/demo/$1" 2>&1 |
    sed -E "s/^psql:[^ ]*: //; /^ *LOCATION:/d; /^ *RAISE/d"
}

# pay_at_once KEY: one of two clients.
pay_at_once() {
  as_user "$PGBIN/psql" -X -At -v VERBOSITY=verbose -c "SELECT 'outcome: ' || outcome FROM payguard.pay_order('order-1002', '$1')" 2>&1 |
    sed '/^LOCATION:/d'
}

demo() {
  start_server demo.server
  as_user "$PGBIN/psql" -qX -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION payguard SCHEMA pg_catalog' || return 1
  show demo.sql || return 1
  say "== 7. Two clients pay another order in the same moment: one wins."
  as_user "$PGBIN/psql" -qX -At -v ON_ERROR_STOP=1 \
    -c "SELECT 'order: ' || order_id || ', ' || status FROM payguard.create_order('order-1002', 1250, 'EUR')" || return 1
  pay_at_once client-a >"$WORK/client-a" &
  local other=$!
  pay_at_once client-b >"$WORK/client-b"
  wait $other
  sed 's/^/client a: /' "$WORK/client-a"
  sed 's/^/client b: /' "$WORK/client-b"
  say
  if [ "$(cat "$WORK"/client-[ab] | grep -cx 'outcome: paid')" != 1 ] ||
    [ "$(cat "$WORK"/client-[ab] | grep -c 'ERROR:  PY101')" != 1 ]; then
    die "one payment and one refusal were expected"
  fi
  show demo_end.sql || return 1
  stop_server
  say "The demonstration went as expected."
}

demo || die "the demonstration did not go as expected"
