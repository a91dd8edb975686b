-- A customer has paid twice: the clerk sees the whole story, and what to do is done.
\getenv srcdir PG_ABS_SRCDIR
CREATE ROLE regress_doubled_payment;
SELECT count(payguard.grant_access('regress_doubled_payment', a)) FROM unnest('{checkout,cashier,channel,admin,refunds,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_doubled_payment;
\set situation :srcdir /test/lib/situation.sql
\i :situation
SELECT (payguard.create_order('doubled', 4990, 'EUR', 'customer 7')).version;
-- by card; the channel times out; the customer goes back, closes it and pays by bank
SELECT pg_temp.start('doubled', 'this', 'card') IS NOT NULL AS started;
SELECT pg_temp.say(pg_temp.id('doubled', 'this'), 'unknown');
SELECT advice, message, can_pay FROM payguard.order_status('doubled');
SELECT outcome FROM payguard.close_payment(pg_temp.id('doubled', 'this'));
SELECT pg_temp.say(pg_temp.id('doubled', 'this'), 'failed');
SELECT pg_temp.start('doubled', 'other', 'bank') IS NOT NULL AS started;
-- the bank's webhook, twice, and the return page
SELECT result, outcome FROM payguard.record_notification('bank', '{"paid": true}', 'bank-1', pg_temp.id('doubled', 'other'), channel_status := 'succeeded', channel_txn_id := 'B-1', amount := 4990, currency := 'EUR') n;
SELECT result, outcome FROM payguard.record_notification('bank', '{"paid": true}', 'bank-1', pg_temp.id('doubled', 'other'), channel_status := 'succeeded', channel_txn_id := 'B-1', amount := 4990, currency := 'EUR') n;
SELECT outcome, replayed FROM payguard.report_payment(pg_temp.id('doubled', 'other'), 'succeeded', 'B-1', 4990, 'EUR');
-- and then the card's: it had charged after all
SELECT result, outcome FROM payguard.record_notification('card', '{"status": "ok"}', 'card-1', pg_temp.id('doubled', 'this'), channel_status := 'succeeded', channel_txn_id := 'C-1', amount := 4990, currency := 'EUR') n;
SELECT advice, message, can_pay FROM payguard.order_status('doubled');
-- the refund: it fails, an operator repeats it, it is made
SELECT refund_id AS refund FROM payguard.refunds WHERE order_id = 'doubled' \gset
SELECT outcome FROM payguard.report_refund(:'refund', 'failed', code := 'card_expired');
SELECT advice, message FROM payguard.order_status('doubled');
SELECT outcome FROM payguard.retry_refund(:'refund', 'the customer has a new card');
SELECT advice, message FROM payguard.order_status('doubled');
SELECT outcome FROM payguard.report_refund(:'refund', 'succeeded', 'R-1', 4990, 'EUR');
SELECT advice, message FROM payguard.order_status('doubled');
-- the whole story
SELECT row_number() OVER (ORDER BY at) AS n, kind, from_status AS "from", to_status AS "to", version AS v, pg_temp.named(payment_id) AS payment, refund_id IS NOT NULL AS of_refund, actor, details FROM payguard.order_timeline('doubled');
SELECT bool_and(at >= before) AS in_order FROM (SELECT at, lag(at) OVER () AS before FROM payguard.order_timeline('doubled')) t;
-- each event, message and alert of the order is in it, once
SELECT (SELECT count(*) FROM payguard.order_timeline('doubled')) = (SELECT count(*) FROM payguard.events WHERE order_id = 'doubled') + (SELECT count(*) FROM payguard.notifications WHERE order_id = 'doubled')
  + (SELECT count(*) + count(resolved_at) FROM payguard.alerts WHERE order_id = 'doubled') AS complete;
SELECT pg_temp.all_of('doubled');
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_doubled_payment;
DROP ROLE regress_doubled_payment;
