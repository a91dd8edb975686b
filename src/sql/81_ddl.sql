-- The event triggers that judge DDL.
--
-- Their tags are narrow: without the library file each of these commands would fail.
CREATE EVENT TRIGGER payguard_ddl_start ON ddl_command_start
  WHEN TAG IN ('ALTER TABLE', 'ALTER INDEX', 'ALTER TYPE', 'ALTER TRIGGER', 'ALTER SCHEMA',
               'ALTER SEQUENCE', 'ALTER FUNCTION', 'ALTER PROCEDURE', 'ALTER ROUTINE',
               'ALTER AGGREGATE', 'ALTER RULE', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW',
               'ALTER FOREIGN TABLE', 'ALTER EXTENSION', 'CREATE FUNCTION', 'CREATE PROCEDURE',
               'CREATE AGGREGATE', 'CREATE RULE', 'CREATE SCHEMA', 'CREATE TABLE',
               'CREATE TABLE AS', 'SELECT INTO', 'CREATE FOREIGN TABLE', 'CREATE VIEW',
               'CREATE MATERIALIZED VIEW', 'CREATE TRIGGER', 'DROP INDEX', 'DROP TRIGGER',
               'DROP TABLE', 'DROP TYPE', 'DROP DOMAIN', 'DROP EXTENSION', 'DROP LANGUAGE',
               'DROP SCHEMA', 'DROP OWNED',
               -- with CASCADE each of these takes a table along that is made of it, or a column, or an index
               'DROP FUNCTION', 'DROP ROUTINE', 'DROP OPERATOR', 'DROP OPERATOR CLASS',
               'DROP OPERATOR FAMILY', 'DROP COLLATION', 'DROP FOREIGN TABLE', 'DROP SERVER',
               'DROP FOREIGN DATA WRAPPER', 'DROP ACCESS METHOD')
  EXECUTE FUNCTION payguard.check_ddl_start();
CREATE EVENT TRIGGER payguard_ddl_end ON ddl_command_end
  WHEN TAG IN ('ALTER TABLE', 'ALTER INDEX', 'ALTER TRIGGER', 'ALTER RULE', 'ALTER VIEW',
               'ALTER MATERIALIZED VIEW', 'ALTER FOREIGN TABLE', 'ALTER EXTENSION', 'ALTER TYPE',
               'ALTER SCHEMA', 'CREATE RULE', 'CREATE SCHEMA', 'CREATE TABLE',
               'CREATE FOREIGN TABLE', 'CREATE TRIGGER', 'DROP INDEX', 'DROP TRIGGER',
               'DROP TABLE', 'DROP TYPE', 'DROP DOMAIN', 'DROP EXTENSION', 'DROP LANGUAGE',
               'DROP SCHEMA', 'DROP OWNED',
               -- with CASCADE each of these takes a table along that is made of it, or a column, or an index
               'DROP FUNCTION', 'DROP ROUTINE', 'DROP OPERATOR', 'DROP OPERATOR CLASS',
               'DROP OPERATOR FAMILY', 'DROP COLLATION', 'DROP FOREIGN TABLE', 'DROP SERVER',
               'DROP FOREIGN DATA WRAPPER', 'DROP ACCESS METHOD')
  EXECUTE FUNCTION payguard.check_ddl_end();
ALTER EVENT TRIGGER payguard_ddl_start ENABLE ALWAYS;
ALTER EVENT TRIGGER payguard_ddl_end ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER payguard_ddl_start IS 'Refuses DDL on payguard''s objects';
COMMENT ON EVENT TRIGGER payguard_ddl_end IS 'Refuses DDL that has broken one of payguard''s guards';
