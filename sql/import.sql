-- Orders that were paid, given back or closed before payguard came: with their own times, once, and without a stir.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
\set regression :DBNAME
CREATE DATABASE regress_payguard_import;
\c regress_payguard_import
SET client_min_messages = warning;
CREATE EXTENSION payguard;
SET TimeZone = 'UTC';
\i :answer
CREATE ROLE regress_import;
SELECT count(payguard.grant_access('regress_import', a)) FROM unnest('{admin,refunds,checkout,cashier,channel,consumer,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_import;
SELECT (payguard.register_channel('card')).name;
-- a policy asks nobody about what is over
SELECT (payguard.set_policy('EUR', 1, approve_payment := true, approve_refund := true, duplicate_window := '5 years', on_duplicate := 'hold')).min_amount;
SELECT alert_id AS policy_alert FROM payguard.alerts WHERE kind = 'policy_changed' \gset
SELECT FROM payguard.resolve_alert(:policy_alert, 'the test''s own');
CREATE FUNCTION pg_temp.story(id text) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(E'\n', concat_ws(' ', o.status, o.amount, o.currency, o.refunded_amount, o.version, o.customer_id, o.created_at, o.updated_at),
    (SELECT string_agg(concat_ws(' ', 'payment', p.status, p.channel, p.channel_txn_id, p.received_amount, p.created_at, p.completed_at, p.request_kind), E'\n')
     FROM payguard.payments p WHERE p.order_id = id),
    (SELECT string_agg(concat_ws(' ', 'refund', r.status, r.channel_refund_id, r.returned_amount, r.origin, r.reason, r.completed_at), E'\n')
     FROM payguard.refunds r WHERE r.order_id = id),
    (SELECT string_agg(concat_ws(' ', 'event', e.kind, e.from_status, '→', e.to_status, e.version, e.payment_id IS NOT NULL, e.refund_id IS NOT NULL), E'\n')
     FROM payguard.events e WHERE e.order_id = id))
  FROM payguard.orders o WHERE o.order_id = id
$$;
\pset format unaligned
\pset tuples_only on
SELECT FROM payguard.import_order('paid', 4200, 'EUR', 'paid', 'anna', '2024-01-05 10:00', '2024-01-05 10:02', 'card', 'ch_1');
SELECT pg_temp.story('paid');
SELECT FROM payguard.import_order('part', 4200, 'EUR', 'paid', 'anna', '2024-01-05', '2024-01-06', 'card', 'ch_2', 200, '2024-02-01', 're_2');
SELECT pg_temp.story('part');
SELECT FROM payguard.import_order('back', 4200, 'EUR', 'refunded', NULL, NULL, '2024-01-06', 'internal');
SELECT pg_temp.story('back');
SELECT FROM payguard.import_order('free', 0, 'EUR', 'paid', paid_at := '2024-01-06', channel := 'internal');
SELECT FROM payguard.import_order('free back', 0, 'EUR', 'refunded', paid_at := '2024-01-06', channel := 'internal');
SELECT pg_temp.story('free'), pg_temp.story('free back');
SELECT FROM payguard.import_order('cancelled', 1, 'EUR', 'cancelled', created_at := '2024-01-05', closed_at := '2024-01-07');
SELECT FROM payguard.import_order('expired', 1, 'EUR', 'expired', closed_at := '2024-01-08');
SELECT pg_temp.story('cancelled'), pg_temp.story('expired');
\pset tuples_only off
\pset format aligned
RESET SESSION AUTHORIZATION;
-- the ids are of that time, and name the order's slot
SELECT payment_id >= payguard.first_id_at('2024-01-05 10:02') AND payment_id < payguard.first_id_at('2024-01-05 10:02:00.001') AS of_that_time,
  payguard.payment_slot(payment_id) = payguard.slot('paid') AS slot
FROM payguard.payments WHERE order_id = 'paid';
SET SESSION AUTHORIZATION regress_import;
-- again: the order as it is, and nothing is written; in another zone, too
SELECT pg_temp.written() AS before \gset
SET TimeZone = 'Asia/Shanghai';
SELECT status, version FROM payguard.import_order('paid', 4200, 'EUR', 'paid', 'anna', '2024-01-05 10:00+00', '2024-01-05 10:02+00', 'card', 'ch_1');
SET TimeZone = 'UTC';
-- and what is not the same is another order
SELECT what, pg_temp.answer('SELECT payguard.import_order(' || arguments || ')') FROM (VALUES
  ('amount', $$'paid', 4201, 'EUR', 'paid', 'anna', '2024-01-05 10:00', '2024-01-05 10:02', 'card', 'ch_1'$$),
  ('status', $$'paid', 4200, 'EUR', 'refunded', 'anna', '2024-01-05 10:00', '2024-01-05 10:02', 'card', 'ch_1'$$),
  ('time', $$'paid', 4200, 'EUR', 'paid', 'anna', '2024-01-05 10:00', '2024-01-05 10:03', 'card', 'ch_1'$$),
  ('transaction', $$'other', 4200, 'EUR', 'paid', 'anna', NULL, '2024-01-05 10:02', 'card', 'ch_1'$$),
  ('refund', $$'other', 4200, 'EUR', 'paid', 'anna', NULL, '2024-01-05 10:02', 'card', 'ch_9', 5, NULL, 're_2'$$),
  ('channel', $$'other', 4200, 'EUR', 'paid', 'anna', NULL, '2024-01-05 10:02', 'nowhere', 'ch_9'$$)) c (what, arguments);
-- what makes no sense
SELECT what, split_part(pg_temp.answer('SELECT payguard.import_order(' || arguments || ')'), ' | ', 1) AS code,
  split_part(pg_temp.answer('SELECT payguard.import_order(' || arguments || ')'), ' | ', 3) AS detail FROM (VALUES
  ('unpaid', $$'x', 1, 'EUR', 'unpaid'$$), ('no word', $$'x', 1, 'EUR', 'PAID'$$), ('no time', $$'x', 1, 'EUR', 'paid', channel := 'card'$$),
  ('no channel', $$'x', 1, 'EUR', 'paid', paid_at := '2024-01-01'$$),
  ('future', $$'x', 1, 'EUR', 'paid', paid_at := '2199-01-01', channel := 'card'$$),
  ('before 1970', $$'x', 1, 'EUR', 'paid', paid_at := '1969-12-31', channel := 'card'$$),
  ('infinite', $$'x', 1, 'EUR', 'paid', paid_at := '-infinity', channel := 'card'$$),
  ('paid before it was made', $$'x', 1, 'EUR', 'paid', NULL, '2024-01-02', '2024-01-01', 'card'$$),
  ('given back before it was paid', $$'x', 2, 'EUR', 'paid', NULL, NULL, '2024-01-02', 'card', NULL, 1, '2024-01-01'$$),
  ('closed before it was made', $$'x', 1, 'EUR', 'expired', created_at := '2024-01-02', closed_at := '2024-01-01'$$),
  ('closed, no time', $$'x', 1, 'EUR', 'cancelled'$$), ('closed and paid', $$'x', 1, 'EUR', 'cancelled', paid_at := '2024-01-01', closed_at := '2024-01-01'$$),
  ('closed with a transaction', $$'x', 1, 'EUR', 'cancelled', channel_txn_id := 'ch_7', closed_at := '2024-01-01'$$),
  ('paid and closed', $$'x', 1, 'EUR', 'paid', paid_at := '2024-01-01', channel := 'card', closed_at := '2024-01-01'$$),
  ('more back', $$'x', 1, 'EUR', 'paid', NULL, NULL, '2024-01-01', 'card', NULL, 2$$),
  ('all back and paid', $$'x', 1, 'EUR', 'paid', NULL, NULL, '2024-01-01', 'card', NULL, 1$$),
  ('a part back and refunded', $$'x', 2, 'EUR', 'refunded', NULL, NULL, '2024-01-01', 'card', NULL, 1$$),
  ('nothing back, but when', $$'x', 2, 'EUR', 'paid', NULL, NULL, '2024-01-01', 'card', NULL, NULL, '2024-01-02'$$),
  ('nothing back, but an id', $$'x', 2, 'EUR', 'paid', NULL, NULL, '2024-01-01', 'card', NULL, NULL, NULL, 're_7'$$)) c (what, arguments);
SELECT pg_temp.written() = :'before' AS nothing_written;
-- an order that was made here is no import, and one that was imported is found by create_order()
SELECT (payguard.create_order('here', 5, 'XTS')).status;
SELECT pg_temp.answer($$SELECT payguard.import_order('here', 5, 'XTS', 'paid', paid_at := '2024-01-01', channel := 'card')$$);
SELECT (payguard.create_order('paid', 4200, 'EUR', 'anna')).status;
SELECT pg_temp.answer($$SELECT payguard.create_order('paid', 4100, 'EUR', 'anna')$$);
-- the old pay link
SELECT pg_temp.answer($$SELECT payguard.start_payment('paid', 'link', 'card')$$);
SELECT pg_temp.answer($$SELECT payguard.pay_order('paid', 'link')$$);
SELECT status, advice FROM payguard.order_status('paid');
-- readers see that it was imported, and no order.paid; rates and alerts are empty
SELECT count(*) FROM payguard.maintain();
SELECT kind, count(*) FROM payguard.read_events('import test', 1000) WHERE order_id IS NOT NULL AND order_id <> 'here' GROUP BY 1;
SELECT * FROM payguard.payment_rates('1 hour', 'all');
SELECT subject, status, n FROM payguard.totals WHERE bucket = '-infinity' AND subject <> 'events' ORDER BY 1, 2;
SELECT kind FROM payguard.alerts WHERE resolved_at IS NULL;
-- what a channel says later is heard: the second message about its charge, a refund, and a debit that comes back
SELECT outcome, order_id FROM payguard.record_payment('paid', 'card', 'ch_1', 4200, 'EUR');
SELECT outcome FROM payguard.record_reversal('card', 're_1', 'ch_1', 'refund', 100, 'EUR');
SELECT FROM payguard.import_order('debit', 700, 'XTS', 'paid', NULL, NULL, '2024-01-06', 'card', 'ch_5');
SELECT outcome FROM payguard.record_reversal('card', 'br_5', 'ch_5', 'bank_return', 700, 'XTS');
SELECT status, advice FROM payguard.order_status('debit');
SELECT outcome FROM payguard.pay_order('debit', 'once more');
-- money goes back under the same ceiling
SELECT pg_temp.answer($$SELECT payguard.refund_order('part', 'too much', 4001, 'x')$$);
SELECT outcome FROM payguard.refund_order('part', 'rest', 4000, 'x', channel := 'internal');
RESET SESSION AUTHORIZATION;
SELECT outcome FROM payguard.approve_refund((SELECT refund_id FROM payguard.refunds WHERE idempotency_key = 'rest'), 'fine');
SET SESSION AUTHORIZATION regress_import;
-- nobody named the transaction: a late message about it is money that may be here twice, and a person looks
SELECT FROM payguard.import_order('unnamed', 1000, 'XTS', 'refunded', paid_at := now(), channel := 'card');
SELECT outcome FROM payguard.record_payment('unnamed', 'card', 'ch_late', 1000, 'XTS');
SELECT r.status, r.origin FROM payguard.refunds r WHERE r.order_id = 'unnamed' ORDER BY 2;
SELECT count(*) FROM payguard.claim_tasks('w') WHERE order_id = 'unnamed';
-- a statement need not name what was imported
RESET SESSION AUTHORIZATION;
SELECT order_id, finding FROM payguard.reconcile('card', grace := '0 s') WHERE order_id IN (SELECT e.order_id FROM payguard.events e WHERE e.kind = 'order.imported');
SET SESSION AUTHORIZATION regress_import;
SELECT * FROM payguard.verify();
-- retention finds them, also behind many events of today
SELECT count(payguard.create_order('today-' || i, 1, 'XTS')) FROM generate_series(1, 2500) i;
SELECT FROM payguard.import_order('last', 9, 'EUR', 'paid', 'anna', NULL, '2024-01-06', 'card', 'ch_6');
RESET SESSION AUTHORIZATION;
SELECT payguard.drop_consumer('import test');
-- what a policy may have to compare stays
SELECT payguard.archive_orders('2025-01-01');
SELECT (payguard.set_policy('EUR', 1)).min_amount;
CREATE PROCEDURE archive(expected integer) LANGUAGE plpgsql AS $$
DECLARE
  done integer := 0;
  patience timestamptz := clock_timestamp() + interval '20 s';
BEGIN
  LOOP
    PERFORM payguard.count_events(10000);
    done := done + payguard.archive_orders('2025-01-01');
    COMMIT;
    EXIT WHEN done >= expected OR clock_timestamp() > patience;
    PERFORM pg_sleep(0.02);
  END LOOP;
END
$$;
-- not those with which something has happened since
CALL archive(6);
SET SESSION AUTHORIZATION regress_import;
SELECT order_id FROM payguard.archived_orders ORDER BY 1;
SELECT status FROM payguard.import_order('last', 9, 'EUR', 'paid', 'anna', NULL, '2024-01-06', 'card', 'ch_6');
SELECT pg_temp.answer($$SELECT payguard.import_order('again', 9, 'EUR', 'paid', 'anna', NULL, '2024-01-06', 'card', 'ch_6')$$);
SELECT pg_temp.answer($$SELECT payguard.pay_order('last', 'link')$$);
SELECT kind, count(payguard.resolve_alert(alert_id, 'seen')) FROM payguard.alerts WHERE resolved_at IS NULL GROUP BY 1 ORDER BY 1;
SELECT payguard.erase_customer('anna') > 0 AS some;
SELECT count(*) FROM payguard.every_event WHERE details ->> 'customer_id' = 'anna';
-- the same call again finds the order of whom nobody knows any more
SELECT status, customer_id FROM payguard.import_order('last', 9, 'EUR', 'paid', 'anna', NULL, '2024-01-06', 'card', 'ch_6');
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_import;
DROP ROLE regress_import;
\c :regression
DROP DATABASE regress_payguard_import;
