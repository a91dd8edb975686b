-- Why money was surplus: told by the event, counted by its reason.
\getenv srcdir PG_ABS_SRCDIR
CREATE ROLE regress_rates;
SELECT count(payguard.grant_access('regress_rates', a)) FROM unnest('{checkout,channel,admin,refunds}'::text[]) a;
SELECT (payguard.register_channel('rates')).late_success, (payguard.register_channel('rates-refund', late_success := 'refund')).late_success;
SELECT (payguard.set_policy('XTS', 500, approve_payment := true)).approve_payment;
SELECT payguard.count_events(1000) >= 0 AS counted;
SET SESSION AUTHORIZATION regress_rates;
\set answer :srcdir /test/lib/answer.sql
\i :answer
\set ECHO all
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
-- over time: what just ended is in the last step, and nothing before; the sums are those of payment_rates()
SELECT count(*), count(DISTINCT begins_at) AS steps, max(begins_at) > now() - interval '1 h' AS up_to_now, sum(succeeded_before + failed_before + duplicates_before) AS before FROM payguard.payment_curve();
SELECT sum(c.succeeded) = r.succeeded AS succeeded, sum(c.failed) = r.failed AS failed, sum(c.duplicates) = r.duplicates AS duplicates
FROM payguard.payment_curve('1 hour', 12) c, payguard.payment_rates('1 hour', 'all') r GROUP BY r.succeeded, r.failed, r.duplicates;
SELECT pg_temp.answer(format('SELECT count(*) FROM payguard.payment_curve(%s)', a)) FROM unnest('{NULL::interval,"''1 h'', NULL","''1 min''","''18 days''","''1 h'', 13","''1 h'', 0","''1 h'', -2147483648"}'::text[]) a;
SELECT labels ->> 'channel' AS channel, labels ->> 'currency' AS currency, labels ->> 'because' AS because, value FROM payguard.metrics WHERE name = 'payguard_surplus_total' AND labels ->> 'channel' ~ '^rates' ORDER BY 1, 2, 3;
SELECT labels ->> 'channel' AS channel, sum(value) FROM payguard.metrics WHERE name = 'payguard_payments_total' AND labels ->> 'status' = 'surplus' AND labels ->> 'channel' ~ '^rates' GROUP BY 1 ORDER BY 1;
RESET SESSION AUTHORIZATION;
-- what a version before 1.2.0 has counted has no reason, and counts as it did then
BEGIN;
INSERT INTO payguard.totals SELECT payguard.bucket_of(clock_timestamp()), 'payments', 'rates-before', 'EUR', s, n FROM (VALUES ('succeeded', 6), ('surplus', 2)) t (s, n);
SELECT duplicates, duplicate_rate, mismatched, late, held FROM payguard.payment_rates() WHERE split = 'rates-before';
ROLLBACK;
-- the period before stands beside; what was stopped is known where the counters were sampled, and a restart begins at 0
BEGIN;
INSERT INTO payguard.totals SELECT payguard.bucket_of(clock_timestamp()) - a, 'payments', 'rates-curve', 'EUR', 'failed', n FROM (VALUES (interval '1 h', 1000), ('2 h', 20000), ('25 h', 300000), ('47 h', 4000000)) t (a, n);
INSERT INTO payguard.counter_samples SELECT clock_timestamp() - a, 'replays', '', n, now() - b FROM (VALUES (interval '5 h', interval '5 days', 700), ('4 h', '5 days', 703), ('3 h', '200 min', 5), ('28 h', '5 days', 600)) t (a, b, n);
SELECT round(extract(epoch FROM clock_timestamp() - begins_at) / 3600) AS hours_ago, failed / 1000 AS failed, failed_before / 1000 AS failed_before, blocked, blocked_before FROM payguard.payment_curve() WHERE begins_at < clock_timestamp() - interval '90 min' AND (failed >= 1000 OR failed_before >= 1000 OR blocked > 0 OR blocked_before > 0) ORDER BY 1;
ROLLBACK;
SELECT (payguard.set_policy('XTS', 500)).approve_payment;
SELECT * FROM payguard.verify();
DROP OWNED BY regress_rates;
DROP ROLE regress_rates;
