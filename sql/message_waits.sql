-- What waits for a channel's transaction is applied in the call that makes it known, whichever that is.
\getenv srcdir PG_ABS_SRCDIR
CREATE ROLE regress_waits;
SELECT count(payguard.grant_access('regress_waits', a)) FROM unnest('{checkout,cashier,channel,admin,refunds,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_waits;
\set situation :srcdir /test/lib/situation.sql
\i :situation
SELECT (payguard.register_channel('waits')).name;
-- waits(id): the channel has given 100 back of a transaction that nobody knows yet, which bears the order's id.
CREATE FUNCTION pg_temp.waits(id text, channel text DEFAULT 'card') RETURNS text LANGUAGE sql AS $$
  SELECT outcome FROM payguard.record_reversal(channel, id || '/back', id, 'refund', 100, 'EUR')
$$;
-- waited(id): what has become of the order, and of the messages that waited for its transaction.
CREATE FUNCTION pg_temp.waited(id text) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(' | ', pg_temp.all_of(id), string_agg(concat_ws(' ', n.result, n.order_id, CASE WHEN a.resolved_at IS NULL THEN 'alerted' END), ', ' ORDER BY n.received_at))
  FROM payguard.notifications n JOIN payguard.alerts a ON a.cause = n.event_id WHERE n.channel_txn_id = id
$$;
SELECT id, pg_temp.waits('waits-' || id, CASE WHEN id ~ 'task' THEN 'waits' ELSE 'card' END), pg_temp.waited('waits-' || id) FROM unnest('{report,record,settle,message,again,match,task,tasks,finding,name}'::text[]) id;
SELECT pg_temp.make('waits-' || id, 'pending') IS NOT NULL AS made FROM unnest('{report,settle,message,again}'::text[]) id;
-- report_payment()
SELECT pg_temp.say(pg_temp.id('waits-report', 'this'), 'pending', 'waits-report'), pg_temp.waited('waits-report');
SELECT outcome, order_status, payment_status, replayed FROM payguard.report_payment(pg_temp.id('waits-report', 'this'), 'succeeded', NULL, 1000, 'EUR');
SELECT pg_temp.waited('waits-report');
-- record_payment()
SELECT (payguard.create_order('waits-record', 1000, 'EUR')).status;
SELECT outcome, order_status, payment_status, replayed FROM payguard.record_payment('waits-record', 'card', 'waits-record', 1000, 'EUR');
SELECT pg_temp.waited('waits-record');
-- settle_payment()
SELECT outcome, order_status, payment_status, replayed FROM payguard.settle_payment(pg_temp.id('waits-settle', 'this'), 'succeeded', 'seen', 'waits-settle', 1000, 'EUR');
SELECT pg_temp.waited('waits-settle');
-- record_notification(), of a payment that it names, or is delivered again and names it only then
SELECT result, outcome, replayed FROM payguard.record_notification('card', 'paid', 'waits message', pg_temp.id('waits-message', 'this'), NULL, 'succeeded', 'waits-message', 1000, 'EUR');
SELECT pg_temp.waited('waits-message');
SELECT result, outcome, replayed FROM payguard.record_notification('card', 'paid', 'waits again', NULL, NULL, 'succeeded', 'waits-again', 1000, 'EUR');
SELECT result, outcome, replayed FROM payguard.record_notification('card', 'paid', 'waits again', pg_temp.id('waits-again', 'this'), NULL, 'succeeded', 'waits-again', 1000, 'EUR');
SELECT pg_temp.waited('waits-again');
-- match_notifications(), of a payment that was recorded before its order was made
SELECT outcome FROM payguard.record_payment('waits-match', 'card', 'waits-match', 1000, 'EUR');
SELECT (payguard.create_order('waits-match', 1000, 'EUR')).status;
SELECT payguard.match_notifications() > 0 AS matched;
SELECT pg_temp.waited('waits-match');
-- complete_task(), complete_tasks()
SELECT (payguard.create_order('waits-' || id, 1000, 'EUR')).status, (payguard.request_payment('waits-' || id, 'waits-' || id || '/this', 'waits')).payment_status FROM unnest('{task,tasks,beside}'::text[]) id;
CREATE TEMP TABLE claimed AS SELECT * FROM payguard.claim_tasks('waits', lease := '1 hour', channels := '{waits}', max_tasks := 10);
SELECT r.outcome, r.order_status, r.payment_status, r.replayed FROM claimed, payguard.complete_task(task_id, lease_token, 'succeeded', 'waits-task', 1000, 'EUR') r WHERE claimed.order_id = 'waits-task';
SELECT pg_temp.waited('waits-task');
SELECT r.outcome, r.order_id, r.order_status, r.payment_status, r.replayed
FROM payguard.complete_tasks(ARRAY(SELECT (task_id, lease_token, 'succeeded', order_id, 1000, 'EUR', NULL, NULL)::payguard.task_answer FROM claimed WHERE order_id <> 'waits-task' ORDER BY order_id)) r;
SELECT pg_temp.waited('waits-tasks');
SELECT pg_temp.all_of('waits-beside');
-- resolve_finding(), of a statement's line; taken back, since other tests look at all findings
BEGIN;
SELECT (payguard.create_order('waits-finding', 1000, 'EUR')).status;
INSERT INTO payguard.settlement_lines (channel, channel_txn_id, order_id, amount, currency, channel_time) VALUES ('card', 'waits-finding', 'waits-finding', 1000, 'EUR', now() - interval '10 days');
SELECT finding, (payguard.resolve_finding(alert_id, 'accept', 'the statement has it')).outcome FROM payguard.reconcile('card');
SELECT pg_temp.waited('waits-finding');
ROLLBACK;
-- a report of a payment that was dismissed as a second name of another, which has no transaction yet
SELECT pg_temp.make('waits-name', 'succeeded, not verified') IS NOT NULL AS made;
SELECT outcome, order_status, payment_status FROM payguard.record_payment('waits-name', 'card', 'waits-second-name', 1000, 'EUR');
SELECT payment_id AS second FROM payguard.payments WHERE channel_txn_id = 'waits-second-name' \gset
SELECT outcome, payment_status FROM payguard.dismiss_surplus(:'second', pg_temp.id('waits-name', 'this'), 'one charge');
SELECT pg_temp.say(:'second', 'succeeded', 'waits-name', 1000, 'EUR'), pg_temp.waited('waits-name');
-- the report comes first, then the messages, the oldest first; one that brings the money makes room for older ones
SELECT pg_temp.make('waits-order', 'pending') IS NOT NULL AS made, pg_temp.waits('waits-order');
SELECT result, outcome FROM payguard.record_notification('card', 'paid', 'waits order', NULL, NULL, 'succeeded', 'waits-order', 1000, 'EUR');
SELECT result, outcome FROM payguard.record_notification('card', 'failed', 'waits order 2', NULL, NULL, 'failed', 'waits-order');
SELECT pg_temp.say(pg_temp.id('waits-order', 'this'), 'pending', 'waits-order'), pg_temp.waited('waits-order');
SELECT kind, pg_temp.named(payment_id), from_status, to_status FROM payguard.events WHERE order_id = 'waits-order' AND kind !~ '^order' ORDER BY event_id;
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_waits;
DROP ROLE regress_waits;
