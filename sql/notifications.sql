-- A channel's message is kept as it came, and applied once.
\getenv srcdir PG_ABS_SRCDIR
CREATE ROLE regress_notifications;
SELECT count(payguard.grant_access('regress_notifications', a)) FROM unnest('{checkout,cashier,channel,admin,refunds,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_notifications;
\set situation :srcdir /test/lib/situation.sql
\i :situation
CREATE FUNCTION pg_temp.note(payment uuid, status text, event text DEFAULT NULL, txn text DEFAULT NULL, body text DEFAULT 'x', channel text DEFAULT 'card') RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(', ', result, outcome, order_id, pg_temp.named(payment_id), CASE WHEN replayed THEN 'again' END, message)
  FROM payguard.record_notification(channel, convert_to(body, 'UTF8'), event, payment, NULL, status, txn, CASE WHEN status = 'succeeded' THEN 1000 END, CASE WHEN status = 'succeeded' THEN 'EUR' END)
$$;
-- kept byte by byte, whatever the bytes
SELECT pg_temp.make('note-1', 'pending') IS NOT NULL AS made;
SELECT result, outcome, order_id, payment_id = pg_temp.id('note-1', 'this') AS its, refund_id, replayed, message
FROM payguard.record_notification('card', '\x00ff7b0a27', 'e1', pg_temp.id('note-1', 'this'), channel_status := 'succeeded', channel_txn_id := 'note-1', amount := 1000, currency := 'EUR', channel_time := '2024-01-02 03:04:05+00');
SELECT channel, event_id, body, payment_id = pg_temp.id('note-1', 'this') AS its, channel_status, channel_txn_id, amount, currency, channel_time = '2024-01-02 03:04:05+00' AS at, result, order_id FROM payguard.notifications WHERE event_id = 'e1';
SELECT pg_temp.all_of('note-1'), channel_time = '2024-01-02 03:04:05+00' AS at FROM payguard.payments WHERE order_id = 'note-1';
-- delivered again: known by the channel's event_id, whatever it says now
SELECT pg_temp.written() AS before \gset
SELECT result, outcome, replayed, message FROM payguard.record_notification('card', '\x00ff7b0a27', 'e1', pg_temp.id('note-1', 'this'), channel_status := 'succeeded', channel_txn_id := 'note-1', amount := 1000, currency := 'EUR');
SELECT pg_temp.note(pg_temp.id('note-1', 'this'), 'failed', 'e1');
SELECT pg_temp.written() = :'before' AS nothing_written;
-- another channel has events of its own, and no payments of this one
SELECT pg_temp.note(pg_temp.id('note-1', 'this'), 'failed', 'e1', channel := 'bank');
SELECT result, pg_temp.alerts_of('note-1') AS alerts FROM payguard.notifications WHERE channel = 'bank' AND event_id = 'e1';
-- without an event_id: known by the body's SHA-256
SELECT pg_temp.make('note-2', 'pending') IS NOT NULL AS made;
SELECT pg_temp.note(pg_temp.id('note-2', 'this'), 'pending', body := 'two') FROM generate_series(1, 2);
SELECT event_id = encode(sha256(body), 'hex') AS by_body, convert_from(body, 'UTF8') AS body FROM payguard.notifications WHERE order_id = 'note-2';
SELECT pg_temp.note(pg_temp.id('note-2', 'this'), 'succeeded', body := 'two more', txn := 'note-2');
-- an empty body is one too
SELECT pg_temp.note(pg_temp.id('note-2', 'this'), 'succeeded', body := '');
-- late, out of order: a contradiction is kept and alerted, the state stays
SELECT pg_temp.note(pg_temp.id('note-2', 'this'), 'failed', 'e2');
SELECT pg_temp.all_of('note-2');
SELECT event_id, channel_status, result FROM payguard.notifications WHERE order_id = 'note-2' AND event_id !~ '^[0-9a-f]{64}$';
-- a message that says nothing of a state: the channel is asked
SELECT pg_temp.make('note-' || s, s) IS NOT NULL AS made FROM unnest('{pending,succeeded,"failed, unpaid","failed, paid"}'::text[]) s;
SELECT s, pg_temp.note(pg_temp.id('note-' || s, 'this'), NULL, 'ask ' || s) FROM unnest('{pending,succeeded,"failed, unpaid","failed, paid"}'::text[]) s;
SELECT s, pg_temp.tasks_of('note-' || s), (SELECT bool_and(run_at <= clock_timestamp()) FROM payguard.tasks WHERE order_id = 'note-' || s AND payment_id = pg_temp.id('note-' || s, 'this')) AS due FROM unnest('{pending,succeeded,"failed, unpaid","failed, paid"}'::text[]) s;
-- of a refund
SELECT refund_id AS refund FROM payguard.refund_order('note-succeeded', 'note-refund', 100, 'a discount') \gset
SELECT result, outcome, order_id, refund_id = :'refund' AS its, replayed FROM payguard.record_notification('card', 'r', 'r1', refund_id := :'refund');
SELECT pg_temp.tasks_of('note-succeeded');
SELECT result, outcome, order_id, refund_id = :'refund' AS its, replayed FROM payguard.record_notification('card', 'r', 'r2', refund_id := :'refund', channel_status := 'succeeded', channel_txn_id := 'note-r', amount := 100, currency := 'EUR');
SELECT result, replayed FROM payguard.record_notification('card', 'r', 'r2', refund_id := :'refund', channel_status := 'succeeded');
SELECT pg_temp.all_of('note-succeeded');
-- what matches nothing is kept, and a person told
SELECT pg_temp.note(NULL, 'succeeded', 'early', 'note-3');
SELECT pg_temp.note(NULL, 'succeeded', 'early', 'note-3');
SELECT pg_temp.note('01890000-0000-7000-8000-000000000003', 'succeeded', 'nobody');
SELECT pg_temp.note(NULL, NULL, 'nothing');
SELECT event_id, result, a.kind, a.severity, a.resolved_at FROM payguard.notifications n JOIN payguard.alerts a ON a.cause = n.event_id WHERE event_id IN ('early', 'nobody', 'nothing') ORDER BY 1;
SELECT pg_temp.written() AS before \gset
SELECT payguard.match_notifications();
SELECT pg_temp.written() = :'before' AS nothing_written;
-- 1. its transaction becomes known: by the worker's answer, in the same call
SELECT pg_temp.make('note-3', 'pending') IS NOT NULL AS made;
SELECT pg_temp.say(pg_temp.id('note-3', 'this'), 'pending', 'note-3');
SELECT pg_temp.all_of('note-3');
SELECT result, order_id, payment_id = pg_temp.id('note-3', 'this') AS its FROM payguard.notifications WHERE event_id = 'early';
SELECT resolved_by, note FROM payguard.alerts WHERE cause = 'early';
SELECT pg_temp.note(NULL, 'succeeded', 'early', 'note-3');
-- 2. redelivered
SELECT outcome, message FROM payguard.record_payment('note-4', 'card', 'note-4', 1000, 'EUR');
SELECT pg_temp.note(NULL, 'pending', 'early 4', 'note-4');
SELECT (payguard.create_order('note-4', 1000, 'EUR')).status;
SELECT outcome, replayed FROM payguard.record_payment('note-4', 'card', 'note-4', 1000, 'EUR');
SELECT n.channel_status, n.result, n.order_id, a.resolved_at IS NOT NULL AS resolved FROM payguard.notifications n JOIN payguard.alerts a ON a.cause = n.event_id WHERE n.channel_txn_id = 'note-4' ORDER BY 1;
-- 3. by match_notifications(): the order has come since
SELECT outcome FROM payguard.record_payment('note-5', 'card', 'note-5', 1000, 'EUR');
SELECT outcome FROM payguard.record_payment('note-6', 'note channel', 'note-6', 1000, 'EUR');
SELECT (payguard.create_order('note-' || n, 1000, 'EUR')).status FROM generate_series(5, 6) n;
SELECT payguard.match_notifications();
SELECT (payguard.register_channel('note channel')).name;
SELECT payguard.match_notifications(1), payguard.match_notifications(1);
SELECT payguard.match_notifications();
SELECT id, pg_temp.all_of(id), n.result, a.resolved_at IS NOT NULL AS resolved FROM unnest('{note-5,note-6}'::text[]) id JOIN payguard.notifications n ON n.channel_txn_id = id JOIN payguard.alerts a ON a.cause = n.event_id ORDER BY 1;
-- a record_payment() waits for its own order, not for whichever has its transaction
SELECT outcome FROM payguard.record_payment('note-7', 'card', 'note-8', 1000, 'EUR');
SELECT pg_temp.make('note-8', 'succeeded', txn := 'note-8') IS NOT NULL AS made;
SELECT result, order_id FROM payguard.notifications WHERE channel_txn_id = 'note-8';
SELECT (payguard.create_order('note-7', 1000, 'EUR')).status;
SELECT payguard.match_notifications();
SELECT result, order_id FROM payguard.notifications WHERE channel_txn_id = 'note-8' ORDER BY received_at;
SELECT pg_temp.all_of('note-7'), pg_temp.alerts_of('note-8');
-- what a message of an unknown channel says is kept
SELECT pg_temp.note(NULL, 'succeeded', 'e9', channel := 'never registered');
-- what waits for a transaction: one that learns more and still waits, one without a state, one that contradicts
SELECT pg_temp.note(NULL, NULL, 'wait 1');
SELECT pg_temp.note(NULL, NULL, 'wait 1', 'note-wait');
SELECT pg_temp.note(NULL, NULL, 'wait 2', 'note-wait'), pg_temp.note(NULL, 'failed', 'wait 3', 'note-wait');
SELECT pg_temp.make('note-wait', 'succeeded', txn := 'note-wait') IS NOT NULL AS made;
SELECT event_id, result, order_id, pg_temp.named(payment_id) FROM payguard.notifications WHERE event_id LIKE 'wait _' ORDER BY 1;
SELECT pg_temp.all_of('note-wait');
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_notifications;
DROP ROLE regress_notifications;
