-- Malformed arguments are refused with core's codes, before anything is read or written.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
\set arguments :srcdir /test/lib/arguments.sql
\i :arguments
SHOW server_encoding;
SELECT (payguard.create_order('arguments', 5, 'EUR')).version;
SELECT pg_temp.written() AS before \gset
SELECT * FROM pg_temp.cases();
-- what NULL everywhere does, where it is not refused with 22004
SELECT signature, answer FROM (
  SELECT p.oid::regprocedure AS signature, pg_temp.answer(format('SELECT payguard.%I(%s)', p.proname,
    (SELECT string_agg('NULL::' || t::regtype, ', ' ORDER BY i) FROM unnest(p.proargtypes) WITH ORDINALITY a (t, i)))) AS answer
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
  WHERE n.nspname = 'payguard' AND p.pronargs > 0 AND l.lanname = 'c') x
WHERE answer !~ '^22004' ORDER BY signature::text COLLATE "C";
-- the functions with arguments that these cases do not call
SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'payguard' AND p.pronargs > 0 AND p.proname NOT IN (SELECT function FROM calls) ORDER BY 1;
-- elements of a batch
SELECT what, array_to_string((string_to_array(pg_temp.answer(format('SELECT count(*) FROM payguard.pay_orders(%s)', value)), ' | '))[1:3], ' | ') AS answer
FROM (VALUES ('null', 'NULL'), ('null element', 'ARRAY[NULL]::payguard.pay_request[]'),
  ('null after a good one', $$ARRAY[('arguments', 'arguments', NULL, NULL, NULL, NULL), NULL]::payguard.pay_request[]$$),
  ('null order', $$ARRAY[(NULL, 'k', NULL, NULL, NULL, NULL)]::payguard.pay_request[]$$),
  ('null key', $$ARRAY[('arguments', NULL, NULL, NULL, NULL, NULL)]::payguard.pay_request[]$$),
  ('negative', $$ARRAY[('arguments', 'k', -1, NULL, NULL, NULL)]::payguard.pay_request[]$$),
  ('currency', $$ARRAY[('arguments', 'k', 1, 'EU1', NULL, NULL)]::payguard.pay_request[]$$),
  ('version', $$ARRAY[('arguments', 'k', 1, NULL, 0, NULL)]::payguard.pay_request[]$$),
  ('empty channel', $$ARRAY[('arguments', 'k', 1, NULL, NULL, '')]::payguard.pay_request[]$$),
  ('long key', $$ARRAY[('arguments', repeat('x', 256), 1, NULL, NULL, NULL)]::payguard.pay_request[]$$)) c (what, value);
-- roles and accesses
SELECT what, pg_temp.answer(call) FROM (VALUES
  ('null role', $$SELECT payguard.grant_access(NULL, 'cashier')$$), ('null access', $$SELECT payguard.grant_access('postgres', NULL)$$),
  ('no role', $$SELECT payguard.grant_access('regress_nobody', 'cashier')$$), ('no access', $$SELECT payguard.grant_access('postgres', 'everything')$$),
  ('null role', $$SELECT payguard.revoke_access(NULL, 'cashier')$$), ('no access', $$SELECT payguard.revoke_access('postgres', 'everything')$$)) c (what, call);
SELECT pg_temp.written() = :'before' AS nothing_written;
-- what is just good enough
SELECT octet_length(order_id) FROM payguard.create_order(repeat('y', 255), 9223372036854775807, 'EUR', repeat('z', 255));
SELECT octet_length(order_id) FROM payguard.create_order('a ' || chr(160) || chr(228) || ' %s "', 1, 'EUR');
SELECT outcome, amount FROM payguard.pay_order(repeat('y', 255), repeat('k', 255));
SELECT status FROM payguard.cancel_order('arguments', reason := E'two lines\r\n\tand a tab');
SELECT * FROM payguard.verify();
