-- The end of the walk, after two clients have paid one order at once.
\set QUIET on
\pset footer off
\set QUIET off
\echo '== 8. What happened to that order.'
SELECT kind, from_status, to_status, version, actor FROM payguard.order_timeline('order-1002');
\echo '== 9. payguard checks itself: a row for each broken promise, so none.'
\pset footer on
SELECT * FROM payguard.verify();
\set ECHO none
\set QUIET on
DO $$
BEGIN
  ASSERT (SELECT count(*) = 2 AND bool_and(status = 'succeeded') FROM payguard.payments), 'two payments were expected';
  ASSERT (SELECT count(*) FROM payguard.orders WHERE status = 'paid' AND version = 2) = 2, 'two paid orders were expected';
  ASSERT NOT EXISTS (SELECT FROM payguard.verify()), 'verify() was expected to find nothing';
END
$$;
