-- A message's body as a text arrives as it was sent, and is one event with the same body as bytea.
SELECT payguard.register_channel('mt-card') \g /dev/null
CREATE FUNCTION pg_temp.kept(id text) RETURNS text LANGUAGE sql AS
  $$ SELECT convert_from(body, 'UTF8') FROM payguard.notifications WHERE channel = 'mt-card' AND event_id = id $$;
-- what drivers send: a parameter without a type, as text, as varchar
PREPARE untyped AS SELECT result FROM payguard.record_notification('mt-card', $1, $2);
PREPARE as_varchar(varchar, text) AS SELECT result FROM payguard.record_notification('mt-card', $1, $2);
EXECUTE untyped('{"text": "a \"quoted\" \\ word", "u": "\u00e9 é 支付", "path": "C:\new"}', 'mt-1');
SELECT pg_temp.kept('mt-1');
EXECUTE as_varchar(E'line one\nline ''two''\tend\\', 'mt-2');
SELECT pg_temp.kept('mt-2');
SELECT result FROM payguard.record_notification('mt-card', '\', 'mt-3');
SELECT pg_temp.kept('mt-3');
SELECT result FROM payguard.record_notification('mt-card', '', 'mt-4');
SELECT pg_temp.kept('mt-4') = '';
-- \x and hex digits alone are bytes, as in a bytea literal; anything else is text
SELECT result FROM payguard.record_notification('mt-card', '\x00ff', 'mt-5');
SELECT body FROM payguard.notifications WHERE channel = 'mt-card' AND event_id = 'mt-5';
SELECT result FROM payguard.record_notification('mt-card', '\x', 'mt-6');
SELECT result FROM payguard.record_notification('mt-card', '\x0', 'mt-7');
SELECT result FROM payguard.record_notification('mt-card', '\x0g', 'mt-8');
SELECT result FROM payguard.record_notification('mt-card', '\x 00', 'mt-9');
SELECT event_id, body FROM payguard.notifications WHERE channel = 'mt-card' AND event_id ~ 'mt-[6-9]' ORDER BY 1;
-- without an event id the bytes are the id, whatever form they come in
SELECT result, replayed FROM payguard.record_notification('mt-card', '{"id": "é\n"}'::text);
SELECT result, replayed FROM payguard.record_notification('mt-card', convert_to('{"id": "é\n"}', 'UTF8'));
SELECT result, replayed FROM payguard.record_notification('mt-card', '\x6162');
SELECT result, replayed FROM payguard.record_notification('mt-card', 'ab'::text);
SELECT result, replayed FROM payguard.record_notification('mt-card', '\x6162'::bytea);
-- a missing body
SELECT payguard.record_notification('mt-card', NULL); -- fails
SELECT payguard.record_notification('mt-card', NULL::bytea); -- fails
-- as JSON and back, with the status applied
SELECT payguard.create_order('mt-o', 1999, 'EUR') \g /dev/null
SELECT payment_id FROM payguard.start_payment('mt-o', 'mt-o', 'mt-card') \gset
SELECT result, outcome FROM payguard.record_notification('mt-card', '{"note": "Ren\u00e9 said \"paid\""}', 'mt-10', :'payment_id',
  channel_status := 'succeeded', channel_txn_id := 'mt-ch', amount := 1999, currency := 'EUR');
SELECT pg_temp.kept('mt-10')::jsonb ->> 'note';
-- in a database of another encoding a text is kept in UTF-8 all the same
CREATE DATABASE regress_message ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c regress_message
SET client_encoding = 'UTF8';
CREATE EXTENSION payguard;
SELECT payguard.register_channel('mt-card') \g /dev/null
SELECT result FROM payguard.record_notification('mt-card', 'Ren'||chr(233), 'mt-1');
SELECT body FROM payguard.notifications;
\c contrib_regression
DROP DATABASE regress_message;
