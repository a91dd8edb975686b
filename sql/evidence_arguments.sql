-- Malformed arguments of evidence, attempts, refunds and operators' words: the documented SQLSTATE, or kept as evidence that cannot be read.
\getenv srcdir PG_ABS_SRCDIR
CREATE ROLE regress_evidence_arguments;
SELECT count(payguard.grant_access('regress_evidence_arguments', a)) FROM unnest('{checkout,cashier,channel,admin,refunds,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_evidence_arguments;
\set situation :srcdir /test/lib/situation.sql
\i :situation
SELECT pg_temp.make('args-1', 'pending', txn := 'args-1') IS NOT NULL, pg_temp.make('args-2', 'surplus, paid', txn := 'args-2') IS NOT NULL, pg_temp.make('args-3', 'succeeded', txn := 'args-3') IS NOT NULL;
SELECT outcome FROM payguard.refund_order('args-3', 'args-3', 100, 'a discount');
CREATE TEMP TABLE calls (function text, position int, argument text, kind text, good text);
INSERT INTO calls SELECT split_part(f, ' ', 1), a.n, split_part(a.a, ':', 1), replace(split_part(a.a, ':', 2), '_', ' '), split_part(a.a, ':', 3)
FROM (VALUES
  ('start_payment', $$order_id:id:'args-4' idempotency_key:id:'args' channel:id:'card' amount:optional_amount:NULL currency:optional_currency:NULL expected_version:optional_version:NULL expires_at:time:NULL$$),
  ('close_payment', $$payment_id:uuid:pg_temp.id('args-1','this')$$),
  ('report_payment', $$payment_id:uuid:pg_temp.id('args-1','this') channel_status:status:'pending' channel_txn_id:optional_id:NULL amount:optional_amount:NULL currency:optional_currency:NULL code:optional_id:NULL message:optional_note:NULL channel_time:time:NULL$$),
  ('record_payment', $$order_id:id:'args-1' channel:id:'card' channel_txn_id:id:'args-t' amount:amount:1000 currency:currency:'EUR' channel_time:time:NULL$$),
  ('record_notification', $$channel:id:'card' body:body:'\x00' event_id:optional_id:NULL payment_id:optional_uuid:pg_temp.id('args-1','this') refund_id:optional_uuid:NULL channel_status:optional_status:NULL channel_txn_id:optional_id:NULL amount:optional_amount:NULL currency:optional_currency:NULL channel_time:time:NULL$$),
  ('match_notifications', $$max:count:1$$), ('expire_orders', $$max:count:1$$),
  ('settle_payment', $$payment_id:uuid:pg_temp.id('args-1','this') channel_status:status:'pending' note:note:'n' channel_txn_id:optional_id:NULL amount:optional_amount:NULL currency:optional_currency:NULL$$),
  ('accept_surplus', $$payment_id:uuid:pg_temp.id('args-2','this') note:note:'n'$$),
  ('dismiss_surplus', $$payment_id:uuid:pg_temp.id('args-2','this') same_as:uuid:pg_temp.id('args-2','other') note:note:'n'$$),
  ('refund_order', $$order_id:id:'args-3' idempotency_key:id:'args-new' amount:positive:1 reason:note:'n' details:none:NULL channel:optional_id:NULL$$),
  ('refund_payment', $$payment_id:uuid:pg_temp.id('args-3','this') idempotency_key:id:'args-new' amount:positive:1 reason:note:'n' details:none:NULL channel:optional_id:NULL$$),
  ('report_refund', $$refund_id:uuid:pg_temp.args_refund() channel_status:status:'pending' channel_refund_id:optional_id:NULL amount:optional_amount:NULL currency:optional_currency:NULL code:optional_id:NULL message:optional_note:NULL$$),
  ('record_reversal', $$channel:id:'card' reversal_id:id:'args-r' channel_txn_id:id:'args-3' kind:word:'refund' amount:amount:1 currency:currency:'EUR' channel_time:time:NULL$$),
  ('record_reinstatement', $$channel:id:'card' reversal_id:id:'args-r' channel_time:time:NULL$$), ('reopen_order', $$order_id:id:'args-3' note:note:'n'$$),
  ('retry_refund', $$refund_id:uuid:pg_temp.args_refund() note:note:'n'$$), ('waive_refund', $$refund_id:uuid:pg_temp.args_refund() note:note:'n'$$),
  ('settle_refund', $$refund_id:uuid:pg_temp.args_refund() channel_status:status:'pending' note:note:'n' channel_refund_id:optional_id:NULL$$),
  ('register_channel', $$name:id:'args' internal:none:NULL driver:optional_id:NULL first_query_after:interval:NULL max_query_interval:interval:NULL alert_after:interval:NULL not_found_is_final_after:interval:NULL late_success:optional_word:NULL idempotent_charge:none:NULL surplus:optional_word:NULL reopen_on:kinds:NULL processing_alert_after:interval:NULL$$)) c (f, arguments),
  unnest(string_to_array(arguments, ' ')) WITH ORDINALITY a (a, n);
CREATE FUNCTION pg_temp.args_refund() RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT refund_id FROM payguard.refunds WHERE idempotency_key = 'args-3' $$;
CREATE TEMP TABLE malformed (n int GENERATED ALWAYS AS IDENTITY, kind text, what text, value text);
INSERT INTO malformed (kind, what, value) VALUES
  ('id', 'null', 'NULL'), ('id', 'empty', $$''$$), ('id', '256 bytes', $$repeat('x', 256)$$), ('id', '1 MB', $$repeat('x', 1000000)$$), ('id', 'line feed', $$E'a\nb'$$), ('id', 'delete', $$E'a\x7f'$$), ('id', 'C1 control', $$'a' || chr(133)$$),
  ('note', 'null', 'NULL'), ('note', 'empty', $$''$$), ('note', '4001 bytes', $$repeat('x', 4001)$$), ('note', 'bell', $$E'a\x07'$$), ('note', 'C1 control', $$'a' || chr(133)$$),
  ('amount', 'null', 'NULL'), ('amount', 'negative', '-1'), ('amount', 'lowest', $$'-9223372036854775808'$$), ('amount', 'overflow', $$'9223372036854775808'$$), ('amount', 'no number', $$'1.5'$$),
  ('currency', 'null', 'NULL'), ('currency', 'empty', $$''$$), ('currency', 'digit', $$'EU1'$$), ('currency', 'two letters', $$'EU'$$), ('currency', 'four letters', $$'EURO'$$), ('currency', 'letter', $$'E' || chr(214)$$),
  ('version', '0', '0'), ('version', 'negative', '-1'), ('version', 'overflow', $$'9223372036854775808'$$),
  ('time', 'infinity', $$'infinity'$$), ('time', '-infinity', $$'-infinity'$$), ('time', 'no time', $$'soon'$$),
  ('uuid', 'null', 'NULL'), ('uuid', 'no uuid', $$'x'$$), ('body', 'null', 'NULL'), ('count', 'null', 'NULL'), ('count', '0', '0'), ('count', 'negative', '-1'), ('count', 'overflow', $$'2147483648'$$),
  ('word', 'null', 'NULL'), ('word', 'empty', $$''$$), ('word', 'unknown', $$'perhaps'$$), ('word', 'upper case', $$'REFUND'$$), ('kinds', 'unknown', $$'{refund}'$$), ('kinds', 'null element', $$'{NULL}'$$), ('kinds', 'empty element', $$'{""}'$$), ('kinds', 'no array', $$'x'$$), ('interval', 'negative', $$'-1 s'$$), ('interval', 'no interval', $$'soon'$$),
  ('status', 'null', 'NULL'), ('status', 'empty', $$''$$), ('status', 'unknown', $$'success'$$), ('status', 'upper case', $$'FAILED'$$), ('status', 'space', $$'failed '$$), ('status', '1 MB', $$repeat('x', 1000000)$$);
INSERT INTO malformed (kind, what, value) SELECT 'optional ' || kind, what, value FROM malformed WHERE what <> 'null' ORDER BY n;
INSERT INTO malformed (kind, what, value) SELECT 'positive', what, value FROM malformed WHERE kind = 'optional amount' UNION ALL SELECT 'positive', '0', '0';
SELECT (payguard.create_order('args-4', 1000, 'EUR')).version;
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
SELECT count(*) AS calls, count(*) FILTER (WHERE answer !~ '^((22004|22023|22003|22P02|22007) \| |unreadable)') AS accepted, count(*) FILTER (WHERE position('Nothing has been written' IN answer) = 0 AND answer ~ '^(22004|22023)') AS silent
FROM (SELECT pg_temp.tried(pg_temp.call(function, position, value)) AS answer FROM calls JOIN malformed m USING (kind)) a;
SELECT DISTINCT function, argument, kind FROM calls WHERE kind NOT IN (SELECT kind FROM malformed) ORDER BY 1, 2;
SELECT pg_temp.written() = :'before' AS nothing_written;
-- what is just good enough
SELECT (payguard.register_channel(repeat('c', 255))).late_success;
SELECT outcome FROM payguard.report_payment(pg_temp.id('args-1', 'this'), 'failed', repeat('t', 255), 9223372036854775807, 'XTS', repeat('c', 255), repeat('m', 4000), '1970-01-01');
SELECT outcome FROM payguard.record_payment('args-4', repeat('c', 255), repeat('t', 255), 9223372036854775807, 'EUR', '294276-01-01');
SELECT outcome, amount FROM payguard.record_reversal(repeat('c', 255), repeat('r', 255), repeat('t', 255), 'chargeback', 9223372036854775807, 'EUR');
SELECT pg_temp.all_of('args-4');
-- money of 0 was moved, and is evidence
SELECT outcome FROM payguard.record_payment('args-4', 'card', 'args-0', 0, 'EUR');
SELECT pg_temp.payments_of('args-4');
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_evidence_arguments;
DROP ROLE regress_evidence_arguments;
