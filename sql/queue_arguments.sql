-- Malformed arguments of the queue's functions: the documented SQLSTATE, or kept as evidence that cannot be read.
\getenv srcdir PG_ABS_SRCDIR
CREATE ROLE regress_queue_arguments;
SELECT count(payguard.grant_access('regress_queue_arguments', a)) FROM unnest('{checkout,cashier,channel,admin,refunds,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_queue_arguments;
\set situation :srcdir /test/lib/situation.sql
\i :situation
SELECT count(payguard.create_order('queue-args-' || n, 1000, 'EUR')) FROM generate_series(1, 2) n;
SELECT (payguard.register_channel('queue_args')).name;
SELECT payment_status FROM payguard.request_payment('queue-args-1', 'queue-args-1/this', 'queue_args');
CREATE TEMP TABLE held AS SELECT * FROM payguard.claim_tasks('queue-args', lease := '1 hour', channels := '{queue_args}');
CREATE TEMP TABLE calls (function text, position int, argument text, kind text, good text);
INSERT INTO calls SELECT split_part(f, ' ', 1), a.n, split_part(a.a, ':', 1), replace(split_part(a.a, ':', 2), '_', ' '), split_part(a.a, ':', 3)
FROM (VALUES
  ('request_payment', $$order_id:id:'queue-args-2' idempotency_key:id:'args' channel:id:'card' amount:optional_amount:NULL currency:optional_currency:NULL expected_version:optional_version:NULL expires_at:time:NULL$$),
  ('claim_tasks', $$worker:id:'args' max_tasks:count:1 lease:interval:'1_min' kinds:kinds:NULL channels:channels:NULL$$),
  ('complete_task', $$task_id:task:(SELECT(task_id)FROM"held") lease_token:uuid:(SELECT(lease_token)FROM"held") channel_status:status:'pending' channel_txn_id:optional_id:NULL amount:optional_amount:NULL currency:optional_currency:NULL code:optional_id:NULL message:optional_note:NULL$$),
  ('retry_task', $$task_id:task:(SELECT(task_id)FROM"held") lease_token:uuid:(SELECT(lease_token)FROM"held") error:note:'e' delay:optional_interval:NULL$$),
  ('extend_lease', $$task_id:task:(SELECT(task_id)FROM"held") lease_token:uuid:(SELECT(lease_token)FROM"held") lease:interval:'1_min'$$),
  ('requeue_task', $$task_id:task:(SELECT(task_id)FROM"held")$$), ('query_payment', $$payment_id:uuid:pg_temp.id('queue-args-1','this')$$)) c (f, arguments),
  unnest(string_to_array(arguments, ' ')) WITH ORDINALITY a (a, n);
UPDATE calls SET good = $$'1 min'$$ WHERE good = $$'1_min'$$;
CREATE TEMP TABLE malformed (n int GENERATED ALWAYS AS IDENTITY, kind text, what text, value text);
INSERT INTO malformed (kind, what, value) VALUES
  ('id', 'null', 'NULL'), ('id', 'empty', $$''$$), ('id', '256 bytes', $$repeat('x', 256)$$), ('id', '1 MB', $$repeat('x', 1000000)$$), ('id', 'line feed', $$E'a\nb'$$), ('id', 'delete', $$E'a\x7f'$$), ('id', 'C1 control', $$'a' || chr(133)$$),
  ('note', 'null', 'NULL'), ('note', 'empty', $$''$$), ('note', '4001 bytes', $$repeat('x', 4001)$$), ('note', 'bell', $$E'a\x07'$$), ('note', 'C1 control', $$'a' || chr(133)$$),
  ('amount', 'negative', '-1'), ('amount', 'lowest', $$'-9223372036854775808'$$), ('amount', 'overflow', $$'9223372036854775808'$$), ('amount', 'no number', $$'1.5'$$),
  ('currency', 'empty', $$''$$), ('currency', 'digit', $$'EU1'$$), ('currency', 'two letters', $$'EU'$$), ('currency', 'letter', $$'E' || chr(214)$$),
  ('version', '0', '0'), ('version', 'negative', '-1'), ('version', 'overflow', $$'9223372036854775808'$$),
  ('time', 'infinity', $$'infinity'$$), ('time', '-infinity', $$'-infinity'$$), ('time', 'no time', $$'soon'$$),
  ('uuid', 'null', 'NULL'), ('uuid', 'no uuid', $$'x'$$), ('task', 'null', 'NULL'), ('task', 'overflow', $$'9223372036854775808'$$), ('task', 'no number', $$'x'$$),
  ('count', 'null', 'NULL'), ('count', '0', '0'), ('count', 'negative', '-1'), ('count', 'overflow', $$'2147483648'$$),
  ('interval', 'null', 'NULL'), ('interval', '0', $$'0 s'$$), ('interval', 'negative', $$'-1 s'$$), ('interval', 'beyond the calendar', $$'400000 years'$$), ('interval', 'overflow', $$'178956971 years'$$), ('interval', 'no interval', $$'soon'$$),
  ('kinds', 'unknown', $$'{charge,charges}'$$), ('kinds', 'null inside', $$'{charge,NULL}'$$), ('kinds', 'empty inside', $$'{""}'$$), ('kinds', 'upper case', $$'{CHARGE}'$$), ('kinds', 'no array', $$'charge'$$),
  ('channels', 'null inside', $$'{card,NULL}'$$), ('channels', 'empty inside', $$'{""}'$$), ('channels', 'line feed inside', $$E'{"a\nb"}'$$), ('channels', 'no array', $$'card'$$),
  ('status', 'null', 'NULL'), ('status', 'empty', $$''$$), ('status', 'unknown', $$'success'$$), ('status', 'upper case', $$'FAILED'$$), ('status', 'space', $$'failed '$$), ('status', '1 MB', $$repeat('x', 1000000)$$);
INSERT INTO malformed (kind, what, value) SELECT 'optional ' || kind, what, value FROM malformed WHERE what <> 'null' ORDER BY n;
CREATE FUNCTION pg_temp.call(f text, at int, value text) RETURNS text LANGUAGE sql AS $$
  SELECT format('SELECT (payguard.%s(%s))::text', f, string_agg(CASE WHEN position = at THEN value ELSE good END, ', ' ORDER BY position)) FROM calls WHERE function = f
$$;
-- Evidence that cannot be read is written: each call is tried, and taken back.
CREATE FUNCTION pg_temp.tried(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  said text;
BEGIN
  said := pg_temp.answer(statement);
  RAISE 'taken back';
EXCEPTION WHEN raise_exception THEN
  RETURN CASE WHEN said ~ 'cannot be read: ' THEN 'unreadable' ELSE said END;
END
$$;
SELECT pg_temp.written() AS before \gset
SELECT function, argument, string_agg(what || ' ' || split_part(pg_temp.tried(pg_temp.call(function, position, value)), ' | ', 1), ', ' ORDER BY m.n) AS answers
FROM calls JOIN malformed m USING (kind) GROUP BY function, position, argument ORDER BY function, position;
-- no argument was left out, and no malformed value let in: evidence is kept where it cannot be read, whatever else is refused
SELECT count(*) AS calls, count(*) FILTER (WHERE answer !~ '^((22004|22023|22003|22P02|22007|22008) \| |unreadable)') AS accepted, count(*) FILTER (WHERE position('Nothing has been written' IN answer) = 0 AND answer ~ '^(22004|22023)') AS silent
FROM (SELECT pg_temp.tried(pg_temp.call(function, position, value)) AS answer FROM calls JOIN malformed m USING (kind)) a;
SELECT DISTINCT function, argument, kind FROM calls WHERE kind NOT IN (SELECT kind FROM malformed) ORDER BY 1, 2;
-- the rows of a batch are checked as the single calls are
SELECT pg_temp.tried(format('SELECT string_agg(outcome || '' '' || message, '', '') FROM payguard.complete_tasks(%s)', a)) FROM unnest('{"NULL","ARRAY[NULL]::payguard.task_answer[]","ARRAY[ROW(NULL,gen_random_uuid(),''pending'',NULL,NULL,NULL,NULL,NULL)]::payguard.task_answer[]",
  "ARRAY[ROW(1,NULL,''pending'',NULL,NULL,NULL,NULL,NULL)]::payguard.task_answer[]","ARRAY[ROW(1,gen_random_uuid(),''done'',NULL,NULL,NULL,NULL,NULL)]::payguard.task_answer[]",
  "ARRAY[ROW(1,gen_random_uuid(),''pending'',NULL,NULL,NULL,NULL,NULL),ROW(1,gen_random_uuid(),''pending'',NULL,-1,NULL,NULL,NULL)]::payguard.task_answer[]"}'::text[]) a;
SELECT pg_temp.written() = :'before' AS nothing_written;
-- what is just good enough
SELECT count(*) FROM payguard.claim_tasks(repeat('w', 255), 2147483647, '1 day', '{charge,query,close,refund,query_refund}', '{queue_args}');
SELECT payguard.extend_lease(task_id, lease_token, '1 microsecond') IS NOT NULL FROM held;
SELECT outcome FROM held CROSS JOIN LATERAL payguard.complete_task(task_id, lease_token, 'failed', repeat('t', 255), 9223372036854775807, 'XTS', repeat('c', 255), repeat('m', 4000));
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_queue_arguments;
DROP ROLE regress_queue_arguments;
