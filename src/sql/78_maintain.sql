-- Watching: what maintain() does, and what there is to see.
CREATE FUNCTION payguard.first_id_at(at timestamptz) RETURNS uuid
AS 'MODULE_PATHNAME', 'payguard_first_id_at'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION payguard.first_id_at(timestamptz) IS
  'Returns the lowest payment_id or refund_id of a time. Ids ascend with time, so an index on them finds a period';

CREATE FUNCTION payguard.bucket_of(at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT date_bin('5 min', at, '2000-01-01 00:00:00+00')
$$;
COMMENT ON FUNCTION payguard.bucket_of(timestamptz) IS 'Returns the beginning of the five minutes in which a time lies';

CREATE TABLE payguard.totals (
  bucket   timestamptz NOT NULL,
  subject  text COLLATE "C" NOT NULL,
  channel  text COLLATE "C" NOT NULL,
  currency text COLLATE "C" NOT NULL,
  status   text COLLATE "C" NOT NULL,
  n        bigint NOT NULL,
  PRIMARY KEY (bucket, subject, channel, currency, status)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE payguard.totals IS
  'How often orders, payments and refunds entered a state. maintain() counts each event once';
COMMENT ON COLUMN payguard.totals.bucket IS
  'The beginning of five minutes, kept for 35 days. -infinity: the sum since the beginning';
COMMENT ON COLUMN payguard.totals.subject IS
  'orders, payments or refunds; events (status is their kind); surplus (status is the reason, since 1.2.0). A payment that has begun counts as started';

CREATE TABLE payguard.maintenance (
  duty    text COLLATE "C" PRIMARY KEY,
  ran_at  timestamptz NOT NULL,
  problem text
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE payguard.maintenance IS 'When maintain() last did each duty';
COMMENT ON COLUMN payguard.maintenance.ran_at IS 'When the duty was last done. If it never was: when it was first tried';
COMMENT ON COLUMN payguard.maintenance.problem IS
  'The error that has ended the duty since then, or what it left out. NULL: none';

CREATE FUNCTION payguard.consumer_lags(OUT consumer text, OUT events bigint, OUT age interval)
RETURNS SETOF record
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT c.consumer,
         greatest(coalesce((SELECT e.event_id FROM payguard.events e ORDER BY e.event_id DESC LIMIT 1), 0)
                  - greatest(c.last_event, c.low_event), 0),
         coalesce(clock_timestamp() - (
           SELECT e.at FROM payguard.events e WHERE e.event_id > greatest(c.last_event, c.low_event)
           ORDER BY e.event_id LIMIT 1), '0 s')
  FROM payguard.consumers c
$$;
COMMENT ON FUNCTION payguard.consumer_lags() IS
  'For each consumer: the events that it has not committed, at most, and the age of the first of them';

CREATE FUNCTION payguard.low_success_rates(OUT channel text, OUT success_rate numeric,
  OUT baseline numeric, OUT ended bigint)
RETURNS SETOF record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
  -- lower than chance explains: three standard deviations, and five points, below the day before
  SELECT r.channel, round(r.good / r.ended, 4), round(r.good_before / r.before, 4), r.ended::bigint
  FROM (SELECT t.channel,
               sum(t.n) FILTER (WHERE recent.is) AS ended,
               coalesce(sum(t.n) FILTER (WHERE recent.is AND t.status = 'succeeded'), 0) AS good,
               sum(t.n) FILTER (WHERE NOT recent.is) AS before,
               coalesce(sum(t.n) FILTER (WHERE NOT recent.is AND t.status = 'succeeded'), 0) AS good_before
        FROM payguard.totals t
        CROSS JOIN LATERAL (SELECT t.bucket >= payguard.bucket_of(clock_timestamp() - interval '1 h')) recent ("is")
        WHERE t.bucket >= payguard.bucket_of(clock_timestamp() - interval '25 h')
          AND t.subject = 'payments' AND t.status IN ('succeeded', 'failed')
        GROUP BY t.channel) r
  WHERE r.ended >= 20 AND r.before >= 20
    AND r.good / r.ended < r.good_before / r.before - 0.05
    AND r.good / r.ended < r.good_before / r.before
        - 3 * sqrt(r.good_before / r.before * (1 - r.good_before / r.before) / r.ended)
$$;
COMMENT ON FUNCTION payguard.low_success_rates() IS
  'Part of maintain(): channels whose payments of the last hour succeed clearly less often than those of the 24 hours before';

CREATE FUNCTION payguard.raise_alerts("max" integer) RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_raise_alerts'
LANGUAGE C VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off;
COMMENT ON FUNCTION payguard.raise_alerts(integer) IS 'Part of maintain(): opens alerts that are due';

CREATE FUNCTION payguard.close_alerts("max" integer) RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_close_alerts'
LANGUAGE C VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off;
COMMENT ON FUNCTION payguard.close_alerts(integer) IS 'Part of maintain(): resolves alerts whose cause is gone';

CREATE FUNCTION payguard.notify_alerts("max" integer) RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_notify_alerts'
LANGUAGE C VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off;
COMMENT ON FUNCTION payguard.notify_alerts(integer) IS 'Part of maintain(): sends NOTIFY payguard_alerts for new alerts';

CREATE FUNCTION payguard.count_events("max" integer) RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_count_events'
LANGUAGE C VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off;
COMMENT ON FUNCTION payguard.count_events(integer) IS 'Part of maintain(): adds new events to the totals';

CREATE FUNCTION payguard.sample_counters("max" integer) RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_sample_counters'
LANGUAGE C VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off;
COMMENT ON FUNCTION payguard.sample_counters(integer) IS 'Part of maintain(): writes a sample of the counters';

CREATE FUNCTION payguard.forget_old("max" integer) RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_forget_old'
LANGUAGE C VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off;
COMMENT ON FUNCTION payguard.forget_old(integer) IS
  'Part of maintain(): removes old counter samples, totals and finished tasks';

CREATE FUNCTION payguard.note_duty(duty text, problem text) RETURNS void
AS 'MODULE_PATHNAME', 'payguard_note_duty'
LANGUAGE C VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off;
COMMENT ON FUNCTION payguard.note_duty(text, text) IS 'Part of maintain(): notes how a duty ended';

CREATE FUNCTION payguard.maintain("max" integer DEFAULT 1000)
RETURNS TABLE (duty text, done bigint, problem text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
  IF "max" IS NULL OR "max" < 1 OR current_setting('transaction_read_only')::boolean THEN
    PERFORM payguard.count_events("max"); -- says what is wrong
  END IF;
  -- what takes long comes before what locks orders; alerts come last, to know what the others did
  FOREACH duty IN ARRAY '{count_events,sample_counters,forget_old,sync_rows,expire_orders,expire_leases,
    match_notifications,raise_alerts,close_alerts,notify_alerts}'::text[]
  LOOP
    done := NULL;
    problem := NULL;
    BEGIN
      EXECUTE format('SELECT payguard.%I("max" => $1)', duty) INTO done USING "max";
    EXCEPTION
      WHEN OTHERS THEN
        -- one duty that fails must not stop the others
        problem := SQLERRM;
        RAISE WARNING 'payguard: % failed: %', duty, problem;
    END;
    PERFORM payguard.note_duty(duty, problem);
    -- also what a duty has left out, and could not do
    SELECT m.problem INTO problem FROM payguard.maintenance m WHERE m.duty = maintain.duty;
    RETURN NEXT;
  END LOOP;
END
$$;
COMMENT ON FUNCTION payguard.maintain(integer) IS
  'Does the regular work: call it once a minute. Returns for each duty what it did and the error that ended it, if any. One duty that fails does not stop the others. Several calls may run at once';

CREATE FUNCTION payguard.payment_rates(period interval DEFAULT '1 hour', split_by text DEFAULT 'channel')
RETURNS TABLE (split text, started bigint, succeeded bigint, failed bigint, duplicates bigint,
               blocked bigint, success_rate numeric, failure_rate numeric, duplicate_rate numeric,
               baseline_success_rate numeric, baseline_failure_rate numeric,
               baseline_duplicate_rate numeric, mismatched bigint, late bigint, held bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  now_is timestamptz := clock_timestamp();
BEGIN
  IF period IS NULL OR split_by IS NULL THEN
    RAISE null_value_not_allowed USING
      MESSAGE = CASE WHEN period IS NULL THEN 'period' ELSE 'split_by' END || ' must not be null',
      DETAIL = 'Nothing has been counted.', HINT = 'Leave it out for the default.';
  END IF;
  IF period < '5 min' OR period > '17 days' THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'invalid value for period',
      DETAIL = 'Totals are kept for each five minutes, for 35 days. The period before is looked at, too.',
      HINT = 'Give 5 minutes to 17 days.';
  END IF;
  IF split_by NOT IN ('channel', 'currency', 'all') THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'invalid value for split_by', DETAIL = format('It is %s.', to_json(split_by)),
      HINT = 'Use channel, currency or all.';
  END IF;
  RETURN QUERY
    WITH counted AS (
      SELECT CASE split_by WHEN 'channel' THEN t.channel WHEN 'currency' THEN t.currency ELSE 'all' END AS split,
             t.bucket >= payguard.bucket_of(now_is - period) AS recent,
             CASE t.subject WHEN 'payments' THEN t.status END AS status,
             CASE t.subject WHEN 'surplus' THEN t.status END AS because, t.n
      FROM payguard.totals t
      WHERE t.bucket >= payguard.bucket_of(now_is - 2 * period) AND t.subject IN ('payments', 'surplus')
    ), summed AS (
      SELECT c.split,
             coalesce(sum(c.n) FILTER (WHERE c.recent AND c.status = 'started'), 0) AS started,
             coalesce(sum(c.n) FILTER (WHERE c.recent AND c.status = 'succeeded'), 0) AS good,
             coalesce(sum(c.n) FILTER (WHERE c.recent AND c.status = 'failed'), 0) AS bad,
             -- what was counted before 1.2.0 has no reason, and counts as it did then
             coalesce(sum(c.n) FILTER (WHERE c.recent AND c.status = 'surplus'), 0)
             - coalesce(sum(c.n) FILTER (WHERE c.recent AND c.because NOT IN ('order_paid', 'second_charge')), 0) AS twice,
             coalesce(sum(c.n) FILTER (WHERE c.recent AND c.because = 'amount_mismatch'), 0) AS other_amount,
             coalesce(sum(c.n) FILTER (WHERE c.recent AND c.because = 'late'), 0) AS too_late,
             coalesce(sum(c.n) FILTER (WHERE c.recent AND c.because = 'held'), 0) AS waiting,
             coalesce(sum(c.n) FILTER (WHERE NOT c.recent AND c.status = 'succeeded'), 0) AS good_before,
             coalesce(sum(c.n) FILTER (WHERE NOT c.recent AND c.status = 'failed'), 0) AS bad_before,
             coalesce(sum(c.n) FILTER (WHERE NOT c.recent AND c.status = 'surplus'), 0)
             - coalesce(sum(c.n) FILTER (WHERE NOT c.recent AND c.because NOT IN ('order_paid', 'second_charge')), 0) AS twice_before
      FROM counted c GROUP BY c.split
    ), increments AS (
      SELECT s.sampled_at,
             -- since a reset they count from 0; what was before the first sample was before the period
             s.value - CASE WHEN lag(s.since) OVER w = s.since THEN lag(s.value) OVER w
                            WHEN s.since >= payguard.bucket_of(now_is - period) THEN 0 ELSE s.value END AS n
      FROM payguard.counter_samples s
      WHERE s.sampled_at >= payguard.bucket_of(now_is - period) - interval '1 h'
        AND (s.counter = 'replays'
             OR s.reason IN ('order_already_paid', 'payment_in_progress', 'suspected_duplicate'))
      WINDOW w AS (PARTITION BY s.counter, s.reason ORDER BY s.sampled_at)
    )
    SELECT s.split, s.started::bigint, s.good::bigint, s.bad::bigint, s.twice::bigint,
           CASE WHEN split_by = 'all' THEN (
             SELECT sum(i.n)::bigint FROM increments i
             WHERE i.sampled_at > payguard.bucket_of(now_is - period)) END,
           round(s.good / nullif(s.good + s.bad, 0), 4), round(s.bad / nullif(s.good + s.bad, 0), 4),
           round(s.twice / nullif(s.good + s.twice, 0), 4),
           round(s.good_before / nullif(s.good_before + s.bad_before, 0), 4),
           round(s.bad_before / nullif(s.good_before + s.bad_before, 0), 4),
           round(s.twice_before / nullif(s.good_before + s.twice_before, 0), 4),
           s.other_amount::bigint, s.too_late::bigint, s.waiting::bigint
    FROM summed s ORDER BY s.split;
END
$$;
COMMENT ON FUNCTION payguard.payment_rates(interval, text) IS
  'How many payments began, succeeded, failed or were surplus in the period, and the rates of this period and the one before. Surplus is counted by reason: duplicates, mismatched, late, held. blocked (split by all): calls that were replayed or refused because the order was paid or being paid';

CREATE FUNCTION payguard.payment_curve(period interval DEFAULT '1 day', steps integer DEFAULT 24)
RETURNS TABLE (begins_at timestamptz, succeeded bigint, failed bigint, duplicates bigint, blocked bigint,
               succeeded_before bigint, failed_before bigint, duplicates_before bigint, blocked_before bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  step interval;
  began timestamptz;
BEGIN
  IF period IS NULL OR steps IS NULL THEN
    RAISE null_value_not_allowed USING
      MESSAGE = CASE WHEN period IS NULL THEN 'period' ELSE 'steps' END || ' must not be null',
      DETAIL = 'Nothing has been counted.', HINT = 'Leave it out for the default.';
  END IF;
  IF period < '5 min' OR period > '17 days' THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'invalid value for period',
      DETAIL = 'Totals are kept for each five minutes, for 35 days. The period before is looked at, too.',
      HINT = 'Give 5 minutes to 17 days.';
  END IF;
  -- a day is 24 hours, whatever the session's time zone makes of it
  step := make_interval(secs => extract(epoch FROM period)::float8 / nullif(steps, 0));
  IF steps < 1 OR step < '5 min' THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'invalid value for steps', DETAIL = 'Totals are kept for each five minutes.',
      HINT = 'Give fewer, so that each has five minutes or more.';
  END IF;
  began := payguard.bucket_of(clock_timestamp()) + interval '5 min' - 2 * steps * step;
  RETURN QUERY
    WITH counted AS (
      SELECT payguard.step_of(t.bucket, began, step) AS place,
             coalesce(sum(t.n) FILTER (WHERE t.subject = 'payments' AND t.status = 'succeeded'), 0) AS good,
             coalesce(sum(t.n) FILTER (WHERE t.subject = 'payments' AND t.status = 'failed'), 0) AS bad,
             -- as in payment_rates()
             coalesce(sum(t.n) FILTER (WHERE t.subject = 'payments' AND t.status = 'surplus'), 0)
             - coalesce(sum(t.n) FILTER (WHERE t.subject = 'surplus' AND t.status NOT IN ('order_paid', 'second_charge')), 0) AS twice
      FROM payguard.totals t WHERE t.bucket >= began AND t.subject IN ('payments', 'surplus') GROUP BY 1
    ), increments AS (
      SELECT s.sampled_at,
             s.value - CASE WHEN lag(s.since) OVER w = s.since THEN lag(s.value) OVER w WHEN s.since >= began THEN 0 ELSE s.value END AS n
      FROM payguard.counter_samples s
      WHERE s.sampled_at >= began - interval '1 h'
        AND (s.counter = 'replays' OR s.reason IN ('order_already_paid', 'payment_in_progress', 'suspected_duplicate'))
      WINDOW w AS (PARTITION BY s.counter, s.reason ORDER BY s.sampled_at)
    ), stopped AS (
      -- a sample counts what was before it
      SELECT payguard.step_of(i.sampled_at - interval '1 us', began, step) AS place, sum(i.n) AS n
      FROM increments i WHERE i.sampled_at > began GROUP BY 1
    )
    SELECT began + (steps + k) * step, coalesce(c.good, 0)::bigint, coalesce(c.bad, 0)::bigint, coalesce(c.twice, 0)::bigint, s.n::bigint,
           coalesce(b.good, 0)::bigint, coalesce(b.bad, 0)::bigint, coalesce(b.twice, 0)::bigint, before.n::bigint
    FROM generate_series(0, steps - 1) k
    LEFT JOIN counted c ON c.place = steps + k LEFT JOIN stopped s ON s.place = steps + k
    LEFT JOIN counted b ON b.place = k LEFT JOIN stopped before ON before.place = k
    ORDER BY k;
END
$$;
COMMENT ON FUNCTION payguard.payment_curve(interval, integer) IS
  'payment_rates() over time: one row for each step of a period, beside the same step of the period before. blocked is NULL if no sample of the counters was taken';

CREATE FUNCTION payguard.step_of(at timestamptz, began timestamptz, step interval) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT floor(extract(epoch FROM at - began) / extract(epoch FROM step))::integer
$$;
COMMENT ON FUNCTION payguard.step_of(timestamptz, timestamptz, interval) IS
  'Part of payment_curve(): the number of the step in which a time lies';

CREATE VIEW payguard.metrics AS
  SELECT 'payguard_' || t.subject || '_total' AS name,
         CASE t.subject
           WHEN 'events' THEN jsonb_build_object('kind', t.status)
           WHEN 'orders' THEN jsonb_build_object('status', t.status)
           WHEN 'surplus' THEN jsonb_build_object('channel', t.channel, 'currency', t.currency, 'because', t.status)
           ELSE jsonb_build_object('channel', t.channel, 'currency', t.currency, 'status', t.status)
         END AS labels,
         t.n::double precision AS value
  FROM payguard.totals t WHERE t.bucket = '-infinity'
  UNION ALL
  SELECT 'payguard_' || c.counter || '_total',
         CASE WHEN c.reason IS NULL THEN '{}' ELSE jsonb_build_object('reason', c.reason) END, c.value
  FROM payguard.stat_counters c
  UNION ALL
  SELECT 'payguard_alerts_open', jsonb_build_object('kind', a.kind, 'severity', a.severity), count(*)
  FROM payguard.alerts a WHERE a.resolved_at IS NULL GROUP BY a.kind, a.severity
  UNION ALL
  SELECT 'payguard_tasks', jsonb_build_object('kind', t.kind, 'channel', t.channel, 'state',
           CASE WHEN t.dead_at IS NOT NULL THEN 'dead' WHEN t.run_at <= clock_timestamp() THEN 'due' ELSE 'waiting' END),
         count(*)
  FROM payguard.tasks t
  GROUP BY t.kind, t.channel,
           CASE WHEN t.dead_at IS NOT NULL THEN 'dead' WHEN t.run_at <= clock_timestamp() THEN 'due' ELSE 'waiting' END
  UNION ALL
  SELECT 'payguard_task_oldest_due_seconds', '{}',
         coalesce((SELECT greatest(extract(epoch FROM clock_timestamp() - t.run_at), 0)
                   FROM payguard.tasks t WHERE t.dead_at IS NULL ORDER BY t.run_at LIMIT 1), 0)
  UNION ALL
  SELECT 'payguard_payment_oldest_open_seconds', '{}',
         coalesce((SELECT extract(epoch FROM clock_timestamp() - p.created_at)
                   FROM payguard.tasks t JOIN payguard.payments p ON p.payment_id = t.payment_id
                   WHERE t.refund_id IS NULL AND p.status IN ('pending', 'unknown', 'closing', 'superseded')
                   ORDER BY t.payment_id LIMIT 1), 0)
  UNION ALL
  SELECT 'payguard_orders_overdue', '{}', count(*)
  FROM payguard.deadlines d WHERE d.expires_at <= clock_timestamp()
  UNION ALL
  SELECT 'payguard_notifications_unmatched', '{}', count(*)
  FROM payguard.notifications n WHERE n.result = 'unmatched'
  UNION ALL
  SELECT 'payguard_consumer_lag_events', jsonb_build_object('consumer', l.consumer), l.events
  FROM payguard.consumer_lags() l
  UNION ALL
  SELECT 'payguard_consumer_lag_seconds', jsonb_build_object('consumer', l.consumer), extract(epoch FROM l.age)
  FROM payguard.consumer_lags() l
  UNION ALL
  SELECT 'payguard_prepared_transaction_oldest_seconds', '{}',
         coalesce(max(extract(epoch FROM clock_timestamp() - x.prepared)), 0)
  FROM pg_prepared_xacts x
  UNION ALL
  SELECT 'payguard_maintenance_age_seconds', jsonb_build_object('duty', m.duty),
         extract(epoch FROM clock_timestamp() - m.ran_at)
  FROM payguard.maintenance m
  UNION ALL
  -- what goes back has a task, or an alert of its payment
  SELECT 'payguard_refunds_owed_amount', jsonb_build_object('currency', r.currency), sum(r.amount)
  FROM payguard.refunds r
  WHERE r.status IN ('awaiting_approval', 'pending', 'unknown', 'failed') AND r.origin <> 'channel'
    AND r.payment_id IN (SELECT t.payment_id FROM payguard.tasks t WHERE t.refund_id IS NOT NULL
                         UNION SELECT a.payment_id FROM payguard.alerts a WHERE a.resolved_at IS NULL)
  GROUP BY r.currency
  UNION ALL
  SELECT 'payguard_verify_violations', '{}',
         coalesce((SELECT (a.details ->> 'violations')::double precision FROM payguard.alerts a
                   WHERE a.kind = 'verify_failed' AND a.resolved_at IS NULL), 0)
  FROM payguard.maintenance m WHERE m.duty = 'verify';
COMMENT ON VIEW payguard.metrics IS
  'What a monitoring system collects, under Prometheus'' names. Totals are those of the last maintain()';
