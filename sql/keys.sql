-- A key names one request for as long as its order exists.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_keys;
SELECT payguard.grant_access('regress_keys', access) FROM unnest('{checkout,cashier,auditor}'::text[]) access;
SET SESSION AUTHORIZATION regress_keys;
SELECT (payguard.create_order('keys-' || n, 7770 + n, 'EUR')).version FROM generate_series(1, 3) n;
-- an unused key is spent
SELECT outcome, order_id, order_status, payment_status, version, amount, currency, replayed, message, payment_id IS NOT NULL AS has_id
FROM payguard.revoke_key('keys-1', 'keys-revoked');
SELECT pg_temp.written() AS before \gset
SELECT outcome, replayed FROM payguard.revoke_key('keys-1', 'keys-revoked');
SELECT pg_temp.answer($$SELECT payguard.pay_order('keys-1', 'keys-revoked')$$);
SELECT outcome, payment_status, payment_id IS NOT NULL AS has_id FROM payguard.try_pay_order('keys-1', 'keys-revoked');
SELECT pg_temp.answer($$SELECT payguard.pay_order('keys-2', 'keys-revoked')$$);
SELECT pg_temp.answer($$SELECT payguard.revoke_key('keys-2', 'keys-revoked')$$);
SELECT pg_temp.answer($$SELECT payguard.revoke_key('keys-none', 'keys-new')$$);
SELECT pg_temp.written() = :'before' AS nothing_written;
SELECT status, version FROM payguard.orders WHERE order_id = 'keys-1';
SELECT kind, from_status, to_status, version, payment_id IS NOT NULL AS names_payment FROM payguard.events WHERE order_id = 'keys-1' ORDER BY event_id;
-- the order is payable with another key
SELECT (payguard.pay_order('keys-1', 'keys-good')).outcome;
-- a used key is not revoked: its payment is returned
SELECT outcome, payment_status, replayed FROM payguard.revoke_key('keys-1', 'keys-good');
SELECT outcome, replayed FROM payguard.pay_order('keys-1', 'keys-good');
-- a key of a paid order may still be spent
SELECT outcome, order_status FROM payguard.revoke_key('keys-1', 'keys-late');
-- used for another order: no value of the order that has it is shown
SELECT pg_temp.answer($$SELECT payguard.pay_order('keys-2', 'keys-good', 7772, 'EUR')$$) AS answer \gset
SELECT :'answer' AS answer, :'answer' !~ '7771|keys-1' AS shows_nothing;
SELECT outcome, order_id, payment_id, payment_status, version, amount FROM payguard.try_pay_order('keys-2', 'keys-good');
SELECT pg_temp.answer($$SELECT payguard.pay_order('keys-none', 'keys-good')$$);
-- used for its own order, but another request: each difference is named
SELECT pg_temp.answer(format('SELECT payguard.pay_order(%L, %L, %L, %L, NULL, %L)', 'keys-1', 'keys-good', amount, currency, channel))
FROM (VALUES (1, NULL, 'internal'), (NULL, 'USD', 'internal'), (NULL, NULL, 'elsewhere'), (1, 'USD', 'elsewhere')) v (amount, currency, channel);
-- keys are compared byte by byte
SELECT (payguard.pay_order('keys-2', 'Keys-good')).outcome;
SELECT (payguard.pay_order('keys-3', 'keys-good ')).outcome;
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
SELECT payguard.revoke_access('regress_keys', access) FROM unnest('{checkout,cashier,auditor}'::text[]) access;
DROP ROLE regress_keys;
