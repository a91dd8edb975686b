-- A newcomer's walk through a real case; test/run demo runs it.
\set ECHO none
\set QUIET on
\set VERBOSITY verbose
\pset footer off
\pset format aligned
SET client_min_messages = warning;
\set QUIET off
\set ECHO queries
\echo
\echo '== 1. A checkout makes an order: 49.90 EUR, in cents.'
SELECT order_id, status, amount, currency, version
FROM payguard.create_order('order-1001', 4990, 'EUR', 'customer-7');
\echo '== 2. It is paid from the customer''s balance.'
SELECT outcome, order_id, order_status, version, replayed, message
FROM payguard.pay_order('order-1001', 'click-1', 4990, 'EUR');
\echo '== 3. The answer got lost, so the client asks again with the same key: the same payment, nothing written.'
SELECT outcome, order_id, order_status, version, replayed, message
FROM payguard.pay_order('order-1001', 'click-1', 4990, 'EUR');
\echo '== 4. A second payment, with another key, is refused. (The error is wanted here.)'
\set ON_ERROR_STOP off
SELECT * FROM payguard.pay_order('order-1001', 'click-2', 4990, 'EUR');
\set ECHO none
SELECT :'LAST_ERROR_SQLSTATE' = 'PY101' AS as_expected \gset
\set ON_ERROR_STOP on
\if :as_expected
\else
  DO 'BEGIN RAISE EXCEPTION $$PY101 was expected$$; END';
\endif
\set ECHO queries
\echo
\echo '== 5. Nobody gets past it by hand, not even the superuser. (Wanted as well.)'
\set ON_ERROR_STOP off
UPDATE payguard.orders SET status = 'unpaid' WHERE order_id = 'order-1001';
\set ECHO none
SELECT :'LAST_ERROR_SQLSTATE' = 'PY901' AS as_expected \gset
\set ON_ERROR_STOP on
\if :as_expected
\else
  DO 'BEGIN RAISE EXCEPTION $$PY901 was expected$$; END';
\endif
\set ECHO queries
\echo
\echo '== 6. What the customer''s page may say.'
SELECT status, advice, message, can_pay, can_cancel FROM payguard.order_status('order-1001');
