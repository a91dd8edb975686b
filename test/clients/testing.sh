#!/bin/bash
# The tests of examples/testing, each by its own runner; jest is run by make test-clients alone: node/testing.cjs.
set -u
HERE=$(cd "$(dirname "$0")" && pwd)
EXAMPLE=$HERE/../../examples/testing
n=0

# ok STATUS NAME LOG: one of the count.
ok() {
  n=$((n + 1))
  if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; tail -n 40 "$3" | sed 's/^/# /'; fi
}

. "$HERE/java/lib.sh"
LOG=$(mktemp)
trap 'rm -f "$LOG"' EXIT
psql -qX -d postgres -v ON_ERROR_STOP=1 -f "$EXAMPLE/template.sql" >"$LOG" 2>&1
ok $? "the template of test databases" "$LOG"

(cd "$EXAMPLE/django" && python3 -m django test --settings settings --noinput) >"$LOG" 2>&1 && grep -q "^Ran 6 tests" "$LOG"
ok $? "Django: TestCase and TransactionTestCase" "$LOG"

createdb -U shop_test -T shop_template shop_test >"$LOG" 2>&1
ok $? "a database from the template, by an ordinary role" "$LOG"

ruby "$EXAMPLE/rails_test.rb" >"$LOG" 2>&1 && grep -q "^3 runs, .* 0 failures, 0 errors" "$LOG"
ok $? "Rails: transactional tests" "$LOG"

MORE_JARS="spring3-test spring3-context spring3-aop spring3-expression junit4 hamcrest"
(run_java "org.junit.runner.JUnitCore PaymentTest" "$EXAMPLE" "$EXAMPLE/PaymentTest.java") >"$LOG" 2>&1
grep -q "^OK (2 tests)" "$LOG"
ok $? "JUnit with Spring" "$LOG"
echo "1..$n"
