-- The same call again gets the first answer and writes nothing; so does a refusal.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_replay;
SELECT payguard.grant_access('regress_replay', access) FROM unnest('{checkout,cashier}'::text[]) access;
SET SESSION AUTHORIZATION regress_replay;
SELECT (payguard.create_order('replay-1', 100, 'EUR')).version;
SELECT (payguard.create_order('replay-2', 200, 'EUR')).version;
SELECT payment_id, completed_at, version FROM payguard.pay_order('replay-1', 'replay-key', 100, 'EUR') \gset first_
SELECT pg_temp.written() AS before \gset
-- each is a transaction of its own, which never gets an xid
BEGIN;
SELECT outcome, order_status, payment_status, version, amount, currency, replayed, message,
       payment_id = :'first_payment_id' AS same_id, completed_at = :'first_completed_at' AS same_time
FROM payguard.pay_order('replay-1', 'replay-key', 100, 'EUR');
SELECT pg_current_xact_id_if_assigned();
COMMIT;
BEGIN;
-- NULL means the order's amount and currency; a version is a precondition, and not compared
SELECT outcome, replayed FROM payguard.pay_order('replay-1', 'replay-key');
SELECT outcome, replayed FROM payguard.try_pay_order('replay-1', 'replay-key', expected_version := 77);
SELECT outcome, replayed FROM payguard.pay_orders(ARRAY[('replay-1', 'replay-key', NULL, NULL, NULL, NULL),
  ('replay-1', 'replay-key', 100, 'EUR', 1, 'internal')]::payguard.pay_request[]);
SELECT outcome, replayed FROM payguard.revoke_key('replay-1', 'replay-key');
SELECT status, version FROM payguard.create_order('replay-1', 100, 'EUR');
SELECT pg_current_xact_id_if_assigned();
COMMIT;
-- refusals, returned
BEGIN;
SELECT outcome, replayed FROM payguard.try_pay_order('replay-1', 'replay-other');
SELECT outcome, replayed FROM payguard.try_pay_order('replay-1', 'replay-key', 99);
SELECT outcome, replayed FROM payguard.try_pay_order('replay-none', 'replay-none');
SELECT outcome, replayed FROM payguard.try_pay_order('replay-2', 'replay-2', expected_version := 2);
SELECT outcome, replayed FROM payguard.try_pay_order('replay-2', 'replay-2', 201);
SELECT outcome, replayed FROM payguard.try_pay_order('replay-2', 'replay-2', 200, 'USD');
SELECT outcome, replayed FROM payguard.try_pay_order('replay-2', 'replay-2', channel := 'none');
SELECT pg_current_xact_id_if_assigned();
COMMIT;
SELECT pg_temp.written() = :'before' AS nothing_written;
-- and raised: the key is not consumed
SELECT (payguard.pay_order('replay-2', 'replay-2', 201)).outcome; -- fails
SELECT outcome, replayed FROM payguard.pay_order('replay-2', 'replay-2', 200);
-- the statuses are those of now, version and time those of then
SELECT (payguard.create_order('replay-3', 300, 'EUR')).version;
SELECT (payguard.update_order('replay-3', 1, amount := 301)).version;
SELECT version FROM payguard.pay_order('replay-3', 'replay-3');
SELECT version, order_status, replayed FROM payguard.pay_order('replay-3', 'replay-3');
-- as a prepared statement, with its plan cached
PREPARE pay AS SELECT outcome, replayed FROM payguard.pay_order($1, $2);
EXECUTE pay('replay-3', 'replay-3');
EXECUTE pay('replay-3', 'replay-3');
RESET SESSION AUTHORIZATION;
SELECT payguard.revoke_access('regress_replay', access) FROM unnest('{checkout,cashier}'::text[]) access;
DROP ROLE regress_replay;
