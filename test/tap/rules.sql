-- Rules for everything in the schema payguard, so that a new function cannot break them unnoticed: nothing
-- breaks them, and what does is found.
\set ECHO none
\set QUIET on
SET client_min_messages = warning;
BEGIN;
SELECT plan(32);
CREATE TEMP VIEW routine AS
  SELECT p.*, l.lanname, p.oid::regprocedure::text AS signature
  FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
  WHERE p.pronamespace = 'payguard'::regnamespace;

CREATE TEMP TABLE rules (n serial, query text, rule text);
INSERT INTO rules (rule, query) VALUES
('a function in SQL or PL/pgSQL pins its search_path', $$
  SELECT signature FROM routine
  WHERE lanname IN ('sql', 'plpgsql') AND prokind <> 'p'
    AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false)$$),
('no other search_path is set', $$
  SELECT signature FROM routine
  WHERE proconfig IS NOT NULL AND NOT ('search_path=pg_catalog, pg_temp' = ANY (proconfig))$$),
('only C, SQL and PL/pgSQL work with the rights of the owner', $$
  SELECT signature FROM routine WHERE prosecdef AND lanname NOT IN ('c', 'sql', 'plpgsql')$$),
('C functions are our library''s, under our prefix', $$
  SELECT signature FROM routine WHERE lanname = 'c' AND (prosrc !~ '^payguard_' OR probin !~ 'payguard$')$$),
('NULL is an argument to be judged: nothing with the owner''s rights is strict', $$
  SELECT signature FROM routine WHERE prosecdef AND proisstrict$$),
('what may write is not run by parallel workers', $$
  SELECT signature FROM routine WHERE provolatile = 'v' AND proparallel <> 'u' AND proname <> 'new_order_id'$$),
('everything has one owner', $$
  SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend d
  JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
  LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
  LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
  WHERE e.extname = 'payguard' AND d.deptype = 'e' AND coalesce(p.proowner, c.relowner, e.extowner) <> e.extowner$$),
('PUBLIC may execute trigger functions at most', $$
  SELECT signature FROM routine r WHERE EXISTS (
    SELECT FROM aclexplode(coalesce(r.proacl, acldefault('f', r.proowner))) a WHERE a.grantee = 0)
  AND prorettype <> 'trigger'::regtype$$),
('PUBLIC has nothing on tables, views and sequences', $$
  SELECT c.oid::regclass FROM pg_class c,
    aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
  WHERE c.relnamespace = 'payguard'::regnamespace AND c.relkind IN ('r', 'v', 'S') AND a.grantee = 0$$),
('each access names functions that exist', $$
  SELECT f.function FROM payguard.access_functions() f WHERE to_regprocedure(f.function) IS NULL$$),
('each table is protected, always', $$
  SELECT c.oid::regclass FROM pg_class c
  WHERE c.relnamespace = 'payguard'::regnamespace AND c.relkind IN ('r', 'p') AND NOT EXISTS (
    SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'payguard_protect' AND t.tgenabled = 'A')
    AND c.relname <> 'settlement_lines'$$),
('each table and sequence is dumped', $$
  SELECT c.oid::regclass FROM pg_class c, pg_extension e
  WHERE e.extname = 'payguard' AND c.relnamespace = 'payguard'::regnamespace AND c.relkind IN ('r', 'S')
    AND NOT c.oid = ANY (e.extconfig)$$),
('no column has a type that pg_upgrade refuses', $$
  SELECT attrelid::regclass, attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  WHERE c.relnamespace = 'payguard'::regnamespace AND c.relkind = 'r' AND attnum > 0 AND NOT attisdropped
    AND format_type(atttypid, NULL) ~ '^reg'$$),
('each function, table and view has a comment', $$
  SELECT signature FROM routine WHERE obj_description(oid, 'pg_proc') IS NULL
  UNION ALL
  SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = 'payguard'::regnamespace
    AND c.relkind IN ('r', 'v') AND obj_description(c.oid, 'pg_class') IS NULL$$),
('no function takes a value of whatever type the caller has made', $$
  SELECT signature FROM routine r WHERE EXISTS (
    SELECT FROM unnest(r.proargtypes::oid[]) a JOIN pg_type t ON t.oid = a WHERE t.typtype = 'p')$$);
SELECT is_empty(query, rule) FROM rules ORDER BY n;
SELECT results_eq($$SELECT signature FROM routine WHERE prokind = 'p'$$,
  $$VALUES ('payguard.run_tasks(integer,interval)')$$,
  'run_tasks() alone cannot: a procedure that commits; everything in it is qualified (test drivers)');
SELECT results_eq($$SELECT name, context FROM pg_settings WHERE name LIKE 'payguard.%' AND context <> 'user' ORDER BY 1$$,
  $$VALUES ('payguard.allow_reset', 'superuser'), ('payguard.allow_unsafe_ddl', 'superuser'), ('payguard.store', 'superuser')$$,
  'the settings that matter are the superuser''s');

-- what breaks them
SET LOCAL payguard.allow_unsafe_ddl = on;
CREATE ROLE another_owner;
CREATE FUNCTION payguard.open_path() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION payguard.other_path() RETURNS int LANGUAGE sql SET search_path = public AS 'SELECT 1';
CREATE FUNCTION payguard.internal() RETURNS float8 LANGUAGE internal SECURITY DEFINER AS 'drandom';
CREATE FUNCTION payguard.foreign() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION payguard.skips_null(int) RETURNS int LANGUAGE sql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT 1';
CREATE FUNCTION payguard.parallel() RETURNS int LANGUAGE sql VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'SELECT 1';
CREATE FUNCTION payguard.any_type(anyelement) RETURNS int LANGUAGE sql SET search_path = pg_catalog, pg_temp AS 'SELECT 1';
ALTER FUNCTION payguard.open_path() OWNER TO another_owner;
ALTER EXTENSION payguard ADD FUNCTION payguard.open_path();
GRANT SELECT ON payguard.orders TO PUBLIC;
ALTER FUNCTION payguard.new_order_id() RENAME TO new_name;
CREATE TABLE payguard.unguarded (a regclass);
SELECT isnt_empty(query, 'found where it is broken: ' || rule) FROM rules ORDER BY n;
SELECT * FROM finish();
ROLLBACK;
