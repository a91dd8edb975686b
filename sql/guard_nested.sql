-- DDL inside of DDL, and several commands in one: each command is held to what was there when it began.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE SCHEMA regress_shop;
SET search_path = regress_shop;
CREATE FUNCTION code(statement text) RETURNS text LANGUAGE sql AS $$
  SELECT CASE WHEN a LIKE 'PY902%' THEN 'PY902 ' || split_part(a, ' | ', 3) ELSE a END FROM pg_temp.answer(statement) a
$$;
DO $$ BEGIN
  FOR i IN 1..40 LOOP
    EXECUTE format('CREATE TABLE g%s (id int, status text)', i);
    PERFORM payguard.guard_table(('g' || i)::regclass, 'status', '{"new": ["paid"], "paid": []}');
  END LOOP;
END $$;
CREATE TABLE plain (id int, status text);

-- a trigger on payguard.events, which is written to in the middle of a command
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF pg_trigger_depth() = 1 THEN
    EXECUTE current_setting('regress.audit');
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER INSERT ON payguard.events FOR EACH ROW EXECUTE FUNCTION audit();
SET regress.audit = 'CREATE TEMP TABLE scratch (a text); DROP TABLE scratch';
SELECT code('ALTER TABLE g3 RENAME TO gg3'), code('ALTER TABLE gg3 RENAME status TO state'), code('DROP TABLE g4');
SET regress.audit = 'ALTER TABLE g5 RENAME status TO state';
SELECT code('ALTER TABLE g6 RENAME status TO state');
SET regress.audit = 'DROP TABLE g7';
SELECT code('DROP TABLE g8');
SET regress.audit = 'ALTER TABLE g9 DISABLE TRIGGER ALL';
SELECT code('ALTER TABLE g10 RENAME TO gg10');
SET regress.audit = 'SELECT payguard.unguard_table(''g11''), payguard.guard_table(''plain'', ''status'', ''{"new": []}'')';
SELECT code('ALTER TABLE g12 RENAME TO gg12');
SET regress.audit = 'DO $d$ BEGIN BEGIN ALTER TABLE g13 DISABLE TRIGGER ALL; EXCEPTION WHEN OTHERS THEN ALTER TABLE g13 RENAME TO gg13; END; END $d$';
SELECT code('ALTER TABLE g14 RENAME TO gg14');
SET regress.audit = 'ALTER TABLE IF EXISTS regress_shop_2.g15 RENAME TO gg15';
SELECT code('ALTER SCHEMA regress_shop RENAME TO regress_shop_2');
SET regress.audit = 'SELECT 1';
ALTER SCHEMA regress_shop_2 RENAME TO regress_shop;
SET search_path = regress_shop;
DROP TRIGGER audit ON payguard.events;
SELECT table_name, status_column FROM payguard.guards WHERE table_name ~ '\.(gg\d+|g5|g6|g7|g8|g9|g11|plain)$' ORDER BY 1;
SELECT * FROM payguard.verify();

-- the default of a column that is added runs a function, in the middle of ALTER TABLE
INSERT INTO g16 VALUES (1, 'new');
INSERT INTO g17 VALUES (1, 'new');
INSERT INTO g22 VALUES (1, 'new');
CREATE FUNCTION f(statement text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN EXECUTE statement; RETURN 1; END $$;
SELECT statement, code(statement) FROM (VALUES
  ('ALTER TABLE g16 DISABLE TRIGGER ALL, ADD COLUMN a int DEFAULT f($q$CREATE TABLE made_1 ()$q$)'),
  ('ALTER TABLE g16 DISABLE TRIGGER ALL, ADD COLUMN a int DEFAULT f($q$ALTER TABLE g17 RENAME status TO state$q$)'),
  ('ALTER TABLE g16 DISABLE TRIGGER ALL, ADD COLUMN a int DEFAULT f($q$DO $d$ BEGIN DROP TABLE plain; DROP TABLE none; EXCEPTION WHEN OTHERS THEN END $d$ $q$)'),
  ('ALTER TABLE g16 DISABLE TRIGGER ALL, ADD COLUMN a int DEFAULT f($q$ALTER TABLE g17 ADD COLUMN a int DEFAULT f($q2$CREATE TABLE made_2 ()$q2$)$q$)'),
  ('ALTER TABLE g16 ADD COLUMN a int DEFAULT f($q$ALTER TABLE g17 DISABLE TRIGGER ALL$q$)'),
  ('ALTER TABLE g16 ADD COLUMN a int DEFAULT f($q$DROP TRIGGER payguard_protect ON payguard.orders$q$)'),
  ('ALTER TABLE g16 ADD COLUMN a int DEFAULT f($q$DO $d$ BEGIN ALTER TABLE g17 DISABLE TRIGGER ALL; EXCEPTION WHEN OTHERS THEN END $d$ $q$)'),
  ('ALTER TABLE g16 ADD COLUMN b int DEFAULT f($q$ALTER TABLE g17 RENAME status TO state$q$)'),
  ('ALTER TABLE g16 ADD COLUMN c int DEFAULT f($q$DROP TABLE g18$q$)'),
  ('ALTER TABLE g16 ADD COLUMN d int DEFAULT f($q$SELECT payguard.unguard_table($q2$g19$q2$)$q$)'),
  ('ALTER TABLE g16 ADD COLUMN e int DEFAULT f($q$SELECT payguard.unguard_table($q2$g20$q2$), payguard.guard_table($q2$g20$q2$, $q2$status$q2$, $q2${"x": []}$q2$)$q$)'),
  ('CREATE TABLE made_3 () INHERITS (g21)')) c (statement);
-- a guard that is taken off, and a table that is dropped, three commands deep: each of those around it knows
INSERT INTO g37 VALUES (1, 'new');
SELECT code('ALTER TABLE g16 ADD COLUMN g int DEFAULT f($q$ALTER TABLE g37 ADD COLUMN a int DEFAULT f($q2$SELECT payguard.unguard_table($q3$g38$q3$)$q2$)$q$)'),
  code('ALTER TABLE g16 ADD COLUMN h int DEFAULT f($q$ALTER TABLE g37 ADD COLUMN b int DEFAULT f($q2$DROP TABLE g39$q2$)$q$)');
SELECT table_name FROM payguard.guards WHERE table_name ~ '\.g(37|38|39)$';
-- a guard that was taken off in a part that was undone must be there still
SELECT code('ALTER TABLE g22 ADD COLUMN a int DEFAULT f($q$DO $d$ BEGIN PERFORM payguard.unguard_table($q2$g23$q2$); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN DROP TRIGGER payguard_guard ON g23; END $d$ $q$)');
SELECT table_name, status_column FROM payguard.guards WHERE table_name ~ '\.g(16|17|18|19|20|23)$' ORDER BY 1;
SELECT * FROM payguard.verify();

-- event triggers of the user's, before and after ours by their names, at the start and at the end
CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE
  command text := current_setting('regress.command');
BEGIN
  PERFORM set_config('regress.command', '', false);
  IF command <> '' THEN
    EXECUTE command;
  END IF;
END $$;
SET regress.command = '';
CREATE FUNCTION nested(command text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  answer text;
BEGIN
  PERFORM set_config('regress.command', command, false);
  answer := code(statement);
  RETURN answer || CASE WHEN answer = 'done' AND current_setting('regress.command') <> '' THEN ', and it did not fire' ELSE '' END;
END $$;
CREATE TABLE nested (n serial, command text, statement text);
INSERT INTO nested (command, statement) VALUES
  ('CREATE TABLE made ()', 'ALTER TABLE g24 DISABLE TRIGGER ALL'),
  ('ALTER TABLE g25 RENAME status TO state', 'DROP TRIGGER payguard_guard ON g24'),
  ('ALTER TABLE g25 DISABLE TRIGGER ALL', 'CREATE TABLE made ()'),
  ('ALTER TABLE payguard.orders DISABLE TRIGGER ALL', 'ALTER TABLE g24 RENAME TO gg24'),
  ('DO $d$ BEGIN ALTER TABLE g25 DISABLE TRIGGER ALL; EXCEPTION WHEN OTHERS THEN END $d$', 'DROP TRIGGER payguard_guard_truncate ON g24'),
  ('DO $d$ BEGIN ALTER TABLE g25 DISABLE TRIGGER ALL; EXCEPTION WHEN OTHERS THEN END $d$', 'ALTER TABLE g24 RENAME TO gg24'),
  ('ALTER TABLE g25 RENAME status TO state', 'ALTER TABLE gg24 RENAME status TO state'),
  ('ALTER TABLE g25 RENAME state TO status', 'ALTER TABLE g25 ADD COLUMN a int'),
  ('ALTER TABLE gg24 RENAME state TO state_2', 'ALTER TABLE gg24 RENAME TO g24'),
  ('ALTER TABLE g24 RENAME state_2 TO status', 'ALTER TABLE g26 RENAME TO gg26'),
  ('DROP TABLE gg26', 'ALTER TABLE g27 ADD COLUMN a int'),
  ('SELECT payguard.unguard_table(''g27'')', 'ALTER TABLE g27 ADD COLUMN b int'),
  ('SELECT payguard.guard_table(''g27'', ''status'', ''{"new": []}'')', 'ALTER TABLE g27 ADD COLUMN c int');
CREATE EVENT TRIGGER a_regress ON ddl_command_end EXECUTE FUNCTION on_ddl();
BEGIN;
SELECT n, command, statement, nested(command, statement) AS at_the_end_before_ours FROM nested ORDER BY n;
ROLLBACK;
ALTER EVENT TRIGGER a_regress RENAME TO z_regress;
BEGIN;
SELECT n, nested(command, statement) AS at_the_end_after_ours FROM nested ORDER BY n;
ROLLBACK;
DROP EVENT TRIGGER z_regress;
CREATE EVENT TRIGGER a_regress ON ddl_command_start EXECUTE FUNCTION on_ddl();
BEGIN;
SELECT n, nested(command, statement) AS at_the_start_before_ours FROM nested ORDER BY n;
ROLLBACK;
ALTER EVENT TRIGGER a_regress RENAME TO z_regress;
BEGIN;
SELECT n, nested(command, statement) AS at_the_start_after_ours FROM nested ORDER BY n;
ROLLBACK;
DROP EVENT TRIGGER z_regress;
-- what was settled about a guard inside of a command holds for the command as long as it holds
CREATE TABLE plain_2 (id int, status text);
CREATE EVENT TRIGGER z_regress ON ddl_command_start EXECUTE FUNCTION on_ddl();
SELECT command, statement, nested(command, statement) FROM (VALUES
  ('DO $d$ BEGIN PERFORM payguard.unguard_table($q$g33$q$); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN END $d$', 'DROP TRIGGER payguard_guard ON g33'),
  ('SELECT payguard.unguard_table($q$g33$q$), payguard.guard_table($q$g33$q$, $q$status$q$, $q${"new": []}$q$)', 'DROP TRIGGER payguard_guard ON g33'),
  ('SELECT payguard.unguard_table($q$g33$q$), payguard.guard_table($q$g33$q$, $q$status$q$, $q${"new": []}$q$)', 'ALTER TABLE g33 DISABLE TRIGGER ALL'),
  ('SELECT payguard.guard_table($q$plain_2$q$, $q$status$q$, $q${"new": []}$q$)', 'ALTER TABLE plain_2 DISABLE TRIGGER ALL'),
  ('SELECT payguard.guard_table($q$plain_2$q$, $q$status$q$, $q${"new": []}$q$)', 'DROP TABLE plain_2'),
  ('SELECT payguard.guard_table($q$plain_2$q$, $q$status$q$, $q${"new": []}$q$, once := $q${id}$q$, success_states := $q${new}$q$, not_valid := true)', 'ALTER TABLE plain_2 ADD COLUMN a int')) c (command, statement);
DROP EVENT TRIGGER z_regress;
CREATE UNIQUE INDEX i ON plain_2 (id) WHERE status = 'new';
CREATE EVENT TRIGGER z_regress ON sql_drop EXECUTE FUNCTION on_ddl();
SELECT nested('ALTER TABLE g25 DISABLE TRIGGER ALL', 'DROP TABLE g28'), nested('CREATE TABLE made ()', 'DROP TRIGGER payguard_guard ON g28'), nested('CREATE TABLE made ()', 'DROP TABLE g28');
DROP EVENT TRIGGER z_regress;
CREATE EVENT TRIGGER z_regress ON table_rewrite EXECUTE FUNCTION on_ddl();
SELECT nested('CREATE TABLE made_4 ()', 'ALTER TABLE g29 DISABLE TRIGGER ALL, ALTER id TYPE bigint'), nested('ALTER TABLE g25 DISABLE TRIGGER ALL', 'ALTER TABLE g29 ALTER id TYPE bigint'),
  nested('CREATE TABLE made_4 ()', 'ALTER TABLE g29 ALTER id TYPE bigint');
DROP EVENT TRIGGER z_regress;
SELECT * FROM payguard.verify();

-- a command that touches more tables than are told apart
CREATE TABLE ancestor (id int, status text);
DO $$ BEGIN FOR i IN 1..40 LOOP EXECUTE format('CREATE TABLE heir_%s () INHERITS (ancestor)', i); END LOOP; END $$;
SELECT count(*) FROM payguard.guard_table('heir_40', 'status', '{"new": []}');
ALTER TABLE ancestor RENAME status TO state;
SELECT status_column FROM payguard.guards WHERE table_name = 'regress_shop.heir_40';
SELECT code('ALTER TABLE ancestor DROP COLUMN state'), code('ALTER TABLE ancestor ALTER state TYPE "char"'), code('DROP TABLE ancestor CASCADE');
SELECT count(*) FROM pg_class WHERE relname LIKE 'heir_%';
SELECT * FROM payguard.verify();

-- several commands that a client sends at once are commands one after another
ALTER TABLE g30 RENAME status TO state\; ALTER TABLE g30 DISABLE TRIGGER ALL; -- fails
ALTER TABLE g30 RENAME status TO state\; ALTER TABLE g30 RENAME TO gg30\; SELECT status_column FROM payguard.guards WHERE table_name ~ 'gg30';
SET payguard.allow_unsafe_ddl = on;
ALTER TABLE g31 DISABLE TRIGGER ALL;
ALTER TABLE payguard.alerts DISABLE TRIGGER payguard_protect;
RESET payguard.allow_unsafe_ddl;
-- what is broken already may stay so, and is not broken again once it is whole
ALTER TABLE g31 ADD COLUMN a int\; ALTER TABLE g31 DISABLE TRIGGER ALL\; ALTER TABLE payguard.alerts DISABLE TRIGGER payguard_protect;
ALTER TABLE g31 ENABLE ALWAYS TRIGGER payguard_guard\; ALTER TABLE g31 DISABLE TRIGGER payguard_guard; -- fails
ALTER TABLE payguard.alerts ENABLE ALWAYS TRIGGER payguard_protect\; ALTER TABLE payguard.alerts DISABLE TRIGGER payguard_protect; -- fails
BEGIN;
ALTER TABLE payguard.alerts ENABLE ALWAYS TRIGGER payguard_protect;
SAVEPOINT s;
ALTER TABLE payguard.alerts DISABLE TRIGGER payguard_protect; -- fails
ROLLBACK TO s;
ALTER TABLE g31 RENAME TO gg31;
ALTER TABLE gg31 ENABLE ALWAYS TRIGGER payguard_guard;
SAVEPOINT s;
ALTER TABLE gg31 DISABLE TRIGGER payguard_guard_truncate, ENABLE TRIGGER payguard_guard; -- fails
ROLLBACK TO s;
ALTER TABLE gg31 ENABLE ALWAYS TRIGGER payguard_guard_truncate;
COMMIT;
SELECT * FROM payguard.verify();
-- a transaction with an older snapshot, and one whose earlier part was undone
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM plain;
SAVEPOINT s;
ALTER TABLE g32 RENAME status TO state;
ROLLBACK TO s;
ALTER TABLE g32 RENAME status TO state_2;
CREATE TABLE made_6 (id int, status text);
SELECT count(*) FROM payguard.guard_table('made_6', 'status', '{"new": []}');
ALTER TABLE made_6 RENAME status TO state;
SAVEPOINT s;
ALTER TABLE made_6 DISABLE TRIGGER ALL; -- fails
ROLLBACK TO s;
DROP TABLE made_6;
SAVEPOINT s;
DROP TRIGGER payguard_guard ON g32; -- fails
ROLLBACK TO s;
COMMIT;
SELECT table_name, status_column FROM payguard.guards WHERE table_name ~ '\.(made_6|g32)$' ORDER BY 1;
SELECT * FROM payguard.verify();
SELECT count(*) FROM payguard.guards g, payguard.unguard_table(g.table_name::regclass) WHERE g.table_name LIKE 'regress_shop.%';
SET client_min_messages = error;
DROP SCHEMA regress_shop CASCADE;
RESET search_path;
SELECT * FROM payguard.verify();
