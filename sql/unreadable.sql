-- Evidence that cannot be read is kept and alerted, never refused; what of it can be read later is applied.
\getenv srcdir PG_ABS_SRCDIR
CREATE ROLE regress_unreadable;
SELECT count(payguard.grant_access('regress_unreadable', a)) FROM unnest('{checkout,cashier,channel,admin,refunds,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_unreadable;
\set situation :srcdir /test/lib/situation.sql
\i :situation
SELECT (payguard.register_channel('garbled', first_query_after := '1 min')).name;
CREATE FUNCTION pg_temp.masked(value text) RETURNS text LANGUAGE sql AS $$
  SELECT regexp_replace(regexp_replace(value, '[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}', '<id>', 'g'), '"task_id": \d+', '"task_id": <id>', 'g')
$$;
CREATE VIEW pg_temp.kept AS SELECT code, order_id, pg_temp.masked(message) AS message, pg_temp.masked(convert_from(body, 'UTF8')) AS body
  FROM payguard.unreadable_messages WHERE channel = 'garbled';
CREATE VIEW pg_temp.alerted AS SELECT severity, cause, details - 'event_id' AS details, order_id FROM payguard.alerts
  WHERE kind = 'unreadable_evidence' AND details ->> 'channel' = 'garbled' AND resolved_at IS NULL;
-- calls: the payment is as it was, and one alert stands for a function and an argument
SELECT pg_temp.make('garbled-1', 'pending', 'garbled', 'garbled-1') IS NOT NULL AS made;
SELECT count(*) AS events FROM payguard.events \gset
SELECT outcome, order_id, payment_id = pg_temp.id('garbled-1', 'this') AS that, payment_status, replayed, message
FROM unnest('{success,"Succeeded ",success,NULL}'::text[]) status, payguard.report_payment(pg_temp.id('garbled-1', 'this'), status, 'garbled-1', 1000, 'EUR');
SELECT outcome, message FROM payguard.report_payment(pg_temp.id('garbled-1', 'this'), 'succeeded', 'garbled-1', -1000, 'E', channel_time := 'infinity');
SELECT outcome, order_id, message FROM payguard.record_payment('garbled-1', 'garbled', E'a\nb', 1000, 'EUR');
SELECT outcome, order_id, message FROM payguard.record_payment('garbled-none', 'garbled', 'garbled-2', NULL, NULL);
SELECT outcome, amount, currency, message FROM payguard.record_reversal('garbled', 'garbled-r', 'garbled-1', 'dispute', 1000, 'EUR');
SELECT outcome, amount, currency, message FROM payguard.record_reversal('garbled', 'garbled-r', 'garbled-1', 'refund', 1000, 'EURO');
SELECT count(*) - :events AS new_events FROM payguard.events;
SELECT pg_temp.all_of('garbled-1');
SELECT * FROM pg_temp.kept ORDER BY code, body;
SELECT * FROM pg_temp.alerted ORDER BY cause;
SELECT kind, actor, details ->> 'unreadable' AS unreadable, count(*) FROM payguard.order_timeline('garbled-1') WHERE kind LIKE 'notification.%' GROUP BY 1, 2, 3 ORDER BY 3;
-- of a refund
SELECT pg_temp.make('garbled-2', 'succeeded', 'garbled', 'garbled-2') IS NOT NULL AS made;
SELECT outcome FROM payguard.refund_order('garbled-2', 'garbled-2/refund', 400, 'a discount');
SELECT a.outcome, a.order_id, a.status, a.amount, a.message FROM payguard.refunds r, payguard.report_refund(r.refund_id, 'succeeded', repeat('r', 256), 400, 'EUR') a WHERE r.order_id = 'garbled-2';
SELECT outcome, order_id, status, amount, message FROM payguard.report_refund('01890000-0000-7000-8000-000000000000', 'succeeded', 'garbled', -1);
SELECT pg_temp.all_of('garbled-2');
-- a text that is far too long is cut; what is no text is written down as bytes are
SELECT outcome FROM payguard.report_payment(pg_temp.id('garbled-2', 'this'), 'failed', message := repeat('€', 1000000));
SELECT octet_length(body) BETWEEN 1048576 AND 1049000 AS cut FROM payguard.unreadable_messages WHERE code = 'report_payment(message)' AND channel = 'garbled';
-- messages: kept verbatim, and applied when they come again in a form that can be read
SELECT pg_temp.make('garbled-3', 'pending', 'garbled') IS NOT NULL AS made;
SELECT result, outcome, order_id, payment_id IS NOT NULL AS known, replayed, message FROM payguard.record_notification('garbled', '{"state": "done"}', 'evt-3', pg_temp.id('garbled-3', 'this'), channel_status := 'done', channel_txn_id := 'garbled-3', amount := 1000, currency := 'EUR');
SELECT result, outcome, replayed FROM payguard.record_notification('garbled', '{"state": "done"}', 'evt-3', pg_temp.id('garbled-3', 'this'), channel_status := 'done', channel_txn_id := 'garbled-3', amount := 1000, currency := 'EUR');
SELECT * FROM pg_temp.kept WHERE code LIKE 'record_notification%';
-- nobody else can say it better
SELECT payguard.match_notifications() AS matched;
SELECT result FROM payguard.notifications WHERE event_id = 'evt-3';
SELECT result, outcome, order_id, replayed, message FROM payguard.record_notification('garbled', '{"state": "done", "attempt": 2}', 'evt-3', pg_temp.id('garbled-3', 'this'), channel_status := 'succeeded', channel_txn_id := 'garbled-3', amount := 1000, currency := 'eur');
SELECT result, outcome, replayed FROM payguard.record_notification('garbled', '{"state": "done"}', 'evt-3', pg_temp.id('garbled-3', 'this'), channel_status := 'succeeded', channel_txn_id := 'garbled-3', amount := 1000, currency := 'EUR');
SELECT pg_temp.all_of('garbled-3');
SELECT convert_from(body, 'UTF8') AS body, channel_status, channel_txn_id, amount, currency, code, message, result, order_id FROM payguard.notifications WHERE event_id = 'evt-3';
-- one that is known in a form that could be read stays what it is
SELECT result, outcome FROM payguard.record_notification('garbled', '{"state": "done"}', 'evt-3', pg_temp.id('garbled-3', 'this'), channel_status := 'done');
-- it names another payment than it did, or one that nobody knows yet
SELECT pg_temp.make('garbled-4', 'pending', 'garbled') IS NOT NULL AS made;
SELECT result, order_id FROM payguard.record_notification('garbled', 'to be', 'evt-4', pg_temp.id('garbled-3', 'this'), amount := -5);
SELECT result, outcome, order_id, message FROM payguard.record_notification('garbled', 'or not', 'evt-4', channel_status := 'succeeded', channel_txn_id := 'garbled-4', amount := 1000, currency := 'EUR');
SELECT result, order_id, channel_txn_id, code, message FROM payguard.notifications WHERE event_id = 'evt-4';
SELECT count(*) FROM payguard.alerts WHERE kind = 'unmatched_notification' AND cause = 'evt-4' AND resolved_at IS NULL;
SELECT outcome FROM payguard.report_payment(pg_temp.id('garbled-4', 'this'), 'pending', 'garbled-4');
SELECT pg_temp.all_of('garbled-4');
-- neither its channel nor its id can be read: the body tells it from others
SELECT result, outcome, message FROM payguard.record_notification('', 'no channel', E'\t');
SELECT result, replayed, message FROM payguard.record_notification('', 'no channel', E'\t');
SELECT count(*), min(event_id) = encode(sha256('no channel'), 'hex') AS by_its_body FROM payguard.unreadable_messages WHERE channel = '(unknown)' AND body = 'no channel';
-- answers: the one that cannot be read counts as unknown, and holds up no other
SELECT count(payguard.create_order('garbled-q' || n, 1000, 'EUR')), count(payguard.request_payment('garbled-q' || n, 'garbled-q' || n, 'garbled')) FROM generate_series(1, 4) n;
CREATE TEMP TABLE held AS SELECT * FROM payguard.claim_tasks('garbled', channels := '{garbled}', kinds := '{charge}', lease := '1 hour');
CREATE FUNCTION pg_temp.batch() RETURNS TABLE (order_id text, outcome text, payment_status text, replayed boolean, message text) LANGUAGE sql AS $$
  SELECT a.order_id, a.outcome, a.payment_status, a.replayed, a.message FROM payguard.complete_tasks(ARRAY(
    SELECT (h.task_id, h.lease_token, s, t, m, 'EUR', NULL, NULL)::payguard.task_answer
    FROM held h JOIN (VALUES (1, 'succeeded', 'garbled-q1', 1000), (2, 'OK', 'garbled-q2', 1000), (3, 'succeeded', 'garbled-q3', -1000), (4, 'failed', NULL, NULL)) a (n, s, t, m) ON h.order_id = 'garbled-q' || n
    ORDER BY h.order_id)) a
$$;
SELECT * FROM pg_temp.batch();
SELECT order_id, pg_temp.all_of(order_id) FROM held ORDER BY 1;
SELECT e.order_id, e.kind, e.details FROM payguard.events e WHERE e.order_id IN ('garbled-q2', 'garbled-q3') AND e.kind = 'payment.unknown' ORDER BY 1;
SELECT order_id, outcome, replayed FROM pg_temp.batch();
SELECT code, order_id, message, regexp_replace(body, '"lease_token": "[^"]*"', '"lease_token": ...') AS body FROM pg_temp.kept WHERE code LIKE 'complete_task%' ORDER BY 1;
-- also one to a query that would change nothing
SELECT outcome FROM payguard.query_payment((SELECT payment_id FROM payguard.payments WHERE idempotency_key = 'garbled-q2'));
SELECT t.kind, a.outcome, a.message FROM payguard.claim_tasks('garbled', channels := '{garbled}', kinds := '{query}') t,
  payguard.complete_tasks(ARRAY[(t.task_id, t.lease_token, 'OK?', 'garbled-q2', NULL, NULL, NULL, NULL)::payguard.task_answer]) a WHERE t.order_id = 'garbled-q2';
SELECT count(*) FROM pg_temp.kept WHERE code = 'complete_task(channel_status)' AND order_id = 'garbled-q2';
SELECT pg_temp.all_of('garbled-q2');
-- a task that is not known, or is somebody else's by now
SELECT outcome, message FROM payguard.complete_task(9223372036854775807, '01890000-0000-7000-8000-000000000000', 'OK');
SELECT outcome, message FROM held, payguard.complete_task(task_id, '01890000-0000-7000-8000-000000000000', 'OK') WHERE held.order_id = 'garbled-q2';
-- an operator's word is refused
SELECT pg_temp.answer(format('SELECT payguard.settle_payment(%L, %L, %L)', pg_temp.id('garbled-1', 'this'), 'done', 'I saw it'));
SELECT cause, details ->> 'problem' AS problem FROM pg_temp.alerted ORDER BY 1;
-- currencies in any case
SELECT currency FROM payguard.create_order('garbled-5', 1000, 'Chf');
SELECT outcome, currency FROM payguard.pay_order('garbled-5', 'garbled-5', 1000, 'chf');
SELECT outcome, replayed FROM payguard.pay_order('garbled-5', 'garbled-5', 1000, 'CHF');
-- verify() finds a message that nobody was told of
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
BEGIN;
INSERT INTO payguard.notifications (channel, event_id, body, code, result, received_at) VALUES ('garbled', 'silent', '', 'report_payment(code)', 'unreadable', now());
SELECT * FROM payguard.verify();
ROLLBACK;
DROP OWNED BY regress_unreadable;
DROP ROLE regress_unreadable;
