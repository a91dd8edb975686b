COMMENT ON COLUMN payguard.maintenance.ran_at IS 'When it was done for the last time, or, if it never was, first tried';
COMMENT ON COLUMN payguard.maintenance.problem IS 'The error that ended it since then, or what it had to leave out; NULL: none';
--@ part 64_archive
CREATE INDEX approvals_order_id ON payguard.approvals (order_id);
--@ functions
-- The archive's tables are protected and dumped as the others are.
DO $do$
DECLARE
  name text;
BEGIN
  FOR name IN SELECT payguard.own_tables() EXCEPT SELECT k.name FROM payguard.own_columns() k LOOP
    EXECUTE pg_catalog.format(
      'CREATE TRIGGER payguard_protect BEFORE UPDATE OR DELETE OR TRUNCATE ON payguard.%I '
      'FOR EACH STATEMENT EXECUTE FUNCTION payguard.deny_direct_write()', name);
    EXECUTE pg_catalog.format('ALTER TABLE payguard.%I ENABLE ALWAYS TRIGGER payguard_protect', name);
    PERFORM pg_catalog.pg_extension_config_dump(pg_catalog.format('payguard.%I', name), '');
  END LOOP;
  EXECUTE pg_catalog.format(
    'CREATE OR REPLACE FUNCTION payguard.own_columns(OUT name text, OUT columns text) RETURNS SETOF record '
    'LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ VALUES %s $$',
    (SELECT pg_catalog.string_agg(pg_catalog.format('(%L, %L)', c.name, c.columns), ', ' ORDER BY c.name)
     FROM payguard.current_columns() c));
END
$do$;
--@ part 95_private
-- Each role gains what its accesses have gained.
SELECT payguard.renew_access();
