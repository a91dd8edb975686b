-- A customer's second order over the same amount within a while: flagged, held or refused, where a policy asks.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_shop;
CREATE ROLE regress_chief;
SELECT count(payguard.grant_access('regress_shop', a)) FROM unnest('{checkout,cashier,channel}'::text[]) a;
SELECT count(payguard.grant_access('regress_chief', a)) FROM unnest('{admin,refunds}'::text[]) a;
SELECT (payguard.register_channel('duplicates', first_query_after := '1 min')).late_success;
CREATE FUNCTION pg_temp.alerts_of(id text) RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
  SELECT string_agg(concat_ws(' ', kind, severity, details ->> 'duplicate_of'), ', ' ORDER BY alert_id) FROM payguard.alerts WHERE order_id = id AND resolved_at IS NULL
$$;
SET SESSION AUTHORIZATION regress_shop;
-- orders of one customer over one amount, by the name of the test
CREATE FUNCTION pg_temp.make(name text, n int, customer text DEFAULT 'same', amount bigint DEFAULT 500) RETURNS bigint LANGUAGE sql AS $$
  SELECT count(payguard.create_order('dup-' || name || '-' || i, amount, 'XTS', 'dup-' || name || '-' || customer)) FROM generate_series(1, n) i
$$;
CREATE FUNCTION pg_temp.pay(id text) RETURNS text LANGUAGE sql AS $$ SELECT pg_temp.answer(format('SELECT outcome FROM payguard.pay_order(%1$L, %1$L)', 'dup-' || id)) $$;
-- without a policy nobody looks, and no customer has a row
SELECT pg_temp.make('none', 2);
SELECT pg_temp.pay('none-1'), pg_temp.pay('none-2');
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM payguard.customers WHERE customer_id LIKE 'dup-%';
SELECT duplicate_window, on_duplicate FROM payguard.set_policy('XTS', 500, duplicate_window := '1 h');
SET SESSION AUTHORIZATION regress_shop;
-- flagged: it is paid, and a person looks
SELECT pg_temp.make('flag', 2);
SELECT pg_temp.pay('flag-1'), pg_temp.pay('flag-2');
SELECT pg_temp.alerts_of('dup-flag-1'), pg_temp.alerts_of('dup-flag-2');
-- what was paid before there was a policy counts
SELECT (payguard.create_order('dup-none-3', 500, 'XTS', 'dup-none-same')).version, pg_temp.pay('none-3'), pg_temp.alerts_of('dup-none-3');
-- a replay is not a duplicate
SELECT outcome, replayed FROM payguard.pay_order('dup-flag-1', 'dup-flag-1');
SELECT pg_temp.alerts_of('dup-flag-1');
-- another amount, another currency, another customer, no customer, below the policy's amount
SELECT (payguard.create_order('dup-other-1', 501, 'XTS', 'dup-flag-same')).version, pg_temp.pay('other-1'), pg_temp.alerts_of('dup-other-1');
SELECT (payguard.create_order('dup-other-2', 500, 'XXX', 'dup-flag-same')).version, pg_temp.pay('other-2'), pg_temp.alerts_of('dup-other-2');
SELECT (payguard.create_order('dup-other-3', 500, 'XTS', 'dup-flag-other')).version, pg_temp.pay('other-3'), pg_temp.alerts_of('dup-other-3');
SELECT (payguard.create_order('dup-other-4', 500, 'XTS')).version, pg_temp.pay('other-4'), pg_temp.alerts_of('dup-other-4');
SELECT (payguard.create_order('dup-other-5', 500, 'XTS')).version, pg_temp.pay('other-5'), pg_temp.alerts_of('dup-other-5');
SELECT pg_temp.make('low', 2, amount := 499), pg_temp.pay('low-1'), pg_temp.pay('low-2'), pg_temp.alerts_of('dup-low-2');
-- held: an operator decides
SET SESSION AUTHORIZATION regress_chief;
SELECT duplicate_window, on_duplicate FROM payguard.set_policy('XTS', 500, duplicate_window := '1 h', on_duplicate := 'hold');
SET SESSION AUTHORIZATION regress_shop;
SELECT pg_temp.make('hold', 3);
SELECT pg_temp.pay('hold-1');
SELECT pg_temp.written() AS before \gset
SELECT pg_temp.pay('hold-2');
SELECT outcome, message FROM payguard.try_pay_order('dup-hold-2', 'dup-hold-2');
SELECT pg_temp.answer($$SELECT payguard.start_payment('dup-hold-2', 'dup-hold-2', 'duplicates')$$);
SELECT status, advice, can_pay, can_cancel FROM payguard.order_status('dup-hold-2');
RESET SESSION AUTHORIZATION;
SELECT pg_temp.written() = :'before' AS nothing_written;
-- the customer may ask for it; whoever asked does not decide
SET SESSION AUTHORIZATION regress_shop;
SELECT subject, order_id, amount, currency, status, requested_by, note FROM payguard.request_approval('dup-hold-2', 'a gift for my sister');
RESET SESSION AUTHORIZATION;
SELECT pg_temp.written() AS before \gset
SET SESSION AUTHORIZATION regress_shop;
SELECT status, note FROM payguard.request_approval('dup-hold-2', 'once more');
RESET SESSION AUTHORIZATION;
SELECT pg_temp.written() = :'before' AS nothing_written;
SELECT kind, severity, details FROM payguard.alerts WHERE order_id = 'dup-hold-2' AND resolved_at IS NULL;
SET SESSION AUTHORIZATION regress_shop;
SELECT advice, message, can_pay, can_cancel FROM payguard.order_status('dup-hold-2');
SELECT pg_temp.pay('hold-2');
-- where an order is suspicious already, somebody is asked when it is made, or gets its customer
SELECT version FROM payguard.create_order('dup-hold-4', 500, 'XTS', 'dup-hold-same');
SELECT version FROM payguard.create_order('dup-hold-5', 500, 'XTS');
SELECT customer_id, version FROM payguard.update_order('dup-hold-5', 1, customer_id := 'dup-hold-same');
SELECT pg_temp.alerts_of('dup-hold-4'), pg_temp.alerts_of('dup-hold-5');
SELECT order_id, advice FROM unnest('{dup-hold-4,dup-hold-5}'::text[]) o, payguard.order_status(o);
-- who cannot ask: the amount is another by now, it is paid, nobody holds it back, it is nowhere
SELECT pg_temp.answer($$SELECT payguard.request_approval('dup-hold-1', 'x')$$);
SELECT pg_temp.answer($$SELECT payguard.request_approval('dup-other-none', 'x')$$);
SELECT pg_temp.answer($$SELECT payguard.request_approval('dup-hold-2', NULL)$$);
SELECT pg_temp.make('needless', 1), pg_temp.answer($$SELECT payguard.request_approval('dup-needless-1', 'x')$$);
SELECT amount, version FROM payguard.update_order('dup-hold-4', 1, 501);
SELECT pg_temp.alerts_of('dup-hold-4'), pg_temp.answer($$SELECT payguard.request_approval('dup-hold-4', 'x')$$);
SET SESSION AUTHORIZATION regress_chief;
SELECT subject, status, requested_by, decided_by FROM payguard.approve_order('dup-hold-2', 'the customer wants two');
SELECT subject, status FROM payguard.reject_order('dup-hold-3', 'but not three');
SET SESSION AUTHORIZATION regress_shop;
SELECT advice, message, can_pay, can_cancel FROM payguard.order_status('dup-hold-3');
SELECT pg_temp.answer($$SELECT payguard.request_approval('dup-hold-3', 'please')$$);
SELECT status, decided_by FROM payguard.request_approval('dup-hold-2', 'please');
SELECT pg_temp.pay('hold-2'), pg_temp.pay('hold-3');
-- an attempt counts as long as it lives
SELECT pg_temp.make('live', 2);
SELECT payment_id AS live FROM payguard.start_payment('dup-live-1', 'dup-live-1', 'duplicates') \gset
SELECT pg_temp.pay('live-2');
SELECT outcome FROM payguard.report_payment(:'live', 'failed');
SELECT pg_temp.pay('live-2');
-- and then its late success is held like any other
SELECT outcome, order_status FROM payguard.report_payment(:'live', 'succeeded', 'dup-live-1', 500, 'XTS');
RESET SESSION AUTHORIZATION;
SELECT p.status, r.status, r.origin FROM payguard.payments p JOIN payguard.refunds r USING (payment_id) WHERE p.order_id = 'dup-live-1';
SET SESSION AUTHORIZATION regress_shop;
-- what was given back altogether is no reason to suspect the next
SELECT pg_temp.make('back', 2), pg_temp.pay('back-1'), pg_temp.pay('back-2');
SET SESSION AUTHORIZATION regress_chief;
SELECT outcome FROM payguard.refund_order('dup-back-1', 'dup-back-1', reason := 'returned');
SET SESSION AUTHORIZATION regress_shop;
SELECT pg_temp.pay('back-2');
-- refused: nobody can allow it before the time is over
SET SESSION AUTHORIZATION regress_chief;
SELECT duplicate_window, on_duplicate FROM payguard.set_policy('XTS', 500, duplicate_window := '1 h', on_duplicate := 'refuse');
SET SESSION AUTHORIZATION regress_shop;
SELECT pg_temp.make('refuse', 2);
SELECT pg_temp.pay('refuse-1'), pg_temp.pay('refuse-2');
SELECT outcome, message FROM payguard.try_pay_order('dup-refuse-2', 'dup-refuse-2');
SELECT advice, message, can_pay, can_cancel FROM payguard.order_status('dup-refuse-2');
SELECT pg_temp.answer($$SELECT payguard.request_approval('dup-refuse-2', 'x')$$);
SET SESSION AUTHORIZATION regress_chief;
SELECT (payguard.approve_order('dup-refuse-2', 'fine')).status;
SET SESSION AUTHORIZATION regress_shop;
SELECT pg_temp.answer($$SELECT outcome FROM payguard.pay_order('dup-refuse-2', 'dup-refuse-2')$$) ~ '^PY104' AS still_refused;
-- in one batch, the second of two is judged as a later call would be
SELECT pg_temp.make('batch', 3), pg_temp.make('batch2', 1);
SELECT order_id, outcome FROM payguard.pay_orders(ARRAY[('dup-batch-3', 'dup-batch-3', NULL, NULL, NULL, NULL), ('dup-batch2-1', 'dup-batch2-1', NULL, NULL, NULL, NULL),
  ('dup-batch-1', 'dup-batch-1', NULL, NULL, NULL, NULL), ('dup-batch-2', 'dup-batch-2', NULL, NULL, NULL, NULL), ('dup-batch-3', 'dup-batch-3', NULL, NULL, NULL, NULL)]::payguard.pay_request[]);
-- after the time is over, it is paid
SET SESSION AUTHORIZATION regress_chief;
SELECT duplicate_window FROM payguard.set_policy('XTS', 500, duplicate_window := '1 microsecond', on_duplicate := 'refuse');
SET SESSION AUTHORIZATION regress_shop;
SELECT pg_temp.pay('refuse-2');
-- the strictest of several policies counts
SET SESSION AUTHORIZATION regress_chief;
SELECT duplicate_window FROM payguard.set_policy('XTS', 500, duplicate_window := '1 h', on_duplicate := 'flag');
SELECT duplicate_window FROM payguard.set_policy('XTS', 400, duplicate_window := '1 h', on_duplicate := 'refuse');
SET SESSION AUTHORIZATION regress_shop;
SELECT pg_temp.make('strict', 2), pg_temp.pay('strict-1'), left(pg_temp.pay('strict-2'), 5);
RESET SESSION AUTHORIZATION;
SELECT customer_id, order_id FROM payguard.customers WHERE customer_id LIKE 'dup-%' ORDER BY 1;
SELECT * FROM payguard.verify();
SELECT count(payguard.set_policy(currency, min_amount)) FROM payguard.policies;
DROP OWNED BY regress_shop, regress_chief;
DROP ROLE regress_shop, regress_chief;
