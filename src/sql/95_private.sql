-- New objects are the owner's alone: what PUBLIC has on them, or ALTER DEFAULT PRIVILEGES gives, is revoked.
-- This goes on record as the initial privileges of each object. So an update, which runs this too, leaves
-- older objects alone.
DO $$
DECLARE
  made record;
BEGIN
  FOR made IN
    SELECT o.name, pg_catalog.string_agg(DISTINCT ', ' || pg_catalog.quote_ident(r.rolname), '') AS others
    FROM (
      SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, c.relacl, c.relowner,
             pg_catalog.format('%s %s', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::pg_catalog.regclass)
      FROM pg_catalog.pg_class c
      WHERE c.relnamespace = 'payguard'::pg_catalog.regnamespace AND c.relkind IN ('r', 'v', 'S')
      UNION ALL
      SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, p.proacl, p.proowner,
             pg_catalog.format('ROUTINE %s', p.oid::pg_catalog.regprocedure)
      FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'payguard'::pg_catalog.regnamespace
      UNION ALL
      SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, t.typacl, t.typowner,
             pg_catalog.format('TYPE %s', t.oid::pg_catalog.regtype)
      FROM pg_catalog.pg_type t JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
      WHERE t.typnamespace = 'payguard'::pg_catalog.regnamespace AND c.relkind = 'c'
      UNION ALL
      SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass, n.oid, n.nspacl, n.nspowner, 'SCHEMA payguard'
      FROM pg_catalog.pg_namespace n WHERE n.nspname = 'payguard'
    ) o (class, id, acl, owner, name)
    LEFT JOIN LATERAL pg_catalog.aclexplode(o.acl) a ON a.grantee <> o.owner
    LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_init_privs i
                      WHERE i.classoid = o.class AND i.objoid = o.id AND i.objsubid = 0)
    GROUP BY o.class, o.id, o.name
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM PUBLIC%s', made.name, made.others);
    IF made.name LIKE 'TYPE %' THEN
      EXECUTE pg_catalog.format('GRANT USAGE ON %s TO PUBLIC', made.name);
    ELSIF made.name IN ('ROUTINE payguard.guard()', 'ROUTINE payguard.guard_truncate()') THEN
      -- Whoever adds a partition to a guarded table makes its triggers. They can only refuse, and
      -- an event trigger leaves putting them on by hand to superusers.
      EXECUTE pg_catalog.format('GRANT EXECUTE ON %s TO PUBLIC', made.name);
    END IF;
  END LOOP;
END
$$;
