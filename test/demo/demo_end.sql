-- The end of the walk, after two clients have paid one order at once.
\set QUIET on
\pset footer off
\set QUIET off
\echo '== 8. What happened to that order.'
SELECT kind, from_status, to_status, version, actor FROM payguard.order_timeline('order-1002');
\echo '== 9. A payment through a channel, which is called from a queue: here by a driver written in SQL.'
CREATE FUNCTION card_driver(task payguard.task) RETURNS payguard.channel_reply LANGUAGE sql AS $$
  SELECT CASE task.kind WHEN 'charge' THEN 'succeeded' ELSE 'unknown' END,   -- a real one asks the channel
         'txn-' || task.order_id, task.amount, task.currency, NULL, NULL
$$;
SELECT name, driver FROM payguard.register_channel('card', driver := 'card_driver');
SELECT order_id, status FROM payguard.create_order('order-1003', 2500, 'EUR');
SELECT outcome, order_status, payment_status FROM payguard.request_payment('order-1003', 'click-3', 'card');
SELECT kind, order_id, channel FROM payguard.tasks;
\echo '   Its tasks are run, by pg_cron for example, each in a transaction of its own.'
CALL payguard.run_tasks();
SELECT status, advice, message FROM payguard.order_status('order-1003');
SELECT kind, from_status, to_status, version FROM payguard.order_timeline('order-1003');
\echo '== 10. payguard checks itself: a row for each broken promise, so none.'
\pset footer on
SELECT * FROM payguard.verify();
\set ECHO none
\set QUIET on
DO $$
BEGIN
  ASSERT (SELECT count(*) = 3 AND bool_and(status = 'succeeded') FROM payguard.payments), 'three payments were expected';
  ASSERT (SELECT count(*) FROM payguard.orders WHERE status = 'paid') = 3, 'three paid orders were expected';
  ASSERT NOT EXISTS (SELECT FROM payguard.tasks), 'no task was expected to be left';
  ASSERT NOT EXISTS (SELECT FROM payguard.verify()), 'verify() was expected to find nothing';
END
$$;
