-- Four eyes: who may decide, and who may not, whatever else he may do.
\set ECHO none
\set QUIET on
SET client_min_messages = warning;
BEGIN;
CREATE ROLE tap_checkout;
CREATE ROLE tap_cashier;
CREATE ROLE tap_channel;
CREATE ROLE tap_operator;
CREATE ROLE tap_admin;
CREATE ROLE tap_other;
CREATE ROLE tap_pool;
SELECT no_plan();
SELECT lives_ok(format('SELECT payguard.grant_access(%L, %L)', role, access), role || ' gets ' || access)
FROM (VALUES ('tap_checkout', 'checkout'), ('tap_cashier', 'cashier'), ('tap_channel', 'channel'), ('tap_operator', 'operator'), ('tap_operator', 'refunds'), ('tap_admin', 'admin'), ('tap_operator', 'checkout'), ('tap_operator', 'cashier'),
  ('tap_other', 'operator'), ('tap_pool', 'operator'), ('tap_pool', 'checkout'), ('tap_pool', 'delegate')) g (role, access);
-- the privileges themselves: only operators decide, only admins say about what, and nobody writes the decisions
SELECT is(has_function_privilege('tap_' || access, p.oid, 'EXECUTE'), access = 'admin' OR access IN ('operator', 'pool') AND p.proname <> 'set_policy', access || ': ' || p.proname)
FROM pg_proc p, unnest('{checkout,cashier,channel,operator,admin,pool}'::text[]) access
WHERE p.pronamespace = 'payguard'::regnamespace AND p.proname IN ('set_policy', 'approve_order', 'reject_order', 'approve_refund', 'reject_refund', 'reconcile', 'resolve_finding')
ORDER BY p.proname, access;
SELECT ok(NOT has_table_privilege('tap_operator', 'payguard.' || name, 'INSERT, UPDATE, DELETE, TRUNCATE'), 'an operator does not write ' || name)
FROM unnest('{policies,approvals,customers}'::text[]) name;
SELECT ok(has_column_privilege('tap_operator', 'payguard.settlement_lines', 'amount', 'INSERT') AND NOT has_column_privilege('tap_operator', 'payguard.settlement_lines', 'loaded_by', 'INSERT'),
  'an operator loads lines, and does not say who loaded them');
SELECT ok(NOT has_any_column_privilege('tap_' || access, 'payguard.settlement_lines', 'INSERT'), access || ' does not load lines') FROM unnest('{checkout,cashier,channel}'::text[]) access;
-- by calls; SET SESSION AUTHORIZATION, since it is the session's user that counts
SELECT lives_ok($$SELECT payguard.set_policy('XTS', 100, true, true)$$, 'a policy');
SET SESSION AUTHORIZATION tap_operator;
SELECT payguard.create_order('tap-eyes-1', 100, 'XTS') AS made \gset
RESET SESSION AUTHORIZATION;
CREATE FUNCTION pg_temp.as_role(role text, call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
  EXECUTE format('SET LOCAL SESSION AUTHORIZATION %I', role);
  BEGIN
    EXECUTE call INTO answer;
  EXCEPTION WHEN OTHERS THEN
    answer := SQLSTATE;
  END;
  RESET SESSION AUTHORIZATION;
  RETURN answer;
END
$$;
SELECT is(pg_temp.as_role('tap_checkout', $$SELECT (payguard.approve_order('tap-eyes-1', 'x')).status$$), '42501', 'checkout can never approve');
SELECT is(pg_temp.as_role('tap_cashier', $$SELECT (payguard.approve_order('tap-eyes-1', 'x')).status$$), '42501', 'a cashier can never approve');
SELECT is(pg_temp.as_role('tap_channel', $$SELECT (payguard.approve_order('tap-eyes-1', 'x')).status$$), '42501', 'a channel can never approve');
SELECT is(pg_temp.as_role('tap_operator', $$SELECT (payguard.approve_order('tap-eyes-1', 'x')).status$$), 'PY602', 'who asked cannot approve, even as an operator');
SELECT is(pg_temp.as_role('tap_operator', $$SELECT (payguard.reject_order('tap-eyes-1', 'x')).status$$), 'PY602', 'nor reject');
SELECT is(pg_temp.as_role('tap_operator', $$SELECT (payguard.pay_order('tap-eyes-1', 'tap-eyes-1')).outcome$$), 'PY601', 'nor pay');
SELECT is(pg_temp.as_role('tap_other', $$SELECT (payguard.approve_order('tap-eyes-1', 'x')).status$$), 'approved', 'another operator approves');
SELECT is(pg_temp.as_role('tap_cashier', $$SELECT (payguard.pay_order('tap-eyes-1', 'tap-eyes-1')).outcome$$), 'paid', 'then it is paid');
SELECT is(pg_temp.as_role('tap_operator', $$SELECT (payguard.refund_order('tap-eyes-1', 'tap-eyes-1', 100, 'x')).status$$), 'awaiting_approval', 'a refund waits');
SELECT is(pg_temp.as_role(role, format('SELECT (payguard.approve_refund(%L, %L)).status', (SELECT refund_id FROM payguard.refunds WHERE order_id = 'tap-eyes-1'), 'x')), answer, role || ' and the refund')
FROM (VALUES (1, 'tap_cashier', '42501'), (2, 'tap_checkout', '42501'), (3, 'tap_operator', 'PY602'), (4, 'tap_other', 'succeeded')) r (n, role, answer) ORDER BY n;
-- behind a pool
SELECT is(pg_temp.as_role('tap_pool', $$SELECT set_config('payguard.actor', 'anna', true) || (payguard.create_order('tap-eyes-2', 100, 'XTS')).status$$), 'annaunpaid', 'anna makes an order');
SELECT is(pg_temp.as_role('tap_pool', $$SELECT set_config('payguard.actor', 'anna', true) || (payguard.approve_order('tap-eyes-2', 'x')).status$$), 'PY602', 'anna cannot approve it');
SELECT is(pg_temp.as_role('tap_pool', $$SELECT set_config('payguard.actor', 'otto', true) || (payguard.approve_order('tap-eyes-2', 'x')).status$$), 'ottoapproved', 'otto can, over the same connection');
SELECT is(pg_temp.as_role('tap_other', $$SELECT set_config('payguard.actor', 'otto', true) || (payguard.approve_order('tap-eyes-2', 'x')).status$$), '42501', 'who is no delegate cannot act for otto');
SELECT is_empty($$SELECT * FROM payguard.verify()$$, 'the database is sound');
SELECT * FROM finish();
ROLLBACK;
