-- Nothing depends on how the session reads a backslash within a string: what would, warns.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
\set facts '(SELECT md5(string_agg(conname || pg_get_constraintdef(oid), '''' ORDER BY conname)) FROM pg_constraint WHERE connamespace = ''payguard''::regnamespace)'
SELECT :facts AS plain \gset
-- such a session installs the same
CREATE DATABASE regress_payguard_backslashes;
\set here :DBNAME
\c regress_payguard_backslashes
SET client_min_messages = warning;
SELECT set_config('standard_conforming_strings', 'off', false) IS NOT NULL AS off WHERE current_setting('server_version_num')::int < 190000;
CREATE EXTENSION payguard;
RESET standard_conforming_strings;
SELECT :facts = :'plain' AS same;
-- calls
\set VERBOSITY terse
CREATE SCHEMA regress_backslashes;
CREATE FUNCTION regress_backslashes.raises(t payguard.task) RETURNS payguard.channel_reply LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'bell %, C1 %, a path C:%temp', chr(7), chr(159), chr(92); END $$;
CREATE TABLE regress_backslashes.rows (id text PRIMARY KEY, state text NOT NULL, twin text);
SELECT set_config('standard_conforming_strings', 'off', false) IS NOT NULL AS off WHERE current_setting('server_version_num')::int < 190000;
SELECT (payguard.register_channel(E'back\\slash', driver := 'regress_backslashes.raises')).name;
SELECT (payguard.create_order(E'back\\slash ''1''', 100, 'EUR', E'c\\')).status;
SELECT outcome FROM payguard.request_payment(E'back\\slash ''1''', E'k\\', E'back\\slash', details := E'{"a": "\\\\ \\u00e4"}');
CALL payguard.run_tasks(1);
SELECT kind, details ->> 'message' AS message FROM payguard.order_timeline(E'back\\slash ''1''') WHERE kind = 'payment.unknown';
INSERT INTO payguard.settlement_lines (channel, channel_txn_id, amount, currency, channel_time) VALUES (E'back\\slash', E't\\', 100, 'EUR', '2026-01-01');
SELECT finding, details ->> 'channel_txn_id' AS txn FROM payguard.reconcile(E'back\\slash', '2025-01-01', '2026-10-01');
\set VERBOSITY sqlstate
INSERT INTO payguard.settlement_lines (channel, channel_txn_id, amount, currency, channel_time) VALUES ('x', chr(7), 100, 'EUR', now()); -- fails
\set VERBOSITY terse
SELECT payguard.guard_table('regress_backslashes.rows', 'state', E'{"new\\\\": ["it''s \\\\paid"], "it''s \\\\paid": []}', once := '{twin}', success_states := ARRAY[E'it''s \\paid']);
INSERT INTO regress_backslashes.rows VALUES (1, E'new\\', 'a'), (2, E'new\\', 'a');
UPDATE regress_backslashes.rows SET state = E'it''s \\paid' WHERE id = '1';
\set VERBOSITY sqlstate
UPDATE regress_backslashes.rows SET state = E'it''s \\paid' WHERE id = '2'; -- fails
UPDATE regress_backslashes.rows SET state = E'new\\' WHERE id = '1'; -- fails
\set VERBOSITY terse
SELECT transitions, success_states, valid FROM payguard.guards WHERE table_name = 'regress_backslashes.rows';
SELECT count(*) FROM payguard.maintain() WHERE problem IS NOT NULL;
SELECT count(*) > 0 AS some FROM payguard.metrics;
SELECT * FROM payguard.verify();
SELECT payguard.unguard_table('regress_backslashes.rows');
DROP TABLE regress_backslashes.rows;
\c :here
DROP DATABASE regress_payguard_backslashes;
