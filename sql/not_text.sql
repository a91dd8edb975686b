-- What is no text in the database's encoding is not stored: a dump with it could not be restored. Neither the
-- startup packet's settings are checked by the server nor names of roles, which are of all databases.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
-- bytes as they are; current_setting() of a setting that came with the connection does the same
CREATE FUNCTION pg_temp.raw(bytea) RETURNS text LANGUAGE internal IMMUTABLE STRICT AS 'byteasend';
SELECT pg_temp.raw('\x61c3a4') = 'aä' AS text, pg_temp.answer($$SELECT convert_to(pg_temp.raw('\x61ff'), 'UTF8')$$) AS no_text;
-- A role's name: what is no text of it is written out, also by evidence.
DO $$ BEGIN
  EXECUTE format('CREATE ROLE %I', pg_temp.raw('\x726567726573735fc3a4ff5f6de46e6e'));
  PERFORM payguard.grant_access(r.rolname, a) FROM pg_roles r, unnest('{checkout,channel,admin,refunds}'::text[]) a WHERE starts_with(r.rolname, 'regress_ä');
END $$;
SELECT (payguard.register_channel('not_text')).name;
CREATE ROLE regress_not_text;
SELECT count(payguard.grant_access('regress_not_text', a)) FROM unnest('{checkout,channel,admin,refunds,owner}'::text[]) a;
DO $$ DECLARE p uuid; BEGIN
  EXECUTE format('SET SESSION AUTHORIZATION %I', (SELECT rolname FROM pg_roles WHERE starts_with(rolname, 'regress_ä')));
  PERFORM payguard.create_order('not-text-1', 100, 'EUR');
  SELECT payment_id INTO p FROM payguard.start_payment('not-text-1', 'not-text-1', 'not_text');
  PERFORM payguard.report_payment(p, 'succeeded', 'not-text-1', 100, 'EUR');
  PERFORM payguard.refund_order('not-text-1', 'not-text-r', 100, 'a test');
  INSERT INTO payguard.settlement_lines (channel, channel_txn_id, amount, currency, channel_time) VALUES ('not_text', 'not-text-1', 100, 'EUR', now());
END $$;
RESET SESSION AUTHORIZATION;
SELECT kind, actor FROM payguard.events WHERE order_id = 'not-text-1' ORDER BY event_id;
SELECT requested_by FROM payguard.refunds WHERE order_id = 'not-text-1';
SELECT loaded_by FROM payguard.settlement_lines WHERE channel = 'not_text';
-- The actor: requests are refused, evidence is recorded with the session's user.
SET SESSION AUTHORIZATION regress_not_text;
SELECT set_config('payguard.actor', pg_temp.raw('\x626164ff'), false) IS NOT NULL AS set;
SELECT pg_temp.answer($$SELECT payguard.create_order('not-text-2', 100, 'EUR')$$);
RESET SESSION AUTHORIZATION;
SELECT payguard.grant_access('regress_not_text', 'delegate');
SET SESSION AUTHORIZATION regress_not_text;
SELECT pg_temp.answer($$SELECT payguard.create_order('not-text-2', 100, 'EUR')$$);
SELECT pg_temp.answer($$SELECT payguard.current_actor()$$);
SELECT outcome FROM payguard.record_payment('not-text-2', 'not_text', 'not-text-2', 100, 'EUR');
RESET payguard.actor;
SELECT status FROM payguard.create_order('not-text-2', 100, 'EUR');
SELECT set_config('payguard.actor', pg_temp.raw('\x626164ff'), false) IS NOT NULL AS set;
SELECT outcome FROM payguard.record_payment('not-text-2', 'not_text', 'not-text-2', 100, 'EUR');
SET payguard.actor = 'Zoë';  -- text that is not ASCII is as good as any
SELECT outcome FROM payguard.record_payment('not-text-2', 'not_text', 'not-text-3', 100, 'EUR');
RESET payguard.actor;
RESET SESSION AUTHORIZATION;
SELECT kind, actor FROM payguard.events WHERE order_id = 'not-text-2' ORDER BY event_id;
CREATE TABLE not_text (status text);
ALTER TABLE not_text OWNER TO regress_not_text;
SET SESSION AUTHORIZATION regress_not_text;
-- Arguments of whatever type; sql/arguments.sql has those that are texts.
SELECT status FROM payguard.create_order('not-text-4', 100, 'EUR');
SELECT pg_temp.answer($$SELECT outcome FROM payguard.start_payment('not-text-4', 'k', 'not_text', details := jsonb_build_object('a', jsonb_build_array(1, pg_temp.raw('\xff'))))$$);
SELECT pg_temp.answer($$SELECT outcome FROM payguard.request_payment('not-text-4', 'k', 'not_text', details := jsonb_build_object(pg_temp.raw('\xff'), 1))$$);
SELECT pg_temp.answer($$SELECT outcome FROM payguard.refund_order('not-text-2', 'k', 1, 'r', to_jsonb(pg_temp.raw('\xff')))$$);
SELECT pg_temp.answer($$SELECT payguard.claim_tasks(pg_temp.raw('\xff'))$$);
-- Of evidence it is kept, in a form that is text.
BEGIN;
SELECT outcome, message FROM payguard.complete_tasks(ARRAY[(0, '01890000-0000-7000-8000-000000000000', 'failed', NULL, NULL, NULL, NULL, pg_temp.raw('\x61ff'))::payguard.task_answer]);
SELECT outcome, message FROM payguard.record_payment(pg_temp.raw('\xff'), 'not_text', 'not_text', 1, 'EUR');
SELECT channel, code, convert_from(body, 'UTF8') AS body FROM payguard.unreadable_messages WHERE encode(sha256(body), 'hex') = event_id AND position('\\xff' IN convert_from(body, 'UTF8')) > 0 ORDER BY 2;
ROLLBACK;
SELECT pg_temp.answer($$SELECT payguard.guard_table('not_text', 'status', jsonb_build_object('new', jsonb_build_array(pg_temp.raw('\xff')), pg_temp.raw('\xff'), '[]'::jsonb))$$);
SELECT pg_temp.answer($$INSERT INTO payguard.settlement_lines (channel, channel_txn_id, amount, currency, channel_time) VALUES ('not_text', pg_temp.raw('\xff'), 1, 'EUR', now())$$);
RESET SESSION AUTHORIZATION;
-- The message of a driver's error, which run_tasks() notes so, and of a trigger's that maintain() meets.
SELECT payguard.as_note(E'odd\n' || 'ä' || chr(133) || pg_temp.raw('\xe46e6eff'));
BEGIN;
SELECT payguard.note_duty('not_text', E'a\nb ' || pg_temp.raw('\xe46e6eff'));
SELECT problem FROM payguard.maintenance WHERE duty = 'not_text';
ROLLBACK;
-- A table's name in the event of its guard.
CREATE FUNCTION pg_temp.guard_it() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
  EXECUTE format('CREATE TABLE %I (status text)', 'not_text_' || pg_temp.raw('\xe46e6e'));
  RETURN count(*) FROM payguard.guard_table((SELECT oid FROM pg_class WHERE starts_with(relname, 'not_text_')), 'status', '{"new": []}');
END $$;
SELECT pg_temp.guard_it();
SELECT details ->> 'table' FROM payguard.events WHERE kind = 'guard.added' AND starts_with(details ->> 'table', 'not_text_');
-- All that is stored can be restored.
CREATE FUNCTION pg_temp.rows_that_are_no_text() RETURNS text LANGUAGE plpgsql AS $$
DECLARE t name; r text; bad text := ''; BEGIN
  FOR t IN SELECT payguard.own_tables() LOOP
    FOR r IN EXECUTE format('SELECT x::text FROM payguard.%I x', t) LOOP
      BEGIN
        PERFORM convert_to(r, 'UTF8');
      EXCEPTION WHEN character_not_in_repertoire THEN
        bad := bad || t || ' ';
      END;
    END LOOP;
  END LOOP;
  RETURN bad;
END $$;
SELECT pg_temp.rows_that_are_no_text();
SELECT * FROM payguard.verify();
DO $$ DECLARE t regclass; r name; BEGIN
  FOR t IN SELECT oid FROM pg_class WHERE relname LIKE 'not_text%' LOOP
    PERFORM payguard.unguard_table(t);
    EXECUTE format('DROP TABLE %s', t);
  END LOOP;
  FOR r IN SELECT rolname FROM pg_roles WHERE rolname ~ '^regress_(ä|not_text$)' LOOP
    EXECUTE format('DROP OWNED BY %I', r);
    EXECUTE format('DROP ROLE %I', r);
  END LOOP;
END $$;
