\set ECHO none
-- Every argument of every function, with every malformed value of its kind: one row a case.
CREATE TEMP TABLE calls (function text, argument text, position int, kind text, good text);
INSERT INTO calls VALUES
  ('create_order', 'order_id', 1, 'id', $$'arguments-new'$$), ('create_order', 'amount', 2, 'amount', '5'),
  ('create_order', 'currency', 3, 'currency', $$'EUR'$$), ('create_order', 'customer_id', 4, 'optional id', 'NULL'),
  ('create_order', 'expires_at', 5, 'deadline', 'NULL'),
  ('update_order', 'order_id', 1, 'id', $$'arguments'$$), ('update_order', 'expected_version', 2, 'version', '1'),
  ('update_order', 'amount', 3, 'optional amount', '6'), ('update_order', 'currency', 4, 'optional currency', 'NULL'),
  ('update_order', 'expires_at', 5, 'deadline', 'NULL'),
  ('cancel_order', 'order_id', 1, 'id', $$'arguments'$$), ('cancel_order', 'expected_version', 2, 'optional version', 'NULL'),
  ('cancel_order', 'reason', 3, 'optional note', 'NULL'),
  ('order_status', 'order_id', 1, 'id', $$'arguments'$$), ('order_timeline', 'order_id', 1, 'id', $$'arguments'$$),
  ('slot', 'order_id', 1, 'id', $$'arguments'$$), ('sync_rows', 'order_id', 1, 'optional id', 'NULL'),
  ('payment_slot', 'payment_id', 1, 'payment', 'NULL'),
  ('revoke_key', 'order_id', 1, 'id', $$'arguments'$$), ('revoke_key', 'idempotency_key', 2, 'id', $$'arguments'$$),
  ('register_channel', 'name', 1, 'channel name', $$'arguments'$$), ('register_channel', 'driver', 3, 'driver', 'NULL'),
  ('register_channel', 'internal', 2, 'none', 'NULL'),
  ('register_channel', 'first_query_after', 4, 'interval', 'NULL'), ('register_channel', 'max_query_interval', 5, 'interval', 'NULL'),
  ('register_channel', 'alert_after', 6, 'interval', 'NULL'), ('register_channel', 'not_found_is_final_after', 7, 'interval', 'NULL'),
  ('register_channel', 'late_success', 8, 'word', 'NULL');
INSERT INTO calls
SELECT f, argument, position, kind, good FROM unnest('{pay_order,try_pay_order}'::text[]) f,
  (VALUES ('order_id', 1, 'id', $$'arguments'$$), ('idempotency_key', 2, 'id', $$'arguments'$$),
          ('amount', 3, 'optional amount', 'NULL'), ('currency', 4, 'optional currency', 'NULL'),
          ('expected_version', 5, 'optional version', 'NULL'), ('channel', 6, 'id', $$'internal'$$)) a (argument, position, kind, good);
INSERT INTO calls
SELECT f, argument, position, kind, good FROM unnest('{start_payment,try_start_payment,try_request_payment}'::text[]) f,
  (VALUES ('order_id', 1, 'id', $$'arguments'$$), ('idempotency_key', 2, 'id', $$'arguments'$$), ('channel', 3, 'id', $$'arguments-card'$$),
          ('amount', 4, 'optional amount', 'NULL'), ('currency', 5, 'optional currency', 'NULL'), ('expected_version', 6, 'optional version', 'NULL'),
          ('expires_at', 7, 'time', 'NULL'), ('details', 8, 'none', 'NULL')) a (argument, position, kind, good);
CREATE TEMP TABLE malformed (kind text, what text, value text);
INSERT INTO malformed VALUES
  ('id', 'null', 'NULL'), ('amount', 'null', 'NULL'), ('currency', 'null', 'NULL'), ('version', 'null', 'NULL'), ('payment', 'null', 'NULL'),
  ('id', 'empty', $$''$$), ('id', '256 bytes', $$repeat('x', 256)$$), ('id', '1 MB', $$repeat('x', 1000000)$$),
  ('id', 'line feed', $$E'a\nb'$$), ('id', 'delete', $$E'a\x7f'$$), ('id', 'first control', $$E'\x01'$$),
  ('id', 'last C1 control', $$'a' || chr(159)$$), ('id', 'first C1 control', $$chr(128) || 'a'$$),
  ('amount', 'negative', '-1'), ('amount', 'overflow', $$'9223372036854775808'$$),
  ('amount', 'lowest', $$'-9223372036854775808'$$),
  ('currency', 'empty', $$''$$), ('currency', 'digit', $$'EU1'$$), ('currency', 'four letters', $$'EURO'$$),
  ('currency', 'two letters', $$'EU'$$), ('currency', 'line feed', $$E'EUR\n'$$), ('currency', 'other letters', $$'E' || chr(214)$$),
  ('version', '0', '0'), ('version', 'negative', '-5'), ('version', 'overflow', $$'9223372036854775808'$$),
  ('note', 'empty', $$''$$), ('note', '4001 bytes', $$repeat('x', 4001)$$), ('note', 'bell', $$E'a\x07'$$),
  ('note', 'C1 control', $$'a' || chr(133)$$),
  ('deadline', 'past', $$'2001-01-01'$$), ('deadline', 'infinity', $$'infinity'$$), ('deadline', '-infinity', $$'-infinity'$$),
  -- a retry may come when the attempt's deadline has passed: only an infinite one is malformed
  ('time', 'infinity', $$'infinity'$$), ('time', '-infinity', $$'-infinity'$$),
  ('payment', 'version 4', $$'f47ac10b-58cc-4372-a567-0e02b2c3d479'$$), ('payment', 'no uuid', $$'x'$$),
  ('channel name', 'built in', $$'internal'$$), ('driver', 'no function', $$'public.no_function'$$), ('driver', 'syntax', $$'a b c'$$), ('driver', 'dash', $$'-'$$),
  ('driver', 'number', $$'1242'$$), ('driver', 'too many names', $$'a.b.c.d'$$),
  ('interval', 'negative', $$'-1 second'$$), ('word', 'unknown', $$'never'$$), ('word', 'empty', $$''$$);
-- every byte is text in LATIN1
CREATE FUNCTION pg_temp.raw(bytea) RETURNS text LANGUAGE internal IMMUTABLE STRICT AS 'byteasend';
INSERT INTO malformed SELECT kind, 'not text', $$pg_temp.raw('\x61ff')$$ FROM unnest('{id,note}'::text[]) kind WHERE getdatabaseencoding() = 'UTF8';
INSERT INTO malformed SELECT 'optional ' || kind, what, value FROM malformed WHERE what <> 'null' AND kind IN ('id', 'amount', 'currency', 'version', 'note');
INSERT INTO malformed SELECT 'channel name', what, value FROM malformed WHERE kind = 'id';
INSERT INTO malformed SELECT 'driver', what, value FROM malformed WHERE kind = 'optional id';
CREATE FUNCTION pg_temp.cases() RETURNS TABLE (function text, argument text, malformed text, answer text) LANGUAGE plpgsql AS $$
DECLARE
  c record; statement text;
BEGIN
  FOR c IN SELECT b.function, b.argument, b.position, m.what, m.value FROM calls b JOIN malformed m USING (kind)
           ORDER BY b.function, b.position, m.what COLLATE "C" LOOP
    SELECT format('SELECT (payguard.%s(%s))::text', c.function,
             string_agg(CASE WHEN x.position = c.position THEN c.value ELSE x.good END, ', ' ORDER BY x.position))
    INTO statement FROM calls x WHERE x.function = c.function;
    function := c.function; argument := c.argument; malformed := c.what;
    answer := array_to_string((string_to_array(pg_temp.answer(statement), ' | '))[1:3], ' | ');
    RETURN NEXT;
  END LOOP;
END
$$;
\set ECHO all
