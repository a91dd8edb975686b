-- Settled orders go to the archive. What they answer does not change, evidence that comes for them
-- is applied as ever, and nothing that is open goes.
\getenv srcdir PG_ABS_SRCDIR
SELECT current_database() AS database \gset
\set archive :srcdir /test/lib/archive.sql
\i :archive
\set answer :srcdir /test/lib/answer.sql
\i :answer
-- settled: paid by us, paid through a channel, cancelled after a failure, given back, with surplus
-- that went back; open: unpaid, paying, being given back
SELECT count(payguard.create_order(o, 1000, 'EUR', 'customer ' || o)) FROM unnest('{own,card,cancelled,back,twice,unpaid,paying,returning}'::text[]) o;
SELECT outcome FROM payguard.pay_order('own', 'own/1');
SELECT outcome FROM payguard.start_payment('card', 'card/1', 'card', details := '{"basket": 7}');
SELECT result FROM payguard.record_notification('card', 'paid!', 'message 1', id_of('card/1'), channel_status := 'succeeded', channel_txn_id := 'txn 1', amount := 1000, currency := 'EUR');
SELECT outcome FROM payguard.start_payment('cancelled', 'cancelled/1', 'card');
SELECT outcome FROM payguard.report_payment(id_of('cancelled/1'), 'failed', code := 'declined');
SELECT status FROM payguard.cancel_order('cancelled');
SELECT outcome FROM payguard.pay_order('back', 'back/1');
SELECT outcome FROM payguard.refund_order('back', 'back/refund', reason := 'broken');
SELECT outcome FROM payguard.pay_order('twice', 'twice/1');
SELECT outcome FROM payguard.record_payment('twice', 'card', 'txn 2', 1000, 'EUR');
SELECT outcome FROM payguard.report_refund((SELECT refund_id FROM payguard.refunds WHERE order_id = 'twice'), 'succeeded', 'refund 2');
SELECT outcome FROM payguard.request_payment('paying', 'paying/1', 'card');
SELECT outcome FROM payguard.start_payment('returning', 'returning/1', 'card');
SELECT outcome FROM payguard.report_payment(id_of('returning/1'), 'succeeded', 'txn 3', 1000, 'EUR');
SELECT outcome FROM payguard.refund_order('returning', 'returning/refund', reason := 'broken');
-- what each call answers; none of them writes anything, or they write what does not matter here
CREATE TABLE calls (n serial, call text, before text, after text);
INSERT INTO calls (call)
SELECT format(c, o) FROM unnest('{own,card,cancelled,back,twice}'::text[]) o, unnest(ARRAY[
  $$SELECT (payguard.create_order(%1$L, 1000, 'EUR', 'customer %1$s')).status$$,
  $$SELECT (payguard.create_order(%1$L, 999, 'EUR', 'customer %1$s')).status$$,
  $$SELECT p.outcome || p.replayed || p.payment_id FROM payguard.pay_order(%1$L, '%1$s/1') p$$,
  $$SELECT outcome FROM payguard.pay_order(%1$L, '%1$s/2')$$,
  $$SELECT outcome FROM payguard.pay_order('unpaid', '%1$s/1')$$,
  $$SELECT string_agg(p::text, ' ') FROM payguard.pay_orders(ARRAY[(%1$L, '%1$s/1', NULL, NULL, NULL, NULL), (%1$L, '%1$s/2', NULL, NULL, NULL, NULL)]::payguard.pay_request[]) p$$,
  $$SELECT outcome FROM payguard.start_payment(%1$L, '%1$s/1', 'card')$$,
  $$SELECT outcome FROM payguard.start_payment(%1$L, '%1$s/2', 'card')$$,
  $$SELECT p.outcome || p.replayed FROM payguard.revoke_key(%1$L, '%1$s/1') p$$,
  $$SELECT outcome FROM payguard.revoke_key('unpaid', '%1$s/1')$$,
  $$SELECT (payguard.update_order(%1$L, 1, 5)).version$$,
  $$SELECT (payguard.cancel_order(%1$L)).version$$,
  $$SELECT outcome FROM payguard.close_payment(id_of('%1$s/1'))$$,
  $$SELECT s::text FROM payguard.order_status(%1$L) s$$]) WITH ORDINALITY c (c, n) ORDER BY o, c.n;
INSERT INTO calls (call) VALUES
  ($$SELECT p.outcome || p.replayed FROM payguard.report_payment(id_of('card/1'), 'succeeded', 'txn 1', 1000, 'EUR') p$$),
  ($$SELECT p.outcome || p.replayed FROM payguard.report_payment(id_of('cancelled/1'), 'failed') p$$),
  ($$SELECT p.result || p.replayed FROM payguard.record_notification('card', 'paid!', 'message 1') p$$),
  ($$SELECT r.outcome || r.replayed FROM payguard.refund_order('back', 'back/refund', reason := 'broken') r$$),
  ($$SELECT r.outcome || r.replayed FROM payguard.refund_order('back', 'back/refund', 1, reason := 'broken') r$$),
  ($$SELECT r.outcome || r.replayed FROM payguard.refund_order('own', 'back/refund', reason := 'broken') r$$);
UPDATE calls SET before = pg_temp.answer(call);
CREATE TABLE timelines AS SELECT order_id, t.* FROM payguard.orders, payguard.order_timeline(order_id) t;
-- the totals are counted from the events, so none goes before they have been counted
SELECT payguard.archive_orders(clock_timestamp());
-- an alert is open
CALL archive(4);
SELECT order_id, place(order_id) FROM payguard.every_order ORDER BY 1;
SELECT count(payguard.resolve_alert(alert_id, 'seen')) FROM payguard.alerts WHERE order_id = 'twice' AND resolved_at IS NULL;
-- a consumer has not read
SELECT count(*) > 0 AS some FROM payguard.read_events('reader');
CALL archive(0);
SELECT payguard.commit_events('reader', window_id, event_id) FROM payguard.read_events('reader') ORDER BY event_id DESC LIMIT 1;
-- not before its time
SELECT payguard.archive_orders(updated_at) FROM payguard.orders WHERE order_id = 'twice';
CALL archive(1);
SELECT place('twice');
SELECT payguard.drop_consumer('reader');
SELECT kind, order_id, details ->> 'orders' AS orders FROM payguard.events WHERE kind = 'orders.archived' ORDER BY event_id;
SELECT * FROM payguard.verify();
-- the answers are the same, and nothing has been written for them
SELECT pg_temp.written() AS before \gset
UPDATE calls SET after = pg_temp.answer(call);
SELECT pg_temp.written() = :'before' AS nothing_written;
SELECT call, before, after FROM calls WHERE before IS DISTINCT FROM after ORDER BY n;
SELECT regexp_replace(call, '^SELECT .*payguard\.', '') AS call, left(after, 90) AS answer FROM calls WHERE call ~ '''(own|card|cancelled)' AND after !~ '^\(' ORDER BY n;
SELECT order_id, n.kind FROM (SELECT order_id, t.* FROM payguard.every_order, payguard.order_timeline(order_id) t EXCEPT ALL TABLE timelines) n WHERE kind <> 'alert_resolved.surplus_payment' ORDER BY 1, 2;
-- evidence brings its order back, is applied, and alerted
CREATE FUNCTION alerts_of(id text) RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(kind, ', ' ORDER BY kind) FROM payguard.alerts WHERE order_id = id AND resolved_at IS NULL
$$;
SELECT outcome FROM payguard.report_payment(id_of('card/1'), 'succeeded', 'txn 1b', 1000, 'EUR');
SELECT place('card'), alerts_of('card');
SELECT outcome, order_status FROM payguard.report_payment(id_of('cancelled/1'), 'succeeded', 'txn 4', 1000, 'EUR');
SELECT place('cancelled'), alerts_of('cancelled');
SELECT outcome FROM payguard.record_payment('own', 'card', 'txn 5', 1000, 'EUR');
SELECT place('own'), alerts_of('own');
SELECT outcome FROM payguard.report_refund((SELECT refund_id FROM payguard.archived_refunds WHERE order_id = 'twice'), 'failed');
SELECT place('twice'), alerts_of('twice');
SELECT pg_temp.answer($$SELECT outcome FROM payguard.refund_order('back', 'back/more', reason := 'more')$$);
SELECT place('back');
-- that it was archived is in its timeline, and no reader's business
SELECT kind, count(*) FROM payguard.every_event WHERE order_id = 'back' AND kind LIKE 'order.%ed' AND kind <> 'order.created' GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM payguard.events WHERE kind = 'order.archived';
SELECT * FROM payguard.verify();
-- the transaction of another order's payment is as taken as ever
SELECT count(payguard.create_order(o, 1000, 'EUR')) FROM unnest('{new,charged,held}'::text[]) o;
SELECT outcome FROM payguard.start_payment('new', 'new/1', 'card');
SELECT outcome FROM payguard.start_payment('charged', 'charged/1', 'card');
SELECT outcome FROM payguard.report_payment(id_of('charged/1'), 'succeeded', 'txn 6', 1000, 'EUR');
CALL archive(1);
SELECT outcome FROM payguard.report_payment(id_of('new/1'), 'succeeded', 'txn 6', 1000, 'EUR');
SELECT outcome FROM payguard.record_payment('new', 'card', 'txn 6', 1000, 'EUR');
SELECT place('charged'), place('new'), alerts_of('new');
-- a message of which nobody knew what it was about
INSERT INTO payguard.notifications (channel, event_id, body, channel_txn_id, channel_status, result, received_at) VALUES ('card', 'message 2', 'given back', 'txn 6', 'failed', 'unmatched', now());
SELECT payguard.match_notifications();
SELECT place('charged'), alerts_of('charged');
SELECT count(payguard.resolve_alert(alert_id, 'seen')) FROM payguard.alerts WHERE resolved_at IS NULL;
CALL archive(1);
-- what a channel gave back on its own
SELECT outcome FROM payguard.record_reversal('card', 'reversal 1', 'txn 6', 'chargeback', 1000, 'EUR');
SELECT place('charged'), alerts_of('charged');
-- a task's answer that comes once more; a request brings the order back too, without an alert
SELECT outcome FROM payguard.request_payment('held', 'held/1', 'card');
SELECT task_id, lease_token FROM payguard.claim_tasks('worker', kinds := '{charge}') WHERE order_id = 'held' \gset
SELECT outcome, replayed FROM payguard.complete_task(:task_id, :'lease_token', 'succeeded', 'txn 7', 1000, 'EUR');
CALL archive(1);
SELECT outcome, replayed FROM payguard.complete_task(:task_id, :'lease_token', 'succeeded', 'txn 7', 1000, 'EUR');
SELECT place('held'), alerts_of('held');
SELECT count(payguard.resolve_alert(alert_id, 'seen')) FROM payguard.alerts WHERE order_id = 'held' AND resolved_at IS NULL;
CALL archive(1);
SELECT outcome FROM payguard.refund_order('held', 'held/refund', 10, 'a present');
SELECT place('held'), alerts_of('held');
SELECT * FROM payguard.verify();
-- reconciliation knows what is archived
SELECT (payguard.create_order('stated', 1000, 'EUR')).status;
SELECT outcome FROM payguard.start_payment('stated', 'stated/1', 'card');
SELECT outcome FROM payguard.report_payment(id_of('stated/1'), 'succeeded', 'txn 8', 1000, 'EUR');
CALL archive(1);
INSERT INTO payguard.settlement_lines (channel, channel_txn_id, amount, currency, channel_time) VALUES ('card', 'txn 8', 1000, 'EUR', now()), ('card', 'txn 9', 1000, 'EUR', now());
SELECT finding, details ->> 'channel_txn_id' AS txn FROM payguard.reconcile('card', period_end := now() + interval '2 days') WHERE details ->> 'channel_txn_id' IN ('txn 8', 'txn 9');
-- second opinions go with their order; an open one holds it
SELECT FROM payguard.set_policy('EUR', 5000, approve_payment := true);
SELECT (payguard.create_order('approved', 5000, 'EUR')).status;
SELECT status FROM payguard.cancel_order('approved');
CALL archive(1);
SELECT place('approved');
-- orders that count as possible duplicates stay as long as they do
SELECT FROM payguard.set_policy('EUR', 0, duplicate_window := '1 hour', on_duplicate := 'flag');
SELECT (payguard.create_order('alike', 1, 'EUR', 'customer alike')).status;
SELECT outcome FROM payguard.pay_order('alike', 'alike/1');
CALL archive(0);
SELECT FROM payguard.set_policy('EUR', 0);
SELECT FROM payguard.set_policy('EUR', 5000);
CALL archive(1);
-- rows of other tables that reference an order keep it
CREATE TABLE parcels (order_id text PRIMARY KEY REFERENCES payguard.orders ON DELETE CASCADE);
CREATE TABLE receipts (receipt int PRIMARY KEY, payment_id uuid REFERENCES payguard.payments);
SELECT count(payguard.create_order(o, 1, 'EUR')) FROM unnest('{parcel,receipt,plain}'::text[]) o;
SELECT count(payguard.pay_order(o, o || '/1')) FROM unnest('{parcel,receipt,plain}'::text[]) o;
INSERT INTO parcels VALUES ('parcel');
INSERT INTO receipts VALUES (1, id_of('receipt/1'));
CALL archive(1);
SELECT place('parcel'), place('receipt'), place('plain');
TABLE parcels;
INSERT INTO parcels VALUES ('plain'); -- fails
CREATE TABLE readings (event_id bigint REFERENCES payguard.events);
SELECT payguard.count_events(1000) >= 0 AS counted;
SELECT pg_temp.answer($$SELECT payguard.archive_orders(clock_timestamp())$$);
DROP TABLE readings, parcels, receipts;
CALL archive(2);
-- a guarded table asks the archive too
CREATE TABLE shop (id int PRIMARY KEY, order_id text, status text);
SELECT FROM payguard.guard_table('shop', 'status', '{"new": ["paid"]}', initial := '{new}', order_id_column := 'order_id', paid_states := '{paid}');
INSERT INTO shop VALUES (1, 'plain', 'new'), (2, 'approved', 'new');
UPDATE shop SET status = 'paid' WHERE id = 1;
UPDATE shop SET status = 'paid' WHERE id = 2; -- fails
-- as many as asked, and the next call goes on
SELECT count(payguard.create_order('many-' || n, n, 'EUR')) FROM generate_series(1, 5) n;
SELECT count(payguard.pay_order('many-' || n, 'many-' || n)) FROM generate_series(1, 5) n WHERE n <> 2;
SELECT payguard.count_events(1000) >= 0 AS counted;
SELECT payguard.archive_orders(clock_timestamp(), 2), payguard.archive_orders(clock_timestamp(), 1), payguard.archive_orders(clock_timestamp(), 2);
SELECT order_id FROM payguard.orders WHERE order_id ~ '^many' ORDER BY 1;
SELECT * FROM payguard.verify();
-- the archive is protected as everything is; verify() looks into it
SELECT pg_temp.answer(format(c, t)) FROM unnest('{orders,payments,refunds,refund_balances,events,notifications,approvals}'::text[]) t,
  unnest('{DELETE FROM payguard.archived_%1$s,TRUNCATE payguard.archived_%1$s}'::text[]) c;
SELECT pg_temp.answer($$UPDATE payguard.archive_position SET event_id = 5$$);
SELECT pg_temp.answer($$DROP INDEX payguard.archived_payments_idempotency_key$$);
BEGIN;
INSERT INTO payguard.orders SELECT * FROM payguard.archived_orders WHERE order_id = 'plain';
SELECT invariant, object, problem FROM payguard.verify() WHERE object = 'order plain' ORDER BY 3;
SELECT count(*) FROM payguard.verify() WHERE problem = 'is not where its order is';
ROLLBACK;
BEGIN;
INSERT INTO payguard.archived_orders SELECT * FROM payguard.orders WHERE order_id = 'unpaid';
SELECT invariant, object, problem FROM payguard.verify() WHERE object = 'order unpaid' ORDER BY 3;
ROLLBACK;
-- arguments; a snapshot that is older than the locks would not do
SELECT pg_temp.answer(c) FROM unnest(ARRAY[$$SELECT payguard.archive_orders(NULL)$$, $$SELECT payguard.archive_orders('infinity')$$,
  $$SELECT payguard.archive_orders(now(), 0)$$, $$SELECT payguard.archive_orders(now(), NULL)$$]) c;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pg_temp.answer($$SELECT payguard.archive_orders(now())$$);
ROLLBACK;
-- a message that cannot be read keeps its order here while somebody has to look at it, then it goes along;
-- it brings the order back when it comes in a form that can be read
SELECT count(payguard.create_order('garbled-' || n, 1000, 'EUR')), count(payguard.start_payment('garbled-' || n, 'garbled/' || n, 'card')) FROM generate_series(1, 2) n;
SELECT outcome FROM generate_series(1, 2) n, payguard.report_payment(id_of('garbled/' || n), 'succeeded', 'txn garbled ' || n, 1000, 'EUR');
SELECT result, order_id FROM generate_series(1, 2) n, payguard.record_notification('card', 'back!', 'garbled ' || n, id_of('garbled/' || n), channel_status := 'charged back');
CALL archive(0);
SELECT count(payguard.resolve_alert(alert_id, 'looked at')) FROM payguard.alerts WHERE kind = 'unreadable_evidence' AND resolved_at IS NULL;
CALL archive(2);
SELECT place('garbled-' || n) FROM generate_series(1, 2) n;
SELECT event_id, order_id, convert_from(body, 'UTF8') FROM payguard.unreadable_messages ORDER BY 1;
SELECT result, outcome, order_id, message FROM payguard.record_notification('card', 'back!', 'garbled 1', id_of('garbled/1'), channel_status := 'failed');
SELECT result, outcome, order_id, message FROM payguard.record_notification('card', 'back!', 'garbled 2', channel_txn_id := 'of nobody', channel_status := 'failed');
SELECT place('garbled-' || n) FROM generate_series(1, 2) n;
SELECT event_id, result, order_id, channel_txn_id FROM payguard.every_notification WHERE event_id LIKE 'garbled%' ORDER BY 1;
-- a call about an archived order that cannot be read leaves it there
SELECT count(payguard.resolve_alert(alert_id, 'looked at')) FROM payguard.alerts WHERE order_id LIKE 'garbled-%' AND resolved_at IS NULL;
CALL archive(2);
SELECT outcome, order_id FROM payguard.report_payment(id_of('garbled/2'), 'charged back');
SELECT place('garbled-2');
SELECT * FROM payguard.verify();
SELECT archived > 0 AS archived, live FROM (SELECT (SELECT count(*) FROM payguard.archived_orders) archived, (SELECT count(*) FROM payguard.events WHERE order_id IN (SELECT order_id FROM payguard.archived_orders)) live) c;
\c :database
DROP DATABASE regress_payguard_archive;
