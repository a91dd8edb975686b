-- An order is made, changed, cancelled or expires; a call that changes nothing writes nothing.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_order_life;
SELECT payguard.grant_access('regress_order_life', access) FROM unnest('{checkout,cashier,operator,auditor}'::text[]) access;
SET SESSION AUTHORIZATION regress_order_life;
SELECT order_id, customer_id, amount, currency, status, closing_as, version, payment_id, refunded_amount, expires_at
FROM payguard.create_order('life-1', 100, 'EUR', 'customer', '2999-01-01 00:00+00');
SELECT pg_temp.written() AS before \gset
-- made again, also with another deadline: the one that exists
SELECT version, expires_at = '2999-01-01 00:00+00' AS deadline_kept FROM payguard.create_order('life-1', 100, 'EUR', 'customer');
SELECT pg_temp.answer($$SELECT payguard.create_order('life-1', 101, 'EUR', 'customer')$$);
SELECT pg_temp.answer($$SELECT payguard.create_order('life-1', 100, 'USD', 'customer')$$);
SELECT pg_temp.answer($$SELECT payguard.create_order('life-1', 100, 'EUR')$$);
-- a change of nothing
SELECT version FROM payguard.update_order('life-1', 1);
SELECT version FROM payguard.update_order('life-1', 1, 100, 'EUR', '2999-01-01 00:00+00');
SELECT pg_temp.written() = :'before' AS nothing_written;
-- changes
SELECT version, amount, currency FROM payguard.update_order('life-1', 1, amount := 150);
SELECT version, amount, currency FROM payguard.update_order('life-1', 2, currency := 'USD', amount := 160);
SELECT version, expires_at = '2998-01-01 00:00+00' AS changed FROM payguard.update_order('life-1', 3, expires_at := '2998-01-01 00:00+00');
SELECT pg_temp.answer($$SELECT payguard.update_order('life-1', 1, amount := 170)$$); -- fails: a stale form
SELECT pg_temp.answer($$SELECT payguard.update_order('life-none', 1, amount := 170)$$);
-- what it was created with, a retry; or what it is, by whoever read his own row anew; and nothing in between
SELECT version, amount FROM payguard.create_order('life-1', 100, 'EUR', 'customer');
SELECT version, amount FROM payguard.create_order('life-1', 160, 'USD', 'customer');
SELECT pg_temp.answer($$SELECT payguard.create_order('life-1', 150, 'EUR', 'customer')$$);
SELECT pg_temp.answer($$SELECT payguard.create_order('life-1', 160, 'JPY', 'customer')$$);
-- a guest's order gets its customer, once
SELECT customer_id, version FROM payguard.create_order('life-4', 100, 'EUR');
SELECT customer_id, version FROM payguard.update_order('life-4', 1, customer_id := 'anna');
SELECT customer_id, version FROM payguard.update_order('life-4', 2, customer_id := 'anna');
SELECT pg_temp.answer($$SELECT payguard.update_order('life-4', 2, customer_id := 'otto')$$);
SELECT pg_temp.answer($$SELECT payguard.update_order('life-4', 2, customer_id := '')$$);
SELECT customer_id FROM payguard.create_order('life-4', 100, 'EUR', 'anna');
SELECT customer_id FROM payguard.create_order('life-4', 100, 'EUR');
SELECT pg_temp.answer($$SELECT payguard.create_order('life-4', 100, 'EUR', 'otto')$$);
SELECT kind, version, details FROM payguard.order_timeline('life-4');
-- the arguments of 1.1.0, all of them
SELECT version FROM payguard.update_order('life-4', 2, 120, 'EUR', NULL::timestamptz);
-- cancelled
SELECT pg_temp.answer($$SELECT payguard.cancel_order('life-1', 1)$$);
SELECT status, version FROM payguard.cancel_order('life-1', 4, 'out of stock');
SELECT pg_temp.written() AS before \gset
SELECT status, version FROM payguard.cancel_order('life-1', 4, 'again');
SELECT status, version FROM payguard.cancel_order('life-1');
SELECT pg_temp.answer($$SELECT payguard.update_order('life-1', 5, amount := 170)$$);
SELECT pg_temp.answer($$SELECT payguard.cancel_order('life-none')$$);
SELECT pg_temp.answer($$SELECT payguard.pay_order('life-1', 'life-1')$$);
SELECT status, version FROM payguard.create_order('life-1', 100, 'EUR', 'customer');
SELECT pg_temp.written() = :'before' AS nothing_written;
SELECT kind, from_status, to_status, version, actor, details FROM payguard.order_timeline('life-1');
-- paid: neither changed nor cancelled
SELECT (payguard.create_order('life-2', 100, 'EUR')).version;
SELECT (payguard.pay_order('life-2', 'life-2')).outcome;
SELECT pg_temp.answer($$SELECT payguard.cancel_order('life-2')$$);
SELECT pg_temp.answer($$SELECT payguard.update_order('life-2', 2, amount := 99)$$);
SELECT status FROM payguard.create_order('life-2', 100, 'EUR');
-- past its deadline: not payable, but it may be cancelled
SELECT (payguard.create_order('life-3', 100, 'EUR', expires_at := clock_timestamp() + '30 ms')).version;
SELECT pg_sleep(0.05);
SELECT pg_temp.answer($$SELECT payguard.pay_order('life-3', 'life-3')$$);
SELECT pg_temp.answer($$SELECT payguard.update_order('life-3', 1, expires_at := '2999-01-01')$$);
SELECT pg_temp.answer($$SELECT payguard.create_order('life-far', 100, 'EUR', expires_at := '10000-01-02')$$);
SELECT status FROM payguard.create_order('life-3', 100, 'EUR');
SELECT order_id, status, advice, message, can_pay, can_cancel, retry_after, resume_payment_id, amount, currency, refunded_amount, version
FROM unnest('{life-1,life-2,life-3}'::text[]) id, payguard.order_status(id);
SELECT status FROM payguard.cancel_order('life-3');
SELECT pg_temp.answer($$SELECT payguard.order_status('life-none')$$);
SELECT pg_temp.answer($$SELECT payguard.order_timeline('life-none')$$);
-- each checkout has an id of its own
SELECT count(DISTINCT payguard.new_order_id()) FROM generate_series(1, 1000);
SELECT status FROM payguard.create_order(payguard.new_order_id(), 1, 'EUR');
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
SELECT payguard.revoke_access('regress_order_life', access) FROM unnest('{checkout,cashier,operator,auditor}'::text[]) access;
DROP ROLE regress_order_life;
