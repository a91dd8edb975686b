-- A guarded table whose rows say what they are over, and which of them nobody will pay any more: what payguard's order
-- does not bear out is refused.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_amount;
SELECT payguard.grant_access('regress_amount', 'owner');
CREATE SCHEMA regress_amount AUTHORIZATION regress_amount;
SELECT payguard.register_channel('amounts') IS NOT NULL AS channel;
SET ROLE regress_amount;
SET search_path = regress_amount;
CREATE DOMAIN price AS numeric(12,3);
CREATE TABLE major (id int PRIMARY KEY, order_id text, status text NOT NULL DEFAULT 'new', total numeric, currency text);
CREATE TABLE minor (id int PRIMARY KEY, order_id text, status text NOT NULL DEFAULT 'new', total int, currency char(3));
CREATE TABLE priced (id int PRIMARY KEY, order_id text, status text NOT NULL DEFAULT 'new', total price, currency varchar(10));
CREATE TABLE small (id int PRIMARY KEY, order_id text, status text NOT NULL DEFAULT 'new', total smallint, currency text);
SELECT count(*) FROM unnest('{major,minor,priced,small}'::regclass[]) t, payguard.guard_table(t, 'status', '{"new": ["paid"], "paid": ["sent", "new"], "sent": []}', initial := '{new,paid}',
  allow_delete := '{new}', order_id_column := 'order_id', paid_states := '{paid,sent}', amount_column := 'total', currency_column := 'currency');
SELECT table_name, amount_column, currency_column, closed_states, follow, consumer FROM payguard.guards WHERE table_name LIKE 'regress_amount%' ORDER BY 1;
RESET ROLE;
-- each order is paid; the number behind its currency is its amount in minor units
SELECT count(payguard.create_order('amount-' || c || '-' || n, n, c)), count(payguard.pay_order('amount-' || c || '-' || n, 'amount-' || c || '-' || n))
FROM (VALUES ('EUR', 2603), ('EUR', 0), ('JPY', 2603), ('KWD', 2603), ('CLF', 2603), ('XTS', 2603), ('USD', 3000000000), ('EUR', 9007199254740993)) o (c, n);
-- paid(table, order, total, currency): a row of it becomes paid
CREATE FUNCTION pg_temp.paid(name regclass, order_id text, total text, currency text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  answer text;
BEGIN
  EXECUTE format('INSERT INTO %s VALUES (1, %L, %L, %L, %L)', name, order_id, 'new', total, currency);
  answer := pg_temp.answer(format('UPDATE %s SET status = %L WHERE id = 1', name, 'paid'));
  EXECUTE format('UPDATE %s SET status = %L WHERE status = %L', name, 'new', 'paid');
  EXECUTE format('DELETE FROM %s WHERE id = 1', name);
  RETURN CASE answer WHEN 'done' THEN answer ELSE concat_ws(' | ', split_part(answer, ' | ', 1), split_part(answer, 'is paid, and ', 2)) END;
END
$$;
SET ROLE regress_amount;
SELECT c.name, order_id, total, currency, pg_temp.paid(c.name, 'amount-' || order_id, total, currency) FROM (VALUES
  ('major'::regclass, 'EUR-2603', '26.03', 'EUR'), ('major', 'EUR-2603', '26.0300', 'EUR'), ('major', 'EUR-2603', '26.03', 'eur'), ('major', 'EUR-2603', '26.04', 'EUR'), ('major', 'EUR-2603', '26.031', 'EUR'),
  ('major', 'EUR-2603', '2603', 'EUR'), ('major', 'EUR-2603', '26.03', 'USD'), ('major', 'EUR-2603', '26.03', 'EU'), ('major', 'EUR-2603', '26.03', ''), ('major', 'EUR-2603', '26.03', NULL), ('major', 'EUR-2603', NULL, 'EUR'),
  ('major', 'EUR-2603', 'NaN', 'EUR'), ('major', 'EUR-2603', 'Infinity', 'EUR'), ('major', 'EUR-2603', '-26.03', 'EUR'), ('major', 'EUR-0', '0', 'EUR'), ('major', 'EUR-0', '0.001', 'EUR'),
  ('major', 'JPY-2603', '2603', 'JPY'), ('major', 'JPY-2603', '26.03', 'JPY'), ('major', 'KWD-2603', '2.603', 'KWD'), ('major', 'CLF-2603', '0.2603', 'CLF'), ('major', 'XTS-2603', '2603', 'XTS'), ('major', 'XTS-2603', '26.03', 'XTS'),
  ('major', 'EUR-9007199254740993', '90071992547409.93', 'EUR'), ('major', 'EUR-9007199254740993', '1e100', 'EUR'), ('major', 'none', '26.03', 'EUR'), ('major', NULL, '26.03', 'EUR'),
  ('minor', 'EUR-2603', '2603', 'EUR'), ('minor', 'EUR-2603', '26', 'EUR'), ('minor', 'XTS-2603', '2603', 'XTS'), ('minor', 'JPY-2603', '2603', 'jpy'), ('minor', 'EUR-2603', '2603', 'U'), ('minor', 'EUR-2603', NULL, 'EUR'),
  ('priced', 'EUR-2603', '26.03', 'EUR'), ('priced', 'KWD-2603', '2.603', 'KWD'), ('priced', 'EUR-2603', '26.03', 'EUR '), ('small', 'EUR-2603', '2603', 'EUR'), ('small', 'EUR-2603', '2602', 'EUR'), ('small', 'USD-3000000000', '24064', 'USD')) c (name, order_id, total, currency);
INSERT INTO major VALUES (2, 'amount-EUR-2603', 'new', 1, 'EUR');
INSERT INTO small VALUES (2, 'amount-EUR-2603', 'new', 1, 'EUR');
INSERT INTO minor VALUES (2, 'amount-EUR-2603', 'new', 2603, 'USD');
SELECT pg_temp.answer(format('UPDATE %s SET status = %L WHERE id = 2', name, 'paid')) FROM unnest('{major,small,minor}'::text[]) name;
-- a row begins as paid in the same way
SELECT pg_temp.answer($$INSERT INTO small VALUES (3, 'amount-EUR-2603', 'paid', 2602, 'EUR')$$);
-- while it is paid they stay
INSERT INTO major VALUES (4, 'amount-EUR-2603', 'new', 26.03, 'EUR');
UPDATE major SET status = 'paid' WHERE id = 4;
SELECT pg_temp.answer($$UPDATE major SET total = 26.02 WHERE id = 4$$);
SELECT pg_temp.answer($$UPDATE major SET currency = 'eur', status = 'sent' WHERE id = 4$$);
SELECT pg_temp.answer($$UPDATE major SET total = 26.0300, status = 'sent' WHERE id = 4$$);
RESET ROLE;
SELECT * FROM payguard.verify();
SET ROLE regress_amount;
-- DDL that would break that is refused; names are followed
SELECT statement, split_part(pg_temp.answer(statement), ' | ', 3) AS answer FROM (VALUES ('ALTER TABLE major DROP COLUMN total'), ('ALTER TABLE major DROP COLUMN currency'), ('ALTER TABLE major ALTER total TYPE bigint'), ('ALTER TABLE minor ALTER total TYPE numeric'),
  ('ALTER TABLE major ALTER currency TYPE varchar(3)'), ('ALTER TABLE minor ALTER total TYPE bigint'), ('ALTER TABLE major RENAME total TO sum'), ('ALTER TABLE major RENAME currency TO "Currency"')) s (statement);
SELECT table_name, amount_column, currency_column FROM payguard.guards WHERE table_name LIKE 'regress_amount%' ORDER BY 1;
INSERT INTO minor VALUES (5, 'amount-USD-3000000000', 'new', 3000000000, 'USD');
UPDATE minor SET status = 'paid' WHERE id = 5;
RESET ROLE;
-- what got in otherwise is found, before a guard and by verify(); a row whose money was taken back since is none of it
SELECT (payguard.create_order('amount-back', 1000, 'EUR')).status;
SELECT r.outcome FROM payguard.start_payment('amount-back', 'amount-back', 'amounts') p, payguard.report_payment(p.payment_id, 'succeeded', 'amount-back') r;
INSERT INTO regress_amount.major VALUES (6, 'amount-back', 'new', 10, 'EUR');
UPDATE regress_amount.major SET status = 'paid' WHERE id = 6;
SELECT outcome FROM payguard.record_reversal('amounts', 'amount-back/r', 'amount-back', 'bank_return', 1000, 'EUR');
SELECT (payguard.update_order(order_id, version, 900)).amount FROM payguard.orders WHERE order_id = 'amount-back';
SELECT * FROM payguard.verify();
SELECT outcome FROM payguard.pay_order('amount-back', 'amount-back again');
SELECT * FROM payguard.verify();
SET session_replication_role = replica;
INSERT INTO regress_amount.major VALUES (7, 'amount-EUR-2603', 'sent', 26.02, 'EUR'), (8, 'amount-EUR-2603', 'paid', 26.03, 'USD'), (9, 'amount-none', 'paid', 26.03, 'EUR');
RESET session_replication_role;
SELECT * FROM payguard.verify();
SELECT payguard.guard_bad_rows('regress_amount.major');
SET ROLE regress_amount;
SELECT payguard.unguard_table('major');
SELECT pg_temp.answer($$SELECT count(*) FROM payguard.guard_table('major', 'status', '{"new": ["paid"], "paid": ["sent"]}', order_id_column := 'order_id', paid_states := '{paid,sent}', amount_column := 'sum', currency_column := 'Currency')$$);
SELECT count(*) FROM payguard.guard_table('major', 'status', '{"new": ["paid"], "paid": ["sent"]}', order_id_column := 'order_id', paid_states := '{paid,sent}', amount_column := 'sum', currency_column := 'Currency', not_valid := true);
SELECT payguard.unguard_table('major');
DELETE FROM major WHERE id >= 7;
SELECT count(*) FROM payguard.guard_table('major', 'status', '{"new": ["paid"], "paid": ["sent"]}', order_id_column := 'order_id', paid_states := '{paid,sent}', amount_column := 'sum', currency_column := 'Currency');
-- closed states: nobody will pay the order any more
CREATE TABLE carts (id int PRIMARY KEY, order_id text, status text NOT NULL DEFAULT 'new');
SELECT count(*) FROM payguard.guard_table('carts', 'status', '{"new": ["paid", "cancelled", "gone"], "paid": ["cancelled", "refunded"], "cancelled": ["gone", "paid"]}', allow_delete := '{new,gone}',
  order_id_column := 'order_id', paid_states := '{paid}', closed_states := '{cancelled,refunded}');
RESET ROLE;
SELECT count(payguard.create_order('cart-' || n, 100, 'EUR', expires_at := CASE WHEN n = 3 THEN clock_timestamp() + interval '1 s' END)) FROM generate_series(1, 7) n;
SELECT count(payguard.pay_order('cart-' || n, 'cart-' || n)) FROM unnest('{2,4,5}'::int[]) n;
SELECT (payguard.cancel_order('cart-6')).status, (payguard.refund_order('cart-4', 'cart-4', reason := 'all')).status, (payguard.refund_order('cart-5', 'cart-5', 40, reason := 'a part')).status;
SELECT pg_sleep(1.1);
SELECT payguard.expire_orders() > 0 AS expired;
SELECT order_id, status FROM payguard.orders WHERE order_id LIKE 'cart-%' ORDER BY 1;
SET ROLE regress_amount;
INSERT INTO carts SELECT n, 'cart-' || n FROM generate_series(1, 6) n;
INSERT INTO carts VALUES (7, 'cart-none'), (8, NULL), (9, 'cart-7');
SELECT id, order_id, split_part(pg_temp.answer(format('UPDATE carts SET status = %L WHERE id = %s', 'cancelled', id)), ' | ', 1) FROM carts ORDER BY 1;
SELECT pg_temp.answer($$UPDATE carts SET status = 'cancelled' WHERE id = 1$$);
SELECT pg_temp.answer($$INSERT INTO carts VALUES (10, 'cart-6', 'cancelled')$$);
-- while it is closed it keeps its order; what is in none of these states may have any
SELECT pg_temp.answer($$UPDATE carts SET order_id = 'cart-1' WHERE id = 6$$), pg_temp.answer($$UPDATE carts SET order_id = 'cart-6' WHERE id = 7$$), pg_temp.answer($$UPDATE carts SET status = 'gone' WHERE id = 1$$);
SELECT id, status FROM carts ORDER BY 1;
RESET ROLE;
-- money that came for an expired order all the same leaves its row as it was
SELECT (payguard.register_channel('amounts', late_success := 'accept_expired')).late_success;
SELECT outcome FROM payguard.record_payment('cart-3', 'amounts', 'late-cart-3', 100, 'EUR');
SELECT status FROM payguard.orders WHERE order_id = 'cart-3';
SELECT * FROM payguard.verify();
-- in replica role it is not asked how a row got there
SET session_replication_role = replica;
SELECT pg_temp.answer($$UPDATE regress_amount.carts SET status = 'cancelled' WHERE id = 2$$), pg_temp.answer($$UPDATE regress_amount.carts SET status = 'new' WHERE id = 6$$), pg_temp.answer($$UPDATE regress_amount.carts SET order_id = 'cart-1' WHERE id = 6$$);
RESET session_replication_role;
SELECT * FROM payguard.verify();
SET ROLE regress_amount;
SELECT payguard.unguard_table('carts');
SELECT pg_temp.answer($$SELECT count(*) FROM payguard.guard_table('carts', 'status', '{"new": ["cancelled", "gone", "paid"]}', order_id_column := 'order_id', closed_states := '{cancelled}')$$);
DELETE FROM carts WHERE id = 2;
SELECT count(*) FROM payguard.guard_table('carts', 'status', '{"new": ["cancelled", "gone", "paid"]}', order_id_column := 'order_id', closed_states := '{cancelled}');
-- the arguments of 1.1.0, all of them
SELECT payguard.unguard_table('carts');
SELECT count(*) FROM payguard.guard_table('carts'::regclass, 'status'::text, '{"new": ["cancelled", "gone", "paid"]}'::jsonb, NULL::text, NULL::text[], NULL::text[], NULL::text[], '{}'::text[], NULL::text, NULL::text[], NULL::text[], false);
RESET ROLE;
SET payguard.allow_unsafe_ddl = on;
DROP SCHEMA regress_amount CASCADE;
RESET payguard.allow_unsafe_ddl;
SELECT payguard.revoke_access('regress_amount', 'owner');
DROP ROLE regress_amount;
SELECT * FROM payguard.verify();
