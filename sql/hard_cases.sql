-- Evidence under awkward circumstances: nothing is lost, and nothing waits for ever.
\getenv abs_srcdir PG_ABS_SRCDIR
SET client_min_messages = warning;
SELECT name FROM payguard.register_channel('hard');
CREATE FUNCTION pg_temp.attempt(o text, kind text DEFAULT 'start') RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
  PERFORM payguard.create_order(o, 1000, 'EUR');
  IF kind = 'request' THEN RETURN (payguard.request_payment(o, o || '/key', 'hard')).payment_id; END IF;
  RETURN (payguard.start_payment(o, o || '/key', 'hard')).payment_id;
END
$$;
CREATE FUNCTION pg_temp.payments(o text) RETURNS TABLE (status text, txn text, received bigint, code text, refunds text) LANGUAGE sql AS $$
  SELECT p.status, p.channel_txn_id, p.received_amount, p.failure_code,
         (SELECT string_agg(r.status || ' ' || r.amount, ', ' ORDER BY r.created_at, r.refund_id) FROM payguard.refunds r WHERE r.payment_id = p.payment_id)
  FROM payguard.payments p WHERE p.order_id = o ORDER BY p.created_at, p.payment_id
$$;
-- a second name that was dismissed is charged under one more transaction: a further charge
SELECT pg_temp.attempt('hard-1') AS p \gset
SELECT outcome FROM payguard.report_payment(:'p', 'succeeded', 'hard-1/a', 1000, 'EUR');
SELECT outcome FROM payguard.report_payment(:'p', 'succeeded', 'hard-1/b', 1000, 'EUR');
SELECT payment_id AS s FROM payguard.payments WHERE channel_txn_id = 'hard-1/b' \gset
SELECT outcome FROM payguard.dismiss_surplus(:'s', :'p', 'one charge with two names');
SELECT outcome, replayed FROM payguard.report_payment(:'s', 'succeeded', 'hard-1/b', 1000, 'EUR');
SELECT outcome, replayed FROM payguard.report_payment(:'s', 'succeeded', 'hard-1/c', 1000, 'EUR');
SELECT * FROM pg_temp.payments('hard-1');
-- the attempt's own money is recorded before the worker's answer: one charge, one payment
SELECT pg_temp.attempt('hard-2', 'request') IS NOT NULL AS requested;
SELECT task_id AS t, lease_token AS k FROM payguard.claim_tasks('w', 1, kinds := '{charge}', channels := '{hard}') \gset
SELECT outcome, order_status FROM payguard.record_payment('hard-2', 'hard', 'hard-2/t', 1000, 'EUR');
SELECT outcome FROM payguard.complete_task(:t, :'k', 'succeeded', 'hard-2/t', 1000, 'EUR');
SELECT * FROM pg_temp.payments('hard-2');
SELECT count(*) AS tasks FROM payguard.tasks WHERE order_id = 'hard-2';
-- so it is with a report: the first ends the attempt, what repeats it is a replay
SELECT pg_temp.attempt('hard-2b') AS p \gset
SELECT outcome FROM payguard.record_payment('hard-2b', 'hard', 'hard-2b/t', 1000, 'EUR');
SELECT outcome, payment_status, order_status, replayed FROM payguard.report_payment(:'p', 'succeeded', 'hard-2b/t', 1000, 'EUR');
SELECT outcome, payment_status, order_status, replayed FROM payguard.report_payment(:'p', 'succeeded', 'hard-2b/t', 1000, 'EUR');
-- an answer that names another order's transaction: kept, and the channel is asked again
SELECT pg_temp.attempt('hard-3', 'request') IS NOT NULL AS requested;
SELECT task_id AS t, lease_token AS k FROM payguard.claim_tasks('w', 1, kinds := '{charge}', channels := '{hard}') \gset
SELECT outcome FROM payguard.complete_task(:t, :'k', 'pending', 'hard-2/t');
SELECT kind FROM payguard.tasks WHERE order_id = 'hard-3';
-- a message that could not be read is read when it comes again
SELECT pg_temp.attempt('hard-4') AS p \gset
SELECT result FROM payguard.record_notification('hard', 'opaque', 'hard-4');
SELECT result, outcome FROM payguard.record_notification('hard', 'opaque', 'hard-4', payment_id := :'p',
  channel_status := 'succeeded', channel_txn_id := 'hard-4/t', amount := 1000, currency := 'EUR');
SELECT * FROM pg_temp.payments('hard-4');
-- what can never match does not hold up what can
SELECT result FROM payguard.record_notification('hard', 'stray', payment_id := '00000000-0000-7000-8000-000000000000',
  channel_txn_id := 'hard-4/t', channel_status := 'succeeded');
SELECT outcome FROM payguard.record_payment('hard-5', 'hard', 'hard-5/t', 1000, 'EUR');
SELECT status FROM payguard.create_order('hard-5', 1000, 'EUR');
SELECT payguard.match_notifications(1);
SELECT * FROM pg_temp.payments('hard-5');
-- a correction of what was received decides whether all of it is back
SELECT pg_temp.attempt('hard-6') AS p \gset
SELECT outcome FROM payguard.report_payment(:'p', 'succeeded', 'hard-6/t');
SELECT outcome FROM payguard.refund_order('hard-6', 'hard-6/r', 600, 'part');
SELECT refund_id AS r FROM payguard.refunds WHERE order_id = 'hard-6' \gset
SELECT outcome FROM payguard.report_refund(:'r', 'succeeded');
SELECT outcome FROM payguard.report_payment(:'p', 'succeeded', 'hard-6/t', 600, 'EUR');
SELECT status, refunded_amount FROM payguard.orders WHERE order_id = 'hard-6';
-- a second charge that tells no amount, while a worker asks about the first: the query goes on
SELECT pg_temp.attempt('hard-9') AS p \gset
SELECT outcome FROM payguard.report_payment(:'p', 'succeeded', 'hard-9/a');
SELECT payguard.requeue_task(task_id) = task_id AS due FROM payguard.tasks WHERE order_id = 'hard-9' AND kind = 'query';
SELECT task_id AS t, lease_token AS k FROM payguard.claim_tasks('w', 1, channels := '{hard}', kinds := '{query}') WHERE order_id = 'hard-9' \gset
SELECT outcome FROM payguard.report_payment(:'p', 'succeeded', 'hard-9/b');
SELECT outcome, payment_status FROM payguard.complete_task(:t, :'k', 'succeeded', 'hard-9/a', 1000, 'EUR');
SELECT task_id = :t AS same, kind, tries FROM payguard.tasks WHERE order_id = 'hard-9';
SELECT payguard.requeue_task(:t) = :t AS due;
SELECT lease_token AS k FROM payguard.claim_tasks('w', 1, channels := '{hard}', kinds := '{query}') WHERE task_id = :t \gset
SELECT outcome, payment_status FROM payguard.complete_task(:t, :'k', 'failed');  -- nor does an answer that contradicts end it
SELECT task_id = :t AS same, kind, tries FROM payguard.tasks WHERE order_id = 'hard-9';
SELECT payguard.requeue_task(:t) = :t AS due;
SELECT lease_token AS k FROM payguard.claim_tasks('w', 1, channels := '{hard}', kinds := '{query}') WHERE task_id = :t \gset
SELECT outcome FROM payguard.report_payment(:'p', 'succeeded', 'hard-9/b', 700, 'EUR');
SELECT outcome FROM payguard.complete_task(:t, :'k', 'succeeded', 'hard-9/a', 1000, 'EUR');
SELECT * FROM pg_temp.payments('hard-9');
SELECT count(*) AS tasks FROM payguard.tasks WHERE order_id = 'hard-9';
-- a refund made by hand, its amount named later by the channel: corrected once, then a contradiction
SELECT pg_temp.attempt('hard-10') AS p \gset
SELECT outcome FROM payguard.report_payment(:'p', 'succeeded', 'hard-10/t', 1000, 'EUR');
SELECT outcome FROM payguard.refund_order('hard-10', 'hard-10/r', reason := 'all of it');
SELECT refund_id AS r FROM payguard.refunds WHERE order_id = 'hard-10' \gset
SELECT outcome FROM payguard.settle_refund(:'r', 'succeeded', 'at the console');
SELECT status, refunded_amount FROM payguard.orders WHERE order_id = 'hard-10';
SELECT outcome, replayed FROM payguard.report_refund(:'r', 'succeeded', 'hard-10/back', 900, 'EUR');
SELECT status, refunded_amount FROM payguard.orders WHERE order_id = 'hard-10';
SELECT outcome, replayed FROM payguard.report_refund(:'r', 'succeeded', 'hard-10/back', 900, 'EUR');
SELECT outcome FROM payguard.report_refund(:'r', 'succeeded', 'hard-10/back', 800, 'EUR');
SELECT returned_amount, amount_verified, channel_refund_id FROM payguard.refunds WHERE refund_id = :'r';
SELECT received, refunding, refunded, excess FROM payguard.refund_balances WHERE payment_id = :'p';
SELECT kind, severity FROM payguard.alerts WHERE refund_id = :'r' AND resolved_at IS NULL;
-- no setting, neither of a channel nor of a session, gets evidence refused
SELECT payguard.register_channel('hard', max_query_interval := '300000 years');  -- fails
CREATE ROLE regress_hard;
SELECT payguard.grant_access('regress_hard', 'channel');
SELECT pg_temp.attempt('hard-7') AS p \gset
SET SESSION AUTHORIZATION regress_hard;
SET payguard.actor = 'somebody';
SELECT outcome FROM payguard.report_payment(:'p', 'succeeded', 'hard-7/t', 1000, 'EUR');
RESET payguard.actor;
RESET SESSION AUTHORIZATION;
SELECT actor FROM payguard.events WHERE order_id = 'hard-7' AND kind = 'order.paid';
-- a delegate's report is somebody else's, unless the name is none
SELECT payguard.grant_access('regress_hard', 'delegate');
SELECT pg_temp.attempt('hard-actor') AS p \gset
SET SESSION AUTHORIZATION regress_hard;
SET payguard.actor = 'gateway 7';
SELECT outcome FROM payguard.report_payment(:'p', 'unknown');
SET payguard.actor = E'two\nlines';
SELECT outcome FROM payguard.report_payment(:'p', 'succeeded', 'hard-actor/t', 1000, 'EUR');
RESET payguard.actor;
RESET SESSION AUTHORIZATION;
SELECT kind, actor FROM payguard.events WHERE order_id = 'hard-actor' AND kind <> 'order.created' ORDER BY event_id;
SELECT payguard.revoke_access('regress_hard', 'delegate');
-- a report about a payment that nobody knows is kept
SELECT outcome, payment_id, message FROM payguard.report_payment('01890000-0000-7000-8000-00000000000a', 'succeeded', 'hard-nobody', 5, 'EUR');
SELECT n.result, n.channel_status, n.channel_txn_id, n.amount, n.currency, a.kind, a.severity FROM payguard.notifications n LEFT JOIN payguard.alerts a ON a.cause = n.event_id
WHERE n.payment_id = '01890000-0000-7000-8000-00000000000a';
DROP OWNED BY regress_hard;
DROP ROLE regress_hard;
SELECT * FROM payguard.verify();
-- a user's trigger that changes the order in the middle of a payment: nothing is paid
SELECT status FROM payguard.create_order('hard-8', 1000, 'EUR');
CREATE FUNCTION regress_meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM payguard.cancel_order(NEW.order_id);
  RETURN NEW;
END
$$;
CREATE TRIGGER meddle BEFORE INSERT ON payguard.payments FOR EACH ROW EXECUTE FUNCTION regress_meddle();
\set VERBOSITY sqlstate
SELECT outcome FROM payguard.pay_order('hard-8', 'hard-8');  -- fails
\set VERBOSITY default
DROP TRIGGER meddle ON payguard.payments;
DROP FUNCTION regress_meddle();
SELECT status, version FROM payguard.orders WHERE order_id = 'hard-8';
SELECT * FROM payguard.verify();
-- a user's trigger that swallows what a channel took: an error that says so, and no search without end
CREATE FUNCTION regress_swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER swallow BEFORE INSERT ON payguard.payments FOR EACH ROW EXECUTE FUNCTION regress_swallow();
SELECT outcome FROM payguard.record_payment('hard-8', 'hard', 'hard-8/swallowed', 1000, 'EUR');  -- fails
DROP TRIGGER swallow ON payguard.payments;
DROP FUNCTION regress_swallow();
SELECT outcome FROM payguard.record_payment('hard-8', 'hard', 'hard-8/swallowed', 1000, 'EUR');
SELECT * FROM payguard.verify();
