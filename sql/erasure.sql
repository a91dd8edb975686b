-- A customer is forgotten: nothing personal is left, and every amount, id, state and time is.
\getenv srcdir PG_ABS_SRCDIR
SELECT current_database() AS database \gset
\set archive :srcdir /test/lib/archive.sql
\i :archive
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_erasure_pool;
SELECT payguard.grant_access('regress_erasure_pool', a) FROM unnest('{checkout,admin,refunds,delegate}'::text[]) a;
SELECT payguard.grant_access('regress_erasure_pool', 'cashier');
-- Ms. Personal has four orders, in every way in which she can get into a row; her neighbour has one
SELECT FROM payguard.set_policy('EUR', 5000, approve_payment := true, duplicate_window := '1 second', on_duplicate := 'flag');
SET SESSION AUTHORIZATION regress_erasure_pool;
SET payguard.actor = 'Personal';
SELECT count(payguard.create_order(o, 1000, 'EUR', 'Personal')) FROM unnest('{paid,cancelled,returned}'::text[]) o;
SELECT (payguard.create_order('high', 5000, 'EUR', 'Personal')).status;
SELECT outcome FROM payguard.start_payment('paid', 'key 1', 'card', details := '{"card holder": "Personal"}');
SELECT status FROM payguard.cancel_order('cancelled', reason := 'Personal is ill');
SELECT outcome FROM payguard.start_payment('returned', 'key 2', 'card');
RESET payguard.actor;
SELECT status FROM payguard.approve_order('high', 'Personal is a good customer');
RESET SESSION AUTHORIZATION;
SELECT outcome FROM payguard.pay_order('high', 'key 3', channel := 'internal');
SELECT (payguard.create_order('neighbour', 1000, 'EUR', 'Neighbour')).status;
SELECT outcome FROM payguard.pay_order('neighbour', 'key 4');
SELECT result FROM payguard.record_notification('card', 'holder: Personal', 'message 1', id_of('key 1'), channel_status := 'failed');
SELECT outcome FROM payguard.report_payment(id_of('key 1'), 'failed', message := 'Personal has no money');
SELECT outcome FROM payguard.start_payment('paid', 'key 5', 'card', details := '{"card holder": "Personal"}');
SELECT result FROM payguard.record_notification('card', 'paid by Personal', NULL, id_of('key 5'), channel_status := 'succeeded', channel_txn_id := 'txn 5', amount := 1000, currency := 'EUR');
SELECT outcome FROM payguard.report_payment(id_of('key 2'), 'succeeded', 'txn 2', 1000, 'EUR');
SELECT outcome FROM payguard.refund_order('returned', 'refund 1', reason := 'Personal moved away', details := '{"to": "Personal"}');
SELECT outcome FROM payguard.report_refund((SELECT refund_id FROM payguard.refunds WHERE order_id = 'returned'), 'failed', message := 'Personal is unknown');
SELECT outcome FROM payguard.settle_refund((SELECT refund_id FROM payguard.refunds WHERE order_id = 'returned'), 'succeeded', 'Personal says so');
SELECT outcome FROM payguard.report_payment(id_of('key 5'), 'failed', message := 'Personal took it back');
SELECT outcome FROM payguard.report_payment(id_of('key 5'), 'taken back', message := 'Personal took it back');
SELECT result FROM payguard.record_notification('card', 'taken back by Personal', 'message 7', id_of('key 5'), channel_status := 'by Personal');
-- where she is named; the lines of a table are looked through as text
CREATE FUNCTION named() RETURNS TABLE ("table" text, "rows" bigint) LANGUAGE plpgsql AS $$
BEGIN
  FOR "table" IN SELECT payguard.own_tables() ORDER BY 1 LOOP
    EXECUTE format('SELECT count(*) FROM payguard.%I t WHERE t::text ~ $1 OR position($2 in t::text) > 0', "table")
      INTO "rows" USING 'Personal', substr('Personal'::bytea::text, 3);
    IF "rows" > 0 THEN RETURN NEXT; END IF;
  END LOOP;
END
$$;
SELECT * FROM named();
-- not while anything is open
SELECT pg_temp.answer($$SELECT payguard.erase_customer('Personal')$$);
SELECT count(payguard.resolve_alert(alert_id, 'The mapping is mended')) FROM payguard.alerts WHERE kind = 'unreadable_evidence';
SELECT count(payguard.acknowledge_alert(alert_id, 'Personal called')), count(payguard.resolve_alert(alert_id, 'Personal agrees')) FROM payguard.alerts WHERE resolved_at IS NULL AND order_id IS NOT NULL;
SELECT count(*) AS waiting FROM payguard.tasks;
-- archived orders as well
CALL archive(5);
SELECT * FROM named();
-- the money, before and after
CREATE VIEW trail AS
SELECT order_id, amount, currency, status, version, payment_id, refunded_amount, created_at, updated_at,
  (SELECT jsonb_agg(to_jsonb(p) - '{details,failure_message}'::text[] ORDER BY payment_id) FROM payguard.every_payment p WHERE p.order_id = o.order_id) AS payments,
  (SELECT jsonb_agg(to_jsonb(r) - '{details,failure_message,reason,requested_by}'::text[] ORDER BY refund_id) FROM payguard.every_refund r WHERE r.order_id = o.order_id) AS refunds,
  (SELECT jsonb_agg(jsonb_build_array(at, kind, from_status, to_status, version, payment_id, refund_id, details -> 'amount') ORDER BY event_id) FROM payguard.every_event e
   WHERE e.order_id = o.order_id AND kind !~ '^order.(restored|erased)') AS events,
  (SELECT jsonb_agg(to_jsonb(n) - '{body,message}'::text[] ORDER BY event_id) FROM payguard.every_notification n WHERE n.order_id = o.order_id) AS messages,
  (SELECT jsonb_agg(to_jsonb(a) - '{note,requested_by}'::text[] ORDER BY approval_id) FROM payguard.every_approval a WHERE a.order_id = o.order_id) AS approvals,
  (SELECT jsonb_agg(jsonb_build_array(kind, severity, opened_at, resolved_at, resolved_by) ORDER BY alert_id) FROM payguard.alerts a WHERE a.order_id = o.order_id) AS alerts
FROM payguard.every_order o;
CREATE TABLE before AS TABLE trail;
SELECT payguard.erase_customer('Personal');
SELECT * FROM named();
SELECT count(*) AS changed FROM (TABLE before EXCEPT TABLE trail) t;
SELECT order_id, customer_id, place(order_id) FROM payguard.every_order ORDER BY 1;
SELECT order_id, kind, actor = current_user AS by_us, details FROM payguard.events WHERE kind = 'order.erased' ORDER BY 1;
SELECT kind, from_status, to_status, version, actor = current_user AS by_us, details - 'channel' AS details FROM payguard.order_timeline('cancelled') WHERE kind <> 'order.restored';
SELECT reason, requested_by, details, failure_message FROM payguard.refunds WHERE order_id = 'returned';
SELECT DISTINCT note, acknowledged_note FROM payguard.alerts WHERE order_id IN ('paid', 'returned');
SELECT requested_by, status, note FROM payguard.approvals WHERE order_id = 'high';
SELECT * FROM payguard.verify();
-- once more; a customer who never was; what a repeated call answers
SELECT payguard.erase_customer('Personal'), payguard.erase_customer('Nobody');
SELECT outcome, replayed FROM payguard.pay_order('high', 'key 3');
SELECT outcome, replayed FROM payguard.refund_order('returned', 'refund 1', reason := 'Personal moved away', details := '{"to": "Personal"}');
SELECT result, replayed FROM payguard.record_notification('card', 'paid by Personal', channel_status := 'succeeded');
SELECT pg_temp.answer($$SELECT payguard.create_order('paid', 1000, 'EUR', 'Personal')$$);
SELECT (payguard.create_order('paid', 1000, 'EUR')).status;
SELECT * FROM named();
-- the neighbour is as he was
SELECT customer_id, place(order_id) FROM payguard.every_order WHERE order_id = 'neighbour';
-- a charge that has two names keeps its trail
SELECT FROM payguard.register_channel('card', first_query_after := '1 ms');
SELECT (payguard.create_order('named', 1000, 'EUR', 'Personal')).status;
SELECT outcome FROM payguard.start_payment('named', 'key 6', 'card', details := '{"card holder": "Personal"}');
SELECT outcome FROM payguard.report_payment(id_of('key 6'), 'succeeded', 'txn 6', 1000, 'EUR');
SELECT outcome FROM payguard.report_payment(id_of('key 6'), 'succeeded', 'txn 6b', 1000, 'EUR');
SELECT outcome FROM payguard.dismiss_surplus((SELECT payment_id FROM payguard.payments WHERE channel_txn_id = 'txn 6b'), id_of('key 6'), 'the same');
SELECT pg_sleep(0.01), count(payguard.resolve_alert(alert_id, 'seen')) FROM payguard.alerts WHERE resolved_at IS NULL AND order_id IS NOT NULL;
SELECT c.outcome FROM payguard.claim_tasks('worker', kinds := '{query}') t, payguard.complete_task(t.task_id, t.lease_token, 'succeeded', 'txn 6', 1000, 'EUR') c;
SELECT payguard.erase_customer('Personal');
SELECT channel_txn_id, status, details -> 'second_charge_of' = to_jsonb(id_of('key 6')) AS named, details - 'second_charge_of' AS others FROM payguard.payments WHERE order_id = 'named' ORDER BY 1;
SELECT * FROM payguard.verify();
-- arguments
SELECT pg_temp.answer(c) FROM unnest(ARRAY[$$SELECT payguard.erase_customer(NULL)$$, $$SELECT payguard.erase_customer('')$$]) c;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT pg_temp.answer($$SELECT payguard.erase_customer('Personal')$$);
ROLLBACK;
\c :database
DROP DATABASE regress_payguard_archive;
DROP ROLE regress_erasure_pool;
