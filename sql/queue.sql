-- The queue of outside work: what each answer to each kind of task does, repeats, expired leases, dead letters. No charge is made twice.
\getenv srcdir PG_ABS_SRCDIR
CREATE ROLE regress_queue;
SELECT count(payguard.grant_access('regress_queue', a)) FROM unnest('{checkout,cashier,channel,admin,refunds,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_queue;
\set situation :srcdir /test/lib/situation.sql
\i :situation
SELECT count(payguard.register_channel(name, first_query_after := '1 min', idempotent_charge := name <> 'queue_once')) FROM unnest('{queue,queue_once,queue_other}'::text[]) name;
\set ECHO none
-- request(id): an order of 1000 EUR and its attempt "this", for a worker to charge.
CREATE FUNCTION pg_temp.request(id text, channel text DEFAULT 'queue', expires_at timestamptz DEFAULT NULL) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
  PERFORM payguard.create_order(id, 1000, 'EUR');
  RETURN (payguard.request_payment(id, id || '/this', channel, expires_at := expires_at)).payment_id;
END
$$;
-- claim(id): all that is due is claimed; what there was of this order. It waits a little, since a
-- session goes on where its last claim ended and looks at everything now and then.
CREATE TEMP TABLE held (n int GENERATED ALWAYS AS IDENTITY, task payguard.task);
CREATE FUNCTION pg_temp.claim(id text, lease interval DEFAULT '1 hour') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  last int := coalesce((SELECT max(n) FROM held), 0); result text;
BEGIN
  FOR i IN 1 .. 12 LOOP
    INSERT INTO held (task) SELECT t FROM payguard.claim_tasks('queue', 100, lease, channels := '{queue,queue_once,queue_other}') t;
    SELECT string_agg(concat_ws(' ', (task).kind, pg_temp.named((task).payment_id), (task).tries), ', ' ORDER BY n) INTO result
    FROM held WHERE n > last AND (task).order_id = id;
    EXIT WHEN result IS NOT NULL;
    PERFORM pg_sleep(0.1);
  END LOOP;
  RETURN coalesce(result, 'nothing');
END
$$;
-- reply(id, status, ...): the answer to the order's task that was claimed last, or the one before.
CREATE FUNCTION pg_temp.reply(id text, status text, txn text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL, back int DEFAULT 0)
RETURNS text LANGUAGE sql AS $$
  SELECT r.outcome || CASE WHEN r.replayed THEN ' again' ELSE '' END || ': ' || concat_ws(', ', r.order_status, r.payment_status)
  FROM (SELECT task FROM held WHERE (task).order_id = id ORDER BY n DESC OFFSET back LIMIT 1) h
  CROSS JOIN LATERAL payguard.complete_task((task).task_id, (task).lease_token, status, txn, amount, currency) r
$$;
CREATE FUNCTION pg_temp.retry(id text, delay interval DEFAULT '1 ms', error text DEFAULT 'no route') RETURNS boolean LANGUAGE sql AS $$
  SELECT payguard.retry_task((task).task_id, (task).lease_token, error, delay) = (task).task_id FROM (SELECT task FROM held WHERE (task).order_id = id ORDER BY n DESC LIMIT 1) h
$$;
-- due(id): the order's tasks, how often they were claimed, and whether they are due.
CREATE FUNCTION pg_temp.due(id text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RETURN (SELECT string_agg(concat_ws(' ', kind, tries, CASE WHEN dead_at IS NOT NULL THEN 'dead' WHEN run_at <= clock_timestamp() THEN 'now' ELSE 'later' END, last_error), ', ' ORDER BY kind)
  FROM payguard.tasks WHERE order_id = id);
END
$$;
-- this(id): its attempt.
CREATE FUNCTION pg_temp.this(id text) RETURNS uuid LANGUAGE plpgsql AS $$ BEGIN RETURN pg_temp.id(id, 'this'); END $$;
-- now_of(id): all_of(), of this moment and not of the statement's beginning.
CREATE FUNCTION pg_temp.now_of(id text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN pg_temp.all_of(id); END $$;
-- lost(id): claims, and lets the lease expire.
CREATE FUNCTION pg_temp.lost(id text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE claimed text := pg_temp.claim(id, '1 ms');
BEGIN
  PERFORM pg_sleep(0.01);
  RETURN claimed;
END
$$;
-- ready(id, kind): an order that has a task of this kind due.
CREATE FUNCTION pg_temp.ready(id text, kind text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF kind IN ('charge', 'query', 'close') THEN
    PERFORM pg_temp.request(id);
    IF kind <> 'charge' THEN
      PERFORM pg_temp.claim(id), pg_temp.reply(id, 'pending');
      IF kind = 'query' THEN PERFORM payguard.query_payment(pg_temp.id(id, 'this'));
      ELSE PERFORM payguard.close_payment(pg_temp.id(id, 'this')); END IF;
    END IF;
  ELSE
    PERFORM pg_temp.make(id, 'succeeded', 'queue', id), payguard.refund_order(id, id || '/refund', 600, 'returned');
    IF kind = 'query_refund' THEN PERFORM pg_temp.lost(id); END IF;
  END IF;
END
$$;
-- every answer to every kind of task
CREATE FUNCTION pg_temp.answered(kind text, status text, OUT claimed text, OUT reply text, OUT became text, OUT due text) LANGUAGE plpgsql AS $$
DECLARE id text := 'queue-' || kind || '-' || status;
BEGIN
  PERFORM pg_temp.ready(id, kind);
  claimed := pg_temp.claim(id);
  reply := pg_temp.reply(id, status, CASE WHEN status = 'succeeded' THEN id END, CASE WHEN status = 'succeeded' THEN CASE WHEN kind ~ 'refund' THEN 600 ELSE 1000 END END,
                         CASE WHEN status = 'succeeded' THEN 'EUR' END);
  became := pg_temp.all_of(id);
  due := pg_temp.due(id);
END
$$;
\set ECHO all
-- asked for: the order is paying, one charge is due; a repetition is a replay and enqueues nothing
SELECT pg_temp.request('queue-1') IS NOT NULL AS requested, pg_temp.now_of('queue-1'), pg_temp.due('queue-1');
SELECT pg_temp.written() AS before \gset
SELECT outcome, replayed FROM payguard.request_payment('queue-1', 'queue-1/this', 'queue');
SELECT pg_temp.answer($$SELECT payguard.start_payment('queue-1', 'queue-1/this', 'queue')$$);
SELECT pg_temp.answer($$SELECT payguard.request_payment('queue-1', 'queue-1/other', 'queue')$$);
SELECT pg_temp.written() = :'before' AS nothing_written;
-- claimed: with all that the channel needs; nobody else gets it
SELECT kind, tries, order_id, payment_id = pg_temp.this('queue-1') AS payment, refund_id, channel, amount, currency, details,
  leased_until BETWEEN clock_timestamp() + interval '40 s' AND clock_timestamp() + interval '1 min' AS leased FROM payguard.claim_tasks('queue', lease := '1 min', channels := '{queue}');
SELECT count(*) FROM payguard.claim_tasks('another', channels := '{queue}');
SELECT worker, leased_until > clock_timestamp() AS valid FROM payguard.leases WHERE order_id LIKE 'queue-%';
-- what is claimed is chosen by kind and channel, no more than was asked for, the longest due first
SELECT pg_temp.request('queue-2') IS NOT NULL, pg_temp.request('queue-3', 'queue_other') IS NOT NULL, pg_temp.request('queue-4') IS NOT NULL;
SELECT order_id FROM payguard.claim_tasks('queue', kinds := '{query,close,refund,query_refund}', channels := '{queue}');
SELECT order_id FROM payguard.claim_tasks('queue', channels := '{}');
SELECT order_id FROM payguard.claim_tasks('queue', channels := '{queue_other,queue_none}', kinds := '{charge}');
SELECT order_id FROM payguard.claim_tasks('queue', 1, channels := '{queue}');
SELECT order_id FROM payguard.claim_tasks('queue', 2147483647, channels := '{queue}');
-- each answer to each kind of task
SELECT status, a.* FROM unnest('{succeeded,failed,closed,pending,unknown,not_found}'::text[]) status CROSS JOIN LATERAL pg_temp.answered('charge', status) a;
SELECT status, a.* FROM unnest('{succeeded,failed,closed,pending,unknown,not_found}'::text[]) status CROSS JOIN LATERAL pg_temp.answered('query', status) a;
SELECT status, a.* FROM unnest('{succeeded,failed,closed,pending,unknown,not_found}'::text[]) status CROSS JOIN LATERAL pg_temp.answered('close', status) a;
SELECT status, a.* FROM unnest('{succeeded,failed,closed,pending,unknown,not_found}'::text[]) status CROSS JOIN LATERAL pg_temp.answered('refund', status) a;
SELECT status, a.* FROM unnest('{succeeded,failed,closed,pending,unknown,not_found}'::text[]) status CROSS JOIN LATERAL pg_temp.answered('query_refund', status) a;
-- an answer of another amount is surplus
SELECT pg_temp.ready('queue-5', 'charge'), pg_temp.claim('queue-5'), pg_temp.reply('queue-5', 'succeeded', 'queue-5', 999, 'EUR');
SELECT pg_temp.now_of('queue-5');
-- a repeated answer: the first result, and nothing is written
SELECT pg_temp.written() AS before \gset
SELECT kind || '-' || status AS task, pg_temp.reply('queue-' || kind || '-' || status, status, CASE WHEN status = 'succeeded' THEN 'queue-' || kind || '-' || status END) AS reply
FROM unnest('{charge,close,refund}'::text[]) kind, unnest('{succeeded,failed,closed}'::text[]) status;
SELECT pg_temp.written() = :'before' AS nothing_written;
-- the answer to a task that nobody knows is kept, and alerted
SELECT outcome, order_id, payment_id, replayed, message FROM payguard.complete_task(0, gen_random_uuid(), 'succeeded', 'queue-none', 1000, 'EUR');
SELECT outcome, replayed FROM payguard.complete_task(9223372036854775807, gen_random_uuid(), 'failed');
SELECT convert_from(body, 'UTF8')::jsonb - 'at' AS body, result FROM payguard.notifications WHERE position('answer to task'::bytea IN body) > 0 ORDER BY 1;
SELECT a.kind, a.severity FROM payguard.alerts a JOIN payguard.notifications n ON n.event_id = a.cause WHERE position('answer to task'::bytea IN n.body) > 0;
SELECT pg_temp.answer($$SELECT payguard.retry_task(0, gen_random_uuid(), 'no route')$$);
SELECT pg_temp.answer($$SELECT payguard.extend_lease(0, gen_random_uuid(), '1 min')$$);
SELECT pg_temp.answer($$SELECT payguard.requeue_task(0)$$);
SELECT pg_temp.answer($$SELECT payguard.query_payment('01890000-0000-7000-8000-000000000000')$$);
-- a query that is answered "pending" is the same task, later each time, up to the channel's maximum
SELECT (payguard.register_channel('queue', first_query_after := '100 s', max_query_interval := '300 s')).max_query_interval;
SELECT pg_temp.ready('queue-6', 'query');
CREATE TEMP TABLE waits (n int, task_id bigint, wait interval);
DO $$
BEGIN
  FOR i IN 1 .. 5 LOOP
    PERFORM payguard.query_payment(pg_temp.this('queue-6')), pg_temp.claim('queue-6');
    PERFORM pg_temp.reply('queue-6', 'pending');
    INSERT INTO waits SELECT i, task_id, run_at - clock_timestamp() FROM payguard.tasks WHERE order_id = 'queue-6';
  END LOOP;
END
$$;
SELECT count(DISTINCT task_id) AS tasks FROM waits;
SELECT n, (extract(epoch FROM wait) / 100)::numeric(9, 1) AS hundreds_of_seconds FROM waits ORDER BY n;
SELECT (payguard.register_channel('queue', first_query_after := '1 min', max_query_interval := '1 hour')).max_query_interval;
-- not_found: charged again, under the same name, only where the channel honours it, we asked for it, it is open and its time is not over
SELECT pg_temp.ready('queue-7', 'query'), pg_temp.claim('queue-7');
SELECT pg_temp.reply('queue-7', 'not_found'), pg_temp.due('queue-7');
SELECT pg_temp.claim('queue-7'), (task).payment_id = pg_temp.this('queue-7') AS same_name FROM held WHERE (task).order_id = 'queue-7' ORDER BY n DESC LIMIT 1;
SELECT pg_temp.reply('queue-7', 'succeeded', 'queue-7', 1000, 'EUR'), pg_temp.now_of('queue-7');
SELECT pg_temp.request('queue-8', 'queue_once') IS NOT NULL, pg_temp.claim('queue-8'), pg_temp.reply('queue-8', 'unknown'), (payguard.query_payment(pg_temp.this('queue-8'))).outcome, pg_temp.claim('queue-8');
SELECT pg_temp.reply('queue-8', 'not_found'), pg_temp.due('queue-8') AS not_idempotent;
SELECT pg_temp.make('queue-9', 'pending', 'queue') IS NOT NULL, (payguard.query_payment(pg_temp.this('queue-9'))).outcome, pg_temp.claim('queue-9');
SELECT pg_temp.reply('queue-9', 'not_found'), pg_temp.due('queue-9') AS started_by_the_shop;
SELECT pg_temp.ready('queue-10', 'query'), pg_temp.claim('queue-10'), (payguard.cancel_order('queue-10')).closing_as;
SELECT pg_temp.reply('queue-10', 'not_found'), pg_temp.due('queue-10') AS closing;
SELECT pg_temp.request('queue-11', expires_at := clock_timestamp() + interval '1 s') IS NOT NULL, pg_temp.claim('queue-11'), pg_temp.reply('queue-11', 'unknown'), (payguard.query_payment(pg_temp.this('queue-11'))).outcome, pg_temp.claim('queue-11');
SELECT pg_sleep(extract(epoch FROM expires_at - clock_timestamp()) + 0.001) FROM payguard.payments WHERE order_id = 'queue-11';
SELECT pg_temp.reply('queue-11', 'not_found'), pg_temp.due('queue-11') AS expired;
-- one order's tasks, one at a time: while the charge is held, the query is not claimed
SELECT pg_temp.request('queue-12') IS NOT NULL, (payguard.query_payment(pg_temp.this('queue-12'))).outcome, pg_temp.claim('queue-12'), pg_temp.due('queue-12');
SELECT pg_temp.claim('queue-12'), pg_temp.reply('queue-12', 'pending'), pg_temp.claim('queue-12');
-- an expired lease: a charge and a refund are not made again, but asked about; what only asks is done again
SELECT kind, pg_temp.ready('queue-lost-' || kind, kind), pg_temp.lost('queue-lost-' || kind), pg_temp.claim('queue-lost-' || kind) AS next, pg_temp.now_of('queue-lost-' || kind), pg_temp.due('queue-lost-' || kind)
FROM unnest('{charge,query,close,refund,query_refund}'::text[]) kind;
-- who lost it is heard, and no more
SELECT kind, pg_temp.reply('queue-lost-' || kind, 'succeeded', 'queue-lost-' || kind, 1000, 'EUR', 1), pg_temp.now_of('queue-lost-' || kind)
FROM unnest('{charge,query,close}'::text[]) kind;
SELECT pg_temp.reply('queue-lost-refund', 'succeeded', 'queue-lost-refund', 600, 'EUR', 1), pg_temp.now_of('queue-lost-refund');
-- held longer
SELECT pg_temp.ready('queue-13', 'charge'), pg_temp.claim('queue-13', '900 ms');
SELECT payguard.extend_lease((task).task_id, (task).lease_token, '1 hour') > clock_timestamp() + interval '50 min' AS longer FROM held WHERE (task).order_id = 'queue-13';
SELECT pg_sleep(1), pg_temp.claim('queue-13'), pg_temp.reply('queue-13', 'succeeded', 'queue-13', 1000, 'EUR');
-- with another's token: fenced
SELECT pg_temp.ready('queue-14', 'charge'), pg_temp.claim('queue-14');
SELECT pg_temp.answer(format('SELECT payguard.retry_task(%s, %L, %L)', (task).task_id, gen_random_uuid(), 'no route')) ~ '^PY701 lease_lost' AS retry,
  pg_temp.answer(format('SELECT payguard.extend_lease(%s, %L, %L)', (task).task_id, gen_random_uuid(), '1 min')) ~ '^PY701 lease_lost' AS extend FROM held WHERE (task).order_id = 'queue-14';
SELECT outcome, order_status, replayed, message FROM held CROSS JOIN LATERAL payguard.complete_task((task).task_id, gen_random_uuid(), 'pending', 'queue-14') WHERE (task).order_id = 'queue-14';
SELECT pg_temp.due('queue-14'), pg_temp.reply('queue-14', 'succeeded', 'queue-14', 1000, 'EUR');
-- certain that nothing was sent: later, and then not at all
SELECT pg_temp.ready('queue-15', 'charge'), pg_temp.claim('queue-15'), pg_temp.retry('queue-15', '1 hour'), pg_temp.due('queue-15'), pg_temp.claim('queue-15');
SELECT pg_temp.ready('queue-16', 'charge'), pg_temp.claim('queue-16'), pg_temp.retry('queue-16', NULL);
SELECT run_at - clock_timestamp() BETWEEN '50 s' AND '76 s' AS first_query_after FROM payguard.tasks WHERE order_id = 'queue-16';
CREATE FUNCTION pg_temp.retry_ten_times(id text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE kinds text[]; error text;
BEGIN
  FOR i IN 1 .. 10 LOOP
    kinds := kinds || pg_temp.claim(id);
    PERFORM pg_temp.retry(id, error := 'no route ' || i);
  END LOOP;
  PERFORM pg_sleep(0.01);
  RETURN array_to_string(kinds[1:1] || kinds[10:10], ' ... ');
END
$$;
SELECT kind, pg_temp.ready('queue-dead-' || kind, kind), pg_temp.retry_ten_times('queue-dead-' || kind), pg_temp.now_of('queue-dead-' || kind), pg_temp.due('queue-dead-' || kind)
FROM unnest('{charge,query,close,refund,query_refund}'::text[]) kind;
SELECT failure_code, failure_message FROM payguard.payments WHERE order_id = 'queue-dead-charge';
SELECT order_id, kind, tries, last_error FROM payguard.dead_tasks WHERE order_id LIKE 'queue-%' ORDER BY 1;
SELECT a.kind, a.severity, a.order_id, a.details, t.dead_at IS NOT NULL AS dead FROM payguard.alerts a JOIN payguard.tasks t USING (task_id) WHERE a.order_id LIKE 'queue-%' ORDER BY 3;
-- dead ones are not claimed, until an operator says so
SELECT pg_temp.claim('queue-dead-close'), pg_temp.claim('queue-dead-refund');
SELECT payguard.requeue_task(task_id) = task_id AS requeued FROM payguard.dead_tasks WHERE order_id LIKE 'queue-%';
SELECT pg_temp.claim('queue-dead-close'), pg_temp.reply('queue-dead-close', 'closed'), pg_temp.claim('queue-dead-refund'), pg_temp.reply('queue-dead-refund', 'succeeded', 'queue-dead-refund', 600, 'EUR');
SELECT pg_temp.now_of('queue-dead-close'), pg_temp.now_of('queue-dead-refund'), (SELECT count(*) FROM payguard.dead_tasks WHERE order_id LIKE 'queue-%') AS dead;
-- what is not needed any more, or is asked anew, is dead no longer
SELECT pg_temp.ready('queue-dead-' || n, 'close'), pg_temp.retry_ten_times('queue-dead-' || n), pg_temp.due('queue-dead-' || n) FROM generate_series(1, 2) n;
SELECT pg_temp.say(payment_id, 'failed') FROM payguard.payments WHERE order_id = 'queue-dead-1';
SELECT pg_temp.say(payment_id, 'pending', 'queue-dead-2') FROM payguard.payments WHERE order_id = 'queue-dead-2';
SELECT a.order_id, a.kind, a.resolved_at IS NOT NULL AS resolved, pg_temp.due(a.order_id) FROM payguard.alerts a WHERE a.order_id ~ '^queue-dead-[12]$' ORDER BY 1;
-- a charge that was not sent and must not be made any more ends
SELECT pg_temp.ready('queue-17', 'charge'), pg_temp.claim('queue-17'), (payguard.cancel_order('queue-17')).closing_as, pg_temp.due('queue-17');
SELECT pg_temp.retry('queue-17'), pg_temp.now_of('queue-17'), pg_temp.claim('queue-17');
-- no worker has it: withdrawn
SELECT pg_temp.ready('queue-18', 'charge'), (payguard.cancel_order('queue-18')).status, pg_temp.now_of('queue-18'), pg_temp.claim('queue-18');
-- the channel is asked now: about what is open, or was never verified; what has ended is only returned
SELECT situation, outcome, replayed, pg_temp.due('queue-ask-' || situation) FROM unnest('{"pending","unknown","closing, to be cancelled","superseded","succeeded, not verified","succeeded","surplus, paid","failed, unpaid"}'::text[]) situation
CROSS JOIN LATERAL (SELECT pg_temp.make('queue-ask-' || situation, situation, 'queue', 'queue-ask-' || situation) AS id) m CROSS JOIN LATERAL payguard.query_payment(m.id);
-- money moves while a worker holds the task: the webhook pays, the worker's answer is a repetition
SELECT pg_temp.ready('queue-19', 'charge'), pg_temp.claim('queue-19'), pg_temp.say(pg_temp.this('queue-19'), 'succeeded', 'queue-19', 1000, 'EUR'), pg_temp.due('queue-19');
SELECT pg_temp.reply('queue-19', 'succeeded', 'queue-19', 1000, 'EUR'), pg_temp.reply('queue-19', 'succeeded', 'queue-19', 1000, 'EUR');
SELECT pg_temp.now_of('queue-19'), (SELECT count(*) FROM payguard.leases WHERE order_id = 'queue-19') AS leases;
-- and one that says the opposite is kept
SELECT pg_temp.ready('queue-20', 'charge'), pg_temp.claim('queue-20'), pg_temp.say(pg_temp.this('queue-20'), 'succeeded', 'queue-20', 1000, 'EUR'), pg_temp.reply('queue-20', 'failed');
SELECT pg_temp.now_of('queue-20');
-- a failure while a worker holds the task: the worker's money is a late success
SELECT pg_temp.ready('queue-21', 'charge'), pg_temp.claim('queue-21'), pg_temp.say(pg_temp.this('queue-21'), 'failed'), pg_temp.reply('queue-21', 'succeeded', 'queue-21', 1000, 'EUR'), pg_temp.now_of('queue-21');
-- many answers at once, in the order asked; twice the same, and one of nobody
SELECT count(pg_temp.request('queue-batch-' || n)) FROM generate_series(1, 3) n;
SELECT pg_temp.claim('queue-batch-1');
SELECT order_id, outcome, payment_status, replayed FROM payguard.complete_tasks((
  SELECT array_agg((coalesce((task).task_id, 0), coalesce((task).lease_token, gen_random_uuid()), status, 'queue-batch-' || v.n, 1000, 'EUR', NULL, NULL)::payguard.task_answer ORDER BY at)
  FROM (VALUES (1, 3, 'succeeded'), (2, 1, 'failed'), (3, 9, 'succeeded'), (4, 3, 'succeeded'), (5, 2, 'pending')) v (at, n, status) LEFT JOIN held ON (task).order_id = 'queue-batch-' || v.n));
SELECT count(*) FROM payguard.complete_tasks('{}');
-- a channel that is asked at once is not asked all the time
SELECT (payguard.register_channel('queue_other', first_query_after := '0 s', max_query_interval := '1 h')).first_query_after;
SELECT pg_temp.request('queue-22', 'queue_other') IS NOT NULL AS requested, pg_temp.claim('queue-22');
SELECT pg_temp.reply('queue-22', 'pending'), pg_temp.claim('queue-22');
SELECT clock_timestamp() AS asked \gset
SELECT pg_temp.reply('queue-22', 'pending');
SELECT run_at - :'asked' BETWEEN '1 s' AND '1 min' AS in_a_second FROM payguard.tasks WHERE order_id = 'queue-22';
-- a charge that nobody took before its attempt expired is not made; where one may have been made before, the channel is asked
SELECT pg_temp.request('queue-23', expires_at := clock_timestamp() + '300 ms') IS NOT NULL AS requested, pg_sleep(0.4);
SELECT pg_temp.claim('queue-23'), pg_temp.now_of('queue-23'), pg_temp.due('queue-23');
SELECT failure_code, failure_message FROM payguard.payments WHERE order_id = 'queue-23';
SELECT pg_temp.request('queue-24', expires_at := clock_timestamp() + '2 s') IS NOT NULL AS requested, pg_temp.claim('queue-24', '1 ms'), pg_sleep(0.01);
SELECT pg_temp.claim('queue-24'), pg_temp.reply('queue-24', 'not_found'), pg_sleep(2.1);
SELECT pg_temp.claim('queue-24'), pg_temp.now_of('queue-24');
-- and does not hide what is due behind it
SELECT pg_temp.request('queue-25', expires_at := clock_timestamp() + '300 ms') IS NOT NULL AS requested, pg_temp.request('queue-26') IS NOT NULL AS requested, pg_sleep(0.4);
SELECT order_id, kind FROM payguard.claim_tasks('queue', 1, kinds := '{charge}', channels := '{queue}');
-- nobody was paid twice
SELECT order_id FROM payguard.payments WHERE status = 'succeeded' GROUP BY 1 HAVING count(*) > 1;
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_queue;
DROP ROLE regress_queue;
