-- The extension brings its own schema, and takes none that was there before.
\set VERBOSITY terse
CREATE DATABASE regress_payguard_install;
\c regress_payguard_install
SET client_min_messages = warning;
CREATE SCHEMA payguard;
CREATE FUNCTION payguard.own_tables() RETURNS SETOF text LANGUAGE sql AS $$ SELECT 'planted' $$;
CREATE EXTENSION payguard; -- fails
DROP SCHEMA payguard CASCADE;

CREATE SCHEMA elsewhere;
CREATE EXTENSION payguard SCHEMA elsewhere;
SELECT count(*) FROM pg_proc WHERE pronamespace = 'elsewhere'::regnamespace;
ALTER EXTENSION payguard SET SCHEMA public; -- fails
SELECT extrelocatable FROM pg_extension WHERE extname = 'payguard';
SELECT superuser, trusted, relocatable FROM pg_available_extension_versions
WHERE name = 'payguard' AND installed;
SELECT * FROM payguard.verify();

-- whoever is not a superuser cannot install it
DROP EXTENSION payguard;
SELECT count(*) FROM pg_namespace WHERE nspname = 'payguard';
CREATE ROLE regress_install;
GRANT CREATE ON DATABASE regress_payguard_install TO regress_install;
SET ROLE regress_install;
CREATE EXTENSION payguard; -- fails
RESET ROLE;
-- with it gone, and with it back, nothing is left over
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO regress_install;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO regress_install;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO regress_install;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TYPES TO regress_install;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO regress_install;
CREATE EXTENSION payguard;
-- what the installing role gives by default is not given here
SELECT 'relation' AS what, relname AS name FROM pg_class WHERE relnamespace = 'payguard'::regnamespace AND relacl::text ~ 'regress_install'
UNION ALL SELECT 'function', proname FROM pg_proc WHERE pronamespace = 'payguard'::regnamespace AND proacl::text ~ 'regress_install'
UNION ALL SELECT 'type', typname FROM pg_type WHERE typnamespace = 'payguard'::regnamespace AND typtype = 'c' AND typrelid NOT IN
  (SELECT oid FROM pg_class WHERE relkind <> 'c') AND typacl::text ~ 'regress_install'
UNION ALL SELECT 'schema', nspname FROM pg_namespace WHERE nspname = 'payguard' AND nspacl::text ~ 'regress_install';
SELECT * FROM payguard.verify();
DROP EXTENSION payguard;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM regress_install;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM regress_install;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM regress_install;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TYPES FROM regress_install;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM regress_install;
SELECT evtname FROM pg_event_trigger WHERE evtname LIKE 'payguard%';
CREATE EXTENSION payguard;
SELECT (payguard.create_order('install', 1, 'EUR')).status;
-- every table's rows are in a dump, but for the channel that the script makes
SELECT t.name, (SELECT c FROM unnest(e.extconfig, e.extcondition) u (o, c)
                WHERE o = ('payguard.' || t.name)::regclass) AS condition
FROM payguard.own_tables() t (name), pg_extension e WHERE e.extname = 'payguard' ORDER BY 1;
SELECT c.relname FROM pg_class c, pg_extension e
WHERE e.extname = 'payguard' AND c.relnamespace = 'payguard'::regnamespace
  AND c.relkind IN ('r', 'S') AND c.oid <> ALL (e.extconfig);
\c contrib_regression
DROP DATABASE regress_payguard_install;
DROP ROLE regress_install;
