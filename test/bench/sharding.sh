# Payments through the router of examples/sharding, and without it; sourced by test/run bench-sharding.
#
# PAYGUARD_ROUNDS (3) interleaved rounds of PAYGUARD_SECONDS (10) each: pgbench, 4 clients, an order
# made and paid. All databases are in one server on this machine. The table is printed.
prepare $BUILD_PACKAGES postgresql-$PGMAJOR-plproxy
start_server bench.server shared_buffers=1GB max_wal_size=16GB checkpoint_timeout=30min synchronous_commit=off \
  max_connections=200
as_user tee "$WORK/pay.pgbench" >/dev/null <<'PGBENCH'
\set n random(1, 9000000000000000000)
SELECT status FROM payguard.create_order('o' || :n, 100, 'EUR');
SELECT outcome FROM payguard.pay_order('o' || :n, 'k' || :n);
PGBENCH
as_user "$PGBIN/createdb" alone
as_user "$PGBIN/psql" -Xq -d alone -c 'CREATE EXTENSION payguard'
databases=alone
for shards in 1 2 4; do
  name=router_of_$shards
  as_user "$PGBIN/createdb" "$name"
  parts=()
  for ((n = 0; n < shards; n++)); do
    as_user "$PGBIN/createdb" "shard${shards}_$n"
    parts+=("host=$PGHOST port=$PGPORT dbname=shard${shards}_$n")
  done
  as_user env PATH="$PGBIN:$PATH" "$SRC/examples/sharding/setup.sh" "host=$PGHOST port=$PGPORT dbname=$name" "${parts[@]}" >"$WORK/setup.log" 2>&1 ||
    { cat "$WORK/setup.log" >&2; die "setup.sh failed"; }
  as_user "$PGBIN/psql" -Xq -d "$name" -c 'CREATE USER MAPPING FOR PUBLIC SERVER payguard'
  databases="$databases $name"
done
for ((round = 0; round < ${PAYGUARD_ROUNDS:-3}; round++)); do
  for name in $databases; do
    as_user "$PGBIN/pgbench" -n -M prepared -c 4 -j 1 -T "${PAYGUARD_SECONDS:-10}" -f "$WORK/pay.pgbench" "$name" >"$WORK/pgbench.log" 2>&1 ||
      { cat "$WORK/pgbench.log" >&2; die "pgbench failed"; }
    sed -n "s/^tps = \([0-9]*\).*/$name \1/p" "$WORK/pgbench.log" | tee -a "$WORK/rates" >&2
  done
done
say "$(date +%F); PostgreSQL $("$PGBIN/postgres" --version | awk '{print $3}'), fsync = off; load average $(cut -d' ' -f1-3 /proc/loadavg); orders made and paid a second, lowest to highest"
for name in $databases; do
  say "| $name | $(awk -v name="$name" '$1 == name {print $2}' "$WORK/rates" | sort -n | sed -n '1p;$p' | paste -sd- | sed 's/-/ to /') |"
done
stop_server
