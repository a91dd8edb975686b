-- Guards on the application's own tables.
CREATE FUNCTION payguard.guard() RETURNS trigger
AS 'MODULE_PATHNAME', 'payguard_guard'
LANGUAGE C;
COMMENT ON FUNCTION payguard.guard() IS 'Trigger: refuses a change of a row that breaks the rules of its table''s guard';

CREATE FUNCTION payguard.guard_truncate() RETURNS trigger
AS 'MODULE_PATHNAME', 'payguard_guard_truncate'
LANGUAGE C;
COMMENT ON FUNCTION payguard.guard_truncate() IS 'Trigger: refuses TRUNCATE of a guarded table';

CREATE FUNCTION payguard.guard_table(
  table_name regclass, status_column varchar, transitions jsonb, version_column text DEFAULT NULL,
  initial text[] DEFAULT NULL, immutable_columns text[] DEFAULT NULL, once text[] DEFAULT NULL,
  allow_delete text[] DEFAULT '{}', order_id_column text DEFAULT NULL,
  paid_states text[] DEFAULT NULL, success_states text[] DEFAULT NULL, not_valid boolean DEFAULT false,
  amount_column text DEFAULT NULL, currency_column text DEFAULT NULL, closed_states text[] DEFAULT NULL,
  follow jsonb DEFAULT NULL)
RETURNS TABLE (statement text)
AS 'MODULE_PATHNAME', 'payguard_guard_table'
LANGUAGE C;
COMMENT ON FUNCTION payguard.guard_table(regclass, varchar, jsonb, text, text[], text[], text[], text[], text, text[], text[], boolean, text, text, text[], jsonb) IS
  'Guards a table of the caller''s: from now on its rows follow the transitions, whoever writes. Returns the statements that are left to do. Errors: 22004, 22023, 23505, 23514, 42501, 42710, 42809, 42P01, 55000, 0A000';

CREATE FUNCTION payguard.guard_table(
  table_name regclass, status_column text, transitions jsonb, version_column text DEFAULT NULL,
  initial text[] DEFAULT NULL, immutable_columns text[] DEFAULT NULL, once text[] DEFAULT NULL,
  allow_delete text[] DEFAULT '{}', order_id_column text DEFAULT NULL,
  paid_states text[] DEFAULT NULL, success_states text[] DEFAULT NULL, not_valid boolean DEFAULT false)
RETURNS TABLE (statement text)
AS 'MODULE_PATHNAME', 'payguard_guard_table'
LANGUAGE C;
COMMENT ON FUNCTION payguard.guard_table(regclass, text, jsonb, text, text[], text[], text[], text[], text, text[], text[], boolean) IS
  'The arguments of 1.1.0, kept for stored calls and for grants in dumps';

CREATE FUNCTION payguard.unguard_table(table_name regclass) RETURNS boolean
AS 'MODULE_PATHNAME', 'payguard_unguard_table'
LANGUAGE C;
COMMENT ON FUNCTION payguard.unguard_table(regclass) IS
  'Takes the guard off a table of the caller''s. The index of once stays. Errors: 22004, 42501, 42809, 42P01, 55000';

CREATE FUNCTION payguard.sync_rows(order_id text DEFAULT NULL, "max" integer DEFAULT 1000) RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_sync_rows'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.sync_rows(text, integer) IS
  'Brings the rows of guarded tables with follow in step with their orders, or the rows of one order. Returns the number of rows that it moved. maintain() calls it. Errors: 22004, 22023, PY401';

CREATE FUNCTION payguard.guard_settings(trigger_oid oid) RETURNS jsonb
AS 'MODULE_PATHNAME', 'payguard_guard_settings'
LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION payguard.guard_settings(oid) IS 'The settings of a guard''s trigger. NULL for any other trigger';

CREATE FUNCTION payguard.guard_bad_rows(table_name regclass) RETURNS text
AS 'MODULE_PATHNAME', 'payguard_guard_bad_rows'
LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION payguard.guard_bad_rows(regclass) IS
  'Reads one guarded table and tells what is wrong with its rows. NULL: nothing. Errors: 42P01';

CREATE FUNCTION payguard.broken_rows(OUT guard text, OUT problem text) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'payguard_broken_rows'
LANGUAGE C STABLE;
COMMENT ON FUNCTION payguard.broken_rows() IS
  'Reads all guarded tables and returns a row for each whose rows break its rules. It leaves out a table that is dropped meanwhile. verify() calls it';

CREATE FUNCTION payguard.guard_triggers() RETURNS TABLE (trigger_oid oid, table_oid oid, parent_oid oid)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT t.oid, t.tgrelid, t.tgparentid
  FROM pg_depend d JOIN pg_trigger t ON t.oid = d.objid
  WHERE d.classid = 'pg_trigger'::regclass AND d.refclassid = 'pg_proc'::regclass
    AND d.refobjid = 'payguard.guard()'::regprocedure AND t.tgfoid = d.refobjid
$$;
COMMENT ON FUNCTION payguard.guard_triggers() IS 'The triggers of all guards, those of partitions too';

CREATE VIEW payguard.guards AS
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS table_name,
       s.settings OPERATOR(pg_catalog.->>) 'status_column' AS status_column,
       s.settings OPERATOR(pg_catalog.->) 'transitions' AS transitions,
       s.settings OPERATOR(pg_catalog.->>) 'version_column' AS version_column,
       s.settings OPERATOR(pg_catalog.->) 'initial' AS initial,
       s.settings OPERATOR(pg_catalog.->) 'immutable_columns' AS immutable_columns,
       s.settings OPERATOR(pg_catalog.->) 'once' AS once,
       s.settings OPERATOR(pg_catalog.->) 'allow_delete' AS allow_delete,
       s.settings OPERATOR(pg_catalog.->>) 'order_id_column' AS order_id_column,
       s.settings OPERATOR(pg_catalog.->) 'paid_states' AS paid_states,
       s.settings OPERATOR(pg_catalog.->) 'success_states' AS success_states,
       (s.settings OPERATOR(pg_catalog.->>) 'valid')::pg_catalog.bool AS valid,
       s.settings OPERATOR(pg_catalog.->>) 'amount_column' AS amount_column,
       s.settings OPERATOR(pg_catalog.->>) 'currency_column' AS currency_column,
       s.settings OPERATOR(pg_catalog.->) 'closed_states' AS closed_states,
       s.settings OPERATOR(pg_catalog.->) 'follow' AS follow,
       s.settings OPERATOR(pg_catalog.->>) 'consumer' AS consumer
FROM payguard.guard_triggers() t
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.table_oid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
CROSS JOIN LATERAL (SELECT payguard.guard_settings(t.trigger_oid) AS settings) s
WHERE t.parent_oid OPERATOR(pg_catalog.=) 0::pg_catalog.oid;
COMMENT ON VIEW payguard.guards IS 'The guarded tables and their settings. Partitions go with their partitioned table';

-- Tables that were guarded and are not, by name: nobody unguarded or dropped them. And columns
-- that bear the name of a guarded one that was renamed.
CREATE FUNCTION payguard.lost_guards() RETURNS TABLE (guard text, problem text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
  WITH RECURSIVE told AS (
    SELECT e.event_id, e.kind, e.details, e.details->>'schema' AS schema, e.details->>'table' AS name
    FROM payguard.events e WHERE e.kind IN ('guard.added', 'guard.renamed', 'guard.removed')
  ), latest AS (
    SELECT DISTINCT ON (schema, name) * FROM told ORDER BY schema, name, event_id DESC
  ), expected AS (
    SELECT l.schema, l.name, c.oid, EXISTS (
             SELECT FROM payguard.guard_triggers() t WHERE t.table_oid = c.oid) AS guarded
    FROM latest l
    JOIN pg_namespace n ON n.nspname = l.schema
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = l.name AND c.relkind IN ('r', 'p', 'f')
    WHERE l.kind <> 'guard.removed'
  ), history (oid, schema, name, event_id, kind, details) AS (
    -- what was told of each guarded table, under the names that it had before too
    SELECT x.oid, t.schema, t.name, t.event_id, t.kind, t.details
    FROM expected x JOIN told t ON t.schema = x.schema AND t.name = x.name WHERE x.guarded
    UNION
    SELECT h.oid, t.schema, t.name, t.event_id, t.kind, t.details
    FROM history h JOIN told t
      ON t.schema = h.details->>'was_schema' AND t.name = h.details->>'was_table' AND t.event_id < h.event_id
  )
  SELECT format('table %I.%I', schema, name), 'had a guard, which is gone'
  FROM expected WHERE NOT guarded
  UNION ALL
  SELECT DISTINCT format('table %I.%I', x.schema, x.name),
         format('has another column %I, which its guard does not know', a.attname)
  FROM expected x JOIN history h ON h.oid = x.oid
  JOIN pg_attribute a ON a.attrelid = x.oid AND a.attname = h.details->>'was_column' AND NOT a.attisdropped
  WHERE h.event_id > (SELECT max(b.event_id) FROM history b WHERE b.oid = h.oid AND b.kind = 'guard.added')
    -- unless the guarded column got its name back
    AND NOT EXISTS (SELECT FROM history r WHERE r.oid = h.oid AND r.event_id > h.event_id
                    AND r.details->>'column' = h.details->>'was_column')
$$;
COMMENT ON FUNCTION payguard.lost_guards() IS
  'Returns a row for each guard that is gone although nobody took it off. verify() calls it';
