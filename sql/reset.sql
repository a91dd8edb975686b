-- reset() empties payguard where that was allowed for the database, and nowhere else.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\set regression :DBNAME
CREATE DATABASE regress_payguard_reset;
\c regress_payguard_reset
SET client_min_messages = warning;
CREATE EXTENSION payguard;
\i :answer
CREATE ROLE regress_reset;
SELECT count(payguard.grant_access('regress_reset', a)) FROM unnest('{admin,checkout,cashier,channel,auditor}'::text[]) a;
CREATE TABLE shop (id text, status text);
ALTER TABLE shop OWNER TO regress_reset;
SELECT payguard.grant_access('regress_reset', 'owner');
SET SESSION AUTHORIZATION regress_reset;
SELECT count(*) FROM payguard.guard_table('shop', 'status', '{"new": ["paid"]}');
CREATE FUNCTION pg_temp.fill() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  order_id text;
BEGIN
  PERFORM payguard.register_channel('reset');
  PERFORM payguard.set_policy('XTS', 1000, duplicate_window := '1 h');
  PERFORM payguard.create_order('reset-' || i, 1000, 'XTS', 'anna', now() + interval '1 h') FROM generate_series(1, 4) i;
  PERFORM payguard.pay_order('reset-1', 'reset-1');
  PERFORM payguard.record_payment('reset-1', 'reset', 'ch_1', 1000, 'XTS');
  PERFORM payguard.request_payment('reset-2', 'reset-2', 'reset');
  PERFORM payguard.record_notification('reset', 'unknown'::text, 'evt_1', channel_txn_id := 'ch_9', channel_status := 'succeeded');
  PERFORM payguard.import_order('reset-old', 1, 'XTS', 'paid', paid_at := '2024-01-01', channel := 'internal');
  PERFORM payguard.maintain();
  RETURN (SELECT max(event_id) FROM payguard.events);
END
$$;
SELECT pg_temp.fill() > 0 AS filled;
SELECT payguard.archive_orders('2025-01-01');
SELECT count(*) FROM payguard.claim_tasks('w');
CREATE FUNCTION pg_temp.rows() RETURNS TABLE (name text, n bigint) LANGUAGE plpgsql AS $$
BEGIN
  FOR name IN SELECT t FROM payguard.own_tables() t ORDER BY 1 LOOP
    EXECUTE format('SELECT count(*) FROM payguard.%I', name) INTO n;
    IF n > 0 THEN RETURN NEXT; END IF;
  END LOOP;
END
$$;
RESET SESSION AUTHORIZATION;
SELECT string_agg(name, ' ') FROM pg_temp.rows();
SET SESSION AUTHORIZATION regress_reset;
SELECT pg_temp.answer('SELECT payguard.reset()');
SET payguard.allow_reset = on; -- fails
ALTER DATABASE regress_payguard_reset SET payguard.allow_reset = on; -- fails
RESET SESSION AUTHORIZATION;
-- not by a session, nor for a role
SET payguard.allow_reset = on;
SELECT pg_temp.answer('SELECT payguard.reset()');
ALTER ROLE regress_reset SET payguard.allow_reset = on;
ALTER ROLE regress_reset IN DATABASE regress_payguard_reset SET payguard.allow_reset = on;
ALTER DATABASE :"regression" SET payguard.allow_reset = on;
ALTER DATABASE regress_payguard_reset SET payguard.allow_reset = off;
SELECT pg_temp.answer('SELECT payguard.reset()');
ALTER DATABASE :"regression" RESET payguard.allow_reset;
SELECT count(*) > 0 AS still_there FROM payguard.orders;
ALTER DATABASE regress_payguard_reset SET payguard.allow_reset = on;
-- not what others reference
CREATE TABLE referencing (order_id text REFERENCES payguard.orders (order_id));
INSERT INTO referencing VALUES ('reset-1');
SELECT split_part(pg_temp.answer('SELECT payguard.reset()'), ' | ', 1);
DROP TABLE referencing;
SELECT max(event_id) AS last_event FROM payguard.events \gset
SET SESSION AUTHORIZATION regress_reset;
SELECT payguard.reset();
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.rows();
SELECT name FROM payguard.channels;
SELECT table_name FROM payguard.guards;
SELECT * FROM payguard.verify();
-- all of it can be made again; ids go on
SET SESSION AUTHORIZATION regress_reset;
SELECT pg_temp.fill() > :last_event AS filled_again;
SELECT * FROM payguard.verify();
-- who may not, may not
RESET SESSION AUTHORIZATION;
SELECT payguard.revoke_access('regress_reset', 'admin');
SET SESSION AUTHORIZATION regress_reset;
SELECT payguard.reset(); -- fails
-- a test that is rolled back has not emptied anything
RESET SESSION AUTHORIZATION;
BEGIN;
SELECT payguard.reset();
ROLLBACK;
SELECT count(*) > 0 AS still_there FROM payguard.orders;
DROP OWNED BY regress_reset;
DROP ROLE regress_reset;
\c :regression
DROP DATABASE regress_payguard_reset;
