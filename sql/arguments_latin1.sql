-- The same in a LATIN1 database, where C1 controls are single bytes.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
\set arguments :srcdir /test/lib/arguments.sql
CREATE DATABASE regress_payguard_latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c regress_payguard_latin1
SET client_min_messages = warning;
CREATE EXTENSION payguard;
\i :answer
\i :arguments
SHOW server_encoding;
SELECT (payguard.create_order('arguments', 5, 'EUR')).version;
SELECT pg_temp.written() AS before \gset
SELECT * FROM pg_temp.cases() WHERE malformed ~ 'control|letters|null|256';
SELECT pg_temp.written() = :'before' AS nothing_written;
-- umlauts are good, and have the slot that they have in UTF-8
SELECT octet_length(order_id), payguard.slot(order_id), payguard.slot('caf' || chr(233))
FROM payguard.create_order(chr(160) || chr(228) || chr(255), 1, 'EUR');
SELECT payguard.payment_slot(payment_id) = payguard.slot(order_id) AS same_slot
FROM payguard.pay_order(chr(160) || chr(228) || chr(255), chr(223));
-- evidence that cannot be read is kept in UTF-8, as messages are
SELECT outcome, message FROM payguard.record_payment('caf' || chr(233), 'arguments', 'arguments', -1, 'EUR');
SELECT result FROM payguard.record_notification('arguments', 'caf' || chr(233), 'latin1');
SELECT event_id = 'latin1' AS message, result, position('caf\303\251'::bytea IN body) > 0 AS in_utf8 FROM payguard.notifications ORDER BY 1;
SELECT * FROM payguard.verify();
\c contrib_regression
DROP DATABASE regress_payguard_latin1;
-- in a database without an encoding the bytes of a message are what they are
CREATE DATABASE regress_payguard_ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c regress_payguard_ascii
SET client_min_messages = warning;
CREATE EXTENSION payguard;
SELECT result FROM payguard.record_notification('arguments', E'caf\351', 'ascii');
SELECT encode(body, 'hex') FROM payguard.notifications;
SELECT outcome, message FROM payguard.record_payment(E'caf\351', 'arguments', 'arguments', -1, 'EUR');
SELECT position('caf\351'::bytea IN body) > 0 AS as_it_is FROM payguard.unreadable_messages;
SELECT * FROM payguard.verify();
\c contrib_regression
DROP DATABASE regress_payguard_ascii;
