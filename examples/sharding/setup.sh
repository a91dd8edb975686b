#!/bin/bash
# Makes payguard's shards and their router, in databases that exist and are empty.
#
#   setup.sh ROUTER SHARD...      connection strings of superusers, for psql
#
# The extension goes into each shard, the router gets functions of the same names. Slots are
# spread evenly. Roles, their access at the shards and their user mappings are yours: README.md.
set -eu -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
router=$1
shift
run() { psql -Xq -v ON_ERROR_STOP=1 "$@"; }

# numbers of shard n begin at n * 2^48, so that a task's number tells its shard
n=0 options=
for shard in "$@"; do
  run -d "$shard" -c 'CREATE EXTENSION payguard SCHEMA pg_catalog' -o /dev/null \
    -c "SELECT setval('payguard.tasks_task_id_seq', ($n::bigint << 48) + 1, false),
               setval('payguard.alerts_alert_id_seq', ($n::bigint << 48) + 1, false),
               setval('payguard.approvals_approval_id_seq', ($n::bigint << 48) + 1, false)"
  options="$options, p$n '${shard//\'/\'\'}'"
  n=$((n + 1))
done
run -d "$router" -f "$here/router.sql"
run -d "$router" -c "CREATE SERVER payguard FOREIGN DATA WRAPPER plproxy OPTIONS (modular_mapping '1'$options)" \
  -c "GRANT USAGE ON FOREIGN SERVER payguard TO PUBLIC" \
  -c "INSERT INTO payguard_router.slots SELECT s, s * $n / 4096 FROM generate_series(0, 4095) s"
run -At -d "$1" -f "$here/generate.sql" | run -d "$router"
