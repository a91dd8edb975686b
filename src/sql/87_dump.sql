-- What a dump leaves out: pg_dump takes an extension's tables for its own, and dumps their rows and grants alone.
-- The objects that the scripts have made are listed here by name: where nobody has added or changed anything, nothing
-- has to be made again.
CREATE FUNCTION payguard.not_in_dumps() RETURNS TABLE (object text, statement text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET standard_conforming_strings = on
AS $$
  WITH own_index (name) AS (
    VALUES ('orders_of_customer'), ('payments_idempotency_key'), ('payments_that_count'), ('payments_that_do_not_count'),
      ('payments_channel_txn'), ('events_order_id'), ('notifications_unmatched'), ('notifications_order_id'),
      ('deadlines_expires_at'), ('refunds_idempotency_key'), ('refunds_channel_refund'), ('refunds_payment_id'),
      ('approvals_of_order'), ('approvals_of_refund'), ('approvals_order_id'), ('approvals_of_finding'),
      ('archived_orders_customer_id'), ('archived_payments_idempotency_key'), ('archived_payments_channel_txn'),
      ('archived_payments_order_id'), ('archived_refunds_idempotency_key'), ('archived_refunds_channel_refund'),
      ('archived_refunds_payment_id'), ('archived_events_order_id'), ('archived_notifications_order_id'),
      ('archived_approvals_order_id'), ('tasks_of_payment'), ('tasks_of_refund'), ('tasks_due'), ('tasks_dead'),
      ('leases_leased_until'), ('alerts_open'), ('alerts_order_id'), ('alerts_to_notify')
  ), own_options (name, options) AS (
    VALUES ('orders', '{fillfactor=80,autovacuum_vacuum_scale_factor=0.02,autovacuum_vacuum_threshold=1000,autovacuum_analyze_scale_factor=0.02,autovacuum_analyze_threshold=1000}'::text[]),
      ('payments', '{fillfactor=90,autovacuum_vacuum_scale_factor=0.02,autovacuum_vacuum_threshold=1000,autovacuum_vacuum_insert_scale_factor=0.05,autovacuum_analyze_scale_factor=0.02,autovacuum_analyze_threshold=1000}'),
      ('events', '{autovacuum_vacuum_insert_scale_factor=0.05}'),
      ('customers', '{fillfactor=70}'),
      ('archive_position', '{fillfactor=50,autovacuum_vacuum_scale_factor=0,autovacuum_vacuum_threshold=1000}'),
      ('tasks', '{fillfactor=70,autovacuum_vacuum_scale_factor=0.02,autovacuum_vacuum_threshold=1000}'),
      ('leases', '{fillfactor=70,autovacuum_vacuum_scale_factor=0.02,autovacuum_vacuum_threshold=1000}'),
      ('consumers', '{fillfactor=50,autovacuum_vacuum_scale_factor=0,autovacuum_vacuum_threshold=1000}'),
      ('totals', '{fillfactor=50,autovacuum_vacuum_scale_factor=0,autovacuum_vacuum_threshold=1000}'),
      ('maintenance', '{fillfactor=50,autovacuum_vacuum_scale_factor=0,autovacuum_vacuum_threshold=1000}')
  ), tables AS (
    SELECT c.*, format('payguard.%I', c.relname) AS name, 'TABLE ' || format('payguard.%I', c.relname) AS object
    FROM pg_class c
    WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'payguard') AND c.relkind = 'r'
      AND c.relname IN (SELECT payguard.own_tables())
  ), indexes AS (
    SELECT c.*, i.indrelid, i.indisclustered, i.indisreplident, 'INDEX ' || format('payguard.%I', c.relname) AS object,
           t.name AS of_table, c.relname NOT IN (SELECT o.name FROM own_index o) AND NOT EXISTS (
             SELECT FROM pg_constraint k WHERE k.conindid = c.oid AND k.conrelid = t.oid) AS added
    FROM tables t JOIN pg_index i ON i.indrelid = t.oid JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indisvalid
  ), options AS (
    -- those of a table's TOAST table are set at the table
    SELECT t.object, string_to_array(r.option, '=') AS option, r.was
    FROM tables t CROSS JOIN LATERAL (
      SELECT coalesce(now.option, own.option) AS option, now.option IS NULL AS was
      FROM (SELECT unnest(t.reloptions)
            UNION ALL SELECT 'toast.' || unnest(x.reloptions) FROM pg_class x WHERE x.oid = t.reltoastrelid) now (option)
      FULL JOIN (SELECT unnest(o.options) FROM own_options o WHERE o.name = t.relname) own (option) ON own.option = now.option
      WHERE (now.option IS NULL) <> (own.option IS NULL)) r
    UNION ALL
    SELECT i.object, string_to_array(o, '='), false FROM indexes i, unnest(i.reloptions) o WHERE NOT i.added
  ), option AS (
    -- where an option has another value it is set and not reset
    SELECT DISTINCT ON (o.object, o.option[1]) o.* FROM options o ORDER BY o.object, o.option[1], o.was
  )
  SELECT x.object, x.statement FROM (
    SELECT 1, i.object, pg_get_indexdef(i.oid) FROM indexes i WHERE i.added
    UNION ALL
    SELECT 2, o.object, format(CASE WHEN o.was THEN 'ALTER %s RESET (%s)' ELSE 'ALTER %s SET (%s = %L)' END, o.object, o.option[1], o.option[2])
    FROM option o
    UNION ALL
    SELECT 3, x.object, format('ALTER %s SET TABLESPACE %I', x.object, s.spcname)
    FROM (SELECT object, reltablespace FROM tables UNION ALL SELECT object, reltablespace FROM indexes) x
    JOIN pg_tablespace s ON s.oid = x.reltablespace
    UNION ALL
    SELECT 4, t.object, format('ALTER %s ALTER %I SET %s', t.object, a.attname, s.setting)
    FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type y ON y.oid = a.atttypid
    CROSS JOIN LATERAL (VALUES
      (CASE WHEN a.attstattarget <> -1 THEN 'STATISTICS ' || a.attstattarget END),
      (CASE WHEN a.attstorage <> y.typstorage THEN
         'STORAGE ' || CASE a.attstorage WHEN 'p' THEN 'plain' WHEN 'e' THEN 'external' WHEN 'm' THEN 'main' ELSE 'extended' END END),
      (CASE a.attcompression WHEN 'p' THEN 'COMPRESSION pglz' WHEN 'l' THEN 'COMPRESSION lz4' END),
      -- the server keeps a number of its own there, too
      ((SELECT '(' || string_agg(o, ', ' ORDER BY o) || ')' FROM unnest(a.attoptions) o WHERE starts_with(o, 'n_distinct')))) s (setting)
    WHERE s.setting IS NOT NULL
    UNION ALL
    SELECT 5, t.object, format('ALTER %s REPLICA IDENTITY %s', t.object, CASE t.relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' ELSE (
      SELECT 'USING INDEX ' || quote_ident(i.relname) FROM indexes i WHERE i.indrelid = t.oid AND i.indisreplident) END)
    FROM tables t WHERE t.relreplident <> 'd'
    UNION ALL
    SELECT 6, i.object, format('ALTER TABLE %s CLUSTER ON %I', i.of_table, i.relname) FROM indexes i WHERE i.indisclustered
    UNION ALL
    SELECT 7, 'STATISTICS ' || format('%I.%I', n.nspname, s.stxname), pg_get_statisticsobjdef(s.oid)
    FROM tables t JOIN pg_statistic_ext s ON s.stxrelid = t.oid JOIN pg_namespace n ON n.oid = s.stxnamespace
    UNION ALL
    SELECT 8 + s.n, 'TRIGGER ' || format('%I ON %s', g.tgname, t.name), s.statement
    FROM tables t JOIN pg_trigger g ON g.tgrelid = t.oid JOIN pg_proc f ON f.oid = g.tgfoid
    CROSS JOIN LATERAL (VALUES
      (1, pg_get_triggerdef(g.oid)),
      (2, CASE WHEN g.tgenabled <> 'O' THEN format('ALTER %s %s TRIGGER %I', t.object,
            CASE g.tgenabled WHEN 'A' THEN 'ENABLE ALWAYS' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'DISABLE' END, g.tgname) END)) s (n, statement)
    WHERE NOT g.tgisinternal AND f.pronamespace <> t.relnamespace AND s.statement IS NOT NULL
    UNION ALL
    SELECT 11, 'POLICY ' || format('%I ON %s', p.polname, t.name),
      format('CREATE POLICY %I ON %s AS %s FOR %s TO %s', p.polname, t.name,
             CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
             CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
             (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', ') FROM unnest(p.polroles) r))
      || coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
      || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')
    FROM tables t JOIN pg_policy p ON p.polrelid = t.oid
    UNION ALL
    SELECT 12, t.object, format('ALTER %s ENABLE ROW LEVEL SECURITY', t.object) FROM tables t WHERE t.relrowsecurity
    UNION ALL
    SELECT 13, 'PUBLICATION ' || quote_ident(p.pubname),
      format('ALTER PUBLICATION %I ADD TABLE ONLY %s', p.pubname, t.name)
      || coalesce(' (' || (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
                           WHERE a.attrelid = t.oid AND a.attnum = ANY (m.prattrs)) || ')', '')
      || coalesce(' WHERE (' || pg_get_expr(m.prqual, m.prrelid) || ')', '')
    FROM tables t JOIN pg_publication_rel m ON m.prrelid = t.oid JOIN pg_publication p ON p.oid = m.prpubid
    UNION ALL
    SELECT 14, o.object, format('ALTER %s SET %s = %L', o.object, split_part(c, '=', 1), substr(c, strpos(c, '=') + 1))
    FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase CROSS JOIN LATERAL unnest(s.setconfig) c
    CROSS JOIN LATERAL (SELECT coalesce('ROLE ' || quote_ident(r.rolname) || ' IN ', '') || 'DATABASE ' || quote_ident(d.datname)
                        FROM (SELECT) x LEFT JOIN pg_roles r ON r.oid = s.setrole) o (object)
    WHERE starts_with(c, 'payguard.') AND d.datname = current_database()
  ) x (rank, object, statement)
  ORDER BY x.rank, x.object, x.statement
$$;
COMMENT ON FUNCTION payguard.not_in_dumps() IS
  'What a DBA has made or set on payguard''s tables and pg_dump leaves out, as statements that make it again after a restore';
