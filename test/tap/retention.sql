-- Retention: who may archive orders and erase customers, and who may not, whatever else he may do.
\set ECHO none
\set QUIET on
SET client_min_messages = warning;
BEGIN;
SELECT no_plan();
CREATE ROLE tap_nobody;
SELECT lives_ok(format('CREATE ROLE tap_%1$s; SELECT payguard.grant_access(%2$L, %1$L)', access, 'tap_' || access), access || ' gets his access')
FROM unnest('{checkout,cashier,channel,support,refunds,operator,admin,consumer,auditor,owner,delegate}'::text[]) access;
-- the privileges themselves
SELECT is(has_function_privilege('tap_' || access, p.oid, 'EXECUTE'), access = 'admin' AND p.proname <> 'referenced_orders', access || ': ' || p.proname)
FROM pg_proc p, unnest('{nobody,checkout,cashier,channel,support,refunds,operator,admin,consumer,auditor,owner,delegate}'::text[]) access
WHERE p.pronamespace = 'payguard'::regnamespace AND p.proname IN ('archive_orders', 'erase_customer', 'referenced_orders') ORDER BY p.proname, access;
SELECT is(has_table_privilege('tap_' || access, c.oid, 'SELECT'), access = 'auditor', access || ' and reading ' || c.relname)
FROM pg_class c, unnest('{nobody,checkout,cashier,channel,support,refunds,operator,admin,consumer,auditor,owner,delegate}'::text[]) access
WHERE c.relnamespace = 'payguard'::regnamespace AND c.relkind IN ('r', 'v') AND c.relname ~ '^(archive|every_)' ORDER BY c.relname, access;
SELECT ok(NOT has_table_privilege('tap_' || access, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER'), access || ' does not write ' || c.relname)
FROM pg_class c, unnest('{nobody,checkout,cashier,channel,support,refunds,operator,admin,consumer,auditor,owner,delegate}'::text[]) access
WHERE c.relnamespace = 'payguard'::regnamespace AND c.relkind IN ('r', 'v') AND c.relname ~ '^(archive|every_)' ORDER BY c.relname, access;
-- by calls; SET SESSION AUTHORIZATION, since it is the session's user that counts
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
SELECT is(pg_temp.as_role('tap_' || access, call), CASE access WHEN 'admin' THEN '0' ELSE '42501' END, access || ': ' || call)
FROM unnest('{nobody,checkout,cashier,channel,support,refunds,operator,admin,consumer,auditor,owner,delegate}'::text[]) access,
  unnest('{SELECT payguard.archive_orders(now()),SELECT payguard.erase_customer($$tap-nobody$$)}'::text[]) call;
SELECT lives_ok($$SELECT payguard.create_order('tap-retention', 100, 'EUR', 'tap-person')$$, 'an order');
SELECT lives_ok($$SELECT payguard.cancel_order('tap-retention')$$, 'it is cancelled');
SELECT is(pg_temp.as_role('tap_admin', $$SELECT payguard.erase_customer('tap-person')$$), '1', 'an admin erases its customer');
SELECT is((SELECT actor FROM payguard.events WHERE order_id = 'tap-retention' AND kind = 'order.erased'), 'tap_admin', 'and the event names him');
SELECT is(pg_temp.as_role('tap_auditor', $$SELECT count(*) FROM payguard.every_order WHERE order_id = 'tap-retention'$$), '1', 'an auditor sees it');
SELECT throws_ok(format('%s payguard.%I', verb, name), 'PY901', NULL, verb || ' ' || name || ', as a superuser')
FROM unnest('{DELETE FROM,TRUNCATE}'::text[]) verb, payguard.own_tables() name WHERE name ~ '^archive';
SELECT is_empty($$SELECT * FROM payguard.verify()$$, 'the database is sound');
SELECT * FROM finish();
ROLLBACK;
