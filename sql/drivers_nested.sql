-- A driver that calls another one: the nearest deadline holds, also after the inner call has ended, whichever
-- way; a cancellation stays one, also where the time is over in the same moment.
CREATE SCHEMA regress_nested;
SET search_path = regress_nested, public;
CREATE FUNCTION answer(status text) RETURNS payguard.channel_reply LANGUAGE sql AS $$ SELECT ROW (status, NULL, NULL, NULL, NULL, NULL)::payguard.channel_reply $$;
CREATE FUNCTION quick(t payguard.task) RETURNS payguard.channel_reply LANGUAGE sql AS $$ SELECT answer('pending') $$;
CREATE FUNCTION hangs(t payguard.task) RETURNS payguard.channel_reply LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); RETURN answer('failed'); END $$;
CREATE FUNCTION raises(t payguard.task) RETURNS payguard.channel_reply LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the channel is down'; END $$;
CREATE FUNCTION gives_up(t payguard.task) RETURNS payguard.channel_reply LANGUAGE plpgsql AS $$ BEGIN RAISE query_canceled USING MESSAGE = 'that is enough'; END $$;
-- what a call answers, or its SQLSTATE; statement_timeout is for a driver that would hang for ever
SET statement_timeout = '20 s';
CREATE FUNCTION ask(driver regproc, timeout interval, details jsonb DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  task payguard.task;
BEGIN
  task.details := details;
  RETURN (payguard.call_driver(driver, task, timeout)).channel_status;
EXCEPTION WHEN query_canceled OR OTHERS THEN
  RETURN SQLSTATE;
END $$;
-- one that asks others, each with a time of its own, until one answers; "then" is what it does itself
CREATE FUNCTION asks(t payguard.task) RETURNS payguard.channel_reply LANGUAGE plpgsql AS $$
DECLARE
  other jsonb;
  inner_task payguard.task := t;
BEGIN
  FOR other IN SELECT jsonb_array_elements(t.details -> 'ask') LOOP
    BEGIN
      inner_task.details := other;
      RETURN payguard.call_driver((other ->> 'driver')::regproc, inner_task, (other ->> 'timeout')::interval);
    EXCEPTION WHEN OTHERS THEN
      NULL;
    END;
  END LOOP;
  IF t.details ->> 'then' = 'hang' THEN
    PERFORM pg_sleep(600);
  END IF;
  RETURN answer('unknown');
END $$;
-- the same without a subtransaction, and whatever the other answers
CREATE FUNCTION relays(t payguard.task) RETURNS payguard.channel_reply LANGUAGE plpgsql AS $$
DECLARE
  inner_task payguard.task := t;
BEGIN
  inner_task.details := t.details #> '{ask,0}';
  PERFORM payguard.call_driver((t.details #>> '{ask,0,driver}')::regproc, inner_task, (t.details #>> '{ask,0,timeout}')::interval);
  IF t.details ->> 'then' = 'hang' THEN
    PERFORM pg_sleep(600);
  END IF;
  RETURN answer('succeeded');
END $$;

-- the outer time holds when the inner call has answered
SELECT ask('relays', '300 ms', '{"ask": [{"driver": "quick", "timeout": "1 min"}], "then": "hang"}');
SELECT ask('relays', '1 min', '{"ask": [{"driver": "quick", "timeout": "1 min"}]}');
-- when it has failed, of itself, by its own time, or before it began
SELECT ask('asks', '300 ms', '{"ask": [{"driver": "raises", "timeout": "1 min"}], "then": "hang"}');
SELECT ask('asks', '300 ms', '{"ask": [{"driver": "gives_up", "timeout": "1 min"}], "then": "hang"}');
SELECT ask('asks', '300 ms', '{"ask": [{"driver": "hangs", "timeout": "50 ms"}], "then": "hang"}');
SELECT ask('asks', '300 ms', '{"ask": [{"driver": "hangs", "timeout": "0 s"}], "then": "hang"}');
-- inside of it, too, where it is the nearer one; nobody answers in its place then
SELECT ask('relays', '300 ms', '{"ask": [{"driver": "hangs", "timeout": "10 min"}]}');
SELECT ask('asks', '300 ms', '{"ask": [{"driver": "hangs", "timeout": "10 min"}, {"driver": "quick", "timeout": "1 s"}]}');
SELECT ask('asks', '300 ms', '{"ask": [{"driver": "asks", "timeout": "10 min", "ask": [{"driver": "hangs", "timeout": "10 min"}, {"driver": "quick", "timeout": "1 s"}]}, {"driver": "quick", "timeout": "1 s"}]}');
-- where the inner one is nearer, another one answers
SELECT ask('asks', '1 min', '{"ask": [{"driver": "hangs", "timeout": "50 ms"}, {"driver": "quick", "timeout": "1 min"}]}');
SELECT ask('asks', '1 min', '{"ask": [{"driver": "asks", "timeout": "200 ms", "ask": [{"driver": "hangs", "timeout": "10 min"}]}, {"driver": "quick", "timeout": "1 min"}]}');
SELECT ask('relays', '1 min', '{"ask": [{"driver": "hangs", "timeout": "50 ms"}]}');
-- no timer is left
SELECT pg_sleep(0.5);

-- somebody cancels the query
CREATE FUNCTION cancelled(t payguard.task) RETURNS payguard.channel_reply LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_cancel_backend(pg_backend_pid()); PERFORM pg_sleep(600); RETURN answer('failed'); END $$;
SELECT ask('cancelled', '1 min');
SELECT ask('asks', '1 min', '{"ask": [{"driver": "cancelled", "timeout": "1 min"}, {"driver": "quick", "timeout": "1 s"}]}');
SELECT ask('relays', '1 min', '{"ask": [{"driver": "cancelled", "timeout": "1 min"}]}');
SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(600);
-- The driver is cancelled when its time is over, or a moment before, while it looks at neither: what it computes
-- meanwhile cannot be interrupted. Where it had not come as far as to be cancelled it is tried with more time.
SET statement_timeout = '2 min';
CREATE SEQUENCE cancellations;
CREATE FUNCTION work() RETURNS text LANGUAGE sql AS $$ SELECT 'length(concat(' || string_agg('sha512(d.m)', ', ') || '))' FROM generate_series(1, 90) $$;
CREATE FUNCTION cancelled_late(t payguard.task) RETURNS payguard.channel_reply LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE 'SELECT ' || work() || $x$, nextval('cancellations'), pg_cancel_backend(pg_backend_pid()) FROM (SELECT $1 OFFSET 0) d (m)$x$ USING convert_to(repeat(repeat('x', 1000), 1000), 'UTF8');
  PERFORM pg_sleep(600);
  RETURN answer('failed');
END $$;
CREATE FUNCTION cancelled_early(t payguard.task) RETURNS payguard.channel_reply LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE $x$SELECT nextval('cancellations'), pg_cancel_backend(pg_backend_pid()), $x$ || work() || ' FROM (SELECT $1 OFFSET 0) d (m)' USING convert_to(repeat(repeat('x', 1000), 1000), 'UTF8');
  PERFORM pg_sleep(600);
  RETURN answer('failed');
END $$;
CREATE FUNCTION ask_both(driver regproc, details jsonb DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  before bigint := nextval('cancellations');
  answer text;
BEGIN
  FOR i IN 1 .. 18 LOOP
    answer := ask(driver, 1.5 ^ i * interval '10 ms', details);
    EXIT WHEN nextval('cancellations') <> before + i;
  END LOOP;
  RETURN answer;
END $$;
SELECT ask_both('cancelled_late');
SELECT ask_both('cancelled_early');
SELECT ask_both('asks', '{"ask": [{"driver": "cancelled_late", "timeout": "1 min"}, {"driver": "quick", "timeout": "1 s"}]}');
SELECT pg_sleep(0.1);
-- somebody else's errors are kept
SELECT ask('raises', '1 min');
SELECT ask('gives_up', '1 min');
RESET statement_timeout;
RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA regress_nested CASCADE;
