-- complete_tasks() gives what complete_task() gives, one by one: the same answers to the same
-- tasks, a thousand and more, leave the same rows and get the same outcomes. Orders and answers
-- are picked by a hash of their number, so that each run is the same.
--
-- Three channels play the same game. On "alone", a trigger of a user's has each answer dealt with
-- alone (answer_batch.c gives way to it); on "single" each is a call of its own; on "many" a round's
-- answers are one batch.
SET client_min_messages = warning;
\getenv rounds PAYGUARD_BATCH_SEEDS
\if :{?rounds}
\else
\set rounds 1
\endif
SELECT count(payguard.register_channel('batch_' || side, first_query_after := '1 h', max_query_interval := '20 h', idempotent_charge := true))
FROM unnest('{alone,single,many}'::text[]) side;
\set ECHO none
-- pick(key, choices): one of them, always the same for a key.
CREATE FUNCTION pg_temp.pick(key text, VARIADIC choices text[]) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT choices[1 + ('x' || left(md5(key), 7))::bit(28)::int % cardinality(choices)]
$$;
-- try(statement): the outcome, or the SQLSTATE.
CREATE FUNCTION pg_temp.try(statement text, VARIADIC arguments text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text;
BEGIN
  EXECUTE statement INTO result USING arguments[1], arguments[2], arguments[3];
  RETURN result;
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE;
END
$$;
CREATE TEMP TABLE game (seed int, round int, side text, n bigint, what text, result text);
CREATE TEMP TABLE held (side text, round int, id text, n int, kind text, task_id bigint, lease_token uuid);
-- prepare(seed, side): orders in every kind of situation, and some messages that wait for a match.
CREATE FUNCTION pg_temp.prepare(seed int, side text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE id text; i int;
BEGIN
  FOR i IN 1 .. 240 LOOP
    id := 'batch-' || side || '-' || seed || '-' || lpad(i::text, 3, '0');
    PERFORM payguard.create_order(id, 1000, 'EUR');
    IF pg_temp.pick(concat(seed, i, 'start'), 'request', 'request', 'start') = 'request' THEN
      PERFORM payguard.request_payment(id, id || '/this', 'batch_' || side);
    ELSE
      PERFORM payguard.start_payment(id, id || '/this', 'batch_' || side);
    END IF;
    IF i % 4 = 0 THEN
      PERFORM payguard.record_notification('batch_' || side, convert_to('waits ' || i || ' ' || seed, 'UTF8'), channel_status := 'succeeded',
        channel_txn_id := concat('w', seed, '-', i), amount := 1000, currency := 'EUR');
    END IF;
  END LOOP;
END
$$;
-- happen(seed, round, side): what happens to orders between the answers.
CREATE FUNCTION pg_temp.happen(seed int, round int, side text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  o record; pick text; this uuid; task bigint;
BEGIN
  FOR o IN SELECT order_id AS id, right(order_id, 3)::int AS i FROM payguard.orders
           WHERE order_id LIKE 'batch-' || side || '-' || seed || '-%' ORDER BY 1 LOOP
    pick := pg_temp.pick(concat(seed, round, o.i, 'happen'), 'cancel', 'close', 'other', 'fail', 'refund', 'refund', 'report', 'record', 'retry', 'other', 'other', 'other', 'reverse', 'reverse', '', '', '', '', '', '', '', '', '', '', '');
    SELECT payment_id INTO this FROM payguard.payments WHERE order_id = o.id ORDER BY created_at DESC, payment_id DESC LIMIT 1;
    INSERT INTO game VALUES (seed, round, side, o.i, pick, CASE pick
      WHEN 'cancel' THEN pg_temp.try('SELECT status FROM payguard.cancel_order($1)', o.id)
      WHEN 'close' THEN pg_temp.try('SELECT outcome FROM payguard.close_payment($1::uuid)', this::text)
      WHEN 'other' THEN pg_temp.try('SELECT outcome FROM payguard.request_payment($1, $2, $3)', o.id, concat(o.id, '/', round), 'batch_' || side)
      WHEN 'fail' THEN pg_temp.try('SELECT outcome FROM payguard.report_payment($1::uuid, $2)', this::text, 'failed')
      WHEN 'refund' THEN pg_temp.try('SELECT outcome FROM payguard.refund_order($1, $2, 100, $3)', o.id, concat(o.id, '/r', round), 'some')
      WHEN 'report' THEN pg_temp.try('SELECT outcome FROM payguard.report_payment($1::uuid, $2, $3)', this::text, 'succeeded', concat('x', seed, '-', o.i))
      WHEN 'record' THEN pg_temp.try('SELECT outcome FROM payguard.record_payment($1, $2, $3, 1000, ''EUR'')', o.id, 'batch_' || side, concat('t', seed, '-', round, '-', o.i))
      -- perhaps of money that comes only later
      WHEN 'reverse' THEN pg_temp.try('SELECT outcome FROM payguard.record_reversal($1, $2, $3, ''refund'', 100, ''EUR'')', 'batch_' || side, concat('v', seed, '-', round, '-', o.i), concat('t', seed, '-', o.i))
      WHEN 'retry' THEN (SELECT count(*)::text FROM (SELECT pg_temp.try('SELECT payguard.retry_task($1::bigint, $2::uuid, $3)', task_id::text, lease_token::text, 'busy')
                                                     FROM held h WHERE h.side = happen.side AND h.id = o.id) x)
    END);
    -- most of what is not due yet becomes due, and what is due is so from now on: a claim begins behind the last one, and looks at
    -- what was due before that when some time has passed, which is not the same for each side
    FOR task IN SELECT t.task_id FROM payguard.tasks t JOIN payguard.payments p USING (payment_id) LEFT JOIN payguard.refunds r USING (refund_id)
                WHERE t.order_id = o.id AND (t.run_at <= clock_timestamp() OR pg_temp.pick(concat(seed, round, o.i, t.kind, 'due'), 'due', 'due', '') <> '')
                ORDER BY t.kind, p.created_at, p.payment_id, r.created_at, r.refund_id LOOP
      PERFORM payguard.requeue_task(task);
    END LOOP;
  END LOOP;
  DELETE FROM held h WHERE h.side = happen.side AND happen.round - h.round > 2;
  LOOP
    INSERT INTO held
    SELECT happen.side, happen.round, order_id, row_number() OVER (PARTITION BY order_id), kind, task_id, lease_token
    FROM payguard.claim_tasks('batch', 1000, '1 h', channels := ARRAY['batch_' || side]);
    EXIT WHEN NOT FOUND;
  END LOOP;
END
$$;
-- answers(seed, round, side): what workers say this time: of all tasks that they ever held, some
-- twice or with a token that is not theirs, and of some that nobody knows.
CREATE FUNCTION pg_temp.answers(seed int, round int, side text) RETURNS TABLE (n bigint, answer payguard.task_answer) LANGUAGE sql AS $$
  SELECT row_number() OVER (ORDER BY md5(concat(key, 'order')), key), ROW(task_id, token, status, txn,
    CASE pg_temp.pick(key || 'amount', 'right', 'right', 'right', 'right', 'none', 'wrong') WHEN 'right' THEN 1000 WHEN 'wrong' THEN 999 END,
    CASE pg_temp.pick(key || 'currency', 'EUR', 'EUR', 'EUR', 'none', 'none', 'USD') WHEN 'EUR' THEN 'EUR' WHEN 'USD' THEN 'USD' END,
    nullif(pg_temp.pick(key || 'code', 'declined', '', ''), ''), nullif(pg_temp.pick(key || 'message', 'said so', '', ''), ''))::payguard.task_answer
  FROM (SELECT key, CASE pg_temp.pick(key || 'known', '', '', '', '', '', '', '', '', '', '', 'none') WHEN '' THEN h.task_id ELSE 0 END AS task_id,
          CASE pg_temp.pick(key || 'token', '', '', '', '', '', '', '', 'wrong') WHEN '' THEN h.lease_token ELSE md5(key)::uuid END AS token,
          pg_temp.pick(key || 'status', 'succeeded', 'succeeded', 'succeeded', 'failed', 'closed', 'pending', 'pending', 'pending', 'unknown', 'unknown', 'not_found') AS status,
          CASE pg_temp.pick(key || 'txn', 'own', 'own', 'own', 'own', 'other', 'shared', 'waits', 'none', 'none', 'none')
            WHEN 'own' THEN concat('t', seed, '-', i) WHEN 'other' THEN concat('t', seed, '-', round, '-', i)
            WHEN 'shared' THEN concat('s', seed, '-', round, '-', i % 30) WHEN 'waits' THEN concat('w', seed, '-', i) END AS txn
        FROM held h CROSS JOIN generate_series(1, 2) again CROSS JOIN LATERAL (SELECT right(id, 3)::int) o (i)
          CROSS JOIN LATERAL (SELECT concat_ws('/', seed, round, i, h.round, h.n, h.kind, again)) k (key)
        WHERE h.side = answers.side AND h.id LIKE 'batch-' || side || '-' || seed || '-%'
          AND pg_temp.pick(key || 'said', VARIADIC CASE WHEN again = 1 THEN '{yes,yes,yes,yes,no}'::text[] ELSE '{yes,no,no,no,no,no,no,no}' END) = 'yes') x
$$;
-- play(seed, round, side): the round's answers are given, and noted with what they got.
CREATE FUNCTION pg_temp.play(seed int, round int, side text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  answers payguard.task_answer[]; a payguard.task_answer; n bigint; r payguard.payment_result;
BEGIN
  SELECT array_agg(x.answer ORDER BY x.n) INTO answers FROM pg_temp.answers(seed, round, side) x;
  FOR n, r.outcome, r.order_id, r.order_status, r.payment_status, r.version, r.amount, r.currency, r.completed_at, r.replayed, r.message IN
    SELECT c.ordinality, c.outcome, c.order_id, c.order_status, c.payment_status, c.version, c.amount, c.currency, c.completed_at, c.replayed, c.message
    FROM payguard.complete_tasks(CASE side WHEN 'many' THEN answers ELSE '{}' END) WITH ORDINALITY c
  LOOP
    INSERT INTO game VALUES (seed, round, side, n, 'answer', concat_ws(', ', right(r.order_id, 3), r.outcome, r.order_status, r.payment_status, r.version,
      r.amount, r.currency, r.completed_at IS NULL, r.replayed, r.message));
  END LOOP;
  IF side <> 'many' THEN
    n := 0;
    FOREACH a IN ARRAY answers LOOP
      r := payguard.complete_task(a.task_id, a.lease_token, a.channel_status, a.channel_txn_id, a.amount, a.currency, a.code, a.message);
      n := n + 1;
      INSERT INTO game VALUES (seed, round, side, n, 'answer', concat_ws(', ', right(r.order_id, 3), r.outcome, r.order_status, r.payment_status, r.version,
        r.amount, r.currency, r.completed_at IS NULL, r.replayed, r.message));
    END LOOP;
  END IF;
END
$$;
-- rows(side): all rows of a side, without ids, times and the side's name. Of when a task is due, how many hours it waits: by powers of two.
CREATE FUNCTION pg_temp.rows(side text) RETURNS TABLE (source text, row_ text) LANGUAGE sql AS $$
  WITH o AS (SELECT * FROM payguard.orders WHERE order_id LIKE 'batch-' || side || '-%'),
  p AS (SELECT p.*, p.order_id || ' ' || row_number() OVER (PARTITION BY p.order_id ORDER BY p.created_at, p.payment_id) AS name FROM payguard.payments p JOIN o ON o.order_id = p.order_id),
  r AS (SELECT r.*, p.name || ' ' || row_number() OVER (PARTITION BY r.payment_id ORDER BY r.created_at, r.refund_id) AS refund_name FROM payguard.refunds r JOIN p ON p.payment_id = r.payment_id),
  all_rows AS (
    SELECT 'orders' AS source, concat_ws('|', o.order_id, o.status, o.closing_as, o.version, p.name, o.refunded_amount) AS row_ FROM o LEFT JOIN p ON p.payment_id = o.payment_id
    UNION ALL SELECT 'payments', concat_ws('|', name, idempotency_key, amount, currency, received_amount, received_currency, amount_verified, status, channel_txn_id, failure_code,
      failure_message, order_version, request_kind, details, completed_at IS NULL) FROM p
    UNION ALL SELECT 'refunds', concat_ws('|', refund_name, idempotency_key, amount, currency, returned_amount, status, origin, reason, channel_refund_id, failure_code, failure_message,
      details, completed_at IS NULL) FROM r
    UNION ALL SELECT 'refund_balances', concat_ws('|', p.name, b.received, b.refunding, b.refunded, b.excess) FROM payguard.refund_balances b JOIN p ON p.payment_id = b.payment_id
    UNION ALL SELECT 'tasks', concat_ws('|', p.name, r.refund_name, t.kind, t.tries, t.sent, t.again, t.last_error, t.dead_at IS NULL,
        CASE WHEN t.run_at > clock_timestamp() THEN floor(ln(extract(epoch FROM t.run_at - clock_timestamp()) / 3200) / ln(2)) END)
      FROM payguard.tasks t JOIN p ON p.payment_id = t.payment_id LEFT JOIN r ON r.refund_id = t.refund_id
    UNION ALL SELECT 'leases', concat_ws('|', l.order_id, t.kind) FROM payguard.leases l JOIN o ON o.order_id = l.order_id LEFT JOIN payguard.tasks t ON t.task_id = l.task_id
    UNION ALL SELECT 'finished_tasks', concat_ws('|', p.name, r.refund_name, f.kind, f.lease_token IS NULL, f.outcome)
      FROM payguard.finished_tasks f JOIN p ON p.payment_id = f.payment_id LEFT JOIN r ON r.refund_id = f.refund_id
    UNION ALL SELECT 'notifications', concat_ws('|', n.order_id, p.name, n.channel_status, n.channel_txn_id, n.amount, n.currency, n.code, n.message, n.result)
      FROM payguard.notifications n LEFT JOIN p ON p.payment_id = n.payment_id WHERE n.channel = 'batch_' || side
    UNION ALL SELECT 'alerts', concat_ws('|', a.order_id, p.name, r.refund_name, a.kind, a.severity, a.details, a.resolved_at IS NULL)
      FROM payguard.alerts a JOIN o ON o.order_id = a.order_id LEFT JOIN p ON p.payment_id = a.payment_id LEFT JOIN r ON r.refund_id = a.refund_id
    UNION ALL SELECT 'events', concat_ws('|', e.order_id, row_number() OVER (PARTITION BY e.order_id ORDER BY e.event_id), p.name, r.refund_name, e.kind, e.from_status, e.to_status,
        e.version, e.details)
      FROM payguard.events e JOIN o ON o.order_id = e.order_id LEFT JOIN p ON p.payment_id = e.payment_id LEFT JOIN r ON r.refund_id = e.refund_id
    UNION ALL SELECT 'answers', concat_ws('|', g.seed, g.round, g.n, g.what, g.result) FROM game g WHERE g.side = rows.side)
  SELECT source, regexp_replace(regexp_replace(row_, '([-_])' || side || '\M', '\1side', 'g'), '[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}', '<id>', 'g') FROM all_rows
$$;
CREATE FUNCTION pg_temp.differences(side text) RETURNS TABLE (source text, row_ text, here bigint, there bigint) LANGUAGE sql AS $$
  SELECT source, row_, coalesce(a.n, 0), coalesce(b.n, 0)
  FROM (SELECT source, row_, count(*) AS n FROM pg_temp.rows('alone') GROUP BY 1, 2) a
  FULL JOIN (SELECT source, row_, count(*) AS n FROM pg_temp.rows(differences.side) GROUP BY 1, 2) b USING (source, row_)
  WHERE a.n IS DISTINCT FROM b.n ORDER BY 1, 2
$$;
CREATE FUNCTION regress_queue_batch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
-- game(seeds): plays it, each side in the same steps.
CREATE PROCEDURE pg_temp.game(seeds int) LANGUAGE plpgsql AS $$
BEGIN
  FOR seed IN 1 .. seeds LOOP
    FOR round IN 0 .. 9 LOOP
      FOR k IN 1 .. 3 LOOP
        IF round = 0 THEN
          PERFORM pg_temp.prepare(seed, (ARRAY['alone', 'single', 'many'])[k]);
          CONTINUE;
        END IF;
        PERFORM pg_temp.happen(seed, round, (ARRAY['alone', 'single', 'many'])[k]);
        IF k = 1 THEN
          CREATE TRIGGER each_alone AFTER INSERT ON payguard.finished_tasks FOR EACH ROW EXECUTE FUNCTION regress_queue_batch();
        END IF;
        PERFORM pg_temp.play(seed, round, (ARRAY['alone', 'single', 'many'])[k]);
        IF k = 1 THEN
          DROP TRIGGER each_alone ON payguard.finished_tasks;
        END IF;
        COMMIT;
      END LOOP;
    END LOOP;
  END LOOP;
END
$$;
\set ECHO all
CALL pg_temp.game(:rounds);
-- enough was said for the comparison to mean something
SELECT count(*) > 1000 AS answers, count(DISTINCT split_part(result, ', ', 2)) >= 9 AS outcomes FROM game WHERE side = 'many' AND what = 'answer';
SELECT source, count(*) > 50 AS enough FROM pg_temp.rows('many') GROUP BY 1 ORDER BY 1;
SELECT * FROM pg_temp.differences('single');
SELECT * FROM pg_temp.differences('many');
-- what waits for the name of a second charge, maintain() finds
SELECT payguard.match_notifications(1000) > 0 AS matched, payguard.match_notifications(1000) AS more;
SELECT * FROM payguard.verify();
DROP FUNCTION regress_queue_batch();
