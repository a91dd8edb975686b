-- Each business error by its SQLSTATE.
\set ECHO none
\set QUIET on
SET client_min_messages = warning;
BEGIN;
SELECT no_plan();
SELECT lives_ok($$SELECT payguard.create_order('tap-' || n, 100, 'EUR') FROM generate_series(1, 4) n$$, 'orders are made');
SELECT lives_ok($$SELECT payguard.register_channel('tap-card')$$, 'a channel is registered');
SELECT lives_ok($$SELECT payguard.pay_order('tap-1', 'tap-key')$$, 'an order is paid');
SELECT lives_ok($$SELECT payguard.cancel_order('tap-2')$$, 'an order is cancelled');
SELECT lives_ok($$SELECT payguard.revoke_key('tap-3', 'tap-revoked')$$, 'a key is revoked');
SELECT lives_ok($$SELECT payguard.pay_order('tap-1', 'tap-key', 100, 'EUR')$$, 'a retry is no error');
SELECT throws_ok($$SELECT payguard.pay_order('tap-1', 'tap-new')$$, 'PY101', 'order "tap-1" is already paid', 'PY101 order_already_paid');
SELECT throws_ok($$SELECT payguard.cancel_order('tap-1')$$, 'PY101', NULL, 'PY101 of cancel_order()');
SELECT throws_ok($$SELECT payguard.update_order('tap-1', 2, 5)$$, 'PY101', NULL, 'PY101 of update_order()');
SELECT throws_ok($$SELECT payguard.pay_order('tap-2', 'tap-new')$$, 'PY102', 'order "tap-2" is closed', 'PY102 order_closed');
SELECT throws_ok($$SELECT payguard.pay_order('tap-3', 'tap-new', expected_version := 2)$$, 'PY201', 'order "tap-3" has changed', 'PY201 version_conflict');
SELECT throws_ok($$SELECT payguard.pay_order('tap-1', 'tap-key', 5)$$, 'PY301', 'idempotency key "tap-key" was used for another request', 'PY301 idempotency_key_reused');
SELECT throws_ok($$SELECT payguard.pay_order('tap-3', 'tap-revoked')$$, 'PY302', 'idempotency key "tap-revoked" is revoked', 'PY302 idempotency_key_revoked');
SELECT throws_ok($$SELECT payguard.create_order('tap-3', 5, 'EUR')$$, 'PY304', 'order id "tap-3" is already used', 'PY304 order_id_reused');
SELECT throws_ok($$SELECT payguard.pay_order('tap-none', 'tap-new')$$, 'PY401', 'order "tap-none" does not exist', 'PY401 order_not_found');
SELECT throws_ok($$SELECT payguard.order_status('tap-none')$$, 'PY401', NULL, 'PY401 of order_status()');
SELECT throws_ok($$SELECT payguard.pay_order('tap-3', 'tap-new', channel := 'tap-none')$$, 'PY405', 'channel "tap-none" does not exist', 'PY405 channel_not_found');
SELECT throws_ok($$SELECT payguard.pay_order('tap-3', 'tap-new', channel := 'tap-card')$$, 'PY406', 'channel "tap-card" is not internal', 'PY406 channel_not_internal');
SELECT throws_ok($$SELECT payguard.pay_order('tap-3', 'tap-new', 5)$$, 'PY501', 'order "tap-3" asks for another amount', 'PY501 amount_mismatch');
SELECT throws_ok($$SELECT payguard.pay_order('tap-3', 'tap-new', 100, 'USD')$$, 'PY502', 'order "tap-3" is in another currency', 'PY502 currency_mismatch');
SELECT lives_ok($$SELECT payguard.set_policy('XTS', 100, approve_payment := true, duplicate_window := '1 h', on_duplicate := 'refuse')$$, 'a policy');
SELECT lives_ok($$SELECT payguard.set_policy('XTS', 50, duplicate_window := '1 h', on_duplicate := 'refuse')$$, 'another');
SELECT lives_ok($$SELECT payguard.create_order('tap-policy-' || n, n, 'XTS', 'tap-customer') FROM unnest('{50,100}'::bigint[]) n$$, 'orders under a policy');
SELECT lives_ok($$SELECT payguard.create_order('tap-policy-again', 50, 'XTS', 'tap-customer')$$, 'and one that looks like another');
SELECT lives_ok($$SELECT payguard.pay_order('tap-policy-50', 'tap-policy-50')$$, 'which is paid');
SELECT throws_ok($$SELECT payguard.pay_order('tap-policy-again', 'tap-new')$$, 'PY104', 'order "tap-policy-again" seems to be a duplicate', 'PY104 suspected_duplicate');
SELECT throws_ok($$SELECT payguard.pay_order('tap-policy-100', 'tap-new')$$, 'PY601', 'order "tap-policy-100" needs an approval', 'PY601 approval_required');
SELECT throws_ok($$SELECT payguard.approve_order('tap-policy-100', 'fine')$$, 'PY602', NULL, 'PY602 self_approval');
SELECT throws_ok(statement, 'PY901', NULL, 'PY901 direct_write_forbidden: ' || statement)
FROM unnest(ARRAY['UPDATE payguard.orders SET amount = 1', 'DELETE FROM payguard.payments', 'TRUNCATE payguard.events', 'DELETE FROM payguard.channels']) statement;
SELECT throws_ok(statement, 'PY902', NULL, 'PY902 unsafe_ddl: ' || statement)
FROM unnest(ARRAY['DROP EXTENSION payguard', 'ALTER TABLE payguard.orders DISABLE TRIGGER ALL', 'DROP INDEX payguard.payments_that_count']) statement;
SELECT throws_ok($$SELECT payguard.pay_order(NULL, 'tap-new')$$, '22004', 'order_id must not be null', '22004');
SELECT throws_ok($$SELECT payguard.pay_order('tap-3', '')$$, '22023', 'invalid value for idempotency_key', '22023');
SELECT throws_ok($$SELECT payguard.pay_order('tap-3', 'tap-new', '9223372036854775808')$$, '22003', NULL, '22003');
SELECT is((SELECT outcome FROM payguard.pay_order('tap-3', 'tap-new')), 'paid', 'none of them consumed the key');
SELECT is_empty($$SELECT * FROM payguard.verify()$$, 'the database is sound');
SELECT * FROM finish();
ROLLBACK;
