-- Drivers: channels that are called from inside the database.
CREATE TYPE payguard.channel_reply AS (
  channel_status text,
  channel_txn_id text,
  amount         bigint,
  currency       text,
  code           text,
  message        text
);
COMMENT ON TYPE payguard.channel_reply IS
  'What a driver returns. Its signature is driver(payguard.task) RETURNS payguard.channel_reply';

CREATE FUNCTION payguard.call_driver(driver regproc, task payguard.task, timeout interval)
RETURNS payguard.channel_reply
AS 'MODULE_PATHNAME', 'payguard_call_driver'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION payguard.call_driver(regproc, payguard.task, interval) IS
  'Part of run_tasks(): calls a driver with the caller''s rights, and cancels it when its time is over';

CREATE FUNCTION payguard.as_note(problem text) RETURNS text
AS 'MODULE_PATHNAME', 'payguard_as_note'
LANGUAGE C IMMUTABLE;
COMMENT ON FUNCTION payguard.as_note(text) IS
  'Part of run_tasks(): makes an error''s message fit a task: one line of text, not too long';

CREATE FUNCTION payguard.channel_drivers(OUT channel text, OUT driver text) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT name, driver FROM payguard.channels WHERE driver IS NOT NULL
$$;
COMMENT ON FUNCTION payguard.channel_drivers() IS 'Part of run_tasks(): the channels that have a driver';

-- It commits, so it can have no SET clause: everything is qualified.
CREATE PROCEDURE payguard.run_tasks(max_tasks integer DEFAULT 100, timeout interval DEFAULT '10 s')
LANGUAGE plpgsql
AS $$
DECLARE
  task payguard.task;
  reply payguard.channel_reply;
  driver pg_catalog.regproc;
  problem pg_catalog.text;
BEGIN
  IF max_tasks IS NULL OR timeout IS NULL THEN
    RAISE null_value_not_allowed USING
      MESSAGE = pg_catalog.format('%s must not be null', CASE WHEN max_tasks IS NULL THEN 'max_tasks' ELSE 'timeout' END),
      DETAIL = 'Nothing has been done.', HINT = 'Leave it out for the default.';
  END IF;
  IF max_tasks OPERATOR(pg_catalog.<) 1 OR timeout OPERATOR(pg_catalog.<=) '0'::pg_catalog.interval THEN
    RAISE invalid_parameter_value USING
      MESSAGE = pg_catalog.format('invalid value for %s', CASE WHEN max_tasks OPERATOR(pg_catalog.<) 1 THEN 'max_tasks' ELSE 'timeout' END),
      DETAIL = 'Nothing has been done.', HINT = 'Give at least one task and a time of more than 0.';
  END IF;
  FOR i IN 1 .. max_tasks LOOP
    -- the lease outlives the driver's time
    SELECT c.* INTO task
    FROM payguard.claim_tasks('run_tasks', 1, timeout OPERATOR(pg_catalog.+) '10 s'::pg_catalog.interval,
      channels := ARRAY(SELECT d.channel FROM payguard.channel_drivers() d)) c;
    EXIT WHEN task.task_id IS NULL;
    COMMIT;

    reply := NULL;
    problem := NULL;
    BEGIN
      SELECT d.driver::pg_catalog.regproc INTO STRICT driver
      FROM payguard.channel_drivers() d WHERE d.channel OPERATOR(pg_catalog.=) task.channel;
    EXCEPTION WHEN OTHERS THEN
      driver := NULL;
      problem := SQLERRM;
    END;
    IF driver IS NULL THEN
      -- it is gone: nothing was sent
      PERFORM payguard.retry_task(task.task_id, task.lease_token, payguard.as_note(problem));
      COMMIT;
      CONTINUE;
    END IF;
    BEGIN
      reply := payguard.call_driver(driver, task, timeout);
    EXCEPTION WHEN assert_failure OR OTHERS THEN
      -- but not query_canceled: somebody else's cancellation is not ours to swallow
      problem := SQLERRM;
    END;
    IF problem IS NULL AND reply.channel_status IS NULL THEN
      problem := 'the driver gave no answer';
    END IF;

    IF problem IS NULL THEN
      BEGIN
        PERFORM payguard.complete_task(task.task_id, task.lease_token, reply.channel_status,
          reply.channel_txn_id, reply.amount, reply.currency, reply.code, reply.message);
      EXCEPTION WHEN null_value_not_allowed OR invalid_parameter_value OR numeric_value_out_of_range THEN
        problem := SQLERRM;
      END;
    END IF;
    IF problem IS NOT NULL THEN
      PERFORM payguard.complete_task(task.task_id, task.lease_token, 'unknown', code := 'driver',
        message := payguard.as_note(problem));
    END IF;
    COMMIT;
  END LOOP;
END
$$;
COMMENT ON PROCEDURE payguard.run_tasks(integer, interval) IS
  'Runs due tasks of channels that have a driver, and commits after each. If a driver raises, hangs or returns NULL, the outcome is unknown';
