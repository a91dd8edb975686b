-- Orders expire when their time is over, and a success that was under way still counts.
\getenv srcdir PG_ABS_SRCDIR
CREATE ROLE regress_expiry;
SELECT count(payguard.grant_access('regress_expiry', a)) FROM unnest('{checkout,cashier,channel,admin,refunds,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_expiry;
\set situation :srcdir /test/lib/situation.sql
\i :situation
SELECT payguard.expire_orders() >= 0 AS cleared;
CREATE FUNCTION pg_temp.wait() RETURNS void LANGUAGE sql AS $$ SELECT pg_sleep(1.05) $$;
-- an unpaid one; one that is paid; one whose attempt is open; one that moves its deadline; one without
SELECT (payguard.create_order('expiry-' || n, 1000, 'EUR', expires_at := CASE WHEN n < 6 THEN clock_timestamp() + interval '1 s' END)).version FROM generate_series(1, 6) n;
SELECT outcome FROM payguard.pay_order('expiry-2', 'expiry-2');
SELECT pg_temp.start('expiry-' || n, 'this') IS NOT NULL AS started FROM generate_series(3, 4) n;
SELECT version, expires_at - created_at > interval '59 min' AS later FROM payguard.update_order('expiry-5', 1, expires_at := clock_timestamp() + interval '1 hour');
SELECT order_id, expires_at IS NOT NULL AS has_deadline FROM payguard.deadlines WHERE order_id ~ '^expiry' ORDER BY 1;
SELECT payguard.expire_orders() AS too_early;
SELECT pg_temp.wait();
-- past its deadline, an order cannot be paid, expired or not
SELECT pg_temp.answer($$SELECT outcome FROM payguard.pay_order('expiry-1', 'expiry-1')$$);
SELECT pg_temp.answer($$SELECT outcome FROM payguard.start_payment('expiry-1', 'expiry-1', 'card')$$);
SELECT pg_temp.answer($$SELECT version FROM payguard.update_order('expiry-1', 1, expires_at := clock_timestamp() + interval '1 hour')$$);
SELECT status, advice, can_pay, can_cancel FROM payguard.order_status('expiry-1');
-- the oldest first, as many as asked
SELECT payguard.expire_orders(1);
SELECT payguard.expire_orders();
SELECT payguard.expire_orders() AS again;
SELECT order_id, status, closing_as, version, pg_temp.payments_of(order_id) AS payments, pg_temp.tasks_of(order_id) AS tasks FROM payguard.orders WHERE order_id ~ '^expiry' ORDER BY 1;
SELECT order_id FROM payguard.deadlines WHERE order_id ~ '^expiry';
SELECT order_id, kind, from_status, to_status, version, payment_id IS NOT NULL AS names_payment FROM payguard.events WHERE order_id IN ('expiry-1', 'expiry-3') AND kind ~ 'expired|closing' ORDER BY event_id;
-- success while closing pays, and clears what was to be
SELECT pg_temp.say(pg_temp.id('expiry-3', 'this'), 'succeeded', 'expiry-3', 1000, 'EUR');
SELECT pg_temp.all_of('expiry-3');
-- without it, the attempt's end expires the order
SELECT pg_temp.answer($$SELECT outcome FROM payguard.start_payment('expiry-4', 'expiry-4/again', 'card')$$);
SELECT status, closing_as FROM payguard.cancel_order('expiry-4');
SELECT pg_temp.say(pg_temp.id('expiry-4', 'this'), 'closed');
SELECT pg_temp.all_of('expiry-4');
SELECT pg_temp.answer($$SELECT status FROM payguard.cancel_order('expiry-4')$$);
SELECT pg_temp.answer($$SELECT outcome FROM payguard.pay_order('expiry-4', 'expiry-4/pay')$$);
-- an order may be cancelled after its time, before it is expired
SELECT (payguard.create_order('expiry-7', 1000, 'EUR', expires_at := clock_timestamp() + interval '1 s')).version;
SELECT pg_temp.wait();
SELECT status, version FROM payguard.cancel_order('expiry-7');
SELECT payguard.expire_orders();
SELECT status, version FROM payguard.orders WHERE order_id = 'expiry-7';
-- the deadline that was moved holds
SELECT status, expires_at - clock_timestamp() > interval '59 min' AS later FROM payguard.orders WHERE order_id = 'expiry-5';
SELECT outcome FROM payguard.pay_order('expiry-5', 'expiry-5');
-- money that comes after the time, before the order is expired, finds it unpaid
SELECT (payguard.create_order('expiry-8', 1000, 'EUR', expires_at := clock_timestamp() + interval '1 s')).version;
SELECT pg_temp.say(pg_temp.start('expiry-8', 'this'), 'failed');
SELECT pg_temp.wait();
SELECT pg_temp.say(pg_temp.id('expiry-8', 'this'), 'succeeded', 'expiry-8', 1000, 'EUR');
SELECT payguard.expire_orders();
SELECT pg_temp.all_of('expiry-8');
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_expiry;
DROP ROLE regress_expiry;
