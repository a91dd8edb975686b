-- Rules for everything in the schema payguard, so that a new function cannot break them unnoticed.
\set ECHO none
\set QUIET on
SET client_min_messages = warning;
BEGIN;
SELECT plan(16);
CREATE TEMP VIEW routine AS
  SELECT p.*, l.lanname, p.oid::regprocedure::text AS signature
  FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
  WHERE p.pronamespace = 'payguard'::regnamespace;

-- search_path
SELECT is_empty($$SELECT signature FROM routine
  WHERE lanname IN ('sql', 'plpgsql') AND prokind <> 'p'
    AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false)$$,
  'a function in SQL or PL/pgSQL pins its search_path');
SELECT results_eq($$SELECT signature FROM routine WHERE prokind = 'p'$$,
  $$VALUES ('payguard.run_tasks(integer,interval)')$$,
  'run_tasks() alone cannot: a procedure that commits; everything in it is qualified (test drivers)');
SELECT is_empty($$SELECT signature FROM routine
  WHERE proconfig IS NOT NULL AND NOT ('search_path=pg_catalog, pg_temp' = ANY (proconfig))$$,
  'no other search_path is set');
SELECT is_empty($$SELECT signature FROM routine WHERE prosecdef AND lanname NOT IN ('c', 'sql', 'plpgsql')$$,
  'only C, SQL and PL/pgSQL work with the rights of the owner');

-- C
SELECT is_empty($$SELECT signature FROM routine WHERE lanname = 'c' AND (prosrc !~ '^payguard_' OR probin !~ 'payguard$')$$,
  'C functions are our library''s, under our prefix');
SELECT is_empty($$SELECT signature FROM routine WHERE prosecdef AND proisstrict$$,
  'NULL is an argument to be judged: nothing with the owner''s rights is strict');
SELECT is_empty($$SELECT signature FROM routine WHERE provolatile = 'v' AND proparallel <> 'u' AND proname <> 'new_order_id'$$,
  'what may write is not run by parallel workers');

-- who owns, who may
SELECT is_empty($$
  SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend d
  JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
  LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
  LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
  WHERE e.extname = 'payguard' AND d.deptype = 'e' AND coalesce(p.proowner, c.relowner, e.extowner) <> e.extowner$$,
  'everything has one owner');
SELECT is_empty($$SELECT signature FROM routine r WHERE EXISTS (
    SELECT FROM aclexplode(coalesce(r.proacl, acldefault('f', r.proowner))) a WHERE a.grantee = 0)
  AND prorettype <> 'trigger'::regtype$$,
  'PUBLIC may execute trigger functions at most');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c,
    aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
  WHERE c.relnamespace = 'payguard'::regnamespace AND c.relkind IN ('r', 'v', 'S') AND a.grantee = 0$$,
  'PUBLIC has nothing on tables, views and sequences');
SELECT is_empty($$SELECT f.function FROM payguard.access_functions() f WHERE to_regprocedure(f.function) IS NULL$$,
  'each access names functions that exist');

-- tables
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c
  WHERE c.relnamespace = 'payguard'::regnamespace AND c.relkind IN ('r', 'p') AND NOT EXISTS (
    SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'payguard_protect' AND t.tgenabled = 'A')
    AND c.relname <> 'settlement_lines'$$,
  'each table is protected, always');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c, pg_extension e
  WHERE e.extname = 'payguard' AND c.relnamespace = 'payguard'::regnamespace AND c.relkind IN ('r', 'S')
    AND NOT c.oid = ANY (e.extconfig)$$,
  'each table and sequence is dumped');
SELECT is_empty($$SELECT attrelid::regclass, attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  WHERE c.relnamespace = 'payguard'::regnamespace AND c.relkind = 'r' AND attnum > 0 AND NOT attisdropped
    AND format_type(atttypid, NULL) ~ '^reg'$$,
  'no column has a type that pg_upgrade refuses');

-- documents
SELECT is_empty($$
  SELECT signature FROM routine WHERE obj_description(oid, 'pg_proc') IS NULL
  UNION ALL
  SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = 'payguard'::regnamespace
    AND c.relkind IN ('r', 'v') AND obj_description(c.oid, 'pg_class') IS NULL$$,
  'each function, table and view has a comment');
SELECT results_eq($$SELECT name, context FROM pg_settings WHERE name LIKE 'payguard.%' AND context <> 'user' ORDER BY 1$$,
  $$VALUES ('payguard.allow_unsafe_ddl', 'superuser'), ('payguard.store', 'superuser')$$,
  'the settings that matter are the superuser''s');
SELECT * FROM finish();
ROLLBACK;
