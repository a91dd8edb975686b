-- What is rolled back never was: the key is free again. A prepared transaction holds its answer.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_savepoint;
SELECT payguard.grant_access('regress_savepoint', access) FROM unnest('{checkout,cashier,auditor}'::text[]) access;
SET SESSION AUTHORIZATION regress_savepoint;
SELECT (payguard.create_order('savepoint-' || n, n, 'EUR')).version FROM generate_series(1, 4) n;
BEGIN;
SAVEPOINT a;
SELECT outcome, replayed FROM payguard.pay_order('savepoint-1', 'savepoint-key');
SELECT outcome, replayed FROM payguard.pay_order('savepoint-1', 'savepoint-key');
ROLLBACK TO a;
SELECT status, version FROM payguard.orders WHERE order_id = 'savepoint-1';
SELECT outcome, replayed FROM payguard.pay_order('savepoint-2', 'savepoint-key');
SELECT (payguard.pay_order('savepoint-2', 'savepoint-other')).outcome; -- fails
ROLLBACK TO a;
SELECT outcome, replayed, version FROM payguard.pay_order('savepoint-1', 'savepoint-key');
RELEASE a;
COMMIT;
SELECT outcome, replayed FROM payguard.pay_order('savepoint-1', 'savepoint-key');
-- an error that PL/pgSQL catches
DO $$
BEGIN
  PERFORM payguard.pay_order('savepoint-2', 'savepoint-2');
  RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN
  PERFORM payguard.pay_order('savepoint-2', 'savepoint-2-again');
END
$$;
SELECT idempotency_key FROM payguard.payments WHERE order_id = 'savepoint-2';
-- two-phase commit
BEGIN;
SELECT outcome FROM payguard.pay_order('savepoint-3', 'savepoint-3');
PREPARE TRANSACTION 'regress_payguard';
SET lock_timeout = '50 ms';
SELECT payguard.pay_order('savepoint-3', 'savepoint-3'); -- fails: nobody knows yet
SELECT payguard.pay_order('savepoint-4', 'savepoint-3'); -- fails: nobody knows yet
SELECT (payguard.order_status('savepoint-3')).status;
ROLLBACK PREPARED 'regress_payguard';
SELECT outcome, replayed FROM payguard.pay_order('savepoint-4', 'savepoint-3');
BEGIN;
SELECT outcome FROM payguard.pay_order('savepoint-3', 'savepoint-3-b');
PREPARE TRANSACTION 'regress_payguard';
COMMIT PREPARED 'regress_payguard';
SELECT outcome, replayed FROM payguard.pay_order('savepoint-3', 'savepoint-3-b');
RESET lock_timeout;
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
SELECT payguard.revoke_access('regress_savepoint', access) FROM unnest('{checkout,cashier,auditor}'::text[]) access;
DROP ROLE regress_savepoint;
