-- Why money was surplus: told by the event, counted by its reason.
\getenv srcdir PG_ABS_SRCDIR
CREATE ROLE regress_rates;
SELECT count(payguard.grant_access('regress_rates', a)) FROM unnest('{checkout,channel,admin,refunds}'::text[]) a;
SELECT (payguard.register_channel('rates')).late_success, (payguard.register_channel('rates-refund', late_success := 'refund')).late_success;
SELECT (payguard.set_policy('XTS', 500, approve_payment := true)).approve_payment;
SELECT payguard.count_events(1000) >= 0 AS counted;
SET SESSION AUTHORIZATION regress_rates;
SELECT count(payguard.create_order('rates-' || n, 1000, 'EUR')) FROM unnest('{paid,twice,other,less,cancelled,refused}'::text[]) n;
SELECT (payguard.create_order('rates-held', 1000, 'XTS')).status;
SELECT payment_id AS twice FROM payguard.start_payment('rates-twice', 'rates-twice', 'rates') \gset
SELECT payment_id AS less FROM payguard.start_payment('rates-less', 'rates-less', 'rates') \gset
SELECT payment_id AS cancelled FROM payguard.start_payment('rates-cancelled', 'rates-cancelled', 'rates') \gset
SELECT payment_id AS refused FROM payguard.start_payment('rates-refused', 'rates-refused', 'rates-refund') \gset
-- the order was paid already; the attempt was charged again
SELECT outcome FROM unnest('{1,2}'::text[]) n, payguard.record_payment('rates-paid', 'rates', 'rates-paid-' || n, 1000, 'EUR');
SELECT outcome FROM unnest('{1,2}'::text[]) n, payguard.report_payment(:'twice', 'succeeded', 'rates-twice-' || n, 1000, 'EUR');
-- another amount, another currency
SELECT outcome FROM payguard.report_payment(:'less', 'succeeded', 'rates-less', 999, 'EUR');
SELECT outcome FROM payguard.record_payment('rates-other', 'rates', 'rates-other', 1000, 'USD');
-- the order was over; the channel is set to take nothing late
SELECT outcome FROM unnest('{failed,succeeded}'::text[]) s, payguard.report_payment(:'refused', s, 'rates-refused', 1000, 'EUR');
SELECT outcome FROM payguard.report_payment(:'cancelled', 'failed', 'rates-cancelled');
SELECT (payguard.cancel_order('rates-cancelled')).status;
SELECT outcome FROM payguard.report_payment(:'cancelled', 'succeeded', 'rates-cancelled', 1000, 'EUR');
-- a second person decides first
SELECT outcome FROM payguard.record_payment('rates-held', 'rates', 'rates-held', 1000, 'XTS');
RESET SESSION AUTHORIZATION;
SELECT order_id, details ->> 'channel_txn_id' AS txn, details ->> 'because' AS because FROM payguard.events WHERE order_id ~ '^rates-' AND kind = 'payment.surplus' ORDER BY event_id;
SELECT count(*) FROM payguard.events WHERE order_id ~ '^rates-' AND kind <> 'payment.surplus' AND details ? 'because';
SELECT payguard.count_events(1000) > 0 AS counted;
SET SESSION AUTHORIZATION regress_rates;
SELECT split, started, succeeded, failed, duplicates, duplicate_rate, mismatched, late, held FROM payguard.payment_rates() WHERE split ~ '^rates' ORDER BY 1;
SELECT labels ->> 'channel' AS channel, labels ->> 'currency' AS currency, labels ->> 'because' AS because, value FROM payguard.metrics WHERE name = 'payguard_surplus_total' AND labels ->> 'channel' ~ '^rates' ORDER BY 1, 2, 3;
SELECT labels ->> 'channel' AS channel, sum(value) FROM payguard.metrics WHERE name = 'payguard_payments_total' AND labels ->> 'status' = 'surplus' AND labels ->> 'channel' ~ '^rates' GROUP BY 1 ORDER BY 1;
RESET SESSION AUTHORIZATION;
-- what a version before 1.2.0 has counted has no reason, and counts as it did then
BEGIN;
INSERT INTO payguard.totals SELECT payguard.bucket_of(clock_timestamp()), 'payments', 'rates-before', 'EUR', s, n FROM (VALUES ('succeeded', 6), ('surplus', 2)) t (s, n);
SELECT duplicates, duplicate_rate, mismatched, late, held FROM payguard.payment_rates() WHERE split = 'rates-before';
ROLLBACK;
SELECT (payguard.set_policy('XTS', 500)).approve_payment;
SELECT * FROM payguard.verify();
DROP OWNED BY regress_rates;
DROP ROLE regress_rates;
