-- verify() finds what no function of payguard could have made, and each guard that is gone.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
SELECT (payguard.create_order('verify-1', 100, 'EUR')).version;
SELECT (payguard.pay_order('verify-1', 'verify-1')).outcome;
SELECT (payguard.create_order('verify-2', 100, 'EUR')).version;
SELECT * FROM payguard.verify();
-- Each case runs alone, and is undone.
CREATE FUNCTION pg_temp.broken(commands text) RETURNS TABLE (invariant text, object text, problem text) LANGUAGE plpgsql AS $$
DECLARE
  found text[];
BEGIN
  BEGIN
    EXECUTE commands;
    found := ARRAY(SELECT concat_ws('|', v.invariant, regexp_replace(left(pg_temp.masked(v.object), 80), 'event \d+', 'event <n>'),
                                    regexp_replace(pg_temp.masked(v.problem), 'event \d+', 'event <n>')) FROM payguard.verify() v ORDER BY v.invariant COLLATE "C", v.object COLLATE "C", v.problem COLLATE "C");
    RAISE SQLSTATE 'U0000';
  EXCEPTION WHEN SQLSTATE 'U0000' THEN
    RETURN QUERY SELECT split_part(f, '|', 1), split_part(f, '|', 2), split_part(f, '|', 3) FROM unnest(found) f;
  END;
END
$$;
CREATE FUNCTION pg_temp.an_order(id text, new_status text, names uuid DEFAULT NULL, as_version bigint DEFAULT 1, costs bigint DEFAULT 100,
  money text DEFAULT 'EUR', closing text DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
  INSERT INTO payguard.orders VALUES (id, NULL, costs, money, new_status, closing, as_version, names, 0, now(), now(), NULL);
  INSERT INTO payguard.events (at, order_id, kind, from_status, to_status, version, actor, details)
  VALUES (now(), id, 'order.created', NULL, new_status, as_version, 'me', jsonb_build_object('amount', costs, 'currency', money))
$$;
-- by_hand: an UPDATE of a superuser who has switched the protection off for it
CREATE FUNCTION pg_temp.by_hand(name text, change text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('payguard.allow_unsafe_ddl', 'on', true);
  EXECUTE format('ALTER TABLE payguard.%I DISABLE TRIGGER payguard_protect', name);
  EXECUTE format('UPDATE payguard.%I SET %s', name, change);
  EXECUTE format('ALTER TABLE payguard.%I ENABLE ALWAYS TRIGGER payguard_protect', name);
END
$$;
-- a_charge: an order of a channel that names the amount later, or corrects it
CREATE FUNCTION pg_temp.a_charge(named bigint, money text) RETURNS void LANGUAGE sql AS $$
  SELECT payguard.register_channel('verify-card');
  SELECT payguard.create_order('verify-3', 70, 'EUR');
  SELECT payguard.update_order('verify-3', 1, currency := 'CHF');
  SELECT payguard.update_order('verify-3', 2, amount := 80);
  SELECT payguard.start_payment('verify-3', 'verify-3', 'verify-card');
  SELECT payguard.report_payment(payment_id, 'pending', 'v3', 1, 'JPY') FROM payguard.payments WHERE order_id = 'verify-3';
  SELECT payguard.report_payment(payment_id, 'succeeded', 'v3') FROM payguard.payments WHERE order_id = 'verify-3';
  SELECT payguard.report_payment(payment_id, 'succeeded', 'v3', named, money) FROM payguard.payments WHERE order_id = 'verify-3'
$$;
CREATE FUNCTION pg_temp.a_payment(id text, new_status text, via text DEFAULT 'internal', received bigint DEFAULT 100, done timestamptz DEFAULT now(),
  costs bigint DEFAULT 100, uuid uuid DEFAULT '01890000-0000-7000-8000-000000000000') RETURNS void LANGUAGE sql AS $$
  INSERT INTO payguard.payments VALUES ((overlay(uuid::text PLACING lpad(to_hex(payguard.slot(id)), 3, '0') FROM 16))::uuid,
    id, NULL, via, costs, 'EUR', received, 'EUR', true, new_status, NULL, NULL, NULL, NULL, 1, 'pay', NULL, now(), NULL, done);
  INSERT INTO payguard.events (at, order_id, payment_id, kind, actor)
  SELECT now(), id, payment_id, 'by.hand', 'me' FROM payguard.payments WHERE order_id = id
$$;
-- a_refund: of the payment of order "verify-1"; balance: received, refunding, refunded
CREATE FUNCTION pg_temp.a_refund(new_status text, back bigint DEFAULT NULL, balance bigint[] DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
  INSERT INTO payguard.refunds SELECT '01890000-0000-7000-8000-00000000000f', payment_id, order_id, NULL, channel, 60, 'EUR', back, true, new_status, 'request', NULL,
    'by hand', NULL, NULL, NULL, 'me', NULL, now(), NULL FROM payguard.payments WHERE order_id = 'verify-1';
  INSERT INTO payguard.events (at, order_id, payment_id, refund_id, kind, actor)
  SELECT now(), order_id, payment_id, refund_id, 'by.hand', 'me' FROM payguard.refunds WHERE order_id = 'verify-1';
  INSERT INTO payguard.refund_balances SELECT payment_id, balance[1], balance[2], balance[3], 0
  FROM payguard.payments WHERE order_id = 'verify-1' AND balance IS NOT NULL
$$;
SELECT title, found.* FROM (VALUES
  ('a status of no machine', $$SELECT pg_temp.an_order('x', 'settled')$$),
  ('paid from nothing', $$SELECT pg_temp.an_order('x', 'paid')$$),
  ('expired from nothing', $$SELECT pg_temp.an_order('x', 'expired')$$),
  ('negative', $$SELECT pg_temp.an_order('x', 'unpaid', costs => -1)$$),
  ('currency', $$SELECT pg_temp.an_order('x', 'unpaid', money => 'eur')$$),
  ('version 0', $$SELECT pg_temp.an_order('x', 'unpaid', as_version => 0)$$),
  ('version 2 at once', $$SELECT pg_temp.an_order('x', 'unpaid', as_version => 2)$$),
  ('no id', $$SELECT pg_temp.an_order('', 'unpaid')$$),
  ('control character', $$SELECT pg_temp.an_order(E'x\x01', 'unpaid')$$),
  ('C1 control', $$SELECT pg_temp.an_order('x' || chr(133), 'unpaid')$$),
  ('long id', $$SELECT pg_temp.an_order(repeat('x', 256), 'unpaid')$$),
  ('unpaid, names a payment', $$SELECT pg_temp.an_order('x', 'unpaid', names => (SELECT payment_id FROM payguard.payments WHERE order_id = 'verify-1'))$$),
  ('paid by the payment of another', $$SELECT pg_temp.an_order('x', 'paid', names => (SELECT payment_id FROM payguard.payments WHERE order_id = 'verify-1'))$$),
  ('paying without a payment', $$SELECT pg_temp.an_order('x', 'paying')$$),
  ('closing', $$SELECT pg_temp.an_order('x', 'unpaid', closing => 'cancelled')$$),
  ('no events', $$INSERT INTO payguard.orders VALUES ('x', NULL, 1, 'EUR', 'unpaid', NULL, 1, NULL, 0, now(), now(), NULL)$$),
  ('event of no order', $$INSERT INTO payguard.events (at, order_id, kind, actor) VALUES (now(), 'x', 'by.hand', 'me')$$),
  ('event that repeats a version', $$INSERT INTO payguard.events (at, order_id, kind, from_status, to_status, version, actor)
    VALUES (now(), 'verify-2', 'by.hand', 'unpaid', 'unpaid', 1, 'me')$$),
  ('event with a gap', $$INSERT INTO payguard.events (at, order_id, kind, from_status, to_status, version, actor)
    VALUES (now(), 'verify-2', 'by.hand', 'unpaid', 'unpaid', 3, 'me')$$),
  ('event with an illegal move', $$INSERT INTO payguard.events (at, order_id, kind, from_status, to_status, version, actor)
    VALUES (now(), 'verify-2', 'by.hand', 'unpaid', 'refunded', 2, 'me')$$),
  ('event from another status', $$INSERT INTO payguard.events (at, order_id, kind, from_status, to_status, version, actor)
    VALUES (now(), 'verify-2', 'by.hand', 'paying', 'unpaid', 2, 'me')$$),
  ('payment of no order', $$SELECT pg_temp.a_payment('x', 'failed')$$),
  ('payment in no state', $$SELECT pg_temp.a_payment('verify-2', 'lost')$$),
  ('succeeded, order unpaid', $$SELECT pg_temp.a_payment('verify-2', 'succeeded')$$),
  ('live, order unpaid', $$SELECT pg_temp.a_payment('verify-2', 'pending')$$),
  ('no time', $$SELECT pg_temp.a_payment('verify-2', 'failed', done => NULL)$$),
  ('nothing received', $$SELECT pg_temp.a_payment('verify-2', 'succeeded', received => NULL)$$),
  ('negative payment', $$SELECT pg_temp.a_payment('verify-2', 'failed', costs => -1)$$),
  ('no such channel', $$SELECT pg_temp.a_payment('verify-2', 'failed', via => 'nowhere')$$),
  ('another slot', $$INSERT INTO payguard.payments SELECT '01890000-0000-7000-8000-000000000000', 'verify-2', NULL, channel, 1, 'EUR', NULL, NULL,
    true, 'failed', NULL, NULL, NULL, NULL, 1, 'pay', NULL, now(), NULL, now() FROM payguard.payments WHERE order_id = 'verify-1'$$),
  ('payment without an event', $$INSERT INTO payguard.payments SELECT overlay(payment_id::text PLACING lpad(to_hex(payguard.slot('verify-2')), 3, '0')
    FROM 16)::uuid, 'verify-2', NULL, channel, 1, 'EUR', NULL, NULL, true, 'failed', NULL, NULL, NULL, NULL, 1, 'pay', NULL, now(), NULL, now()
    FROM payguard.payments WHERE order_id = 'verify-1'$$),
  ('payment of an order with a malformed id', $$INSERT INTO payguard.payments SELECT payment_id, E'x\x01', NULL, channel, 1, 'EUR', NULL, NULL,
    true, 'failed', NULL, NULL, NULL, NULL, 1, 'pay', NULL, now(), NULL, now() FROM (SELECT '01890000-0000-7000-8000-000000000001'::uuid, channel FROM payguard.payments WHERE order_id = 'verify-1') p (payment_id, channel)$$),
  ('two payments that count', $$SET LOCAL payguard.allow_unsafe_ddl = on; DROP INDEX payguard.payments_that_count; SELECT pg_temp.a_payment('verify-1', 'pending')$$),
  ('one key twice', $$SET LOCAL payguard.allow_unsafe_ddl = on; DROP INDEX payguard.payments_idempotency_key; INSERT INTO payguard.payments SELECT overlay(payment_id::text PLACING '9' FROM 1)::uuid,
    order_id, idempotency_key, channel, 1, 'EUR', NULL, NULL, true, 'failed', NULL, NULL, NULL, NULL, 1, 'pay', NULL, now(), NULL, now()
    FROM payguard.payments WHERE order_id = 'verify-1'; INSERT INTO payguard.events (at, order_id, payment_id, kind, actor)
    SELECT now(), order_id, payment_id, 'by.hand', 'me' FROM payguard.payments WHERE order_id = 'verify-1'$$),
  ('surplus without a refund', $$SELECT pg_temp.a_payment('verify-2', 'surplus')$$),
  ('failed with money', $$SELECT pg_temp.a_payment('verify-2', 'failed')$$),
  ('two names of each other', $$WITH id AS (
      SELECT n, overlay('01890000-0000-7000-8000-00000000000' || n PLACING lpad(to_hex(payguard.slot('verify-2')), 3, '0') FROM 16)::uuid AS id FROM generate_series(1, 2) n)
    INSERT INTO payguard.payments (payment_id, order_id, channel, amount, currency, received_amount, received_currency, amount_verified,
      status, failure_code, details, order_version, request_kind, created_at, completed_at)
    SELECT this.id, 'verify-2', 'internal', 100, 'EUR', 0, 'EUR', true, 'failed', 'same_charge', jsonb_build_object('second_charge_of', other.id), 1, 'record', now(), now()
    FROM id this, id other WHERE other.n <> this.n;
    INSERT INTO payguard.events (at, order_id, payment_id, kind, actor)
    SELECT now(), order_id, payment_id, 'by.hand', 'me' FROM payguard.payments WHERE order_id = 'verify-2'$$),
  ('superseded, nothing due', $$SELECT pg_temp.a_payment('verify-2', 'superseded', received => NULL, done => NULL)$$),
  ('message never alerted', $$INSERT INTO payguard.notifications (channel, event_id, body, result, received_at) VALUES ('internal', 'x', '', 'unmatched', now())$$),
  ('contradiction never alerted', $$INSERT INTO payguard.notifications (channel, event_id, body, result, received_at) VALUES ('internal', 'x', '', 'contradicting', now())$$),
  ('refund, nothing due', $$SELECT pg_temp.a_refund('pending', NULL, '{100,60,0}')$$),
  ('refund in no state', $$SELECT pg_temp.a_refund('lost', NULL, '{100,0,0}')$$),
  ('refund without a balance', $$SELECT pg_temp.a_refund('awaiting_approval')$$),
  ('refund that the balance does not know', $$SELECT pg_temp.a_refund('awaiting_approval', NULL, '{100,0,0}')$$),
  ('refund that the order does not know', $$SELECT pg_temp.a_refund('succeeded', 60, '{100,0,60}')$$),
  ('refund that brought nothing', $$SELECT pg_temp.a_refund('succeeded', NULL, '{100,0,0}')$$),
  ('balance with another amount', $$SELECT pg_temp.a_refund('awaiting_approval', NULL, '{1000,60,0}')$$),
  ('more back than received', $$SET LOCAL payguard.allow_unsafe_ddl = on; ALTER TABLE payguard.refund_balances DROP CONSTRAINT refund_exceeds_payment;
    SELECT pg_temp.a_refund('awaiting_approval', NULL, '{50,60,0}')$$),
  ('the last version there is', $$INSERT INTO payguard.events (at, order_id, kind, from_status, to_status, version, actor)
    SELECT now(), 'verify-2', 'by.hand', 'unpaid', 'unpaid', v, 'me' FROM (VALUES (9223372036854775807), (2)) v (v)$$),
  ('backslashes', $$SELECT set_config('standard_conforming_strings', 'off', true) WHERE current_setting('server_version_num')::int < 190000;
    SELECT pg_temp.an_order(E'x\x01', 'unpaid')$$),
  ('amount of an order', $$SELECT pg_temp.by_hand('orders', 'amount = 99 WHERE order_id = $q$verify-1$q$')$$),
  ('currency of an order', $$SELECT pg_temp.by_hand('orders', 'currency = $q$USD$q$ WHERE order_id = $q$verify-1$q$')$$),
  ('both of an unpaid one', $$SELECT pg_temp.by_hand('orders', 'amount = 99, currency = $q$USD$q$ WHERE order_id = $q$verify-2$q$')$$),
  ('amount received', $$SELECT pg_temp.by_hand('payments', 'received_amount = 99 WHERE order_id = $q$verify-1$q$')$$),
  ('nothing received by what paid', $$SELECT pg_temp.by_hand('payments', 'received_amount = NULL, received_currency = NULL WHERE order_id = $q$verify-1$q$')$$),
  ('currency received', $$SELECT pg_temp.by_hand('payments', 'received_currency = $q$USD$q$ WHERE order_id = $q$verify-1$q$')$$),
  ('an amount that is named too early', $$SELECT pg_temp.a_charge(NULL, NULL)$$),
  ('an amount that is named later', $$SELECT pg_temp.a_charge(80, 'CHF')$$),
  ('an amount that the channel corrects', $$SELECT pg_temp.a_charge(75, 'EUR')$$),
  ('the same, and changed since', $$SELECT pg_temp.a_charge(75, 'EUR'); SELECT pg_temp.by_hand('payments', 'received_amount = 80, received_currency = $q$CHF$q$ WHERE order_id = $q$verify-3$q$')$$),
  ('event beyond the sequence', $$INSERT INTO payguard.events (event_id, at, kind, actor) VALUES (9000000000000000, now(), 'by.hand', 'me')$$)
) c (title, commands) LEFT JOIN LATERAL pg_temp.broken(commands) found ON true;
-- guards that a superuser took away
SET payguard.allow_unsafe_ddl = on;
SELECT title, found.* FROM (VALUES
  ('trigger dropped', 'DROP TRIGGER payguard_protect ON payguard.orders'),
  ('trigger disabled', 'ALTER TABLE payguard.events DISABLE TRIGGER payguard_protect'),
  ('all triggers disabled', 'ALTER TABLE payguard.payments DISABLE TRIGGER ALL'),
  ('trigger asleep in replica role', 'ALTER TABLE payguard.channels ENABLE TRIGGER payguard_protect'),
  ('trigger with a condition', 'DROP TRIGGER payguard_protect ON payguard.orders; CREATE TRIGGER payguard_protect BEFORE UPDATE OR DELETE OR TRUNCATE
    ON payguard.orders FOR EACH STATEMENT WHEN (false) EXECUTE FUNCTION payguard.deny_direct_write(); ALTER TABLE payguard.orders ENABLE ALWAYS TRIGGER payguard_protect'),
  ('index dropped', 'DROP INDEX payguard.payments_that_count'),
  ('index replaced', 'DROP INDEX payguard.payments_that_count; CREATE UNIQUE INDEX payments_that_count ON payguard.payments (order_id) WHERE status = $$pending$$'),
  ('index invalid', 'UPDATE pg_index SET indisvalid = false WHERE indexrelid = $$payguard.payments_idempotency_key$$::regclass'),
  ('index marked not unique', 'UPDATE pg_index SET indisunique = false WHERE indexrelid = $$payguard.payments_that_count$$::regclass'),
  ('rule', 'CREATE RULE r AS ON INSERT TO payguard.events DO INSTEAD NOTHING'),
  ('heir', 'CREATE TABLE heir () INHERITS (payguard.orders)'),
  ('row security forced', 'ALTER TABLE payguard.orders FORCE ROW LEVEL SECURITY'),
  ('column added', 'ALTER TABLE payguard.orders ADD x int'),
  ('column renamed', 'ALTER TABLE payguard.payments RENAME failure_message TO x'),
  ('column''s type changed', 'ALTER TABLE payguard.deadlines ALTER order_id TYPE varchar'),
  ('foreign view', 'CREATE VIEW payguard.regress_view AS SELECT 1 AS a'),
  ('foreign table', 'CREATE TABLE payguard.regress_table (a int PRIMARY KEY)'),
  ('foreign function', 'CREATE AGGREGATE payguard.regress_sum(int) (SFUNC = int4pl, STYPE = int)'),
  ('update granted', 'GRANT SELECT, INSERT, UPDATE (amount), TRUNCATE ON payguard.orders TO PUBLIC'),
  ('trigger granted', 'GRANT TRIGGER ON payguard.orders TO pg_monitor'),
  ('names quoted, nothing broken', 'SET LOCAL quote_all_identifiers = on'),
  ('names quoted, index replaced', 'SET LOCAL quote_all_identifiers = on; DROP INDEX payguard.payments_that_count; CREATE UNIQUE INDEX payments_that_count ON payguard.payments (order_id) WHERE status = $$pending$$'),
  ('owner is no superuser', 'UPDATE pg_authid SET rolsuper = false WHERE oid = (SELECT extowner FROM pg_extension WHERE extname = $$payguard$$)'),
  ('event trigger disabled', 'ALTER EVENT TRIGGER payguard_ddl_start DISABLE'),
  ('event trigger asleep in replica role', 'ALTER EVENT TRIGGER payguard_ddl_end ENABLE'),
  ('function replaced', 'CREATE OR REPLACE FUNCTION payguard.deny_direct_write() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN RETURN NULL; END $f$'),
  ('function of another library', 'UPDATE pg_proc SET probin = $$/tmp/x.so$$ WHERE oid = $$payguard.pay_order$$::regproc'),
  ('function bound to another symbol', 'UPDATE pg_proc SET prosrc = $$payguard_pay_orders$$ WHERE oid = $$payguard.pay_order$$::regproc')
) c (title, commands) LEFT JOIN LATERAL pg_temp.broken(commands) found ON true;
RESET payguard.allow_unsafe_ddl;
-- all of it was undone
SELECT * FROM payguard.verify();
