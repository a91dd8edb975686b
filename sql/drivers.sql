-- Drivers in the database: one that raises, hangs, says nothing or nonsense leaves the outcome unknown, and the next task runs.
\getenv srcdir PG_ABS_SRCDIR
CREATE SCHEMA regress_drivers;
CREATE TABLE regress_drivers.calls (n int GENERATED ALWAYS AS IDENTITY, driver text, kind text, order_id text, who text, path text);
CREATE FUNCTION regress_drivers.good(t payguard.task) RETURNS payguard.channel_reply LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO regress_drivers.calls (driver, kind, order_id, who, path) VALUES ('good', t.kind, t.order_id, current_user, current_setting('search_path'));
  RETURN ('succeeded', 'driver-' || t.order_id, t.amount, t.currency, NULL, NULL)::payguard.channel_reply;
END $$;
CREATE FUNCTION regress_drivers.raises(t payguard.task) RETURNS payguard.channel_reply LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO regress_drivers.calls (driver) VALUES ('undone');
  CASE t.details ->> 'how'
    WHEN 'plainly' THEN RAISE EXCEPTION 'the channel is down';
    WHEN 'with odd characters' THEN RAISE EXCEPTION '%', E'bell \x07, line\nfeed, escape \x1b, delete \x7f, C1 ' || chr(133);
    WHEN 'without a message' THEN RAISE EXCEPTION '%', '';
    WHEN 'at length' THEN RAISE EXCEPTION '%', repeat(chr(8364), 5000);
    WHEN 'by an assertion' THEN ASSERT false, 'that cannot be';
    WHEN 'by division' THEN PERFORM 1 / 0;
    WHEN 'as we do' THEN RAISE EXCEPTION USING ERRCODE = 'PY101', MESSAGE = 'no';
    WHEN 'by a commit' THEN COMMIT;
    WHEN 'by a cancellation' THEN RAISE query_canceled USING MESSAGE = 'that is enough';
  END CASE;
END $$;
CREATE FUNCTION regress_drivers.hangs(t payguard.task) RETURNS payguard.channel_reply LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); END $$;
CREATE FUNCTION regress_drivers.loops(t payguard.task) RETURNS payguard.channel_reply LANGUAGE plpgsql AS $$ BEGIN LOOP NULL; END LOOP; END $$;
CREATE FUNCTION regress_drivers.silent(t payguard.task) RETURNS payguard.channel_reply LANGUAGE sql AS $$ SELECT NULL::payguard.channel_reply $$;
CREATE FUNCTION regress_drivers.empty(t payguard.task) RETURNS SETOF payguard.channel_reply LANGUAGE sql AS $$ SELECT NULL::payguard.channel_reply WHERE false $$;
CREATE FUNCTION regress_drivers.nonsense(t payguard.task) RETURNS payguard.channel_reply LANGUAGE sql AS $$
  SELECT * FROM jsonb_populate_record(NULL::payguard.channel_reply, t.details - 'how')
$$;
CREATE FUNCTION regress_drivers.wrong_type(t payguard.task) RETURNS integer LANGUAGE sql AS $$ SELECT 1 $$;
CREATE FUNCTION regress_drivers.dropped(t payguard.task) RETURNS payguard.channel_reply LANGUAGE sql AS $$ SELECT NULL::payguard.channel_reply $$;
CREATE FUNCTION regress_drivers.private(t payguard.task) RETURNS payguard.channel_reply LANGUAGE sql AS $$ SELECT NULL::payguard.channel_reply $$;
REVOKE ALL ON FUNCTION regress_drivers.private(payguard.task) FROM PUBLIC;
CREATE ROLE regress_drivers;
GRANT USAGE ON SCHEMA regress_drivers TO regress_drivers;
GRANT INSERT ON regress_drivers.calls TO regress_drivers;
-- a driver's name is kept with its schema, whatever the search_path was
SET search_path = regress_drivers, public;
SELECT driver FROM payguard.register_channel('drivers_good', driver := 'good');
RESET search_path;
SELECT name, driver FROM unnest('{raises,hangs,loops,silent,empty,nonsense,wrong_type,dropped,private}'::text[]) d CROSS JOIN LATERAL payguard.register_channel('drivers_' || d, driver := 'regress_drivers.' || d);
-- only the access that a worker has
SELECT payguard.grant_access('regress_drivers', 'channel');
CREATE PROCEDURE pg_temp.ask(id text, channel text, details jsonb DEFAULT NULL) LANGUAGE plpgsql AS $$
BEGIN
  PERFORM payguard.create_order(id, 1000, 'EUR');
  PERFORM payguard.request_payment(id, id, channel, details := details);
END $$;
CREATE VIEW pg_temp.outcome AS
  SELECT o.order_id, o.status, p.status AS payment, p.channel_txn_id AS txn, (SELECT string_agg(concat_ws(' ', t.kind, t.last_error), ', ' ORDER BY t.kind) FROM payguard.tasks t WHERE t.order_id = o.order_id) AS tasks,
    (SELECT count(*) FROM payguard.leases l WHERE l.order_id = o.order_id) AS leases
  FROM payguard.orders o JOIN payguard.payments p USING (order_id) WHERE o.order_id LIKE 'drivers-%';
-- arguments, before anything is claimed
CALL pg_temp.ask('drivers-1', 'drivers_good');
\set VERBOSITY sqlstate
CALL payguard.run_tasks(NULL);
CALL payguard.run_tasks(timeout := NULL);
CALL payguard.run_tasks(0);
CALL payguard.run_tasks(-1);
CALL payguard.run_tasks(timeout := '0 s');
CALL payguard.run_tasks(timeout := '-1 s');
-- not inside of a transaction: it commits
BEGIN;
CALL payguard.run_tasks();
ROLLBACK;
\set VERBOSITY terse
SELECT status, payment, tasks, leases FROM pg_temp.outcome;
-- the good one: as the caller, with the caller's search_path
SET SESSION AUTHORIZATION regress_drivers;
SELECT pg_sleep(1);
CALL payguard.run_tasks();
CALL payguard.run_tasks();
RESET SESSION AUTHORIZATION;
SELECT driver, kind, order_id, who FROM regress_drivers.calls;
SELECT status, payment, txn, tasks, leases FROM pg_temp.outcome;
-- each of the bad, and the next task runs
DO $$
DECLARE how text; reply jsonb; n int := 0;
BEGIN
  FOREACH how IN ARRAY '{plainly,with odd characters,without a message,at length,by an assertion,by division,as we do,by a commit,by a cancellation}'::text[] LOOP
    CALL pg_temp.ask('drivers-2-' || how, 'drivers_raises', jsonb_build_object('how', how));
  END LOOP;
  FOREACH reply IN ARRAY ARRAY['{"channel_status": "done"}', '{"channel_status": ""}', '{"channel_txn_id": "t"}', '{"channel_status": "succeeded", "amount": -1}', '{"channel_status": "succeeded", "currency": "euro"}',
      '{"channel_status": "failed", "code": ""}', '{"channel_status": "failed", "message": "\u0007"}']::jsonb[] LOOP
    n := n + 1;
    CALL pg_temp.ask('drivers-3-' || n, 'drivers_nonsense', reply);
  END LOOP;
  FOREACH how IN ARRAY '{hangs,loops,silent,empty,wrong_type,dropped,private,good}'::text[] LOOP
    CALL pg_temp.ask('drivers-4-' || how, 'drivers_' || how);
  END LOOP;
END $$;
DROP FUNCTION regress_drivers.dropped(payguard.task);
SET SESSION AUTHORIZATION regress_drivers;
SELECT pg_sleep(1);
CALL payguard.run_tasks(1000, '200 ms');
RESET SESSION AUTHORIZATION;
SELECT order_id, status, payment, txn, tasks, leases FROM pg_temp.outcome WHERE order_id !~ '^drivers-1' ORDER BY 1;
SELECT order_id, details ->> 'code' AS code, left(details ->> 'message', 60) AS message, octet_length(details ->> 'message') > 2000 AS long FROM payguard.events WHERE order_id LIKE 'drivers-%' AND kind = 'payment.unknown' ORDER BY 1;
SELECT driver, kind, order_id FROM regress_drivers.calls ORDER BY n;
-- nothing is due any more: nothing was charged again
SET SESSION AUTHORIZATION regress_drivers;
SELECT pg_sleep(1);
CALL payguard.run_tasks(1000, '200 ms');
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM regress_drivers.calls;
-- a cancellation that is not the timer's is not swallowed: the task stays claimed, and nothing else runs
CALL pg_temp.ask('drivers-5', 'drivers_hangs');
CALL pg_temp.ask('drivers-6', 'drivers_good');
SET SESSION AUTHORIZATION regress_drivers;
SELECT pg_sleep(1);
SET statement_timeout = '500 ms';
CALL payguard.run_tasks(timeout := '1500 ms');
RESET statement_timeout;
RESET SESSION AUTHORIZATION;
SELECT order_id, status, payment, tasks, leases FROM pg_temp.outcome WHERE order_id ~ '^drivers-[56]' ORDER BY 1;
-- its timer is off
SELECT pg_sleep(1.6);
-- arguments of what it is made of
SELECT payguard.call_driver(NULL, NULL, '1 s');
SELECT payguard.call_driver('regress_drivers.silent', NULL, NULL);
SELECT payguard.call_driver('regress_drivers.silent', NULL, '0 s');
SELECT payguard.call_driver('regress_drivers.silent', NULL, '1 s') IS NULL AS silent;
CALL payguard.run_tasks();
SELECT order_id, status, payment, tasks, leases FROM pg_temp.outcome WHERE order_id ~ '^drivers-[56]' ORDER BY 1;
-- a hostile schema first on the path: our names are not taken from it
CREATE SCHEMA regress_drivers_hostile;
GRANT USAGE ON SCHEMA regress_drivers_hostile TO PUBLIC;
CREATE FUNCTION regress_drivers_hostile.caught() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'caught'; RETURN 'caught'; END $$;
CREATE FUNCTION regress_drivers_hostile.good(t payguard.task) RETURNS payguard.channel_reply LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'caught: driver'; RETURN NULL; END $$;
CREATE FUNCTION regress_drivers_hostile.format(text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'caught: format'; RETURN 'SELECT 1'; END $$;
CREATE FUNCTION regress_drivers_hostile."left"(text, integer) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'caught: left'; RETURN 'x'; END $$;
CREATE FUNCTION regress_drivers_hostile.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'caught: ='; RETURN true; END $$;
CREATE OPERATOR regress_drivers_hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_drivers_hostile.eq);
CREATE FUNCTION regress_drivers_hostile.plus(interval, interval) RETURNS interval LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'caught: +'; RETURN '0'; END $$;
CREATE OPERATOR regress_drivers_hostile.+ (LEFTARG = interval, RIGHTARG = interval, FUNCTION = regress_drivers_hostile.plus);
CREATE FUNCTION regress_drivers_hostile.gt(integer, integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'caught: >'; RETURN false; END $$;
CREATE OPERATOR regress_drivers_hostile.> (LEFTARG = integer, RIGHTARG = integer, FUNCTION = regress_drivers_hostile.gt);
CREATE DOMAIN regress_drivers_hostile.text AS int NOT NULL;
CREATE DOMAIN regress_drivers_hostile.regproc AS int;
CALL pg_temp.ask('drivers-7', 'drivers_good');
CALL pg_temp.ask('drivers-8', 'drivers_silent');
SET SESSION AUTHORIZATION regress_drivers;
DISCARD PLANS;
SET search_path = regress_drivers_hostile, pg_temp, pg_catalog;
SELECT pg_catalog.pg_sleep(0.3);
CALL payguard.run_tasks();
RESET search_path;
RESET SESSION AUTHORIZATION;
SELECT order_id, status, payment, tasks, leases FROM pg_temp.outcome WHERE order_id ~ '^drivers-[78]' ORDER BY 1;
SELECT * FROM payguard.verify();
DROP VIEW pg_temp.outcome;
-- nor in a new session, which compiles the procedure with that path
\c -
SET search_path = regress_drivers_hostile, pg_catalog;
CALL payguard.run_tasks();
RESET search_path;
DROP SCHEMA regress_drivers_hostile CASCADE;
SELECT payguard.revoke_access('regress_drivers', 'channel');
DROP SCHEMA regress_drivers CASCADE;
DROP OWNED BY regress_drivers;
DROP ROLE regress_drivers;
