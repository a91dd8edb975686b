-- payguard's tables are changed by payguard's functions alone, whoever asks and however.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
SELECT (payguard.create_order('protection-' || n, 1, 'EUR')).version FROM generate_series(1, 3) n;
SELECT (payguard.pay_order('protection-1', 'protection-1')).outcome;
SELECT (payguard.register_channel('protection')).internal;
SELECT pg_temp.written() AS before \gset
-- as superuser and owner, with the triggers of ordinary roles at rest too
SELECT pg_temp.answer($$UPDATE payguard.orders SET status = 'unpaid' WHERE order_id = 'protection-1'$$);
SELECT command, pg_temp.answer(command) = replace(replace(pg_temp.answer('UPDATE payguard.orders SET status = status'), 'UPDATE', split_part(verb, ' ', 1)), '"orders"', '"' || split_part(verb, ' ', 2) || '"') AS refused
FROM (VALUES
  ('UPDATE orders', 'UPDATE payguard.orders SET amount = 0'), ('UPDATE orders', 'UPDATE ONLY payguard.orders SET amount = 0 WHERE false'),
  ('DELETE orders', 'DELETE FROM payguard.orders'), ('TRUNCATE orders', 'TRUNCATE payguard.orders CASCADE'),
  ('UPDATE payments', 'UPDATE payguard.payments SET status = $q$failed$q$'), ('DELETE payments', 'DELETE FROM payguard.payments WHERE false'),
  ('TRUNCATE payments', 'TRUNCATE payguard.payments'),
  ('UPDATE events', 'UPDATE payguard.events SET actor = $q$nobody$q$'), ('DELETE events', 'DELETE FROM payguard.events'), ('TRUNCATE events', 'TRUNCATE payguard.events'),
  ('UPDATE channels', 'UPDATE payguard.channels SET internal = true'), ('DELETE channels', 'DELETE FROM payguard.channels'), ('TRUNCATE channels', 'TRUNCATE payguard.channels, payguard.events'),
  ('UPDATE orders', 'WITH w AS (UPDATE payguard.orders SET amount = 0 RETURNING 1) SELECT count(*) FROM w'),
  ('DELETE orders', 'WITH w AS (DELETE FROM payguard.orders RETURNING 1) SELECT count(*) FROM w'),
  ('UPDATE orders', 'MERGE INTO payguard.orders o USING (VALUES ($q$protection-1$q$)) v (id) ON o.order_id = v.id WHEN MATCHED THEN UPDATE SET amount = 0'),
  ('DELETE orders', 'MERGE INTO payguard.orders o USING (VALUES ($q$protection-1$q$)) v (id) ON o.order_id = v.id WHEN MATCHED THEN DELETE'),
  ('UPDATE orders', 'INSERT INTO payguard.orders SELECT * FROM payguard.orders ON CONFLICT (order_id) DO UPDATE SET status = $q$unpaid$q$'),
  ('UPDATE orders', 'EXPLAIN ANALYZE UPDATE payguard.orders SET amount = 0'),
  ('UPDATE orders', 'DO $d$ BEGIN UPDATE payguard.orders SET amount = 0; END $d$')) c (verb, command);
BEGIN;
SET LOCAL session_replication_role = replica;
SELECT pg_temp.answer($$UPDATE payguard.orders SET status = 'unpaid'$$);
SELECT pg_temp.answer($$DELETE FROM payguard.payments$$);
SELECT pg_temp.answer($$TRUNCATE payguard.events$$);
SELECT pg_temp.answer($$DROP TABLE payguard.events$$);
ROLLBACK;
-- the switch is for DDL alone
SET payguard.allow_unsafe_ddl = on;
SELECT pg_temp.answer($$UPDATE payguard.orders SET status = 'unpaid'$$);
RESET payguard.allow_unsafe_ddl;
-- through a view, a function, a cursor, a foreign key
CREATE VIEW regress_view AS SELECT * FROM payguard.orders;
SELECT pg_temp.answer($$UPDATE regress_view SET amount = 0$$);
SELECT pg_temp.answer($$DELETE FROM regress_view$$);
DROP VIEW regress_view;
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM payguard.orders FOR UPDATE;
FETCH FROM c \gset ignored_
UPDATE payguard.orders SET amount = 0 WHERE CURRENT OF c; -- fails
ROLLBACK;
CREATE TABLE regress_parent (order_id text PRIMARY KEY);
SELECT pg_temp.answer($$ALTER TABLE payguard.orders ADD FOREIGN KEY (order_id) REFERENCES regress_parent ON DELETE CASCADE$$);
DROP TABLE regress_parent;
-- a table of the application may reference ours
CREATE TABLE regress_child (order_id text COLLATE "C" REFERENCES payguard.orders);
INSERT INTO regress_child VALUES ('protection-1');
DROP TABLE regress_child;

-- DDL
CREATE ROLE regress_protection SUPERUSER;
CREATE TABLE regress_other (LIKE payguard.orders);
CREATE FUNCTION public.regress_function() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE public.regress_aggregate(int) (SFUNC = int4pl, STYPE = int);
CREATE FOREIGN DATA WRAPPER regress_wrapper;
CREATE SERVER regress_server FOREIGN DATA WRAPPER regress_wrapper;
SELECT command, split_part(pg_temp.answer(command), ' | ', 1) || ' | ' || split_part(pg_temp.answer(command), ' | ', 3) AS answer FROM (VALUES
  ('ALTER TABLE payguard.orders DISABLE TRIGGER payguard_protect'), ('ALTER TABLE payguard.orders DISABLE TRIGGER ALL'),
  ('ALTER TABLE payguard.orders DISABLE TRIGGER USER'), ('ALTER TABLE payguard.orders ENABLE TRIGGER payguard_protect'),
  ('ALTER TABLE payguard.orders ENABLE REPLICA TRIGGER payguard_protect'),
  ('DROP TRIGGER payguard_protect ON payguard.orders'), ('ALTER TRIGGER payguard_protect ON payguard.orders RENAME TO x'),
  ('CREATE OR REPLACE TRIGGER payguard_protect BEFORE UPDATE ON payguard.orders FOR EACH STATEMENT EXECUTE FUNCTION payguard.deny_direct_write()'),
  ('CREATE RULE r AS ON UPDATE TO payguard.orders DO ALSO NOTHING'), ('CREATE RULE r AS ON INSERT TO payguard.events DO INSTEAD NOTHING'),
  ('CREATE TABLE regress_heir () INHERITS (payguard.orders)'), ('ALTER TABLE payguard.orders ADD COLUMN x int'), ('ALTER TABLE payguard.orders DROP COLUMN amount'),
  ('ALTER TABLE payguard.orders RENAME COLUMN amount TO x'), ('ALTER TABLE payguard.orders RENAME TO x'), ('ALTER TABLE payguard.orders SET SCHEMA public'),
  ('ALTER TABLE payguard.orders ALTER amount TYPE numeric'), ('ALTER TABLE payguard.orders ADD CHECK (amount > 0) NOT VALID'), ('ALTER TABLE payguard.orders OWNER TO regress_protection'),
  ('ALTER TABLE payguard.orders SET UNLOGGED'),
  ('ALTER TABLE payguard.orders FORCE ROW LEVEL SECURITY'), ('ALTER TABLE payguard.payments DROP CONSTRAINT payments_pkey'),
  ('DROP INDEX payguard.payments_that_count'), ('DROP INDEX payguard.payments_idempotency_key'), ('ALTER INDEX payguard.payments_that_count RENAME TO x'),
  ('DROP TABLE payguard.orders'), ('DROP TABLE payguard.payments CASCADE'), ('DROP SCHEMA payguard CASCADE'), ('DROP FUNCTION payguard.deny_direct_write() CASCADE'),
  ('DROP FUNCTION payguard.pay_order'), ('DROP EXTENSION payguard'), ('DROP EXTENSION payguard CASCADE'),
  ('ALTER EXTENSION payguard DROP FUNCTION payguard.verify()'),
  ('ALTER EXTENSION payguard DROP TABLE payguard.orders'),
  ('ALTER SCHEMA payguard RENAME TO x'), ('ALTER FUNCTION payguard.pay_order RENAME TO x'), ('ALTER FUNCTION payguard.verify() SECURITY INVOKER'),
  ('ALTER FUNCTION payguard.pay_order SET SCHEMA public'), ('ALTER FUNCTION payguard.deny_direct_write() OWNER TO regress_protection'),
  ('ALTER FUNCTION payguard.verify() OWNER TO regress_protection'), ('ALTER SCHEMA payguard OWNER TO regress_protection'),
  ('ALTER SEQUENCE payguard.events_event_id_seq OWNER TO regress_protection'), ('ALTER TYPE payguard.payment_result OWNER TO regress_protection'),
  ('ALTER TABLE payguard.orders INHERIT regress_other'), ('ALTER TABLE regress_other INHERIT payguard.orders'),
  ('ALTER TABLE payguard.orders RENAME CONSTRAINT orders_pkey TO x'), ('ALTER SEQUENCE payguard.events_event_id_seq OWNED BY NONE'),
  ('CREATE OR REPLACE FUNCTION payguard.verify() RETURNS TABLE (invariant text, object text, problem text) LANGUAGE sql AS $q$ SELECT NULL::text, NULL::text, NULL::text WHERE false $q$'),
  ('CREATE FUNCTION payguard.pay_order(text, text) RETURNS text LANGUAGE sql AS $q$ SELECT $q2$paid$q2$ $q$'),
  ('ALTER SEQUENCE payguard.events_event_id_seq RESTART 1'), ('ALTER SEQUENCE payguard.events_event_id_seq CYCLE'), ('DROP SEQUENCE payguard.events_event_id_seq CASCADE'),
  ('ALTER TYPE payguard.payment_result ADD ATTRIBUTE x int'), ('ALTER TYPE payguard.payment_result RENAME TO x'), ('DROP TYPE payguard.payment_result'),
  ('REASSIGN OWNED BY CURRENT_USER TO regress_protection'), ('DROP OWNED BY CURRENT_USER'),
  ('DROP EVENT TRIGGER payguard_ddl_start'),
  ('DROP INDEX CONCURRENTLY payguard.payments_that_count'), ('DROP EXTENSION plpgsql CASCADE'), ('DROP EXTENSION IF EXISTS regress_none, plpgsql CASCADE'), ('DROP EXTENSION plpgsql'), ('DROP LANGUAGE plpgsql CASCADE'),
  ('ALTER FUNCTION payguard.verify() DEPENDS ON EXTENSION plpgsql'), ('ALTER TRIGGER payguard_protect ON payguard.orders DEPENDS ON EXTENSION plpgsql'),
  ('ALTER INDEX payguard.payments_that_count DEPENDS ON EXTENSION plpgsql'), ('ALTER PROCEDURE payguard.run_tasks DEPENDS ON EXTENSION plpgsql'),
  ('ALTER FOREIGN TABLE payguard.orders RENAME COLUMN amount TO x'), ('ALTER MATERIALIZED VIEW payguard.orders RENAME COLUMN amount TO x'), ('ALTER VIEW payguard.orders RENAME COLUMN amount TO x'),
  ('ALTER FOREIGN TABLE payguard.orders RENAME TO x'), ('ALTER PROCEDURE payguard.run_tasks SECURITY DEFINER'), ('ALTER ROUTINE payguard.verify() SECURITY INVOKER'),
  ('CREATE SCHEMA regress_schema CREATE TABLE heir () INHERITS (payguard.orders)'), ('CREATE FOREIGN TABLE heir () INHERITS (payguard.orders) SERVER regress_server'),
  ('CREATE TABLE payguard.regress (a int)'), ('CREATE TABLE payguard.regress AS SELECT 1 AS a'), ('SELECT 1 AS a INTO payguard.regress'), ('CREATE VIEW payguard.regress AS SELECT 1 AS a'),
  ('CREATE MATERIALIZED VIEW payguard.regress AS SELECT 1 AS a'), ('CREATE AGGREGATE payguard.regress(int) (SFUNC = int4pl, STYPE = int)'),
  ('ALTER FUNCTION public.regress_function() SET SCHEMA payguard'), ('ALTER TABLE regress_other SET SCHEMA payguard'), ('ALTER AGGREGATE public.regress_aggregate(int) SET SCHEMA payguard')
  ) c (command);
-- a trigger that calls their function wrongly raises
INSERT INTO regress_other SELECT * FROM payguard.orders LIMIT 1;
SELECT timing || ' ' || level AS made, pg_temp.answer(format('CREATE TRIGGER t %s ON regress_other FOR EACH %s EXECUTE FUNCTION payguard.deny_direct_write()', timing, level)), pg_temp.answer(statement), pg_temp.answer('DROP TRIGGER t ON regress_other')
FROM (VALUES ('AFTER DELETE', 'STATEMENT', 'DELETE FROM regress_other'), ('BEFORE DELETE', 'ROW', 'DELETE FROM regress_other'), ('BEFORE INSERT', 'STATEMENT', 'INSERT INTO regress_other SELECT * FROM regress_other')) c (timing, level, statement);
SELECT pg_temp.answer($$SELECT payguard.deny_direct_write()$$), pg_temp.answer($$SELECT payguard.check_ddl_start()$$), pg_temp.answer($$SELECT payguard.check_ddl_end()$$);
DROP TABLE regress_other;
DROP FUNCTION public.regress_function();
DROP AGGREGATE public.regress_aggregate(int);
DROP FOREIGN DATA WRAPPER regress_wrapper CASCADE;
-- a guard that is broken already allows no other to be broken, nor itself once it is whole
SET payguard.allow_unsafe_ddl = on;
ALTER TABLE payguard.alerts DISABLE TRIGGER payguard_protect;
RESET payguard.allow_unsafe_ddl;
SELECT pg_temp.answer($$DO $d$ BEGIN ALTER TABLE payguard.alerts ENABLE ALWAYS TRIGGER payguard_protect; ALTER TABLE payguard.orders DISABLE TRIGGER payguard_protect; END $d$ $$);
SELECT pg_temp.answer($$DO $d$ BEGIN ALTER TABLE payguard.alerts ENABLE ALWAYS TRIGGER payguard_protect; ALTER TABLE payguard.alerts DISABLE TRIGGER payguard_protect; END $d$ $$);
ALTER TABLE payguard.alerts ENABLE ALWAYS TRIGGER payguard_protect;
SET quote_all_identifiers = on;
SELECT pg_temp.answer($$ALTER TABLE payguard.orders DISABLE TRIGGER payguard_protect$$);
RESET quote_all_identifiers;
-- "$user" is the caller, who owns a schema of that name
CREATE SCHEMA regress_protection AUTHORIZATION regress_protection;
SET ROLE regress_protection;
SET search_path = "$user", payguard;
CREATE TABLE regress_protection.orders (a int);
ALTER TABLE orders ADD b int;
DROP TABLE orders;
SELECT pg_temp.answer($$ALTER TABLE orders ADD b int$$);
RESET search_path;
RESET ROLE;
DROP SCHEMA regress_protection;
DROP ROLE regress_protection;
-- what a DBA may do
SET client_min_messages = error;
BEGIN;
ALTER TABLE payguard.orders SET (fillfactor = 70, autovacuum_vacuum_threshold = 100);
ALTER TABLE payguard.orders ALTER customer_id SET STATISTICS 500;
ALTER TABLE payguard.orders REPLICA IDENTITY FULL;
CREATE INDEX regress_index ON payguard.orders (customer_id);
DROP INDEX payguard.payments_that_do_not_count;
REINDEX INDEX payguard.payments_that_count;
CREATE PUBLICATION regress_publication FOR TABLE payguard.orders;
CREATE TABLE regress_table (a int);
ALTER TABLE regress_table ADD b int;
DROP TABLE regress_table;
CREATE SCHEMA regress_schema CREATE TABLE regress_table (a int) CREATE VIEW regress_view AS SELECT * FROM regress_table;
CREATE PROCEDURE regress_schema.regress_procedure() LANGUAGE sql AS '';
ALTER PROCEDURE regress_schema.regress_procedure() SECURITY DEFINER;
ALTER ROUTINE regress_schema.regress_procedure() SECURITY INVOKER;
ALTER PROCEDURE regress_schema.regress_procedure() DEPENDS ON EXTENSION plpgsql;
DROP SCHEMA regress_schema CASCADE;
CREATE STATISTICS regress_statistics ON customer_id, currency FROM payguard.orders;
GRANT SELECT ON payguard.orders TO pg_monitor;
COMMENT ON TABLE payguard.orders IS 'ours';
ROLLBACK;
SET client_min_messages = warning;
CREATE INDEX regress_index ON payguard.orders (customer_id);
DROP INDEX CONCURRENTLY payguard.regress_index;
-- none of these did anything
SELECT pg_temp.written() = :'before' AS nothing_written;
SELECT * FROM payguard.verify();
-- only a superuser may use the way out
CREATE ROLE regress_protection;
SET ROLE regress_protection;
SET payguard.allow_unsafe_ddl = on; -- fails
RESET ROLE;
DROP ROLE regress_protection;
BEGIN;
SET LOCAL payguard.allow_unsafe_ddl = on;
DROP TRIGGER payguard_protect ON payguard.orders;
SELECT guard, problem FROM payguard.broken_guards();
ROLLBACK;

-- A user's triggers on our tables fire, and cannot write to them.
CREATE TABLE regress_seen (trigger text, operation text, order_id text, answer text);
CREATE FUNCTION regress_see() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  answer text := 'written';
BEGIN
  IF pg_trigger_depth() > 1 THEN
    RETURN NEW;
  END IF;
  BEGIN
    EXECUTE TG_ARGV[0];
  EXCEPTION WHEN OTHERS THEN
    answer := SQLSTATE;
  END;
  INSERT INTO regress_seen VALUES (TG_NAME, TG_OP, NEW.order_id, answer);
  RETURN NEW;
END
$$;
CREATE TRIGGER a_before BEFORE UPDATE ON payguard.orders FOR EACH ROW EXECUTE FUNCTION regress_see('UPDATE payguard.orders SET amount = 0');
CREATE TRIGGER b_before BEFORE INSERT ON payguard.payments FOR EACH ROW EXECUTE FUNCTION regress_see('UPDATE payguard.orders SET amount = 0');
CREATE TRIGGER c_after AFTER UPDATE ON payguard.orders FOR EACH ROW EXECUTE FUNCTION regress_see('UPDATE payguard.payments SET amount = 0');
CREATE TRIGGER d_after AFTER INSERT ON payguard.events FOR EACH ROW EXECUTE FUNCTION regress_see('DELETE FROM payguard.events');
SELECT (payguard.pay_order('protection-2', 'protection-2')).outcome;
SELECT * FROM regress_seen ORDER BY 1, 2;
SELECT amount, status, version FROM payguard.orders WHERE order_id = 'protection-2';
DROP TRIGGER a_before ON payguard.orders;
DROP TRIGGER b_before ON payguard.payments;
DROP TRIGGER c_after ON payguard.orders;
DROP TRIGGER d_after ON payguard.events;
-- nor can a statement trigger that fires before ours, while our own statement is announced
CREATE FUNCTION regress_sneak() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF pg_trigger_depth() = 1 THEN
    UPDATE payguard.orders SET amount = 0 WHERE order_id = 'protection-3';
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER a_sneak BEFORE UPDATE ON payguard.orders FOR EACH STATEMENT EXECUTE FUNCTION regress_sneak();
SELECT pg_temp.answer($$SELECT outcome FROM payguard.pay_order('protection-3', 'protection-3')$$);
SELECT pg_temp.answer($$UPDATE payguard.orders SET amount = 0$$);
DROP TRIGGER a_sneak ON payguard.orders;
-- an error in a trigger leaves no permission behind
CREATE FUNCTION regress_fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE division_by_zero; END $$;
CREATE TRIGGER a_fail BEFORE UPDATE ON payguard.orders FOR EACH STATEMENT EXECUTE FUNCTION regress_fail();
SELECT pg_temp.answer($$SELECT outcome FROM payguard.pay_order('protection-3', 'protection-3')$$);
DROP TRIGGER a_fail ON payguard.orders;
SELECT pg_temp.answer($$UPDATE payguard.orders SET amount = 0$$);
SELECT amount, status FROM payguard.orders WHERE order_id = 'protection-3';
-- a trigger that swallows the row: 27000, and nothing of the payment is written
CREATE FUNCTION regress_swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
SELECT pg_temp.written() AS before \gset
CREATE TRIGGER swallow BEFORE UPDATE ON payguard.orders FOR EACH ROW EXECUTE FUNCTION regress_swallow();
SELECT pg_temp.answer($$SELECT outcome FROM payguard.pay_order('protection-3', 'protection-3')$$);
SELECT pg_temp.answer($$SELECT outcome FROM payguard.try_pay_order('protection-3', 'protection-3')$$);
SELECT pg_temp.answer($$SELECT status FROM payguard.cancel_order('protection-3')$$);
DROP TRIGGER swallow ON payguard.orders;
CREATE TRIGGER swallow BEFORE INSERT ON payguard.orders FOR EACH ROW EXECUTE FUNCTION regress_swallow();
SELECT pg_temp.answer($$SELECT status FROM payguard.create_order('protection-4', 1, 'EUR')$$);
DROP TRIGGER swallow ON payguard.orders;
CREATE TRIGGER swallow BEFORE INSERT ON payguard.payments FOR EACH ROW EXECUTE FUNCTION regress_swallow();
SELECT pg_temp.answer($$SELECT outcome FROM payguard.pay_order('protection-3', 'protection-3')$$);
SELECT pg_temp.answer($$SELECT outcome FROM payguard.revoke_key('protection-3', 'protection-3')$$);
DROP TRIGGER swallow ON payguard.payments;
CREATE TRIGGER swallow BEFORE INSERT ON payguard.events FOR EACH ROW EXECUTE FUNCTION regress_swallow();
SELECT pg_temp.answer($$SELECT outcome FROM payguard.pay_order('protection-3', 'protection-3')$$);
DROP TRIGGER swallow ON payguard.events;
CREATE TRIGGER swallow BEFORE UPDATE ON payguard.channels FOR EACH ROW EXECUTE FUNCTION regress_swallow();
SELECT pg_temp.answer($$SELECT payguard.register_channel('protection', alert_after := '1 s')$$);
DROP TRIGGER swallow ON payguard.channels;
SELECT pg_temp.written() = :'before' AS nothing_written;
-- a trigger that changes the row on its way, also in a column that we do not write: the same
CREATE FUNCTION regress_bend() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.amount := NEW.amount + 1;
  RETURN NEW;
END
$$;
CREATE TRIGGER bend BEFORE UPDATE ON payguard.orders FOR EACH ROW EXECUTE FUNCTION regress_bend();
SELECT pg_temp.answer($$SELECT outcome FROM payguard.pay_order('protection-3', 'protection-3')$$);
DROP TRIGGER bend ON payguard.orders;
CREATE TRIGGER bend BEFORE INSERT ON payguard.payments FOR EACH ROW EXECUTE FUNCTION regress_bend();
SELECT pg_temp.answer($$SELECT outcome FROM payguard.pay_order('protection-3', 'protection-3')$$);
DROP TRIGGER bend ON payguard.payments;
CREATE TRIGGER bend BEFORE INSERT ON payguard.orders FOR EACH ROW EXECUTE FUNCTION regress_bend();
SELECT pg_temp.answer($$SELECT status FROM payguard.create_order('protection-4', 1, 'EUR')$$);
DROP TRIGGER bend ON payguard.orders;
SELECT pg_temp.written() = :'before' AS nothing_written;
-- a dump's rows load: INSERT and COPY are left to privileges
BEGIN;
COPY payguard.channels (name, internal, driver, first_query_after, max_query_interval, alert_after, not_found_is_final_after, late_success,
  idempotent_charge, created_at, updated_at) FROM stdin;
regress_restored	f	\N	00:00:30	01:00:00	00:15:00	1 day	accept	t	2026-01-01 00:00:00+00	2026-01-01 00:00:00+00
\.
SELECT internal FROM payguard.channels WHERE name = 'regress_restored';
ROLLBACK;
DROP TABLE regress_seen;
DROP FUNCTION regress_see, regress_sneak, regress_fail, regress_swallow, regress_bend;
SELECT * FROM payguard.verify();
