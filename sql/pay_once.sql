-- An order is paid once.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_pay_once;
SELECT payguard.grant_access('regress_pay_once', access) FROM unnest('{checkout,cashier,auditor}'::text[]) access;
SET SESSION AUTHORIZATION regress_pay_once;
SELECT order_id, status, amount, currency, version, payment_id FROM payguard.create_order('once-1', 1250, 'EUR', 'customer-1');
SELECT outcome, order_id, order_status, payment_status, version, amount, currency, replayed, message,
       payment_id IS NOT NULL AS has_id, completed_at IS NOT NULL AS has_time
FROM payguard.pay_order('once-1', 'once-key-1', 1250, 'EUR', 1);
SELECT pg_temp.answer($$SELECT payguard.pay_order('once-1', 'once-key-2')$$); -- fails
SELECT outcome, order_id, payment_id = (SELECT payment_id FROM payguard.orders WHERE order_id = 'once-1') AS the_winner,
       order_status, payment_status, version, amount, currency, completed_at, replayed, message
FROM payguard.try_pay_order('once-1', 'once-key-3');
SELECT status, version, payment_id IS NOT NULL AS has_payment FROM payguard.orders WHERE order_id = 'once-1';
SELECT order_id, idempotency_key, channel, amount, currency, received_amount, received_currency, amount_verified,
       status, order_version, request_kind
FROM payguard.payments WHERE order_id LIKE 'once-%';
SELECT kind, from_status, to_status, version, actor, details, payment_id IS NOT NULL AS names_payment,
       xid = pg_current_xact_id() AS in_this_transaction
FROM payguard.events WHERE order_id = 'once-1' ORDER BY event_id;

-- two in one statement, and two in one transaction
SELECT (payguard.create_order('once-' || n, n, 'EUR')).version FROM generate_series(2, 4) n;
SELECT (payguard.try_pay_order('once-2', 'once-2-key-' || n)).outcome FROM generate_series(1, 3) n;
BEGIN;
SELECT (payguard.pay_order('once-3', 'once-3-a')).outcome;
SELECT (payguard.pay_order('once-3', 'once-3-b')).outcome; -- fails
ROLLBACK;
SELECT (payguard.try_pay_order('once-3', 'once-3-b')).outcome;
-- the amount 0 is payable
SELECT (payguard.create_order('once-0', 0, 'EUR')).amount;
SELECT outcome, amount FROM payguard.pay_order('once-0', 'once-0');

-- The index holds it without any function: as the owner of the tables, by hand.
RESET SESSION AUTHORIZATION;
BEGIN;
INSERT INTO payguard.payments
SELECT gen_random_uuid(), order_id, 'once-by-hand', 'internal', amount, currency, amount, currency, true, 'succeeded', NULL, NULL,
       NULL, NULL, 2, 'pay', NULL, now(), NULL, now()
FROM payguard.orders WHERE order_id = 'once-1'; -- fails
ROLLBACK;
BEGIN;
SET LOCAL session_replication_role = replica;
INSERT INTO payguard.payments
SELECT gen_random_uuid(), order_id, NULL, 'internal', amount, currency, NULL, NULL, true, 'a state of tomorrow', NULL, NULL,
       NULL, NULL, 2, 'pay', NULL, now(), NULL, NULL
FROM payguard.orders WHERE order_id = 'once-1'; -- fails
ROLLBACK;
-- and at any isolation level
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT (payguard.pay_order('once-4', 'once-4-a')).outcome;
SELECT (payguard.try_pay_order('once-4', 'once-4-b')).outcome;
COMMIT;
SELECT * FROM payguard.verify();
SELECT payguard.revoke_access('regress_pay_once', access) FROM unnest('{checkout,cashier,auditor}'::text[]) access;
DROP ROLE regress_pay_once;
