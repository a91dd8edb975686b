-- pay_orders() answers each element as single calls in that order would.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_batch;
SELECT payguard.grant_access('regress_batch', access) FROM unnest('{checkout,cashier,auditor}'::text[]) access;
SET SESSION AUTHORIZATION regress_batch;
SELECT (payguard.create_order('batch-' || n, n * 100, 'EUR')).amount FROM generate_series(1, 6) n;
SELECT (payguard.pay_order('batch-6', 'batch-6')).outcome;
-- results come in the order asked; every kind of refusal, and one order and one key twice
SELECT ordinality, outcome, order_id, payment_id IS NOT NULL AS has_payment, order_status, payment_status, version, amount, currency,
       completed_at IS NOT NULL AS has_time, replayed
FROM payguard.pay_orders(ARRAY[
  ('batch-5', 'batch-5', NULL, NULL, NULL, NULL),
  ('batch-1', 'batch-1', 100, 'EUR', 1, 'internal'),
  ('batch-1', 'batch-1', 100, 'EUR', 1, 'internal'),
  ('batch-1', 'batch-1-other', NULL, NULL, NULL, NULL),
  ('batch-2', 'batch-1', NULL, NULL, NULL, NULL),
  ('batch-2', 'batch-2', 201, NULL, NULL, NULL),
  ('batch-2', 'batch-2', NULL, NULL, NULL, NULL),
  ('batch-6', 'batch-6', NULL, NULL, NULL, NULL),
  ('batch-6', 'batch-7', NULL, NULL, NULL, NULL),
  ('batch-none', 'batch-none', NULL, NULL, NULL, NULL),
  ('batch-3', 'batch-3', NULL, 'USD', NULL, NULL),
  ('batch-3', 'batch-3', NULL, NULL, 4, NULL),
  ('batch-3', 'batch-3', NULL, NULL, NULL, 'nowhere')]::payguard.pay_request[]) WITH ORDINALITY;
-- keys crossed over two orders: the first of each wins
SELECT outcome, order_id, replayed FROM payguard.pay_orders(ARRAY[
  ('batch-3', 'batch-a', NULL, NULL, NULL, NULL), ('batch-4', 'batch-b', NULL, NULL, NULL, NULL),
  ('batch-3', 'batch-b', NULL, NULL, NULL, NULL), ('batch-4', 'batch-a', NULL, NULL, NULL, NULL)]::payguard.pay_request[]);
-- a key waits for the earlier call that has it, also where that one waits for its order
SELECT (payguard.create_order('batch-' || n, n * 100, 'EUR')).version FROM generate_series(7, 8) n;
SELECT outcome, order_id, replayed FROM payguard.pay_orders(ARRAY[
  ('batch-7', 'batch-c', 1, NULL, NULL, NULL), ('batch-7', 'batch-d', NULL, NULL, NULL, NULL),
  ('batch-8', 'batch-d', NULL, NULL, NULL, NULL)]::payguard.pay_request[]);
-- the same batch again: the same answers, replayed, and nothing written
SELECT pg_temp.written() AS before \gset
SELECT outcome, order_id, replayed FROM payguard.pay_orders(ARRAY[
  ('batch-3', 'batch-a', NULL, NULL, NULL, NULL), ('batch-4', 'batch-b', NULL, NULL, NULL, NULL),
  ('batch-3', 'batch-b', NULL, NULL, NULL, NULL), ('batch-4', 'batch-a', NULL, NULL, NULL, NULL)]::payguard.pay_request[]);
SELECT count(*) FROM payguard.pay_orders('{}');
SELECT pg_temp.answer('SELECT count(*) FROM payguard.pay_orders(NULL)');
SELECT pg_temp.answer($$SELECT count(*) FROM payguard.pay_orders(ARRAY[('batch-2', 'batch-x', NULL, NULL, NULL, NULL), NULL]::payguard.pay_request[])$$);
SELECT pg_temp.written() = :'before' AS nothing_written;
-- two dimensions, and bounds that do not begin at 1
SELECT outcome FROM payguard.pay_orders('[7:7]={"(batch-6,batch-6,,,,)"}'::payguard.pay_request[]);
SELECT outcome FROM payguard.pay_orders(ARRAY[ARRAY[('batch-6', 'batch-6', NULL, NULL, NULL, NULL)::payguard.pay_request],
                                              ARRAY[('batch-5', 'batch-5', NULL, NULL, NULL, NULL)::payguard.pay_request]]);
-- a long one: every order twice, by two keys, in a mixed order
SELECT count(payguard.create_order('batch-long-' || n, n, 'EUR')) FROM generate_series(1, 300) n;
SELECT outcome, replayed, count(*), count(DISTINCT order_id) FROM payguard.pay_orders(ARRAY(
  SELECT ('batch-long-' || n % 300 + 1, 'batch-long-key-' || n, NULL, NULL, NULL, NULL)::payguard.pay_request
  FROM generate_series(1, 600) n ORDER BY md5(n::text))) GROUP BY 1, 2 ORDER BY 1;
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
SELECT payguard.revoke_access('regress_batch', access) FROM unnest('{checkout,cashier,auditor}'::text[]) access;
DROP ROLE regress_batch;
