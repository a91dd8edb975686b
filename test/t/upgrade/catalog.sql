-- Everything that the catalog says of the extension, one line a fact, without OIDs: what an updated
-- database and a fresh one are compared by.
SET search_path = pg_catalog;
WITH member (class, id, sub) AS (
  SELECT d.classid, d.objid, d.objsubid
  FROM pg_depend d JOIN pg_extension x ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = x.oid
  WHERE x.extname = 'payguard' AND d.deptype = 'e'
), relation AS (
  SELECT c.* FROM pg_class c
  WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'payguard')
), routine AS (
  SELECT p.* FROM pg_proc p
  WHERE p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'payguard')
), privilege (object, acl, owner) AS (
  SELECT 'relation ' || oid::regclass, relacl, relowner FROM relation
  UNION ALL SELECT 'column ' || attrelid::regclass || '.' || attname, attacl, relowner
    FROM pg_attribute JOIN relation ON relation.oid = attrelid
  UNION ALL SELECT 'routine ' || oid::regprocedure, proacl, proowner FROM routine
  UNION ALL SELECT 'type ' || t.oid::regtype, t.typacl, t.typowner FROM pg_type t JOIN relation r ON r.reltype = t.oid
  UNION ALL SELECT 'schema ' || nspname, nspacl, nspowner FROM pg_namespace WHERE nspname = 'payguard'
  UNION ALL SELECT 'initially ' || pg_describe_object(classoid, objoid, objsubid), initprivs, NULL FROM pg_init_privs
    WHERE (classoid, objoid) IN (SELECT class, id FROM member)
)
SELECT concat_ws(' | ', fact.what, fact.name, fact.details) FROM (
  SELECT 'member', pg_describe_object(class, id, sub), NULL FROM member
  UNION ALL SELECT 'depends', pg_describe_object(d.classid, d.objid, d.objsubid),
    concat(d.deptype, ' ', pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid))
    FROM pg_depend d WHERE (d.classid, d.objid) IN (SELECT class, id FROM member) AND d.deptype <> 'e'
  UNION ALL SELECT 'extension', x.extname, concat_ws(' ', x.extversion, x.extowner::regrole, x.extrelocatable)
    FROM pg_extension x WHERE x.extname = 'payguard'
  UNION ALL SELECT 'dumped', u.id::regclass::text, u.condition
    FROM pg_extension x, unnest(x.extconfig, x.extcondition) u (id, condition) WHERE x.extname = 'payguard'
  UNION ALL SELECT 'relation', oid::regclass::text, concat_ws(' ', relkind, relpersistence, relowner::regrole, relreplident,
    relrowsecurity, relforcerowsecurity, relhasrules, relispartition, reloptions, reltoastrelid <> 0, relispopulated,
    (SELECT amname FROM pg_am WHERE oid = relam), CASE WHEN relkind = 'v' THEN pg_get_viewdef(oid) END)
    FROM relation
  UNION ALL SELECT 'column', attrelid::regclass || ' ' || lpad(row_number() OVER (PARTITION BY attrelid ORDER BY attnum)::text, 2),
    concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, atthasdef, attidentity, attgenerated, attstorage,
      attcompression, attstattarget, attislocal,
      -- the server itself keeps a number there
      (SELECT array_agg(o) FROM unnest(attoptions) o WHERE o !~ '^pg_attver='), (SELECT collname FROM pg_collation WHERE oid = attcollation),
      (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = attrelid AND adnum = attnum))
    FROM pg_attribute JOIN relation ON relation.oid = attrelid WHERE attnum > 0 AND NOT attisdropped
  UNION ALL SELECT 'constraint', conrelid::regclass || ' ' || conname, concat_ws(' ', convalidated, pg_get_constraintdef(k.oid))
    FROM pg_constraint k JOIN relation ON relation.oid = conrelid
  UNION ALL SELECT 'index', indexrelid::regclass::text, concat_ws(' ', indisvalid, indisready, indislive, indisreplident,
      indisclustered, indimmediate, pg_get_indexdef(indexrelid))
    FROM pg_index JOIN relation ON relation.oid = indrelid
  UNION ALL SELECT 'trigger', tgrelid::regclass || ' ' || tgname, concat_ws(' ', tgenabled, pg_get_triggerdef(t.oid))
    FROM pg_trigger t JOIN relation ON relation.oid = tgrelid
  UNION ALL SELECT 'rule', ev_class::regclass || ' ' || rulename, concat_ws(' ', ev_enabled, pg_get_ruledef(r.oid))
    FROM pg_rewrite r JOIN relation ON relation.oid = ev_class
  UNION ALL SELECT 'policy', polrelid::regclass || ' ' || polname, polcmd::text
    FROM pg_policy JOIN relation ON relation.oid = polrelid
  UNION ALL SELECT 'sequence', seqrelid::regclass::text, concat_ws(' ', format_type(seqtypid, NULL), seqstart, seqincrement,
      seqmax, seqmin, seqcache, seqcycle)
    FROM pg_sequence JOIN relation ON relation.oid = seqrelid
  UNION ALL SELECT 'routine', oid::regprocedure::text, concat_ws(' ', proowner::regrole, pg_get_functiondef(oid)) FROM routine
  UNION ALL SELECT 'event trigger', evtname, concat_ws(' ', evtevent, evtowner::regrole, evtenabled, evttags, evtfoid::regprocedure)
    FROM pg_event_trigger WHERE (oid, 'pg_event_trigger'::regclass) IN (SELECT id, class FROM member)
  UNION ALL SELECT 'comment', pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description
    FROM pg_description d WHERE (d.classoid, d.objoid) IN (SELECT class, id FROM member)
  UNION ALL SELECT 'privilege', object, concat_ws(' ', grantor::regrole, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
      privilege_type, is_grantable)
    FROM privilege, aclexplode(acl)
  UNION ALL SELECT 'privileges', object, CASE WHEN acl IS NULL THEN 'by default' END FROM privilege
) fact (what, name, details)
ORDER BY 1;
