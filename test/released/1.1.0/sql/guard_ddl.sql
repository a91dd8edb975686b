-- DDL on a guarded table, each line of the table in doc/design.md: allowed, refused or followed.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/answer.sql
\i :answer
CREATE ROLE regress_shop;
SELECT payguard.grant_access('regress_shop', 'owner');
CREATE SCHEMA regress_shop AUTHORIZATION regress_shop;
CREATE SCHEMA regress_shop_2 AUTHORIZATION regress_shop;
CREATE FOREIGN DATA WRAPPER regress_wrapper;
CREATE SERVER regress_server FOREIGN DATA WRAPPER regress_wrapper;
GRANT USAGE ON FOREIGN SERVER regress_server TO regress_shop;
GRANT CREATE ON DATABASE :DBNAME TO regress_shop;
SET ROLE regress_shop;
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
-- followed
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
-- a superuser's way out, and what verify() says then
RESET ROLE;
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
DROP SCHEMA regress_shop_2, regress_shop_3 CASCADE;
RESET payguard.allow_unsafe_ddl;
DROP FOREIGN DATA WRAPPER regress_wrapper CASCADE;
RESET search_path;
SELECT payguard.revoke_access('regress_shop', 'owner');
REVOKE ALL ON DATABASE :DBNAME FROM regress_shop;
DROP TABLE regress_refused;
DROP ROLE regress_shop;
SELECT * FROM payguard.verify();
