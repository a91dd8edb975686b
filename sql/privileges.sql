-- Nothing is granted to PUBLIC but two trigger functions; each access lets a role call its own functions and no other.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_nobody;
CREATE ROLE regress_channel;
CREATE ROLE regress_checkout;
CREATE ROLE regress_cashier;
CREATE ROLE regress_support;
CREATE ROLE regress_refunds;
CREATE ROLE regress_operator;
CREATE ROLE regress_admin;
CREATE ROLE regress_auditor;
CREATE ROLE regress_consumer;
CREATE ROLE regress_owner;
CREATE ROLE regress_delegate;
SELECT payguard.grant_access(('regress_' || access)::name, access) FROM unnest('{channel,checkout,cashier,support,refunds,operator,admin,consumer,auditor,owner,delegate}'::text[]) access;
SELECT * FROM payguard.role_access() WHERE role::text LIKE 'regress\_%' ORDER BY 1;
SELECT (payguard.create_order('privileges-1', 1, 'EUR')).version;
-- nothing for PUBLIC: functions (but the guards' trigger functions, for those who add a partition), tables, sequences, the schema
SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'payguard'::regnamespace AND has_function_privilege('regress_nobody', p.oid, 'EXECUTE') ORDER BY p.proname;
SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'payguard'::regnamespace AND c.relkind IN ('r', 'v')
  AND has_table_privilege('regress_nobody', c.oid, 'SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER');
SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'payguard'::regnamespace
  AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege('regress_nobody', c.oid, 'SELECT,USAGE,UPDATE') END;
SELECT has_schema_privilege('regress_nobody', 'payguard', 'USAGE,CREATE') AS nobody, has_schema_privilege('regress_cashier', 'payguard', 'CREATE') AS cashier;
-- who may call what
SELECT p.oid::regprocedure AS function, string_agg(substr(r.rolname, 9), ' ' ORDER BY r.rolname) AS roles
FROM pg_proc p, pg_roles r
WHERE p.pronamespace = 'payguard'::regnamespace AND r.rolname LIKE 'regress\_%' AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
GROUP BY 1 ORDER BY p.oid::regprocedure::text COLLATE "C";
-- who may do what with a table: read, and auditors alone
SELECT r.rolname, c.relname, privilege FROM pg_roles r, pg_class c, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) privilege
WHERE c.relnamespace = 'payguard'::regnamespace AND c.relkind IN ('r', 'v') AND r.rolname LIKE 'regress\_%' AND has_table_privilege(r.oid, c.oid, privilege)
ORDER BY 1, 2, 3;
-- the same by calls
SET SESSION AUTHORIZATION regress_nobody;
SELECT pg_temp.answer($$SELECT payguard.order_status('privileges-1')$$);
SELECT pg_temp.answer($$SELECT count(*) FROM payguard.orders$$);
-- DDL of somebody who has nothing is judged all the same, and goes on
CREATE TEMP TABLE regress_own (a int);
ALTER TABLE regress_own ADD b int;
CREATE TEMP VIEW regress_own_view AS SELECT a FROM regress_own;
DROP TABLE regress_own CASCADE;
SET SESSION AUTHORIZATION regress_checkout;
SELECT pg_temp.answer($$SELECT outcome FROM payguard.pay_order('privileges-1', 'privileges-1')$$);
SELECT pg_temp.answer($$SELECT outcome FROM payguard.pay_orders('{}')$$);
SELECT pg_temp.answer($$SELECT count(*) FROM payguard.orders$$);
SELECT pg_temp.answer($$INSERT INTO payguard.orders VALUES ('x')$$);
SELECT pg_temp.answer($$SELECT status FROM payguard.cancel_order('privileges-1', 7)$$);
SET SESSION AUTHORIZATION regress_cashier;
SELECT pg_temp.answer($$SELECT payguard.create_order('privileges-2', 1, 'EUR')$$);
SELECT pg_temp.answer($$SELECT outcome FROM payguard.pay_order('privileges-1', 'privileges-1')$$);
SET SESSION AUTHORIZATION regress_auditor;
SELECT pg_temp.answer($$SELECT status FROM payguard.orders WHERE order_id = 'privileges-1'$$);
SELECT pg_temp.answer($$UPDATE payguard.orders SET status = 'unpaid'$$);
SELECT pg_temp.answer($$SELECT 1 FROM payguard.orders FOR UPDATE$$);
SELECT pg_temp.answer($$SELECT nextval('payguard.events_event_id_seq')$$);
SELECT pg_temp.answer($$SELECT payguard.grant_access('regress_auditor', 'cashier')$$);
SELECT count(*) FROM payguard.verify();
RESET SESSION AUTHORIZATION;
-- dead tasks: for those who end them, and those who look
SELECT r.rolname FROM pg_roles r WHERE r.rolname LIKE 'regress\_%' AND has_table_privilege(r.oid, 'payguard.dead_tasks', 'SELECT') ORDER BY 1;
-- who must not touch the queue
SET SESSION AUTHORIZATION regress_checkout;
SELECT pg_temp.answer($$SELECT payguard.claim_tasks('w')$$);
SELECT pg_temp.answer($$SELECT payguard.complete_task(1, gen_random_uuid(), 'succeeded')$$);
SELECT pg_temp.answer($$CALL payguard.run_tasks()$$);
SELECT pg_temp.answer($$SELECT payguard.requeue_task(1)$$);
SELECT pg_temp.answer($$SELECT * FROM payguard.dead_tasks$$);
RESET SESSION AUTHORIZATION;
-- revoking one access leaves what the others need
SELECT payguard.grant_access('regress_checkout', 'auditor'), payguard.grant_access('regress_checkout', 'operator');
SELECT payguard.revoke_access('regress_checkout', 'checkout');
SELECT access FROM payguard.role_access() WHERE role = 'regress_checkout' ORDER BY 1;
SELECT has_function_privilege('regress_checkout', 'payguard.order_status(text)', 'EXECUTE') AS status,
  has_function_privilege('regress_checkout', 'payguard.create_order(text,bigint,text,text,timestamptz)', 'EXECUTE') AS create_order,
  has_table_privilege('regress_checkout', 'payguard.orders', 'SELECT') AS read;
SELECT payguard.revoke_access('regress_checkout', 'auditor');
SELECT has_function_privilege('regress_checkout', 'payguard.order_timeline(text)', 'EXECUTE') AS timeline,
  has_table_privilege('regress_checkout', 'payguard.orders', 'SELECT') AS read, has_schema_privilege('regress_checkout', 'payguard', 'USAGE') AS usage;
SELECT payguard.revoke_access('regress_checkout', 'operator');
SELECT has_schema_privilege('regress_checkout', 'payguard', 'USAGE') AS usage;
SELECT payguard.revoke_access('regress_checkout', 'operator');
-- an admin is an operator by that alone: taking either of the two leaves nothing of both
SELECT payguard.grant_access('regress_checkout', 'operator'), payguard.grant_access('regress_checkout', 'admin');
SELECT access FROM payguard.role_access() WHERE role = 'regress_checkout' ORDER BY 1;
SELECT payguard.revoke_access('regress_checkout', 'operator');
SELECT has_schema_privilege('regress_checkout', 'payguard', 'USAGE') AS usage;
SELECT payguard.grant_access('regress_checkout', 'operator'), payguard.grant_access('regress_checkout', 'admin');
SELECT payguard.revoke_access('regress_checkout', 'admin');
SELECT has_schema_privilege('regress_checkout', 'payguard', 'USAGE') AS usage;
-- who was an operator before 1.2.0 keeps what he had; who is one now does not become an admin
SELECT payguard.grant_access('regress_checkout', 'operator');
SELECT payguard.grant_access('regress_nobody', access) FROM unnest('{admin,refunds}'::text[]) access;
GRANT regress_nobody TO regress_checkout; -- what is inherited makes nobody an admin of his own
SELECT payguard.renew_access() > 0 AS renewed;
SELECT access FROM payguard.role_access() WHERE role = 'regress_checkout' ORDER BY 1;
REVOKE regress_nobody FROM regress_checkout;
SELECT payguard.revoke_access('regress_nobody', access) FROM unnest('{admin,refunds}'::text[]) access;
GRANT EXECUTE ON FUNCTION payguard.register_channel(text, boolean, text, interval, interval, interval, interval, text, boolean),
  payguard.set_policy(text, bigint, boolean, boolean, boolean, interval, text), payguard.refund_order(text, text, bigint, text, jsonb),
  payguard.refund_payment(uuid, text, bigint, text, jsonb) TO regress_checkout;
SELECT payguard.renew_access() > 0 AS renewed;
SELECT access FROM payguard.role_access() WHERE role = 'regress_checkout' ORDER BY 1;
SELECT payguard.revoke_access('regress_checkout', access) FROM unnest('{admin,refunds}'::text[]) access;
SELECT has_schema_privilege('regress_checkout', 'payguard', 'USAGE') AS usage;
-- who acts: the session's user, also behind SET ROLE; a delegate names another
SELECT payguard.grant_access('regress_cashier', 'checkout'), payguard.grant_access('regress_delegate', 'checkout');
SET SESSION AUTHORIZATION regress_cashier;
SELECT (payguard.create_order('privileges-3', 1, 'EUR')).version;
SET payguard.actor = 'someone else';
SELECT pg_temp.answer($$SELECT payguard.create_order('privileges-4', 1, 'EUR')$$);
SELECT pg_temp.answer($$SELECT outcome FROM payguard.pay_order('privileges-3', 'privileges-3')$$);
RESET payguard.actor;
SET SESSION AUTHORIZATION regress_delegate;
BEGIN;
SET LOCAL payguard.actor = 'shop user 7';
SELECT (payguard.create_order('privileges-4', 1, 'EUR')).version;
SELECT payguard.current_actor();
COMMIT;
SELECT payguard.current_actor();
SET payguard.actor = E'two\nlines';
SELECT pg_temp.answer($$SELECT payguard.create_order('privileges-5', 1, 'EUR')$$);
RESET payguard.actor;
RESET SESSION AUTHORIZATION;
SET ROLE regress_cashier;
SELECT (payguard.create_order('privileges-6', 1, 'EUR')).version;
RESET ROLE;
SELECT order_id, CASE actor WHEN session_user THEN 'the session''s user' ELSE actor END AS actor FROM payguard.events WHERE order_id LIKE 'privileges-%' AND kind = 'order.created' ORDER BY 1;
-- A hostile schema first on the search_path: operators, functions and tables with our names.
CREATE SCHEMA regress_hostile;
GRANT USAGE ON SCHEMA regress_hostile TO PUBLIC;
CREATE TABLE regress_hostile.caught (what text);
GRANT INSERT ON regress_hostile.caught TO PUBLIC;
CREATE FUNCTION regress_hostile.equal(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO regress_hostile.caught VALUES ('text ='); RETURN true; END $$;
CREATE OPERATOR regress_hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_hostile.equal);
CREATE OPERATOR regress_hostile.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_hostile.equal);
CREATE OPERATOR regress_hostile.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_hostile.equal);
CREATE FUNCTION regress_hostile.equal(uuid, uuid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO regress_hostile.caught VALUES ('uuid ='); RETURN true; END $$;
CREATE OPERATOR regress_hostile.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = regress_hostile.equal);
CREATE FUNCTION regress_hostile.nextval(regclass) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN INSERT INTO regress_hostile.caught VALUES ('nextval'); RETURN 1; END $$;
CREATE FUNCTION regress_hostile.count("any") RETURNS bigint LANGUAGE internal AS 'int8_avg';
CREATE FUNCTION regress_hostile.format(text, VARIADIC "any") RETURNS text LANGUAGE internal AS 'text_format';
CREATE FUNCTION regress_hostile.concat(text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO regress_hostile.caught VALUES ('concat'); RETURN 'x'; END $$;
CREATE FUNCTION regress_hostile.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN INSERT INTO regress_hostile.caught VALUES ('clock'); RETURN '2001-01-01'; END $$;
CREATE TABLE regress_hostile.orders (order_id text);
CREATE TABLE regress_hostile.pg_class (oid oid);
SELECT count(payguard.grant_access('regress_cashier', access)) FROM unnest('{auditor,admin,refunds}'::text[]) access;
SET SESSION AUTHORIZATION regress_cashier;
CREATE TEMP TABLE orders (order_id text);
CREATE TEMP TABLE pg_trigger (oid oid);
-- a new session would plan anew; so does this
DISCARD PLANS;
SET search_path = regress_hostile, pg_temp, pg_catalog, payguard;
SELECT (payguard.create_order('privileges-7', 1, 'EUR')).version;
SELECT (payguard.update_order('privileges-7', 1, 2)).version;
SELECT outcome FROM payguard.try_pay_order('privileges-7', 'privileges-7');
SELECT outcome FROM payguard.pay_orders(ARRAY[('privileges-7', 'privileges-7', NULL, NULL, NULL, NULL)]::payguard.pay_request[]);
SELECT (payguard.revoke_key('privileges-7', 'privileges-7-revoked')).outcome;
SELECT (payguard.register_channel('privileges')).internal;
SELECT (payguard.order_status('privileges-7')).advice;
SELECT kind FROM payguard.order_timeline('privileges-7');
SELECT * FROM payguard.verify();
SELECT count(*) IS NOT NULL AS listed FROM payguard.not_in_dumps();
RESET search_path;
RESET SESSION AUTHORIZATION;
SELECT * FROM regress_hostile.caught;
-- the library's plans, made anew with that path
\c -
SET client_min_messages = warning;
SET search_path = regress_hostile, pg_catalog;
SELECT (payguard.create_order('privileges-8', 1, 'EUR')).version;
SELECT (payguard.pay_order('privileges-8', 'privileges-8')).outcome;
SELECT payguard.grant_access('regress_nobody', 'cashier');
SELECT payguard.revoke_access('regress_nobody', 'cashier');
RESET search_path;
SELECT * FROM regress_hostile.caught;
-- every SQL and PL/pgSQL function pins its search_path; a procedure that commits cannot
SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang AND p.prokind = 'f'
WHERE p.pronamespace = 'payguard'::regnamespace AND l.lanname <> 'c' AND NOT coalesce(p.proconfig @> '{"search_path=pg_catalog, pg_temp"}', false);
-- what a function calls with its caller's rights, its caller may call
SELECT a.access, a.function, q.oid::regprocedure AS calls
FROM payguard.access_functions() a JOIN pg_proc p ON p.oid = a.function::regprocedure AND NOT p.prosecdef
JOIN pg_language l ON l.oid = p.prolang AND l.lanname IN ('sql', 'plpgsql')
JOIN pg_proc q ON q.pronamespace = 'payguard'::regnamespace AND p.prosrc ~ ('payguard\.' || q.proname || '\(')
WHERE NOT has_function_privilege('public', q.oid, 'EXECUTE')
  AND NOT EXISTS (SELECT FROM payguard.access_functions() b WHERE b.access = a.access AND b.function::regprocedure = q.oid);
DROP SCHEMA regress_hostile CASCADE;
SELECT payguard.revoke_access(role, access) FROM payguard.role_access() WHERE role::text LIKE 'regress\_%';
DROP ROLE regress_nobody, regress_channel, regress_checkout, regress_cashier, regress_support, regress_refunds, regress_operator, regress_admin, regress_consumer, regress_auditor, regress_owner, regress_delegate;
