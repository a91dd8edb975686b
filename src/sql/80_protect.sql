-- Protection of payguard's own tables.
CREATE FUNCTION payguard.deny_direct_write() RETURNS trigger
AS 'MODULE_PATHNAME', 'payguard_deny_direct_write'
LANGUAGE C;
COMMENT ON FUNCTION payguard.deny_direct_write() IS
  'Trigger: refuses each UPDATE, DELETE and TRUNCATE that is not payguard''s own';

-- One line a table. Every table of payguard stands here.
CREATE FUNCTION payguard.own_tables() RETURNS SETOF text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
  VALUES ('orders'), ('channels'), ('payments'), ('events'), ('notifications'), ('deadlines'),
    ('refunds'), ('refund_balances'), ('tasks'), ('leases'),
    ('finished_tasks'), ('alerts'), ('policies'), ('customers'), ('approvals'),
     ('settlement_lines'), ('counter_samples'), ('consumers'), ('totals'), ('maintenance'),
    ('archived_orders'), ('archived_payments'), ('archived_refunds'), ('archived_refund_balances'),
    ('archived_events'), ('archived_notifications'), ('archived_approvals'), ('archive_position')
$$;
COMMENT ON FUNCTION payguard.own_tables() IS 'The names of payguard''s tables';

DO $$
DECLARE
  name text;
BEGIN
  FOR name IN SELECT payguard.own_tables() LOOP
    EXECUTE pg_catalog.format(
      'CREATE TRIGGER payguard_protect BEFORE UPDATE OR DELETE OR TRUNCATE ON payguard.%I '
      'FOR EACH STATEMENT EXECUTE FUNCTION payguard.deny_direct_write()', name);
    EXECUTE pg_catalog.format(
      'ALTER TABLE payguard.%I ENABLE ALWAYS TRIGGER payguard_protect', name);
    -- a dump holds every row but those that this script makes
    PERFORM pg_catalog.pg_extension_config_dump(
      pg_catalog.format('payguard.%I', name),
      CASE name WHEN 'channels' THEN 'WHERE name <> ''internal''' ELSE '' END);
  END LOOP;
END
$$;
-- Every installation has made this channel: where logical replication copies it, the row that is here stays.
CREATE FUNCTION payguard.keep_own_channel() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF EXISTS (SELECT FROM payguard.channels c WHERE c.name = NEW.name) THEN
    RETURN NULL;
  END IF;
  RETURN NEW;
END
$$;
COMMENT ON FUNCTION payguard.keep_own_channel() IS
  'Trigger: keeps this database''s channel internal when logical replication copies another one';
CREATE TRIGGER payguard_keep_own BEFORE INSERT ON payguard.channels
  FOR EACH ROW WHEN (NEW.name = 'internal') EXECUTE FUNCTION payguard.keep_own_channel();
ALTER TABLE payguard.channels ENABLE REPLICA TRIGGER payguard_keep_own;
SELECT pg_catalog.pg_extension_config_dump('payguard.events_event_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('payguard.tasks_task_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('payguard.alerts_alert_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('payguard.approvals_approval_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('payguard.settlement_lines_line_id_seq', '');

-- Their columns, as this script made them: broken_guards() compares. An upgrade that adds a
-- column makes the function anew.
CREATE FUNCTION payguard.current_columns(OUT name text, OUT columns text) RETURNS SETOF record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT c.relname, string_agg(concat(a.attname, ' ', t.typname, CASE WHEN a.attnotnull THEN ' not null' END),
                               ', ' ORDER BY a.attnum)
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid
  WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'payguard')
    AND c.relname IN (SELECT payguard.own_tables())
    AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
  GROUP BY c.relname
$$;
COMMENT ON FUNCTION payguard.current_columns() IS 'The columns that payguard''s tables have now';

DO $do$
BEGIN
  EXECUTE pg_catalog.format(
    'CREATE FUNCTION payguard.own_columns(OUT name text, OUT columns text) RETURNS SETOF record '
    'LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ VALUES %s $$',
    (SELECT pg_catalog.string_agg(pg_catalog.format('(%L, %L)', c.name, c.columns), ', ' ORDER BY c.name)
     FROM payguard.current_columns() c));
END
$do$;
COMMENT ON FUNCTION payguard.own_columns() IS 'The columns that payguard''s tables should have';

CREATE FUNCTION payguard.guard_problems(OUT guard text, OUT problem text) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'payguard_guard_problems'
LANGUAGE C STABLE;
COMMENT ON FUNCTION payguard.guard_problems() IS
  'Returns a row for each guard of the application''s tables that is damaged. It does not read the tables'' rows';

-- The unique indexes that payguard relies on, as pg_get_indexdef() writes them.
CREATE FUNCTION payguard.own_indexes(OUT name text, OUT definition text) RETURNS SETOF record
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
VALUES
  ('orders_pkey', 'CREATE UNIQUE INDEX orders_pkey ON payguard.orders USING btree (order_id)'),
  ('payments_pkey', 'CREATE UNIQUE INDEX payments_pkey ON payguard.payments USING btree (payment_id)'),
  ('payments_idempotency_key', 'CREATE UNIQUE INDEX payments_idempotency_key ON payguard.payments USING btree (idempotency_key)'),
  ('payments_that_count', 'CREATE UNIQUE INDEX payments_that_count ON payguard.payments USING btree (order_id) WHERE (status <> ALL (ARRAY[''failed''::text, ''superseded''::text, ''surplus''::text, ''returned''::text]))'),
  ('payments_channel_txn', 'CREATE UNIQUE INDEX payments_channel_txn ON payguard.payments USING btree (channel, channel_txn_id) WHERE (channel_txn_id IS NOT NULL)'),
  ('refunds_pkey', 'CREATE UNIQUE INDEX refunds_pkey ON payguard.refunds USING btree (refund_id)'),
  ('refunds_idempotency_key', 'CREATE UNIQUE INDEX refunds_idempotency_key ON payguard.refunds USING btree (idempotency_key) WHERE (idempotency_key IS NOT NULL)'),
  ('refunds_channel_refund', 'CREATE UNIQUE INDEX refunds_channel_refund ON payguard.refunds USING btree (channel, channel_refund_id) WHERE (channel_refund_id IS NOT NULL)'),
  ('refund_balances_pkey', 'CREATE UNIQUE INDEX refund_balances_pkey ON payguard.refund_balances USING btree (payment_id)'),
  ('notifications_pkey', 'CREATE UNIQUE INDEX notifications_pkey ON payguard.notifications USING btree (channel, event_id)'),
  ('tasks_of_payment', 'CREATE UNIQUE INDEX tasks_of_payment ON payguard.tasks USING btree (payment_id, kind) WHERE (refund_id IS NULL)'),
  ('tasks_of_refund', 'CREATE UNIQUE INDEX tasks_of_refund ON payguard.tasks USING btree (refund_id, kind) WHERE (refund_id IS NOT NULL)'),
  ('consumers_pkey', 'CREATE UNIQUE INDEX consumers_pkey ON payguard.consumers USING btree (consumer)'),
  ('totals_pkey', 'CREATE UNIQUE INDEX totals_pkey ON payguard.totals USING btree (bucket, subject, channel, currency, status)'),
  ('maintenance_pkey', 'CREATE UNIQUE INDEX maintenance_pkey ON payguard.maintenance USING btree (duty)'),
  ('policies_pkey', 'CREATE UNIQUE INDEX policies_pkey ON payguard.policies USING btree (currency, min_amount)'),
  ('customers_pkey', 'CREATE UNIQUE INDEX customers_pkey ON payguard.customers USING btree (customer_id)'),
  ('approvals_of_order', 'CREATE UNIQUE INDEX approvals_of_order ON payguard.approvals USING btree (order_id) WHERE ((subject = ''order''::text) AND (status <> ''void''::text))'),
  ('approvals_of_refund', 'CREATE UNIQUE INDEX approvals_of_refund ON payguard.approvals USING btree (refund_id) WHERE ((subject = ''refund''::text) AND (status <> ''void''::text))'),
  ('approvals_of_finding', 'CREATE UNIQUE INDEX approvals_of_finding ON payguard.approvals USING btree (alert_id) WHERE ((subject = ''finding''::text) AND (status <> ''void''::text))'),
  ('archived_orders_pkey', 'CREATE UNIQUE INDEX archived_orders_pkey ON payguard.archived_orders USING btree (order_id)'),
  ('archived_payments_pkey', 'CREATE UNIQUE INDEX archived_payments_pkey ON payguard.archived_payments USING btree (payment_id)'),
  ('archived_payments_idempotency_key', 'CREATE UNIQUE INDEX archived_payments_idempotency_key ON payguard.archived_payments USING btree (idempotency_key)'),
  ('archived_payments_channel_txn', 'CREATE UNIQUE INDEX archived_payments_channel_txn ON payguard.archived_payments USING btree (channel, channel_txn_id) WHERE (channel_txn_id IS NOT NULL)'),
  ('archived_refunds_pkey', 'CREATE UNIQUE INDEX archived_refunds_pkey ON payguard.archived_refunds USING btree (refund_id)'),
  ('archived_refunds_idempotency_key', 'CREATE UNIQUE INDEX archived_refunds_idempotency_key ON payguard.archived_refunds USING btree (idempotency_key) WHERE (idempotency_key IS NOT NULL)'),
  ('archived_refunds_channel_refund', 'CREATE UNIQUE INDEX archived_refunds_channel_refund ON payguard.archived_refunds USING btree (channel, channel_refund_id) WHERE (channel_refund_id IS NOT NULL)'),
  ('archived_notifications_pkey', 'CREATE UNIQUE INDEX archived_notifications_pkey ON payguard.archived_notifications USING btree (channel, event_id)'),
  ('alerts_open', 'CREATE UNIQUE INDEX alerts_open ON payguard.alerts USING btree (kind, cause) WHERE (resolved_at IS NULL)')
$$;
COMMENT ON FUNCTION payguard.own_indexes() IS 'The unique indexes that payguard''s tables should have';

-- check_ddl_end() asks this about now and about the time before a command: no function here may look
-- into a cache for what can differ, and none may lock a table. So the definitions of indexes are not
-- compared word by word.
CREATE FUNCTION payguard.broken_objects() RETURNS TABLE (guard text, problem text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET standard_conforming_strings = on
AS $$
  WITH own AS (
    SELECT t.name, c.oid, c.relforcerowsecurity, c.relhasrules
    FROM payguard.own_tables() t (name)
    LEFT JOIN pg_class c ON c.relname = t.name AND c.relkind = 'r'
      AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'payguard')
  )
  SELECT 'extension payguard', 'has the owner ' || quote_ident(r.rolname) || ', who is no superuser'
  FROM pg_extension x JOIN pg_roles r ON r.oid = x.extowner
  WHERE x.extname = 'payguard' AND NOT r.rolsuper
  UNION ALL
  SELECT 'table ' || name, 'is missing' FROM own WHERE oid IS NULL
  UNION ALL
  SELECT 'table ' || name, 'forces row security' FROM own WHERE relforcerowsecurity
  UNION ALL
  SELECT 'table ' || name, 'has a rule'
  FROM own WHERE EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = own.oid)
  UNION ALL
  SELECT 'table ' || name, 'takes part in inheritance'
  FROM own WHERE EXISTS (SELECT FROM pg_inherits i WHERE own.oid IN (i.inhrelid, i.inhparent))
  UNION ALL
  SELECT 'table ' || own.name, 'has other columns'
  FROM own JOIN payguard.own_columns() k ON k.name = own.name
  LEFT JOIN payguard.current_columns() c ON c.name = own.name
  WHERE own.oid IS NOT NULL AND c.columns IS DISTINCT FROM k.columns
  UNION ALL
  SELECT DISTINCT 'table ' || own.name,
         'lets ' || CASE a.grantee WHEN 0 THEN 'everybody' ELSE pg_get_userbyid(a.grantee)::text END
         || ' ' || a.privilege_type
  FROM own JOIN pg_class c ON c.oid = own.oid
  CROSS JOIN LATERAL (
    SELECT x.* FROM aclexplode(c.relacl) x
    UNION ALL SELECT x.* FROM pg_attribute t, aclexplode(t.attacl) x WHERE t.attrelid = c.oid) a
  WHERE a.grantee <> c.relowner
    AND a.privilege_type IN ('UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER')
  UNION ALL
  SELECT 'table ' || name, 'has no trigger payguard_protect that always fires'
  FROM own
  WHERE oid IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = own.oid AND t.tgname = 'payguard_protect' AND t.tgenabled = 'A'
      AND t.tgtype = (2 | 8 | 16 | 32)  -- BEFORE, DELETE, UPDATE, TRUNCATE; no ROW
      AND t.tgqual IS NULL AND t.tgattr = ''
      AND p.prosrc = 'payguard_deny_direct_write' AND p.probin = '$libdir/payguard')
  UNION ALL
  SELECT 'index ' || u.name, 'is missing, invalid or another one'
  FROM payguard.own_indexes() u
  WHERE NOT EXISTS (
    SELECT FROM own JOIN pg_index i ON i.indrelid = own.oid JOIN pg_class c ON c.oid = i.indexrelid
    WHERE c.relname = u.name AND own.name = substring(u.definition FROM ' ON payguard\.(\w+) ')
      AND i.indisvalid AND i.indisready AND i.indislive AND i.indisunique
      AND (i.indpred IS NOT NULL) = (u.definition LIKE '% WHERE %')
      AND substring(u.definition FROM '\((.*?)\)') = (
        SELECT string_agg(a.attname, ', ' ORDER BY k.n)
        FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, n)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum))
  UNION ALL
  SELECT 'constraint refund_exceeds_payment', 'is missing'
  WHERE NOT EXISTS (
    SELECT FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
    WHERE k.conname = 'refund_exceeds_payment' AND k.convalidated
      AND c.relname = 'refund_balances'
      AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'payguard'))
  UNION ALL
  SELECT 'event trigger ' || e.name, 'is missing, does not always fire, or calls another function'
  FROM (VALUES ('payguard_ddl_start', 'payguard_check_ddl_start'),
               ('payguard_ddl_end', 'payguard_check_ddl_end')) e (name, source)
  WHERE NOT EXISTS (
    SELECT FROM pg_event_trigger t JOIN pg_proc p ON p.oid = t.evtfoid
    WHERE t.evtname = e.name AND t.evtenabled = 'A'
      AND p.prosrc = e.source AND p.probin = '$libdir/payguard')
  UNION ALL
  SELECT 'function payguard.' || f.name || '()', 'is missing or another one'
  FROM (VALUES ('deny_direct_write'), ('check_ddl_start'), ('check_ddl_end'), ('guard'), ('guard_truncate')) f (name)
  WHERE NOT EXISTS (
    SELECT FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
    WHERE p.proname = f.name AND p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'payguard')
      AND l.lanname = 'c' AND p.prosrc = 'payguard_' || f.name AND p.probin = '$libdir/payguard')
  UNION ALL
  SELECT 'schema payguard', 'holds ' || c.relname || ', which is not the extension''s'
  FROM pg_class c
  WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'payguard')
    AND c.relkind NOT IN ('i', 'I') AND NOT EXISTS (
      SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
      WHERE d.refclassid = 'pg_extension'::regclass AND d.classid = 'pg_class'::regclass
        AND d.objid = c.oid AND d.deptype = 'e' AND x.extname = 'payguard')
    -- a composite type is a member by its type
    AND NOT (c.relkind = 'c' AND EXISTS (
      SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
      WHERE d.refclassid = 'pg_extension'::regclass AND d.classid = 'pg_type'::regclass
        AND d.objid = c.reltype AND d.deptype = 'e' AND x.extname = 'payguard'))
  UNION ALL
  SELECT 'schema payguard', 'holds ' || p.oid::regprocedure::text || ', which is not the extension''s'
  FROM pg_proc p
  WHERE p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'payguard') AND NOT EXISTS (
    SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
    WHERE d.refclassid = 'pg_extension'::regclass AND d.classid = 'pg_proc'::regclass
      AND d.objid = p.oid AND d.deptype = 'e' AND x.extname = 'payguard')
  UNION ALL
  SELECT 'function ' || p.oid::regprocedure::text, 'is not the one of the extension'
  FROM pg_proc p
  JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
  JOIN pg_extension x ON d.refclassid = 'pg_extension'::regclass AND x.oid = d.refobjid
  WHERE x.extname = 'payguard' AND (
    p.pronamespace <> (SELECT oid FROM pg_namespace WHERE nspname = 'payguard')
    OR p.proowner <> x.extowner
    OR (p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'c')
        AND (p.probin <> '$libdir/payguard' OR p.prosrc !~ ('^payguard_' || p.proname || '(_[0-9_]+)?$'))))
$$;
COMMENT ON FUNCTION payguard.broken_objects() IS
  'Part of broken_guards(): what protects payguard''s own tables and is missing, disabled or replaced. It does not compare the full definition of indexes';

CREATE FUNCTION payguard.broken_guards() RETURNS TABLE (guard text, problem text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET quote_all_identifiers = off -- the definitions of indexes are compared as text
SET standard_conforming_strings = on
AS $$
  SELECT g.guard, g.problem FROM payguard.guard_problems() g
  UNION ALL
  SELECT o.guard, o.problem FROM payguard.broken_objects() o
  UNION
  SELECT 'index ' || u.name, 'is missing, invalid or another one'
  FROM payguard.own_indexes() u
  JOIN pg_class c ON c.relname = u.name
    AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'payguard')
  -- a DBA may set an index's fillfactor
  WHERE regexp_replace(pg_get_indexdef(c.oid), ' WITH \([^()]*\)', '') IS DISTINCT FROM u.definition
$$;
COMMENT ON FUNCTION payguard.broken_guards() IS
  'Returns a row for each object that protects payguard''s tables or guarded tables and is missing, disabled or replaced. verify() calls it';

CREATE FUNCTION payguard.check_ddl_start() RETURNS event_trigger
AS 'MODULE_PATHNAME', 'payguard_check_ddl_start'
LANGUAGE C;
COMMENT ON FUNCTION payguard.check_ddl_start() IS 'Event trigger: refuses DDL on payguard''s objects';

CREATE FUNCTION payguard.check_ddl_end() RETURNS event_trigger
AS 'MODULE_PATHNAME', 'payguard_check_ddl_end'
LANGUAGE C;
COMMENT ON FUNCTION payguard.check_ddl_end() IS 'Event trigger: refuses DDL that has broken one of payguard''s guards';
