-- DDL on a guarded table, each line of the table in doc/design.md: allowed, refused or followed.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_shop;
SELECT payguard.grant_access('regress_shop', 'owner');
CREATE SCHEMA regress_shop AUTHORIZATION regress_shop;
CREATE SCHEMA regress_shop_2 AUTHORIZATION regress_shop;
CREATE FOREIGN DATA WRAPPER regress_wrapper;
CREATE SERVER regress_server FOREIGN DATA WRAPPER regress_wrapper;
GRANT USAGE ON FOREIGN SERVER regress_server TO regress_shop;
GRANT CREATE ON DATABASE :DBNAME TO regress_shop;
-- a guard that nobody has looked at, made within a CREATE SCHEMA
SELECT statement, pg_temp.answer(statement) FROM (VALUES
  ($$CREATE SCHEMA regress_new CREATE TABLE t (status text) CREATE TRIGGER g AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION payguard.guard('{"status_column": "none", "transitions": {}}')$$),
  ($$CREATE SCHEMA regress_new CREATE TABLE t (status text) CREATE TRIGGER g AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION payguard.guard('no settings')$$)) s (statement);
SET ROLE regress_shop;
SELECT statement, pg_temp.answer(statement) FROM (VALUES
  ($$CREATE SCHEMA regress_new CREATE TABLE t (status text) CREATE TRIGGER g AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION payguard.guard('no settings')$$),
  ($$CREATE SCHEMA regress_new CREATE TABLE t (status text) CREATE TRIGGER g BEFORE TRUNCATE ON t EXECUTE FUNCTION payguard.guard_truncate()$$)) s (statement);
SET search_path = regress_shop;
CREATE TYPE state AS ENUM ('unpaid', 'paid', 'refunded');
CREATE TYPE row_type AS (id int, status text);
CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'CREATE TABLE regress_shop.inner_' || nextval('regress_shop.s') || ' ()'; RETURN 1; END $$;
CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE SEQUENCE s;
CREATE TABLE orders (id int PRIMARY KEY, status state NOT NULL, version smallint, ref text, code varchar(10), price numeric(10, 2), note text);
CREATE TABLE empty (LIKE orders);
CREATE TABLE typed OF row_type;
CREATE TABLE ancestor (id int, status text);
CREATE TABLE heir () INHERITS (ancestor);
CREATE TABLE parted (id int, status text) PARTITION BY LIST (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
CREATE TABLE full_table (id int, status text);
CREATE TABLE none (id int, status text);
INSERT INTO full_table VALUES (3, 'paid');
SELECT count(*) FROM payguard.guard_table('orders', 'status', '{"unpaid": ["paid"], "paid": ["refunded"]}', 'version', immutable_columns := '{code,price}', once := '{ref}', success_states := '{paid}');
SELECT count(*) FROM payguard.guard_table('empty', 'status', '{"unpaid": ["paid"]}');
SELECT count(*) FROM unnest('{typed,heir,parted}'::regclass[]) name, payguard.guard_table(name, 'status', '{"unpaid": ["paid"]}');
INSERT INTO orders VALUES (1, 'unpaid', 1, 'a', 'b', 1, 'n');
INSERT INTO typed VALUES (1, 'unpaid');
INSERT INTO heir VALUES (1, 'unpaid');
INSERT INTO parted VALUES (1, 'unpaid');
-- refused, all of them; some in a transaction of their own
CREATE TEMP TABLE regress_refused (n serial, command text);
INSERT INTO regress_refused (command) VALUES
  ('ALTER TABLE orders DISABLE TRIGGER payguard_guard'), ('ALTER TABLE orders DISABLE TRIGGER ALL'), ('ALTER TABLE orders DISABLE TRIGGER USER'),
  ('ALTER TABLE orders ENABLE TRIGGER payguard_guard'), ('ALTER TABLE orders ENABLE REPLICA TRIGGER payguard_guard'), ('ALTER TABLE orders DISABLE TRIGGER payguard_guard_truncate'),
  ('ALTER TABLE orders DISABLE TRIGGER ALL, ADD COLUMN x int DEFAULT f()'),
  ('DROP TRIGGER payguard_guard ON orders'), ('DROP TRIGGER payguard_guard_truncate ON orders'),
  ('CREATE OR REPLACE TRIGGER payguard_guard AFTER INSERT OR UPDATE OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION t()'),
  ('CREATE OR REPLACE TRIGGER payguard_guard_truncate BEFORE TRUNCATE ON orders EXECUTE FUNCTION t()'),
  ('CREATE RULE r AS ON UPDATE TO orders DO INSTEAD NOTHING'), ('CREATE RULE r AS ON INSERT TO orders DO ALSO SELECT 1'),
  ('ALTER TABLE orders DROP COLUMN status'), ('ALTER TABLE orders DROP COLUMN version'), ('ALTER TABLE orders DROP COLUMN ref'), ('ALTER TABLE orders DROP COLUMN code'),
  ('ALTER TABLE orders DROP COLUMN code, ADD COLUMN code varchar(10)'),
  ('ALTER TABLE orders ALTER status TYPE state USING $q$paid$q$'), ('ALTER TABLE orders ALTER status TYPE text USING status::text'), ('ALTER TABLE orders ALTER code TYPE varchar(10) USING $q$x$q$'),
  ('ALTER TABLE orders ALTER price TYPE numeric(10, 0)'), ('ALTER TABLE orders ALTER version TYPE numeric'), ('ALTER TABLE orders ALTER code TYPE "char"'),
  ('ALTER TABLE orders SET UNLOGGED'), ('DROP TABLE orders'), ('DROP TABLE orders CASCADE'), ('DROP SCHEMA regress_shop CASCADE'), ('DROP OWNED BY regress_shop CASCADE'),
  ('DROP INDEX orders_payguard_once'), ('DROP INDEX CONCURRENTLY orders_payguard_once'), ('DROP TYPE state CASCADE'), ('DROP TYPE row_type CASCADE'),
  ('ALTER TYPE row_type ALTER ATTRIBUTE status TYPE "char" CASCADE'), ('ALTER TYPE row_type DROP ATTRIBUTE status CASCADE'), ('ALTER TYPE state RENAME VALUE $q$paid$q$ TO $q$done$q$'),
  ('CREATE TABLE child () INHERITS (orders)'), ('ALTER TABLE none INHERIT heir'), ('CREATE FOREIGN TABLE child () INHERITS (orders) SERVER regress_server'),
  ('CREATE SCHEMA regress_new CREATE TABLE child () INHERITS (regress_shop.orders)'),
  ('ALTER TABLE ancestor ALTER status TYPE text USING $q$paid$q$'), ('ALTER TABLE ancestor DROP COLUMN status'),
  ('ALTER TABLE parted ATTACH PARTITION full_table FOR VALUES IN (3)'), ('ALTER TABLE parted DETACH PARTITION parted_1'), ('ALTER TABLE parted DETACH PARTITION parted_2 CONCURRENTLY'),
  ('DROP TABLE parted_1'), ('DROP TABLE parted'), ('ALTER TABLE parted_1 DISABLE TRIGGER ALL'), ('DROP TRIGGER payguard_guard_truncate ON parted_1'),
  ('ALTER TABLE ONLY parted DISABLE TRIGGER payguard_guard'), ('CREATE FOREIGN TABLE child PARTITION OF parted FOR VALUES IN (9) SERVER regress_server'),
  ('ALTER TRIGGER payguard_guard ON orders DEPENDS ON EXTENSION plpgsql');
SELECT n, command, (SELECT split_part(a, ' | ', 1) || ' | ' || split_part(a, ' | ', 3) FROM pg_temp.answer(command) a) AS answer FROM regress_refused WHERE command !~ 'CONCURRENTLY|DEPENDS' ORDER BY n;
DROP INDEX CONCURRENTLY orders_payguard_once; -- fails
ALTER TABLE parted DETACH PARTITION parted_2 CONCURRENTLY; -- fails
-- the trigger goes with another extension: not then
BEGIN;
ALTER TRIGGER payguard_guard ON orders DEPENDS ON EXTENSION plpgsql;
RESET ROLE;
SELECT pg_temp.answer('DROP EXTENSION plpgsql CASCADE') LIKE 'PY902%' AS refused;
ROLLBACK;
SET ROLE regress_shop;
SET search_path = regress_shop;
-- a superuser is refused as well, and in replica role
RESET ROLE;
SET session_replication_role = replica;
SELECT command, answer FROM (
  SELECT command, pg_temp.answer(command) AS answer FROM regress_refused WHERE command !~ 'CONCURRENTLY|DEPENDS') c WHERE answer !~ '^PY902';
RESET session_replication_role;
SET ROLE regress_shop;
-- allowed, as in any migration
BEGIN;
ALTER TABLE orders ADD COLUMN extra int NOT NULL DEFAULT 3, ADD COLUMN x2 int DEFAULT f();
ALTER TABLE orders ADD COLUMN born timestamptz DEFAULT clock_timestamp();
ALTER TABLE orders ALTER note TYPE varchar(100) USING upper(note), DROP COLUMN extra;
ALTER TABLE orders ALTER version TYPE bigint, ALTER code TYPE text, ALTER status SET DEFAULT 'unpaid', ALTER ref SET NOT NULL;
ALTER TABLE orders ADD CHECK (id > 0), ADD UNIQUE (code), ADD FOREIGN KEY (id) REFERENCES orders;
ALTER TABLE orders DROP CONSTRAINT orders_code_key, ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
ALTER TABLE orders SET (fillfactor = 70), ALTER note SET STATISTICS 10, REPLICA IDENTITY FULL;
CREATE INDEX i ON orders (note);
DROP INDEX i;
CREATE TRIGGER t BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION t();
ALTER TABLE orders DISABLE TRIGGER t;
DROP TRIGGER t ON orders;
CREATE VIEW v AS SELECT * FROM orders;
CREATE STATISTICS st ON id, ref FROM orders;
CREATE POLICY p ON orders USING (true);
ALTER TYPE state ADD VALUE 'later';
ALTER TABLE ancestor ADD COLUMN more int;
ALTER TABLE heir NO INHERIT ancestor;
CREATE TABLE parted_3 PARTITION OF parted FOR VALUES IN (3);
CREATE TABLE part (LIKE parted);
ALTER TABLE parted ATTACH PARTITION part FOR VALUES IN (4);
ALTER TABLE parted DETACH PARTITION parted_2;
DROP TABLE parted_3, parted_2;
DROP TABLE empty;
CREATE TABLE empty (id int);
TRUNCATE empty, none;
CREATE TABLE like_it (LIKE orders INCLUDING ALL);
REINDEX TABLE orders;
CLUSTER orders USING orders_pkey;
RESET ROLE;
SELECT guard, problem FROM payguard.broken_guards();
ROLLBACK;
SELECT * FROM payguard.verify();
SET ROLE regress_shop;
ANALYZE orders;
VACUUM FULL orders;
-- followed: the trigger is made anew and is the same, but for its argument; partitions' go with it
COMMENT ON TRIGGER payguard_guard ON parted IS 'guards parted';
CREATE TEMP TABLE regress_triggers AS
SELECT t.oid, t.tgrelid, t.tgname, t.tgenabled, t.tgparentid, t.tgtype, obj_description(t.oid, 'pg_trigger') AS comment,
       (SELECT array_agg(d::text ORDER BY d::text) FROM pg_depend d WHERE d.classid = 'pg_trigger'::regclass AND d.objid = t.oid) AS depends
FROM pg_trigger t WHERE t.tgfoid IN ('payguard.guard'::regproc, 'payguard.guard_truncate'::regproc);
ALTER TABLE parted RENAME status TO renamed;
ALTER TABLE parted RENAME id TO "Id";
SELECT count(*), count(*) = (SELECT count(*) FROM regress_triggers) AS all_of_them FROM regress_triggers r
JOIN pg_trigger t ON t.oid = r.oid AND (t.tgrelid, t.tgname, t.tgenabled, t.tgparentid, t.tgtype) = (r.tgrelid, r.tgname, r.tgenabled, r.tgparentid, r.tgtype)
WHERE obj_description(t.oid, 'pg_trigger') IS NOT DISTINCT FROM r.comment
  AND r.depends = (SELECT array_agg(d::text ORDER BY d::text) FROM pg_depend d WHERE d.classid = 'pg_trigger'::regclass AND d.objid = t.oid);
DROP TABLE regress_triggers;
SELECT tgrelid::regclass, payguard.guard_settings(oid)->'status_column' AS status_column, payguard.guard_settings(oid)->'immutable_columns' AS immutable_columns
FROM pg_trigger WHERE tgname = 'payguard_guard' AND tgrelid::regclass::text LIKE 'parted%' ORDER BY 1;
ALTER TABLE parted RENAME renamed TO status;
ALTER TABLE parted RENAME "Id" TO id;
-- while rows of the table wait for a deferred constraint, and a cursor reads them
BEGIN;
ALTER TABLE orders ADD UNIQUE (code) DEFERRABLE INITIALLY DEFERRED;
UPDATE orders SET note = 'm', version = version + 1;
INSERT INTO orders VALUES (2, 'unpaid', 1, 'b', 'c', 1, 'n');
DECLARE reader CURSOR FOR SELECT note FROM orders;
FETCH reader;
ALTER TABLE orders RENAME status TO state;
SELECT pg_temp.answer($$UPDATE orders SET state = 'refunded', version = version + 1$$);
ROLLBACK;
ALTER TABLE orders RENAME status TO state;
ALTER TABLE orders RENAME "ref" TO "The ""ref""";
ALTER TABLE orders RENAME version TO v2;
ALTER TABLE orders RENAME price TO cost;
ALTER TABLE parted RENAME status TO "État";
ALTER TABLE ancestor RENAME status TO st;
ALTER TYPE row_type RENAME ATTRIBUTE status TO st CASCADE;
ALTER TABLE orders RENAME TO "Orders";
ALTER TABLE "Orders" SET SCHEMA regress_shop_2;
ALTER TRIGGER payguard_guard ON regress_shop_2."Orders" RENAME TO "The Guard";
ALTER SCHEMA regress_shop RENAME TO regress_shop_3;
SET search_path = regress_shop_3;
SELECT table_name, status_column, version_column, immutable_columns, once FROM payguard.guards ORDER BY table_name COLLATE "C";
SELECT split_part(pg_temp.answer(statement), ' | ', 1) AS answer FROM (VALUES ('UPDATE regress_shop_2."Orders" SET state = $q$refunded$q$, v2 = 2'), ('UPDATE regress_shop_2."Orders" SET state = $q$paid$q$'),
  ('UPDATE regress_shop_2."Orders" SET cost = 2, v2 = 2'), ('UPDATE parted_1 SET "État" = $q$x$q$'), ('UPDATE heir SET st = $q$x$q$'), ('UPDATE typed SET st = $q$x$q$'), ('UPDATE regress_shop_2."Orders" SET state = $q$paid$q$, v2 = 2')) s (statement);
-- and what takes the old name is found: a table, a column
CREATE TABLE empty_2 (id int);
ALTER TABLE empty RENAME TO empty_1;
ALTER TABLE empty_2 RENAME TO empty;
ALTER TABLE regress_shop_2."Orders" ADD COLUMN status text;
RESET ROLE;
SELECT * FROM payguard.verify();
SET ROLE regress_shop;
SELECT payguard.unguard_table('empty');
ALTER TABLE regress_shop_2."Orders" DROP COLUMN status;
RESET ROLE;
SELECT * FROM payguard.verify();
-- several commands in one, some rolled back
SET ROLE regress_shop;
SELECT pg_temp.answer($$DO $d$ BEGIN BEGIN ALTER TABLE parted RENAME "État" TO x; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN END; CREATE TABLE after_it (); ALTER TABLE parted RENAME "État" TO status; ALTER TABLE parted RENAME status TO "État"; END $d$ $$);
SELECT pg_temp.answer($$DO $d$ BEGIN BEGIN PERFORM payguard.guard_table('none', 'status', '{"unpaid": []}'); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN END; CREATE TABLE after_it_2 () INHERITS (ancestor); END $d$ $$);
SELECT pg_temp.answer($$DO $d$ BEGIN BEGIN PERFORM payguard.unguard_table('parted'); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN END; ALTER TABLE parted DISABLE TRIGGER ALL; END $d$ $$);
SELECT pg_temp.answer($$DO $d$ BEGIN PERFORM payguard.unguard_table('parted'); ALTER TABLE parted RENAME TO p2; ALTER TABLE p2 RENAME TO parted; PERFORM payguard.guard_table('parted', 'État', '{"unpaid": ["paid"]}'); ALTER TABLE parted RENAME TO p2; ALTER TABLE p2 RENAME TO parted; END $d$ $$);
SELECT pg_temp.answer($$DO $d$ BEGIN PERFORM payguard.guard_table('none', 'status', '{"unpaid": []}'); ALTER TABLE none DISABLE TRIGGER ALL; END $d$ $$);
-- an event trigger of a user: DDL of its own is judged, also during guard_table(); it may call guard_table() itself
RESET ROLE;
CREATE FUNCTION regress_shop_3.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE
  command text := current_setting('regress.command', true);
BEGIN
  PERFORM set_config('regress.command', '', false);
  IF command <> '' THEN
    EXECUTE command;
  END IF;
END $$;
CREATE EVENT TRIGGER regress_ddl ON ddl_command_end EXECUTE FUNCTION regress_shop_3.on_ddl();
CREATE TABLE nested (id int, status text);
CREATE TABLE nested_2 (id int, status text);
SELECT count(*) FROM payguard.guard_table('nested', 'status', '{"unpaid": ["paid"]}');
CREATE FUNCTION pg_temp.nested(command text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  answer text;
BEGIN
  PERFORM set_config('regress.command', command, false);
  answer := pg_temp.answer(statement);
  RETURN CASE WHEN answer ~ ' \| ' THEN split_part(answer, ' | ', 1)
              ELSE answer || CASE current_setting('regress.command') WHEN '' THEN ', and so did it' ELSE ', and it did not fire' END END;
END $$;
CREATE TEMP TABLE regress_nested (n serial, command text, statement text);
INSERT INTO regress_nested (command, statement) VALUES
  ('ALTER TABLE nested DISABLE TRIGGER ALL', $$SELECT count(*) FROM payguard.guard_table('nested_2', 'status', '{"unpaid": ["paid"]}')$$),
  ('ALTER TABLE nested DISABLE TRIGGER ALL', $$SELECT payguard.unguard_table('nested_2')$$),
  ('ALTER TABLE nested DISABLE TRIGGER ALL', $$SELECT count(*) FROM payguard.guard_table('nested_2', 'status', '{"unpaid": ["paid"]}', once := '{id}', success_states := '{paid}')$$),
  ('DROP TRIGGER payguard_protect ON payguard.orders', 'ALTER TABLE nested RENAME status TO state'),
  ('ALTER TABLE nested DISABLE TRIGGER ALL', 'ALTER TABLE nested RENAME status TO state'),
  ('ALTER TABLE nested RENAME state TO state_2', 'ALTER TABLE nested RENAME status TO state'),
  ($$SELECT FROM payguard.unguard_table('nested') u, payguard.guard_table('nested', 'status', '{"unpaid": ["paid"]}')$$, 'ALTER TABLE nested RENAME state_2 TO status'),
  ($$SELECT FROM payguard.guard_table('nested_3', 'status', '{"unpaid": ["paid"]}')$$, 'CREATE TABLE nested_3 (id int, status text)'),
  ($$SELECT payguard.unguard_table('nested_3')$$, 'ALTER TABLE nested_3 RENAME status TO state'),
  ('ALTER TABLE nested DISABLE TRIGGER ALL', 'DROP TABLE nested_3'),
  ('DROP TABLE nested_3', 'CREATE TABLE nested_4 ()'),
  ('DROP TABLE nested_4', 'CREATE TABLE nested_5 ()'),
  ('', 'DROP TABLE nested_5');
SELECT n, command, statement, pg_temp.nested(command, statement) AS answer FROM regress_nested ORDER BY n;
-- and the same where it comes before ours
ALTER EVENT TRIGGER regress_ddl RENAME TO a_regress;
SELECT n, pg_temp.nested(command, statement) AS answer FROM regress_nested ORDER BY n;
SELECT tgrelid::regclass, tgname, tgenabled, payguard.guard_settings(oid)->>'status_column' AS status_column FROM pg_trigger WHERE tgrelid::regclass::text LIKE 'nested%' ORDER BY 1, 2;
SET regress.command = '';
DROP EVENT TRIGGER a_regress;
SELECT payguard.unguard_table('nested'), payguard.unguard_table('nested_2');
DROP TABLE nested, nested_2, regress_nested;
SELECT * FROM payguard.verify();
-- a superuser's way out, and what verify() says then
SET payguard.allow_unsafe_ddl = on;
BEGIN;
ALTER TABLE parted DISABLE TRIGGER payguard_guard;
DROP TRIGGER "The Guard" ON regress_shop_2."Orders";
DROP TRIGGER payguard_guard_truncate ON typed;
ALTER TABLE empty_1 RENAME status TO unknown_to_it;
SELECT object, problem FROM payguard.verify() ORDER BY 1, 2;
ROLLBACK;
BEGIN;
CREATE TABLE once_1 (id int, status text);
CREATE TABLE once_2 (LIKE once_1);
SELECT count(*) FROM unnest('{once_1,once_2}'::regclass[]) name, payguard.guard_table(name, 'status', '{"unpaid": ["paid"]}', once := '{id}', success_states := '{paid}');
ALTER TABLE once_2 INHERIT once_1;
SELECT object, problem FROM payguard.verify() ORDER BY 1, 2;
ROLLBACK;
-- a superuser who edits the catalogs
BEGIN;
UPDATE pg_trigger SET tgenabled = 'D' WHERE tgrelid = 'parted_1'::regclass AND tgtype = 29;
DELETE FROM pg_trigger WHERE tgrelid = 'heir'::regclass;
UPDATE pg_trigger SET tgfoid = 't'::regproc WHERE tgrelid = 'typed'::regclass AND tgtype = 29;
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'regress_shop_2.orders_payguard_once'::regclass;
DELETE FROM pg_event_trigger WHERE evtname = 'payguard_ddl_end';
SELECT object, problem FROM payguard.verify() ORDER BY 1, 2;
ROLLBACK;
BEGIN;
ALTER EVENT TRIGGER payguard_ddl_start DISABLE;
SELECT object, problem FROM payguard.verify() ORDER BY 1, 2;
ROLLBACK;
-- what a guarded table, a column of its or an index is made of, whose owner may be somebody else
RESET payguard.allow_unsafe_ddl;
CREATE SCHEMA regress_made;
CREATE COLLATION regress_made.c (provider = libc, locale = 'C');
CREATE FUNCTION regress_made.f(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE OPERATOR CLASS regress_made.o FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 btint4cmp(int, int);
CREATE FOREIGN TABLE regress_made.above (id int, status text) SERVER regress_server;
CREATE TABLE regress_made.heir () INHERITS (regress_made.above);
CREATE TABLE regress_made.parted (id text, status text) PARTITION BY LIST (regress_made.f(id));
CREATE TABLE regress_made.parted_1 PARTITION OF regress_made.parted FOR VALUES IN ('1');
CREATE TABLE regress_made.shop (id int, status text COLLATE regress_made.c, ref int);
SELECT count(*) FROM unnest('{regress_made.heir,regress_made.parted}'::regclass[]) name, payguard.guard_table(name, 'status', '{"unpaid": ["paid"]}');
SELECT count(*) FROM payguard.guard_table('regress_made.shop', 'status', '{"unpaid": ["paid"]}', once := '{ref}', success_states := '{paid}', not_valid := true);
CREATE UNIQUE INDEX ON regress_made.shop (ref regress_made.o) WHERE status = 'paid';
INSERT INTO regress_made.heir VALUES (1, 'unpaid');
INSERT INTO regress_made.parted VALUES ('1', 'unpaid');
SELECT statement, pg_temp.answer(statement) FROM (VALUES ('DROP FUNCTION regress_made.f(text) CASCADE'), ('DROP ROUTINE regress_made.f(text) CASCADE'),
  ('DROP COLLATION regress_made.c CASCADE'), ('DROP OPERATOR CLASS regress_made.o USING btree CASCADE'), ('DROP OPERATOR FAMILY regress_made.o USING btree CASCADE'),
  ('DROP FOREIGN TABLE regress_made.above CASCADE'), ('DROP SERVER regress_server CASCADE'), ('DROP FOREIGN DATA WRAPPER regress_wrapper CASCADE')) s (statement);
SELECT count(*) FROM payguard.guards WHERE table_name LIKE 'regress_made.%';
SET payguard.allow_unsafe_ddl = on;
DROP SCHEMA regress_made CASCADE;
DROP SCHEMA regress_shop_2, regress_shop_3 CASCADE;
RESET payguard.allow_unsafe_ddl;
DROP FOREIGN DATA WRAPPER regress_wrapper CASCADE;
RESET search_path;
SELECT payguard.revoke_access('regress_shop', 'owner');
REVOKE ALL ON DATABASE :DBNAME FROM regress_shop;
DROP TABLE regress_refused;
DROP ROLE regress_shop;
SELECT * FROM payguard.verify();
