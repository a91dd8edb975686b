# The queue beside its peers, on one throwaway server; sourced by test/run bench-queue.
#
# PAYGUARD_SHORT=1 tries it with small numbers; PAYGUARD_BACKLOG, PAYGUARD_DEAD (tasks), PAYGUARD_OLD
# (seconds) and PAYGUARD_ROUNDS set single ones. The table is printed, with versions and date.
node=""
command -v npm >/dev/null || node="nodejs npm"
prepare $BUILD_PACKAGES postgresql-$PGMAJOR-pgq3 $node
as_user mkdir -p "$WORK/node"
say "Fetching pg-boss and graphile-worker"
(cd "$WORK/node" && as_user env npm_config_cache="$WORK/npm" npm install --ignore-scripts --no-audit \
  --no-fund --loglevel=error pg-boss@10 graphile-worker@0.17 pg@8) >"$WORK/npm.log" 2>&1 ||
  { cat "$WORK/npm.log" >&2; die "npm install failed"; }
as_user cp "$SRC/test/bench/queue.cjs" "$WORK/node/"
start_server bench.server shared_buffers=1GB max_wal_size=16GB checkpoint_timeout=30min \
  "synchronous_commit=${PAYGUARD_SYNC:-off}" autovacuum_naptime=10s jit=off
as_user env PGHOST="$PGHOST" PGPORT="$PGPORT" PGUSER=postgres PAYGUARD_SHORT="${PAYGUARD_SHORT:-}" \
  PAYGUARD_BACKLOG="${PAYGUARD_BACKLOG:-}" PAYGUARD_DEAD="${PAYGUARD_DEAD:-}" PAYGUARD_OLD="${PAYGUARD_OLD:-}" \
  PAYGUARD_ROUNDS="${PAYGUARD_ROUNDS:-}" node "$WORK/node/queue.cjs"
status=$?
stop_server
return $status
