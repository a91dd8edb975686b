-- From a policy's amount on, what one person asks for another one decides.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_asker;
CREATE ROLE regress_decider;
CREATE ROLE regress_web;
CREATE ROLE regress_till;
CREATE ROLE regress_hook;
CREATE ROLE regress_pool;
SELECT count(payguard.grant_access(r, a)) FROM (VALUES
  ('regress_asker'::name, 'checkout'), ('regress_asker', 'admin'), ('regress_asker', 'refunds'), ('regress_decider', 'admin'), ('regress_decider', 'refunds'), ('regress_web', 'checkout'),
  ('regress_till', 'cashier'), ('regress_hook', 'channel'), ('regress_pool', 'checkout'), ('regress_pool', 'cashier'), ('regress_pool', 'operator'), ('regress_pool', 'refunds'),
  ('regress_pool', 'delegate')) g (r, a);
SELECT (payguard.register_channel('approvals', first_query_after := '1 min')).late_success;
-- what is asked, in short
CREATE FUNCTION pg_temp.approvals_of(id text) RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
  SELECT string_agg(concat_ws(' ', subject, amount, currency, status, 'by ' || substr(requested_by, 9), 'decided by ' || substr(decided_by, 9), '(' || note || ')'), ', ' ORDER BY approval_id)
  FROM payguard.approvals WHERE order_id = id
$$;
CREATE FUNCTION pg_temp.state_of(id text) RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
  SELECT concat_ws(' | ', o.status || ' ' || o.version,
    (SELECT string_agg(concat_ws(' ', p.status, p.received_amount), ', ' ORDER BY p.created_at) FROM payguard.payments p WHERE p.order_id = id),
    (SELECT string_agg(concat_ws(' ', r.status, r.amount, r.origin), ', ' ORDER BY r.created_at) FROM payguard.refunds r WHERE r.order_id = id),
    (SELECT 'alerts: ' || string_agg(a.kind, ', ' ORDER BY a.alert_id) FROM payguard.alerts a WHERE a.order_id = id AND a.resolved_at IS NULL))
  FROM payguard.orders o WHERE o.order_id = id
$$;
-- policies: several of one currency hold together; one that asks for nothing goes
SET SESSION AUTHORIZATION regress_decider;
SELECT currency, min_amount, approve_payment, approve_refund, require_version, duplicate_window, on_duplicate FROM payguard.set_policy('XTS', 1000, approve_payment := true);
SELECT currency, min_amount, approve_payment, approve_refund, require_version, duplicate_window, on_duplicate FROM payguard.set_policy('XTS', 5000, true, true, true);
SELECT min_amount, on_duplicate FROM payguard.set_policy('XTS', 7000, duplicate_window := '1 h');
SELECT min_amount FROM payguard.set_policy('XTS', 7000);
SELECT min_amount, approve_payment, approve_refund, require_version FROM payguard.policies WHERE currency = 'XTS' ORDER BY 1;
SELECT what, pg_temp.answer(statement) FROM (VALUES
  ('no currency', $$SELECT payguard.set_policy(NULL, 1)$$),
  ('bad currency', $$SELECT payguard.set_policy('EU1', 1)$$),
  ('no amount', $$SELECT payguard.set_policy('XTS', NULL)$$),
  ('negative amount', $$SELECT payguard.set_policy('XTS', -1)$$),
  ('NULL flag', $$SELECT payguard.set_policy('XTS', 1, NULL)$$),
  ('window of 0', $$SELECT payguard.set_policy('XTS', 1, duplicate_window := '0 s')$$),
  ('negative window', $$SELECT payguard.set_policy('XTS', 1, duplicate_window := '-1 s')$$),
  ('no window', $$SELECT payguard.set_policy('XTS', 1, on_duplicate := 'hold')$$),
  ('unknown word', $$SELECT payguard.set_policy('XTS', 1, duplicate_window := '1 h', on_duplicate := 'ignore')$$)) c (what, statement);
-- below the amount, and in another currency, nobody is asked
SET SESSION AUTHORIZATION regress_asker;
SELECT (payguard.create_order('approvals-1', 999, 'XTS')).version, (payguard.create_order('approvals-2', 5000, 'XXX')).version, pg_temp.approvals_of('approvals-1'), pg_temp.approvals_of('approvals-2');
SET SESSION AUTHORIZATION regress_till;
SELECT outcome FROM payguard.pay_order('approvals-1', 'approvals-1');
-- from the amount on no request pays before the approval, whatever way it takes
SET SESSION AUTHORIZATION regress_asker;
SELECT count(payguard.create_order('approvals-' || n, 1000, 'XTS')) FROM generate_series(3, 9) n;
SELECT pg_temp.approvals_of('approvals-3'), pg_temp.state_of('approvals-3');
SELECT status, advice, can_pay, can_cancel FROM payguard.order_status('approvals-3');
SELECT pg_temp.written() AS before \gset
SET SESSION AUTHORIZATION regress_till;
SELECT pg_temp.answer($$SELECT payguard.pay_order('approvals-3', 'approvals-3')$$);
SELECT outcome, message, order_status, payment_id FROM payguard.try_pay_order('approvals-3', 'approvals-3');
SELECT outcome FROM payguard.pay_orders(ARRAY[('approvals-3', 'approvals-3', NULL, NULL, NULL, NULL), ('approvals-4', 'approvals-4', NULL, NULL, NULL, NULL)]::payguard.pay_request[]);
SET SESSION AUTHORIZATION regress_web;
SELECT pg_temp.answer($$SELECT payguard.start_payment('approvals-3', 'approvals-3', 'approvals')$$);
SELECT pg_temp.answer($$SELECT payguard.request_payment('approvals-3', 'approvals-3', 'approvals')$$);
-- who may not decide at all
SELECT pg_temp.answer($$SELECT payguard.approve_order('approvals-3', 'me')$$);
SET SESSION AUTHORIZATION regress_till;
SELECT pg_temp.answer($$SELECT payguard.approve_order('approvals-3', 'me')$$);
SET SESSION AUTHORIZATION regress_hook;
SELECT pg_temp.answer($$SELECT payguard.approve_order('approvals-3', 'me')$$);
-- who has asked does not decide, as an operator neither
SET SESSION AUTHORIZATION regress_asker;
SELECT pg_temp.answer($$SELECT payguard.approve_order('approvals-3', 'me')$$);
SELECT pg_temp.answer($$SELECT payguard.reject_order('approvals-3', 'me')$$);
SET SESSION AUTHORIZATION regress_decider;
SELECT what, pg_temp.answer(statement) FROM (VALUES
  ('no note', $$SELECT payguard.approve_order('approvals-3', NULL)$$),
  ('an empty one', $$SELECT payguard.approve_order('approvals-3', '')$$),
  ('no such order', $$SELECT payguard.approve_order('approvals-none', 'x')$$),
  ('another version', $$SELECT payguard.approve_order('approvals-3', 'x', 7)$$),
  ('a paid one', $$SELECT payguard.approve_order('approvals-1', 'x')$$),
  ('one that needs none', $$SELECT payguard.reject_order('approvals-2', 'x')$$)) c (what, statement);
RESET SESSION AUTHORIZATION;
SELECT pg_temp.written() = :'before' AS nothing_written;
-- decided
SET SESSION AUTHORIZATION regress_decider;
SELECT subject, order_id, amount, currency, status, requested_by, decided_by, note FROM payguard.approve_order('approvals-3', 'looks right', 1);
SELECT status, decided_by, note FROM payguard.approve_order('approvals-3', 'once more');
SELECT pg_temp.approvals_of('approvals-3'), pg_temp.state_of('approvals-3');
SELECT kind, from_status, to_status, actor, details FROM payguard.order_timeline('approvals-3');
SET SESSION AUTHORIZATION regress_till;
SELECT outcome FROM payguard.pay_order('approvals-3', 'approvals-3');
-- rejected: not to be paid before it is changed
SET SESSION AUTHORIZATION regress_decider;
SELECT status FROM payguard.reject_order('approvals-4', 'who is that?');
SELECT pg_temp.answer($$SELECT payguard.approve_order('approvals-4', 'I was wrong')$$);
SET SESSION AUTHORIZATION regress_asker;
SELECT pg_temp.answer($$SELECT payguard.start_payment('approvals-4', 'approvals-4', 'approvals')$$);
SELECT (payguard.update_order('approvals-4', 1, expires_at := now() + interval '1 day')).version;
SELECT pg_temp.approvals_of('approvals-4');
SELECT pg_temp.answer($$SELECT payguard.start_payment('approvals-4', 'approvals-4', 'approvals')$$);
-- an approval can be taken back until the order is paid
SET SESSION AUTHORIZATION regress_decider;
SELECT status FROM payguard.approve_order('approvals-5', 'fine');
SELECT status FROM payguard.reject_order('approvals-5', 'not so fine');
SELECT pg_temp.approvals_of('approvals-5');
-- it is bound to amount and currency: a change asks anew, and another person has asked then
SELECT status FROM payguard.approve_order('approvals-6', 'fine');
SET SESSION AUTHORIZATION regress_web;
SELECT (payguard.update_order('approvals-6', 1, expires_at := now() + interval '1 day')).version;
SELECT pg_temp.approvals_of('approvals-6');
SELECT (payguard.update_order('approvals-6', 2, 1001)).version;
SELECT pg_temp.approvals_of('approvals-6');
SELECT pg_temp.answer($$SELECT payguard.start_payment('approvals-6', 'approvals-6', 'approvals')$$);
SET SESSION AUTHORIZATION regress_asker;
SELECT status, amount FROM payguard.approve_order('approvals-6', 'a cent more');
SELECT outcome FROM payguard.start_payment('approvals-6', 'approvals-6', 'approvals');
-- an order that needs none any more
SELECT (payguard.update_order('approvals-7', 1, 999)).version, pg_temp.approvals_of('approvals-7'), pg_temp.state_of('approvals-7');
-- nor one that has ended
SELECT (payguard.cancel_order('approvals-8')).version, pg_temp.approvals_of('approvals-8'), pg_temp.state_of('approvals-8');
SELECT pg_temp.answer($$SELECT payguard.approve_order('approvals-8', 'late')$$);
-- a version is asked for, too
SELECT (payguard.create_order('approvals-10', 5000, 'XTS')).version;
SET SESSION AUTHORIZATION regress_decider;
SELECT status FROM payguard.approve_order('approvals-10', 'fine');
SET SESSION AUTHORIZATION regress_till;
SELECT pg_temp.answer($$SELECT payguard.pay_order('approvals-10', 'approvals-10')$$);
SELECT outcome FROM payguard.pay_order('approvals-10', 'approvals-10', expected_version := 1);
SELECT outcome, replayed FROM payguard.pay_order('approvals-10', 'approvals-10');
-- a policy that came later: nobody was asked yet, who made the order has asked
SET SESSION AUTHORIZATION regress_decider;
SELECT min_amount FROM payguard.set_policy('XXX', 5000, approve_payment := true);
SET SESSION AUTHORIZATION regress_till;
SELECT pg_temp.answer($$SELECT payguard.pay_order('approvals-2', 'approvals-2')$$);
SET SESSION AUTHORIZATION regress_asker;
SELECT pg_temp.answer($$SELECT payguard.approve_order('approvals-2', 'me')$$);
SET SESSION AUTHORIZATION regress_decider;
SELECT status, requested_by, decided_by FROM payguard.approve_order('approvals-2', 'fine');
SET SESSION AUTHORIZATION regress_till;
SELECT outcome FROM payguard.pay_order('approvals-2', 'approvals-2');
-- where no policy asks, an approval that was given all the same is not taken back: it would hold nothing back
SET SESSION AUTHORIZATION regress_asker;
SELECT (payguard.create_order('approvals-unasked', 999, 'XTS')).version;
SET SESSION AUTHORIZATION regress_decider;
SELECT status FROM payguard.approve_order('approvals-unasked', 'fine');
SELECT pg_temp.answer($$SELECT payguard.reject_order('approvals-unasked', 'not so fine')$$);
SELECT pg_temp.approvals_of('approvals-unasked');
SET SESSION AUTHORIZATION regress_till;
SELECT outcome FROM payguard.pay_order('approvals-unasked', 'approvals-unasked');
-- behind a pool the delegate's actors count
SET SESSION AUTHORIZATION regress_pool;
SET payguard.actor = 'anna';
SELECT (payguard.create_order('approvals-11', 1000, 'XTS')).version;
SELECT pg_temp.answer($$SELECT payguard.approve_order('approvals-11', 'me')$$);
SET payguard.actor = 'otto';
SELECT status, requested_by, decided_by FROM payguard.approve_order('approvals-11', 'fine');
RESET payguard.actor;
SELECT (payguard.create_order('approvals-12', 1000, 'XTS')).version;
SELECT pg_temp.answer($$SELECT payguard.approve_order('approvals-12', 'the pool has asked')$$);
-- late money: surplus that is held until somebody decides
SET SESSION AUTHORIZATION regress_asker;
SELECT (payguard.create_order('approvals-13', 900, 'XTS')).version;
SELECT payment_id AS late FROM payguard.start_payment('approvals-13', 'approvals-13', 'approvals') \gset
SET SESSION AUTHORIZATION regress_hook;
SELECT outcome FROM payguard.report_payment(:'late', 'failed');
SET SESSION AUTHORIZATION regress_decider;
SELECT min_amount FROM payguard.set_policy('XTS', 900, approve_payment := true);
SET SESSION AUTHORIZATION regress_hook;
SELECT outcome, order_status FROM payguard.report_payment(:'late', 'succeeded', 'approvals-13', 900, 'XTS');
SELECT outcome, order_status FROM payguard.record_payment('approvals-9', 'approvals', 'approvals-9', 1000, 'XTS');
SELECT pg_temp.state_of(id), pg_temp.approvals_of(id) FROM unnest('{approvals-13,approvals-9}'::text[]) id;
SET SESSION AUTHORIZATION regress_decider;
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.accept_surplus(%L, %L)', :'late', 'the customer wants it'));
SELECT status FROM payguard.approve_order('approvals-13', 'fine');
SELECT outcome, order_status FROM payguard.accept_surplus(:'late', 'the customer wants it');
SELECT pg_temp.state_of('approvals-13'), pg_temp.approvals_of('approvals-13');
RESET SESSION AUTHORIZATION;
SELECT refund_id AS held FROM payguard.refunds WHERE order_id = 'approvals-9' \gset
SET SESSION AUTHORIZATION regress_decider;
SELECT outcome, replayed FROM payguard.approve_refund(:'held', 'give it back');
SELECT outcome, replayed FROM payguard.approve_refund(:'held', 'give it back');
SELECT pg_temp.state_of('approvals-9'), pg_temp.approvals_of('approvals-9');
-- money of an attempt that was allowed when it was begun pays, whatever policy came since
SET SESSION AUTHORIZATION regress_asker;
SELECT (payguard.create_order('approvals-14', 800, 'XTS')).version;
SELECT payment_id AS live FROM payguard.start_payment('approvals-14', 'approvals-14', 'approvals') \gset
SET SESSION AUTHORIZATION regress_decider;
SELECT min_amount FROM payguard.set_policy('XTS', 800, approve_payment := true);
SELECT pg_temp.answer($$SELECT payguard.reject_order('approvals-14', 'too late')$$);
SET SESSION AUTHORIZATION regress_hook;
SELECT outcome, order_status FROM payguard.report_payment(:'live', 'succeeded', 'approvals-14', 800, 'XTS');
-- refunds: all that goes back of one payment counts
SET SESSION AUTHORIZATION regress_decider;
SELECT outcome, status FROM payguard.refund_order('approvals-10', 'approvals-10/1', 4999, 'returned');
SELECT outcome, status, message FROM payguard.refund_order('approvals-10', 'approvals-10/2', 1, 'returned');
SELECT pg_temp.state_of('approvals-10'), pg_temp.approvals_of('approvals-10');
RESET SESSION AUTHORIZATION;
SELECT refund_id AS refund FROM payguard.refunds WHERE idempotency_key = 'approvals-10/2' \gset
SET SESSION AUTHORIZATION regress_till;
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.approve_refund(%L, %L)', :'refund', 'me'));
SET SESSION AUTHORIZATION regress_decider;
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.approve_refund(%L, %L)', :'refund', 'me'));
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.reject_refund(%L, %L)', :'refund', 'me'));
SELECT outcome, replayed FROM payguard.refund_order('approvals-10', 'approvals-10/2', 1, 'returned');
SET SESSION AUTHORIZATION regress_asker;
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.approve_refund(%L, NULL)', :'refund'));
SELECT pg_temp.answer($$SELECT outcome FROM payguard.approve_refund('01890000-0000-7000-8000-000000000000', 'x')$$);
SELECT outcome, status, replayed FROM payguard.approve_refund(:'refund', 'fine');
SELECT outcome, status, replayed FROM payguard.approve_refund(:'refund', 'fine');
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.reject_refund(%L, %L)', :'refund', 'too late'));
SELECT pg_temp.state_of('approvals-10'), pg_temp.approvals_of('approvals-10');
-- rejected: it is waived, and its place is free again
SELECT (payguard.create_order('approvals-15', 5000, 'XXX')).version;
SET SESSION AUTHORIZATION regress_decider;
SELECT min_amount FROM payguard.set_policy('XXX', 5000, true, true);
SELECT status FROM payguard.approve_order('approvals-15', 'fine');
SET SESSION AUTHORIZATION regress_asker;
SELECT payment_id AS big FROM payguard.start_payment('approvals-15', 'approvals-15', 'approvals') \gset
SET SESSION AUTHORIZATION regress_hook;
SELECT outcome FROM payguard.report_payment(:'big', 'succeeded', 'approvals-15', 5000, 'XXX');
SET SESSION AUTHORIZATION regress_asker;
SELECT outcome, refund_id AS refund FROM payguard.refund_order('approvals-15', 'approvals-15/1', reason := 'returned') \gset
\echo :outcome
SET SESSION AUTHORIZATION regress_decider;
SELECT outcome, message, replayed FROM payguard.reject_refund(:'refund', 'no');
SELECT outcome, replayed FROM payguard.reject_refund(:'refund', 'no');
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.approve_refund(%L, %L)', :'refund', 'yes'));
SET SESSION AUTHORIZATION regress_asker;
SELECT outcome, amount FROM payguard.refund_order('approvals-15', 'approvals-15/2', reason := 'returned');
-- waived by hand, and made by the channel all the same: nobody has to decide any more
RESET SESSION AUTHORIZATION;
SELECT refund_id AS refund FROM payguard.refunds WHERE idempotency_key = 'approvals-15/2' \gset
SET SESSION AUTHORIZATION regress_asker;
SELECT (payguard.waive_refund(:'refund', 'the customer keeps it')).outcome;
SELECT outcome, refund_id AS refund FROM payguard.refund_order('approvals-15', 'approvals-15/3', reason := 'returned') \gset
SET SESSION AUTHORIZATION regress_hook;
SELECT outcome FROM payguard.report_refund(:'refund', 'succeeded', 'approvals-15');
SELECT pg_temp.state_of('approvals-15'), pg_temp.approvals_of('approvals-15');
-- a refund from before the policy failed: who asked for it does not make it again
RESET SESSION AUTHORIZATION;
SELECT (payguard.set_policy('XXX', 5000)).min_amount;
SET SESSION AUTHORIZATION regress_asker;
SELECT (payguard.create_order('approvals-16', 5000, 'XXX')).version;
SELECT payment_id AS big FROM payguard.start_payment('approvals-16', 'approvals-16', 'approvals') \gset
SET SESSION AUTHORIZATION regress_hook;
SELECT outcome FROM payguard.report_payment(:'big', 'succeeded', 'approvals-16', 5000, 'XXX');
SET SESSION AUTHORIZATION regress_asker;
SELECT outcome, refund_id AS refund FROM payguard.refund_order('approvals-16', 'approvals-16', reason := 'returned') \gset
SET SESSION AUTHORIZATION regress_hook;
SELECT outcome FROM payguard.report_refund(:'refund', 'failed');
SET SESSION AUTHORIZATION regress_decider;
SELECT (payguard.set_policy('XXX', 5000, approve_refund := true)).min_amount;
SET SESSION AUTHORIZATION regress_asker;
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.retry_refund(%L, %L)', :'refund', 'once more'));
SET SESSION AUTHORIZATION regress_decider;
SELECT outcome FROM payguard.retry_refund(:'refund', 'once more');
RESET SESSION AUTHORIZATION;
-- surplus money turns out to be more than was taken for granted: from the policy's amount on, its
-- refund waits, and an approval of another amount does not count any more
SELECT id, (payguard.create_order(id, amount, 'XXX')).version FROM (VALUES ('approvals-17', 4000), ('approvals-18', 4000), ('approvals-19', 6000)) v (id, amount);
SELECT count(payguard.set_policy('XXX', 5000));
SELECT id, payment_id IS NOT NULL AS started FROM unnest('{approvals-17,approvals-18,approvals-19}'::text[]) id, payguard.start_payment(id, id, 'approvals');
SELECT (payguard.report_payment(payment_id, 'failed')).outcome, (payguard.cancel_order(order_id)).status FROM payguard.payments WHERE order_id IN ('approvals-17', 'approvals-18', 'approvals-19');
SELECT count(payguard.set_policy('XXX', 5000, approve_refund := true));
SELECT (payguard.report_payment(payment_id, 'succeeded', order_id)).outcome FROM payguard.payments WHERE order_id IN ('approvals-17', 'approvals-18', 'approvals-19');
SELECT pg_temp.state_of(id) FROM unnest('{approvals-17,approvals-18,approvals-19}'::text[]) id;
SELECT (payguard.report_payment(payment_id, 'succeeded', order_id, 4999, 'XXX')).outcome FROM payguard.payments WHERE order_id = 'approvals-18';
SELECT pg_temp.state_of('approvals-18'), pg_temp.approvals_of('approvals-18'); -- below it
SELECT (payguard.report_payment(payment_id, 'succeeded', order_id, 5000, 'XXX')).outcome FROM payguard.payments WHERE order_id = 'approvals-17';
SELECT pg_temp.state_of('approvals-17'), pg_temp.approvals_of('approvals-17');
SELECT count(*) AS nobody_sends_it FROM payguard.tasks WHERE order_id = 'approvals-17';
SELECT refund_id AS refund_17 FROM payguard.refunds WHERE order_id = 'approvals-17' \gset
SELECT refund_id AS refund_19 FROM payguard.refunds WHERE order_id = 'approvals-19' \gset
SET SESSION AUTHORIZATION regress_decider;
SELECT outcome FROM payguard.approve_refund(:'refund_17', 'fine');
SELECT outcome FROM payguard.approve_refund(:'refund_19', 'fine');
RESET SESSION AUTHORIZATION;
SELECT pg_temp.state_of('approvals-17'), pg_temp.approvals_of('approvals-17');
SELECT (payguard.report_payment(payment_id, 'succeeded', order_id, 6001, 'XXX')).outcome FROM payguard.payments WHERE order_id = 'approvals-19';
SELECT pg_temp.state_of('approvals-19'), pg_temp.approvals_of('approvals-19');
SELECT order_id, kind FROM payguard.tasks WHERE order_id IN ('approvals-17', 'approvals-19');
-- a refund that a chargeback holds back: it is the channel's report that asks then, and who wanted the
-- refund is no second person for it
SELECT (payguard.create_order('approvals-20', 4000, 'XXX')).version;
SET SESSION AUTHORIZATION regress_asker;
SELECT payment_id AS held FROM payguard.start_payment('approvals-20', 'approvals-20', 'approvals') \gset
SET SESSION AUTHORIZATION regress_hook;
SELECT outcome FROM payguard.report_payment(:'held', 'succeeded', 'approvals-20', 4000, 'XXX');
SET SESSION AUTHORIZATION regress_asker;
SELECT outcome, refund_id AS refund FROM payguard.refund_order('approvals-20', 'approvals-20', 1000, 'returned') \gset
SET SESSION AUTHORIZATION regress_hook;
SELECT outcome FROM payguard.record_reversal('approvals', 'approvals-20', 'approvals-20', 'chargeback', 4000, 'XXX');
SELECT pg_temp.state_of('approvals-20'), pg_temp.approvals_of('approvals-20');
SET SESSION AUTHORIZATION regress_asker;
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.approve_refund(%L, %L)', :'refund', 'me'));
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.reject_refund(%L, %L)', :'refund', 'me'));
SET SESSION AUTHORIZATION regress_decider;
SELECT outcome FROM payguard.approve_refund(:'refund', 'both are owed');
-- what was approved for a guest is asked anew when the order gets its customer
SET SESSION AUTHORIZATION regress_web;
SELECT version FROM payguard.create_order('approvals-guest', 5000, 'XTS');
SET SESSION AUTHORIZATION regress_decider;
SELECT status FROM payguard.approve_order('approvals-guest', 'fine');
SET SESSION AUTHORIZATION regress_web;
SELECT version FROM payguard.update_order('approvals-guest', 1, customer_id := 'approvals-anna');
SELECT pg_temp.approvals_of('approvals-guest');
RESET SESSION AUTHORIZATION;
SELECT pg_temp.state_of('approvals-20'), pg_temp.approvals_of('approvals-20');
-- money that a closed order got is not accepted without an approval, which a closed order does not get
SELECT (payguard.create_order('approvals-21', 5000, 'XXX')).version;
SELECT payment_id AS late FROM payguard.start_payment('approvals-21', 'approvals-21', 'approvals') \gset
SELECT outcome FROM payguard.report_payment(:'late', 'failed');
SELECT (payguard.cancel_order('approvals-21')).status;
SELECT count(payguard.set_policy('XXX', 5000, true, true));
SELECT outcome FROM payguard.report_payment(:'late', 'succeeded', 'approvals-21', 5000, 'XXX');
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.accept_surplus(%L, %L)', :'late', 'the goods are there'));
SELECT count(payguard.set_policy('XXX', 5000, approve_refund := true));
-- what verify() says of an approval that was decided by who asked, and of a refund that nobody was asked about
BEGIN;
INSERT INTO payguard.approvals (subject, order_id, amount, currency, status, requested_by, requested_at, decided_by, decided_at)
VALUES ('order', 'approvals-8', 1, 'XTS', 'approved', 'x', now(), 'x', now());
SELECT invariant, problem FROM payguard.verify();
ROLLBACK;
BEGIN;
INSERT INTO payguard.approvals (subject, order_id, amount, currency, status, requested_by, requested_at)
VALUES ('order', 'approvals-1', 1, 'XTS', 'open', 'x', now());
SELECT invariant, problem FROM payguard.verify();
ROLLBACK;
SELECT * FROM payguard.verify();
-- for the tests after this one
SELECT count(payguard.set_policy(currency, min_amount)) FROM payguard.policies;
DROP OWNED BY regress_asker, regress_decider, regress_web, regress_till, regress_hook, regress_pool;
DROP ROLE regress_asker, regress_decider, regress_web, regress_till, regress_hook, regress_pool;
