-- Money that comes after a failure, a cancellation or the deadline is never lost: it pays, or goes back.
\getenv srcdir PG_ABS_SRCDIR
CREATE ROLE regress_late_success;
SELECT count(payguard.grant_access('regress_late_success', a)) FROM unnest('{checkout,cashier,channel,admin,refunds,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_late_success;
\set situation :srcdir /test/lib/situation.sql
\i :situation
-- the order is still to be paid: the money pays it
SELECT pg_temp.say(pg_temp.make('late-1', 'failed, unpaid'), 'succeeded', 'late-1', 1000, 'EUR');
SELECT pg_temp.all_of('late-1');
-- said again, by whomever: nothing is written
SELECT pg_temp.written() AS before \gset
SELECT outcome, order_status, version, replayed FROM payguard.report_payment(pg_temp.id('late-1', 'this'), 'succeeded', 'late-1', 1000, 'EUR');
SELECT outcome, order_status, version, replayed FROM payguard.record_payment('late-1', 'card', 'late-1', 1000, 'EUR');
SELECT pg_temp.written() = :'before' AS nothing_written;
-- the failure's key says what became of it
SELECT outcome, payment_status, replayed FROM payguard.start_payment('late-1', 'late-1/this', 'card');
-- another attempt is open: the first money wins, the other attempt is closed
SELECT pg_temp.say(pg_temp.make('late-2', 'failed, paying by another'), 'succeeded', 'late-2', 1000, 'EUR');
SELECT pg_temp.all_of('late-2');
-- and if it took money too, that goes back
SELECT pg_temp.say(pg_temp.id('late-2', 'other'), 'succeeded', 'late-2/other', 1000, 'EUR');
SELECT pg_temp.all_of('late-2');
-- the closing attempt answers that nothing can come any more
SELECT pg_temp.say(pg_temp.make('late-3', 'failed, paying by another'), 'succeeded', 'late-3', 1000, 'EUR');
SELECT pg_temp.say(pg_temp.id('late-3', 'other'), s) FROM unnest('{pending,not_found,closed,closed}'::text[]) s;
SELECT pg_temp.all_of('late-3');
-- the order is cancelled, expired, paid or refunded: the money goes back
SELECT situation, pg_temp.say(pg_temp.make('late-' || situation, situation), 'succeeded', 'late-' || situation, 1000, 'EUR') FROM unnest('{"failed, cancelled","failed, expired","failed, paid","failed, refunded"}'::text[]) situation;
SELECT order_id, pg_temp.all_of(order_id) FROM payguard.orders WHERE order_id ~ '^late-failed' ORDER BY 1;
-- a channel may be told to pay expired orders with it, or to give it all back
SELECT channel, situation, pg_temp.say(pg_temp.make('late-' || channel || situation, situation, channel), 'succeeded', 'late-' || situation, 1000, 'EUR')
FROM unnest('{card_accept_expired,card_refund}'::text[]) channel, unnest('{"failed, unpaid","failed, paying by another","failed, cancelled","failed, expired","failed, paid"}'::text[]) situation;
SELECT order_id, pg_temp.all_of(order_id) FROM payguard.orders WHERE order_id ~ '^late-card' ORDER BY 1;
-- an attempt that is open is no late one, whatever the channel was told
SELECT pg_temp.say(pg_temp.make('late-4', 'closing, to be cancelled', 'card_refund'), 'succeeded', 'late-4', 1000, 'EUR');
SELECT pg_temp.all_of('late-4');
-- money that nobody asked for, by the order's state
SELECT s.id, outcome, payment_status, replayed FROM (VALUES ('late-none', NULL), ('late-paying', 'pending'), ('late-closing', 'closing, to be cancelled'), ('late-done', 'succeeded'),
  ('late-gone', 'failed, cancelled'), ('late-over', 'failed, expired'), ('late-back', 'succeeded, refunded')) s (id, situation)
CROSS JOIN LATERAL (SELECT CASE WHEN situation IS NULL THEN payguard.create_order(s.id, 1000, 'EUR') IS NULL ELSE pg_temp.make(s.id, situation, 'card_refund') IS NULL END) m
CROSS JOIN LATERAL payguard.record_payment(s.id, 'card_refund', 'txn-' || s.id, 1000, 'EUR');
SELECT o.order_id, pg_temp.all_of(o.order_id) FROM payguard.orders o JOIN payguard.payments p ON p.channel_txn_id = 'txn-' || o.order_id WHERE o.order_id LIKE 'late-%' ORDER BY 1;
-- the transaction of another order's payment is not taken for this one's
SELECT (payguard.create_order('late-5', 1000, 'EUR')).status;
SELECT outcome, payment_status, message FROM payguard.record_payment('late-5', 'card', 'late-1', 1000, 'EUR');
SELECT pg_temp.all_of('late-5'), pg_temp.alerts_of('late-1');
-- not_found is no failure until the attempt is long over
SELECT (payguard.register_channel('late_soon', not_found_is_final_after := '0 s')).not_found_is_final_after;
SELECT (payguard.create_order('late-6', 1000, 'EUR')).status;
SELECT payment_status FROM payguard.start_payment('late-6', 'late-6/this', 'late_soon', expires_at := clock_timestamp() + interval '1 hour');
SELECT pg_temp.say(pg_temp.id('late-6', 'this'), 'not_found'), pg_temp.all_of('late-6');
SELECT (payguard.create_order('late-7', 1000, 'EUR')).status;
SELECT payment_status FROM payguard.start_payment('late-7', 'late-7/this', 'late_soon');
SELECT pg_temp.say(pg_temp.id('late-7', 'this'), 'not_found');
SELECT pg_temp.all_of('late-7'), failure_code FROM payguard.payments WHERE order_id = 'late-7';
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_late_success;
DROP ROLE regress_late_success;
