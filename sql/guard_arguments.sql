-- guard_table() and unguard_table() refuse what does not fit, before anything is changed.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE TABLE regress_guarded (id int, status text, version bigint, amount int, order_id text, price numeric) ;
CREATE TABLE regress_state (status "char", version numeric);
CREATE TYPE regress_states AS ENUM ('unpaid', 'paid');
CREATE TABLE regress_enum (status regress_states);
CREATE UNLOGGED TABLE regress_unlogged (status text);
CREATE TEMP TABLE regress_temporary (status text);
CREATE VIEW regress_view AS SELECT * FROM regress_guarded;
CREATE MATERIALIZED VIEW regress_matview AS SELECT * FROM regress_guarded;
CREATE TABLE regress_by_status (status text) PARTITION BY LIST (status);
CREATE TABLE regress_by_function (id int, status text) PARTITION BY LIST (lower(status));
CREATE TABLE regress_by_id (id int, status text) PARTITION BY LIST (id);
CREATE TABLE regress_by_id_1 PARTITION OF regress_by_id FOR VALUES IN (1) PARTITION BY LIST (status);
CREATE TABLE regress_heirs (status text, order_id text);
CREATE TABLE regress_heir () INHERITS (regress_heirs);
CREATE TABLE regress_rule (status text);
CREATE RULE r AS ON UPDATE TO regress_rule DO ALSO NOTHING;
CREATE FOREIGN DATA WRAPPER regress_wrapper;
CREATE SERVER regress_server FOREIGN DATA WRAPPER regress_wrapper;
CREATE FOREIGN TABLE regress_foreign (status text) SERVER regress_server;
CREATE TABLE regress_half_foreign (id int, status text) PARTITION BY LIST (id);
CREATE FOREIGN TABLE regress_half_1 PARTITION OF regress_half_foreign FOR VALUES IN (1) SERVER regress_server;
CREATE TABLE regress_half_logged (id int, status text) PARTITION BY LIST (id);
CREATE UNLOGGED TABLE regress_half_2 PARTITION OF regress_half_logged FOR VALUES IN (1);
SELECT pg_temp.written() AS before \gset
\set graph '{"unpaid": ["paid", "cancelled"], "paid": ["refunded"]}'
SELECT arguments, array_to_string((string_to_array(pg_temp.answer(format('SELECT count(*) FROM payguard.guard_table(%s)', replace(arguments, '*', '''' || :'graph' || ''''))), ' | '))[1:3], ' | ') AS answer
FROM (VALUES
  ($$NULL, 'status', *$$), ($$'regress_guarded', NULL, *$$), ($$'regress_guarded', 'status', NULL$$), ($$'regress_none', 'status', *$$),
  ($$999999999, 'status', *$$),
  ($$'regress_guarded', '', *$$), ($$'regress_guarded', 'none', *$$), ($$'regress_guarded', 'id', *$$), ($$'regress_state', 'status', *$$),
  ($$'regress_guarded', 'status', '[]'$$), ($$'regress_guarded', 'status', '"unpaid"'$$), ($$'regress_guarded', 'status', '{}'$$), ($$'regress_guarded', 'status', '{"unpaid": "paid"}'$$),
  ($$'regress_guarded', 'status', '{"unpaid": [1]}'$$), ($$'regress_guarded', 'status', '{"unpaid": [["paid"]]}'$$), ($$'regress_guarded', 'status', '{"unpaid": {"paid": []}}'$$),
  ($$'regress_guarded', 'status', '{"unpaid": null}'$$),
  ($$'regress_guarded', 'status', '{"unpaid": ["paid"], "paid": ["unpaid"]}'$$),
  ($$'regress_enum', 'status', *$$),
  ($$'regress_guarded', 'status', *, 'none'$$), ($$'regress_guarded', 'status', *, 'price'$$), ($$'regress_guarded', 'status', *, ''$$),
  ($$'regress_guarded', 'status', *, initial := '{open}'$$), ($$'regress_guarded', 'status', *, initial := '{NULL}'$$), ($$'regress_guarded', 'status', *, initial := '{""}'$$),
  ($$'regress_guarded', 'status', *, immutable_columns := '{none}'$$), ($$'regress_guarded', 'status', *, allow_delete := '{none}'$$),
  ($$'regress_guarded', 'status', *, once := '{order_id}'$$), ($$'regress_guarded', 'status', *, once := '{none}', success_states := '{paid}'$$),
  ($$'regress_guarded', 'status', *, once := '{order_id}', success_states := '{done}'$$),
  ($$'regress_guarded', 'status', *, order_id_column := 'order_id'$$), ($$'regress_guarded', 'status', *, paid_states := '{paid}'$$),
  ($$'regress_guarded', 'status', *, once := '{order_id}', success_states := '{paid}', paid_states := '{paid}'$$), ($$'regress_guarded', 'status', *, once := '{order_id}', paid_states := '{done}'$$),
  ($$'regress_guarded', 'status', *, order_id_column := 'none', paid_states := '{paid}'$$), ($$'regress_guarded', 'status', *, order_id_column := 'order_id', paid_states := '{done}'$$),
  ($$'regress_view', 'status', *$$), ($$'regress_matview', 'status', *$$), ($$'regress_foreign', 'status', *$$), ($$'regress_unlogged', 'status', *$$), ($$'regress_temporary', 'status', *$$),
  ($$'regress_rule', 'status', *$$), ($$'pg_class', 'relname', *$$), ($$'payguard.orders', 'status', *$$), ($$'regress_by_status', 'status', *$$), ($$'regress_by_function', 'status', *$$),
  ($$'regress_by_id', 'status', *$$), ($$'regress_half_foreign', 'status', *$$), ($$'regress_half_logged', 'status', *$$), ($$'regress_heirs', 'status', *, once := '{order_id}', success_states := '{paid}'$$)) c (arguments);
SELECT pg_temp.answer('SELECT payguard.unguard_table(NULL)');
SELECT pg_temp.answer('SELECT payguard.unguard_table(999999999)');
SELECT pg_temp.answer('SELECT payguard.guard_bad_rows(999999999)');
-- too many states, of whatever number a multiplication overflows; too long arrays
SELECT n, split_part(pg_temp.answer(format('SELECT count(*) FROM payguard.guard_table(%L, %L, %L)', 'regress_guarded', 'status', graph)), ' | ', 3) AS answer
FROM (VALUES (1001), (46341), (65536), (65537)) v (n), LATERAL (SELECT jsonb_build_object('s1', jsonb_agg('s' || i)) FROM generate_series(2, n) i) g (graph);
SELECT name, pg_temp.answer(format('SELECT count(*) FROM payguard.guard_table(%L, %L, %L, %s := array_fill(%L::text, %L))', 'regress_guarded', 'status', :'graph', name, 'paid', '{100001}')) AS answer
FROM unnest('{initial,immutable_columns,once,allow_delete,paid_states,success_states}'::text[]) name;
SELECT pg_temp.written() = :'before' AS nothing_written;
-- only the owner, and once
CREATE ROLE regress_other;
CREATE ROLE regress_none;
SELECT payguard.grant_access('regress_other', 'owner');
SET ROLE regress_other;
SELECT pg_temp.answer($$SELECT count(*) FROM payguard.guard_table('regress_guarded', 'status', '{"unpaid": ["paid"]}')$$);
SELECT pg_temp.answer($$SELECT payguard.unguard_table('regress_guarded')$$);
SET ROLE regress_none;
SELECT pg_temp.answer($$SELECT payguard.unguard_table('regress_guarded')$$);
RESET ROLE;
BEGIN READ ONLY;
SELECT pg_temp.answer($$SELECT count(*) FROM payguard.guard_table('regress_guarded', 'status', '{"unpaid": ["paid"]}')$$);
ROLLBACK;
SELECT count(*) FROM payguard.guard_table('regress_guarded', 'status', '{"unpaid": ["paid"]}');
SELECT pg_temp.answer($$SELECT count(*) FROM payguard.guard_table('regress_guarded', 'status', '{"unpaid": ["paid"]}')$$);
SET ROLE regress_none;
SELECT pg_temp.answer('DROP TABLE regress_guarded');
RESET ROLE;
SELECT payguard.unguard_table('regress_guarded');
-- as many as there may be: each state goes to the next, and to itself; what is named twice counts once
SELECT count(*) FROM payguard.guard_table('regress_guarded', 'status', (SELECT jsonb_object_agg('s' || i, jsonb_build_array('s' || i % 1000 + 1)) FROM generate_series(1, 1000) i),
  initial := '{s1}', allow_delete := array_fill('s3'::text, '{100000}'), immutable_columns := array_fill('id'::text, '{100000}'));
INSERT INTO regress_guarded VALUES (1, 's1');
SELECT statement, split_part(pg_temp.answer(statement), ' | ', 3) AS answer FROM unnest(ARRAY[$$UPDATE regress_guarded SET status = 's3'$$, $$UPDATE regress_guarded SET status = 's2'$$,
  $$UPDATE regress_guarded SET status = 's1000'$$, $$UPDATE regress_guarded SET id = 2$$, $$UPDATE regress_guarded SET status = 's3'$$, $$DELETE FROM regress_guarded$$]) statement;
SELECT * FROM payguard.verify();
SELECT payguard.unguard_table('regress_guarded');
-- nobody but guard_table() and a superuser makes a guard's trigger, and it must fit
GRANT CREATE, USAGE ON SCHEMA public TO regress_other;
SET ROLE regress_other;
CREATE TABLE regress_mine (status text);
SELECT pg_temp.answer($$CREATE TRIGGER t AFTER UPDATE ON regress_mine FOR EACH ROW EXECUTE FUNCTION payguard.guard('{}')$$);
SELECT pg_temp.answer($$CREATE TRIGGER t BEFORE TRUNCATE ON regress_mine EXECUTE FUNCTION payguard.guard_truncate()$$);
DROP TABLE regress_mine;
RESET ROLE;
SELECT pg_temp.answer($$CREATE TRIGGER t AFTER UPDATE ON regress_guarded FOR EACH ROW EXECUTE FUNCTION payguard.guard('{"status')$$);
SELECT pg_temp.answer($$CREATE TRIGGER t AFTER UPDATE ON regress_guarded FOR EACH ROW EXECUTE FUNCTION payguard.guard('{}')$$);
SELECT pg_temp.answer($$SELECT payguard.guard()$$);
-- a trigger that calls them wrongly raises; a list that is none names nothing
BEGIN;
SET LOCAL payguard.allow_unsafe_ddl = on;
INSERT INTO regress_guarded VALUES (1, 'unpaid');
SELECT timing || ' ' || level AS made, pg_temp.answer(format('CREATE TRIGGER t %s ON regress_guarded FOR EACH %s EXECUTE FUNCTION payguard.%s', timing, level, call)),
       pg_temp.answer(statement), pg_temp.answer('DROP TRIGGER t ON regress_guarded')
FROM (VALUES ('BEFORE UPDATE', 'ROW', 'guard($${}$$)', 'UPDATE regress_guarded SET id = 2'), ('AFTER UPDATE', 'STATEMENT', 'guard($${}$$)', 'UPDATE regress_guarded SET id = 2'),
  ('AFTER UPDATE', 'ROW', 'guard()', 'UPDATE regress_guarded SET id = 2'), ('AFTER TRUNCATE', 'STATEMENT', 'guard_truncate()', 'TRUNCATE regress_guarded'),
  ('BEFORE UPDATE', 'ROW', 'guard_truncate()', 'UPDATE regress_guarded SET id = 2'), ('BEFORE TRUNCATE', 'STATEMENT', 'guard_truncate(1)', 'TRUNCATE regress_guarded'),
  ('AFTER UPDATE', 'ROW', 'guard($${"status_column": "gone"}$$)', 'UPDATE regress_guarded SET id = 2'), ('AFTER UPDATE', 'ROW', 'guard($$[]$$)', 'UPDATE regress_guarded SET id = 2'),
  ('AFTER UPDATE', 'ROW', 'guard($${"status_column": "status", "transitions": {"unpaid": []}, "immutable_columns": {"id": []}}$$)', 'UPDATE regress_guarded SET id = 2'),
  ('AFTER UPDATE', 'ROW', 'guard($${"status_column": "status", "transitions": {"unpaid": []}, "immutable_columns": "id"}$$)', 'UPDATE regress_guarded SET id = 2')) c (timing, level, call, statement);
ROLLBACK;
-- statements to build the index by without blocking writers
SELECT * FROM payguard.guard_table('regress_guarded', 'status', :'graph', once := '{order_id,id}', success_states := '{paid,refunded}', not_valid := true) \gset made_
\echo :made_statement
SELECT guard, problem FROM payguard.broken_guards();
:made_statement;
SELECT guard, problem FROM payguard.broken_guards();
SELECT payguard.unguard_table('regress_guarded');
CREATE SCHEMA "Regress S";
CREATE TABLE "Regress S"."P" (id int, day int, status text) PARTITION BY RANGE (day);
CREATE TABLE "Regress S"."P 1" PARTITION OF "Regress S"."P" FOR VALUES FROM (1) TO (2);
CREATE TABLE "Regress S"."P 2" PARTITION OF "Regress S"."P" FOR VALUES FROM (2) TO (3) PARTITION BY LIST (day);
CREATE TABLE "Regress S"."P 21" PARTITION OF "Regress S"."P 2" DEFAULT;
SELECT pg_temp.answer(format('SELECT count(*) FROM payguard.guard_table(%L, %L, %L, once := %L, success_states := %L)', '"Regress S"."P"', 'status', :'graph', '{id}', '{paid}'));
CREATE TEMP TABLE regress_statements AS SELECT row_number() OVER (), statement
FROM payguard.guard_table('"Regress S"."P"', 'status', :'graph', once := '{id,day}', success_states := '{paid}', not_valid := true);
SELECT statement FROM regress_statements ORDER BY row_number;
SELECT guard, problem FROM payguard.broken_guards();
SELECT statement FROM regress_statements ORDER BY row_number \gexec
SELECT guard, problem FROM payguard.broken_guards();
SELECT payguard.unguard_table('"Regress S"."P"');
-- an index that is there already will do, if it is as strict
DROP INDEX regress_guarded_payguard_once;
CREATE FUNCTION regress_true(text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION pg_temp.left_to_do(index text, graph jsonb) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
  n int;
BEGIN
  EXECUTE 'CREATE UNIQUE INDEX regress_index ON regress_guarded ' || index;
  SELECT count(*) INTO n FROM payguard.guard_table('regress_guarded', 'status', graph, once := '{order_id}', success_states := '{paid,refunded}', not_valid := true);
  PERFORM payguard.unguard_table('regress_guarded');
  DROP INDEX regress_index;
  RETURN n;
END
$$;
SELECT index, pg_temp.left_to_do(index, :'graph') FROM (VALUES
  ('(order_id)'), ('(order_id) WHERE status = ''paid'''), ('(order_id) WHERE status <> ''unpaid'''), ('(order_id) WHERE status IN (''paid'', ''refunded'')'),
  ('(order_id) WHERE status IN (''paid'', ''refunded'') AND id > 0'), ('(order_id, id)'), ('(lower(order_id))'), ('(order_id) WHERE regress_true(status)')) i (index);
DROP SCHEMA "Regress S" CASCADE;
DROP FOREIGN DATA WRAPPER regress_wrapper CASCADE;
DROP TABLE regress_guarded, regress_state, regress_enum, regress_unlogged, regress_temporary, regress_by_status, regress_by_function, regress_by_id,
  regress_heirs, regress_heir, regress_rule, regress_half_foreign, regress_half_logged CASCADE;
DROP TYPE regress_states;
DROP FUNCTION regress_true;
SELECT payguard.revoke_access('regress_other', 'owner');
REVOKE ALL ON SCHEMA public FROM regress_other;
DROP ROLE regress_other, regress_none;
SELECT * FROM payguard.verify();
