-- Requests are refused in a read-only transaction, whatever they would answer; reports are not.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_read_only;
SELECT payguard.grant_access('regress_read_only', access) FROM unnest('{checkout,cashier,admin,refunds,auditor}'::text[]) access;
SET SESSION AUTHORIZATION regress_read_only;
SELECT (payguard.create_order('read-only', 1, 'EUR')).version;
SELECT (payguard.pay_order('read-only', 'read-only')).outcome;
BEGIN READ ONLY;
SELECT pg_temp.answer(call) FROM (VALUES
  ($$SELECT payguard.pay_order('read-only', 'read-only')$$), ($$SELECT payguard.try_pay_order('read-only', 'read-only')$$),
  ($$SELECT payguard.try_start_payment('read-only', 'read-only', 'card')$$), ($$SELECT payguard.try_request_payment('read-only', 'read-only', 'card')$$),
  ($$SELECT payguard.pay_orders('{}')$$), ($$SELECT payguard.revoke_key('read-only', 'read-only')$$),
  ($$SELECT payguard.create_order('read-only', 1, 'EUR')$$), ($$SELECT payguard.update_order('read-only', 2)$$),
  ($$SELECT payguard.cancel_order('read-only')$$), ($$SELECT payguard.register_channel('read-only')$$)) c (call);
SELECT (payguard.order_status('read-only')).advice;
SELECT kind FROM payguard.order_timeline('read-only');
SELECT length(payguard.new_order_id());
SELECT * FROM payguard.verify();
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT payguard.revoke_access('regress_read_only', access) FROM unnest('{checkout,cashier,admin,refunds,auditor}'::text[]) access;
DROP ROLE regress_read_only;
