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
CREATE EXTENSION payguard;
DROP EXTENSION payguard;
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
