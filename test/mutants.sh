#!/bin/bash
# Mutants: does the stress test notice when a safeguard is missing? Each mutant is the source
# with one safeguard taken out by a small edit; the stress test must fail on it.
#
#   test/mutants.sh [NAME...]      TAP; PAYGUARD_SEED and PAYGUARD_SECONDS as in the stress test

set -u
TOP=$(cd "$(dirname "$0")/.." && pwd)
. "$TOP/test/lib.sh"
trap clean_up EXIT
export PAYGUARD_STOP=1 PAYGUARD_SECONDS=${PAYGUARD_SECONDS:-0.8} PAYGUARD_SEED=${PAYGUARD_SEED:-$RANDOM}
TESTS=0 FAILED=0 TABLE=

# edit FILE SED-SCRIPT: an edit of the mutant's source, which must change it.
edit() {
  cp "$SRC/$1" "$WORK/before"
  as_user sed -E -i "$2" "$SRC/$1" || die "sed failed on $1"
  if cmp -s "$WORK/before" "$SRC/$1"; then die "the edit of $1 changes nothing: $2"; fi
}

no_row_lock() {
  edit src/store_spi.c 's/" FOR NO KEY UPDATE"/""/'
  edit src/store_heap.c 's/LockTupleNoKeyExclusive/LockTupleKeyShare/'
}
no_second_version() { edit src/store_heap.c 's/flags \|= TUPLE_LOCK_FLAG_FIND_LAST_VERSION/flags |= 0/'; }
no_conflict() { edit src/store_heap.c 's/^(\t\} while \()conflict\)/\1false)/'; }
no_unique_index() { edit src/sql/30_payment.sql 's/CREATE UNIQUE INDEX payments_that_count/CREATE INDEX payments_that_count/'; }
neither() { no_row_lock; no_unique_index; }
any_request() { edit src/payment.c 's/^(\tif \()(differences\.len == 0\))/\1true || \2/'; }
no_version() { edit src/order.c 's/^\torder->version\+\+;$//'; }
no_event() { edit src/order.c 's/^\tpayguard_event_write\(kind, order, payment,/\tif (to != ORDER_PAID) &/'; }
no_second_look() { edit src/payment.c 's/\(!first_round \|\| call->entry->changed\)/!first_round/'; }
no_second_judgement() { edit src/payment.c 's/\(call->key_known \|\| call->entry->may_pay\)/(call->key_known || !first_round)/'; }
unsorted_keys() { edit src/payment.c 's/^\tqsort\(round, npay, sizeof\(PayCall \*\), by_key\);$//'; }

MUTANTS="no_row_lock no_second_version no_conflict no_unique_index neither any_request no_version no_event no_second_look
  no_second_judgement unsorted_keys"

# try NAME: builds the mutant and runs the stress test on it.
try() {
  local name=$1 status killers
  rm -rf "$SRC"
  cp -a "$WORK/clean" "$SRC"
  "$name"
  build_and_install
  as_user env PATH="$PGBIN:$PATH" /usr/bin/python3 "$SRC/test/t/010_stress.py" >"$WORK/$name.tap" 2>&1
  status=$?
  killers=$(sed -n 's/^not ok [0-9]* - //p' "$WORK/$name.tap")
  if [ "$status" != 0 ] && [ -z "$killers" ]; then killers="the test could not go on"; fi
  TESTS=$((TESTS + 1))
  if [ -n "$killers" ]; then
    say "ok $TESTS - $name is killed"
  else
    FAILED=$((FAILED + 1)) killers="SURVIVES"
    say "not ok $TESTS - $name is killed"
    sed 's/^/# /' "$WORK/$name.tap" | tail -5
  fi
  TABLE="$TABLE$(printf '# %-20s %2d  %s' "$name" "$(grep -c '^not ok' "$WORK/$name.tap")" "${killers%%$'\n'*}")
"
}

make_work
copy_server
copy_source "$TOP"
own_work
say "# PAYGUARD_SEED=$PAYGUARD_SEED"
build_and_install
cp -a "$SRC" "$WORK/clean"
for mutant in ${*:-$MUTANTS}; do try "$mutant"; done
say "# mutant               failed assertions, the first of them"
printf '%s' "$TABLE"
say "1..$TESTS"
[ "$FAILED" = 0 ]
