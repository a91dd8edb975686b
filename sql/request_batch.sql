-- request_payments() answers each element as single calls of try_request_payment() in that order would.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_request_batch;
SELECT (payguard.register_channel('request-batch', first_query_after := '1 h')).name;
SELECT count(payguard.grant_access('regress_request_batch', access)) FROM unnest('{checkout,channel,auditor}'::text[]) access;
SET SESSION AUTHORIZATION regress_request_batch;
SELECT count(payguard.create_order('renewal-' || n, n * 100, 'EUR')) FROM generate_series(1, 5) n;
SELECT (payguard.request_payment('renewal-5', 'renewal-5', 'request-batch')).outcome;
-- results come in the order asked; every kind of refusal, and one order and one key twice
SELECT ordinality, outcome, order_id, payment_id IS NOT NULL AS has_payment, order_status, payment_status, version, amount, replayed
FROM payguard.request_payments(ARRAY[
  ('renewal-4', 'renewal-4', 'request-batch', NULL, NULL, NULL, now() + interval '1 day', '{"card": "of anna"}', NULL),
  ('renewal-1', 'renewal-1', 'request-batch', 100, 'EUR', 1, NULL, NULL, NULL),
  ('renewal-1', 'renewal-1', 'request-batch', 100, 'EUR', 1, NULL, NULL, NULL),
  ('renewal-1', 'renewal-1-other', 'request-batch', NULL, NULL, NULL, NULL, NULL, NULL),
  ('renewal-2', 'renewal-1', 'request-batch', NULL, NULL, NULL, NULL, NULL, NULL),
  ('renewal-2', 'renewal-2', 'request-batch', 201, NULL, NULL, NULL, NULL, NULL),
  ('renewal-2', 'renewal-2', 'request-batch', NULL, NULL, NULL, NULL, NULL, NULL),
  ('renewal-5', 'renewal-5', 'request-batch', NULL, NULL, NULL, NULL, NULL, NULL),
  ('renewal-none', 'renewal-none', 'request-batch', NULL, NULL, NULL, NULL, NULL, NULL),
  ('renewal-3', 'renewal-3', 'nowhere', NULL, NULL, NULL, NULL, NULL, NULL)]::payguard.payment_request[]) WITH ORDINALITY;
-- each has its charge task, and the worker is told what was asked
SELECT order_id, kind, amount, details FROM payguard.claim_tasks('renewals', 10, '1 min', '{charge}', '{request-batch}') ORDER BY order_id;
SELECT expires_at IS NOT NULL AS expires FROM payguard.payments WHERE idempotency_key = 'renewal-4';
SELECT pg_temp.written() AS before \gset
-- the same again: replayed, and nothing is written
SELECT outcome, order_id, replayed FROM payguard.request_payments(ARRAY[
  ('renewal-4', 'renewal-4', 'request-batch', NULL, NULL, NULL, now() + interval '1 day', '{"card": "of anna"}', NULL),
  ('renewal-1', 'renewal-1', 'request-batch', 100, 'EUR', 1, NULL, NULL, NULL)]::payguard.payment_request[]);
SELECT count(*) FROM payguard.request_payments('{}');
SELECT what, array_to_string((string_to_array(pg_temp.answer(format('SELECT count(*) FROM payguard.request_payments(%s)', value)), ' | '))[1:3], ' | ') AS answer
FROM (VALUES ('null', 'NULL'), ('null element', 'ARRAY[NULL]::payguard.payment_request[]'),
  ('null after a good one', $$ARRAY[('renewal-3', 'renewal-3', 'request-batch', NULL, NULL, NULL, NULL, NULL, NULL), NULL]::payguard.payment_request[]$$),
  ('null order', $$ARRAY[(NULL, 'k', 'request-batch', NULL, NULL, NULL, NULL, NULL, NULL)]::payguard.payment_request[]$$),
  ('null key', $$ARRAY[('renewal-3', NULL, 'request-batch', NULL, NULL, NULL, NULL, NULL, NULL)]::payguard.payment_request[]$$),
  ('null channel', $$ARRAY[('renewal-3', 'k', NULL, NULL, NULL, NULL, NULL, NULL, NULL)]::payguard.payment_request[]$$),
  ('internal after a good one', $$ARRAY[('renewal-3', 'renewal-3', 'request-batch', NULL, NULL, NULL, NULL, NULL, NULL),
    ('renewal-2', 'k', 'internal', NULL, NULL, NULL, NULL, NULL, NULL)]::payguard.payment_request[]$$),
  ('negative', $$ARRAY[('renewal-3', 'k', 'request-batch', -1, NULL, NULL, NULL, NULL, NULL)]::payguard.payment_request[]$$),
  ('currency', $$ARRAY[('renewal-3', 'k', 'request-batch', 1, 'EU1', NULL, NULL, NULL, NULL)]::payguard.payment_request[]$$),
  ('version', $$ARRAY[('renewal-3', 'k', 'request-batch', 1, NULL, 0, NULL, NULL, NULL)]::payguard.payment_request[]$$),
  ('infinite', $$ARRAY[('renewal-3', 'k', 'request-batch', 1, NULL, NULL, 'infinity', NULL, NULL)]::payguard.payment_request[]$$)) c (what, value);
SELECT pg_temp.written() = :'before' AS nothing_written;
-- a long one: every order twice, by two keys, in a mixed order
SELECT count(payguard.create_order('renewal-long-' || n, n, 'EUR')) FROM generate_series(1, 300) n;
SELECT outcome, replayed, count(*), count(DISTINCT order_id) FROM payguard.request_payments(ARRAY(
  SELECT ('renewal-long-' || n % 300 + 1, 'renewal-long-key-' || n, 'request-batch', NULL, NULL, NULL, NULL, NULL, NULL)::payguard.payment_request
  FROM generate_series(1, 600) n ORDER BY md5(n::text))) GROUP BY 1, 2 ORDER BY 1;
SELECT count(*) FROM payguard.tasks WHERE channel = 'request-batch' AND kind = 'charge';
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_request_batch;
DROP ROLE regress_request_batch;
