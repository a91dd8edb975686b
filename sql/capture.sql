-- Money that is reserved at checkout and taken later.
\getenv srcdir PG_ABS_SRCDIR
-- many orders, and a channel that has no patience: in a database of their own
SELECT current_database() AS database \gset
CREATE DATABASE regress_payguard_capture;
\c regress_payguard_capture
SET client_min_messages = warning;
CREATE EXTENSION payguard;
CREATE ROLE regress_capture;
SELECT count(payguard.grant_access('regress_capture', a)) FROM unnest('{checkout,cashier,channel,admin,refunds,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_capture;
\set situation :srcdir /test/lib/situation.sql
\i :situation
SELECT (payguard.register_channel('hold', first_query_after := '0 s', alert_after := '0 s', idempotent_charge := false)).name, (payguard.register_channel('hold_once', first_query_after := '0 s', idempotent_charge := true)).idempotent_charge;
\set ECHO none
-- now_of(id): all_of(), of this moment and not of the statement's beginning.
CREATE FUNCTION pg_temp.now_of(id text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN pg_temp.all_of(id); END $$;
-- reserve(id, amount, reserved): an order, and an attempt whose money the channel has reserved.
CREATE FUNCTION pg_temp.reserve(id text, amount bigint DEFAULT 50000, reserved bigint DEFAULT NULL, channel text DEFAULT 'hold', until timestamptz DEFAULT NULL)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  this uuid;
BEGIN
  PERFORM payguard.create_order(id, amount, 'EUR');
  this := (payguard.start_payment(id, id || '/this', channel, capture := 'manual')).payment_id;
  RETURN (payguard.report_payment(this, 'authorized', id, coalesce(reserved, amount), 'EUR', capture_before := until)).outcome;
END
$$;
-- lower(id, amount): what the order asks for from now on.
CREATE FUNCTION pg_temp.lower(id text, to_amount bigint) RETURNS text LANGUAGE sql AS $$
  SELECT amount || ', ' || status FROM payguard.update_order(id, (SELECT version FROM payguard.orders WHERE order_id = id), to_amount)
$$;
CREATE FUNCTION pg_temp.capture(id text) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(', ', outcome, order_status, payment_status, CASE WHEN replayed THEN 'again' END) FROM payguard.capture_payment(pg_temp.id(id, 'this'))
$$;
-- work(id, kind): a worker takes the order's task.
CREATE TEMP TABLE held (n int GENERATED ALWAYS AS IDENTITY, task payguard.task);
CREATE FUNCTION pg_temp.work(id text, kind text, lease interval DEFAULT '30 s') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  last int := coalesce((SELECT max(n) FROM held), 0);
BEGIN
  FOR i IN 1 .. 20 LOOP
    INSERT INTO held (task) SELECT t FROM payguard.claim_tasks('worker', 100, lease, channels := '{hold,hold_once}') t;
    EXIT WHEN EXISTS (SELECT FROM held WHERE n > last AND (task).order_id = id AND (task).kind = work.kind);
    PERFORM pg_sleep(0.1);
  END LOOP;
  RETURN (SELECT string_agg(concat_ws(' ', (task).kind, (task).amount, (task).capture, CASE WHEN (task).capture_id IS NOT NULL THEN 'under an id' END), ', ')
          FROM held WHERE n > last AND (task).order_id = id AND (task).kind = work.kind);
END
$$;
CREATE FUNCTION pg_temp.reply(id text, status text, txn text DEFAULT NULL, amount bigint DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(', ', r.outcome, r.order_status, r.payment_status)
  FROM (SELECT task FROM held WHERE (task).order_id = id ORDER BY n DESC LIMIT 1) h
  CROSS JOIN LATERAL payguard.complete_task((task).task_id, (task).lease_token, status, txn, amount, CASE WHEN amount IS NOT NULL THEN 'EUR' END) r
$$;
-- this(id): the order's attempt, also where this statement made it.
CREATE FUNCTION pg_temp.this(id text) RETURNS uuid LANGUAGE plpgsql AS $$ BEGIN RETURN pg_temp.id(id, 'this'); END $$;
\set ECHO all
-- a shop's case: reserve 500.00, one item is out of stock, lower to 300.00, capture, refund 50.00
SELECT pg_temp.reserve('shop-1'), pg_temp.now_of('shop-1');
SELECT status, advice, message, can_pay, can_cancel, resume_payment_id IS NULL AS nothing_to_resume FROM payguard.order_status('shop-1');
SELECT pg_temp.answer($$SELECT outcome FROM payguard.start_payment('shop-1', 'shop-1/again', 'card')$$);
SELECT pg_temp.lower('shop-1', 30000), pg_temp.now_of('shop-1');
SELECT pg_temp.capture('shop-1'), pg_temp.now_of('shop-1');
SELECT status, advice, can_pay, can_cancel FROM payguard.order_status('shop-1');
SELECT pg_temp.capture('shop-1'), pg_temp.answer($$SELECT pg_temp.lower('shop-1', 20000)$$);
SELECT pg_temp.work('shop-1', 'capture'), pg_temp.reply('shop-1', 'succeeded', 'shop-1', 30000), pg_temp.now_of('shop-1');
SELECT amount, authorized_amount, capture_amount, received_amount FROM payguard.payments WHERE payment_id = pg_temp.this('shop-1');
SELECT pg_temp.capture('shop-1');
SELECT status, amount FROM payguard.refund_order('shop-1', 'shop-1/refund', 5000, 'broken');
SELECT pg_temp.work('shop-1', 'refund'), pg_temp.reply('shop-1', 'succeeded', 'shop-1/refund', 5000), pg_temp.now_of('shop-1');
SELECT kind, from_status, to_status, details - 'channel_status' - 'channel_txn_id' AS details FROM payguard.events WHERE order_id = 'shop-1' AND kind ~ '^payment|updated' ORDER BY event_id;
-- reserve, never ship: the authorization lapses, and the customer is told
SELECT pg_temp.reserve('shop-2', until := clock_timestamp() + interval '1 h'), pg_temp.reserve('shop-5', until := clock_timestamp() + interval '2 days');
SELECT count(*) FROM payguard.maintain();
SELECT order_id, kind, severity, details ->> 'status' AS status FROM payguard.alerts WHERE order_id IN ('shop-2', 'shop-5') AND resolved_at IS NULL;
SELECT outcome FROM payguard.query_payment(pg_temp.this('shop-2'));
SELECT pg_temp.work('shop-2', 'query');
SELECT r.outcome FROM (SELECT task FROM held WHERE (task).order_id = 'shop-2') h CROSS JOIN LATERAL payguard.complete_task((task).task_id, (task).lease_token, 'authorized', capture_before := clock_timestamp()) r;
SELECT count(*) FROM payguard.maintain();
SELECT kind, severity FROM payguard.alerts WHERE order_id = 'shop-2' AND resolved_at IS NULL;
SELECT advice, can_pay FROM payguard.order_status('shop-2');
SELECT pg_temp.work('shop-2', 'query'), pg_temp.reply('shop-2', 'closed'), pg_temp.now_of('shop-2');
SELECT advice, can_pay FROM payguard.order_status('shop-2');
-- the capture fails after shipping
SELECT pg_temp.reserve('shop-3'), pg_temp.capture('shop-3'), pg_temp.work('shop-3', 'capture'), pg_temp.reply('shop-3', 'failed'), pg_temp.now_of('shop-3');
SELECT advice, can_pay FROM payguard.order_status('shop-3');
SELECT outcome, order_status FROM payguard.start_payment('shop-3', 'shop-3/other', 'hold');
-- a capture that is refused: the money is reserved still, and may be captured once more, under another id
SELECT pg_temp.reserve('shop-4'), pg_temp.capture('shop-4'), pg_temp.work('shop-4', 'capture'), pg_temp.reply('shop-4', 'authorized'), pg_temp.now_of('shop-4');
SELECT capture_amount, capture_id FROM payguard.payments WHERE payment_id = pg_temp.this('shop-4');
SELECT pg_temp.capture('shop-4'), pg_temp.work('shop-4', 'capture'), pg_temp.reply('shop-4', 'succeeded', 'shop-4', 50000), pg_temp.now_of('shop-4');
SELECT count(DISTINCT (task).capture_id) FROM held WHERE (task).order_id = 'shop-4' AND (task).kind = 'capture';
-- less was reserved than was asked for: nothing is captured before the order asks for no more
SELECT pg_temp.reserve('less-1', reserved := 40000), pg_temp.now_of('less-1');
SELECT pg_temp.answer($$SELECT pg_temp.capture('less-1')$$);
SELECT pg_temp.answer($$SELECT pg_temp.lower('less-1', 45000)$$), pg_temp.answer($$SELECT pg_temp.capture('less-1')$$);
SELECT pg_temp.lower('less-1', 40000), pg_temp.now_of('less-1'), pg_temp.capture('less-1');
-- the channel has more of it reserved by now
SELECT pg_temp.reserve('less-6', reserved := 40000), pg_temp.now_of('less-6'), pg_temp.give_word(pg_temp.this('less-6'), 'authorized'), pg_temp.now_of('less-6');
SELECT outcome, pg_temp.now_of('less-6') FROM payguard.settle_payment(pg_temp.this('less-6'), 'authorized', 'asked', NULL, 50000, 'EUR');
-- within what is reserved, and what the customer was asked for, it may become more again
SELECT pg_temp.reserve('less-2', reserved := 60000), pg_temp.lower('less-2', 100), pg_temp.lower('less-2', 50000), pg_temp.answer($$SELECT pg_temp.lower('less-2', 50001)$$);
SELECT pg_temp.answer($$SELECT pg_temp.lower('less-2', 0)$$);
SELECT pg_temp.answer($$SELECT payguard.update_order('less-2', 3, currency := 'USD')$$);
SELECT pg_temp.answer($$SELECT payguard.update_order('less-2', 1, 400)$$);
-- another currency is nothing of the order's
SELECT pg_temp.reserve('less-3') IS NOT NULL AS made;
SELECT (payguard.create_order('less-5', 1000, 'EUR')).status, pg_temp.say(pg_temp.start('less-5', 'this', 'hold'), 'authorized', 'less-5', 1000, 'USD'), pg_temp.now_of('less-5');
SELECT pg_temp.answer($$SELECT pg_temp.capture('less-5')$$);
-- what cannot be captured
SELECT pg_temp.make('no-1', 'pending', 'hold') IS NOT NULL AS made, pg_temp.make('no-2', 'closing', 'hold') IS NOT NULL AS made, pg_temp.make('no-3', 'succeeded', 'hold', 'no-3') IS NOT NULL AS made, pg_temp.make('no-4', 'failed, unpaid', 'hold') IS NOT NULL AS made;
SELECT n, pg_temp.answer(format('SELECT pg_temp.capture(%L)', 'no-' || n)) FROM generate_series(1, 4) n;
SELECT pg_temp.answer('SELECT payguard.capture_payment(NULL)'), pg_temp.answer($$SELECT payguard.capture_payment('00000000-0000-0000-0000-000000000000')$$);
SELECT pg_temp.answer($$SELECT outcome FROM payguard.start_payment('no-4', 'no-4/again', 'hold', capture := 'later')$$);
-- a retry names the same way of capturing
SELECT payment_status, replayed FROM payguard.start_payment('less-3', 'less-3/this', 'hold', capture := 'manual');
SELECT pg_temp.answer($$SELECT payguard.start_payment('less-3', 'less-3/this', 'hold')$$);
-- the worker is told; a batch of requests carries it, too
SELECT (payguard.create_order('way-' || n, 1000, 'EUR')).status FROM generate_series(1, 3) n;
SELECT outcome FROM payguard.request_payment('way-1', 'way-1/this', 'hold', capture := 'manual');
SELECT outcome FROM payguard.request_payments(ARRAY[('way-2', 'way-2/this', 'hold', NULL, NULL, NULL, NULL, NULL, 'manual')]::payguard.payment_request[]);
SELECT outcome FROM payguard.try_request_payment('way-3', 'way-3/this', 'hold', capture := 'automatic');
SELECT pg_temp.work('way-1', 'charge'), pg_temp.reply('way-1', 'authorized', 'way-1', 1000), pg_temp.now_of('way-1');
SELECT outcome FROM payguard.complete_tasks(ARRAY(SELECT ((task).task_id, (task).lease_token, 'authorized', 'way-2', 1000, 'EUR', NULL, NULL)::payguard.task_answer FROM held WHERE (task).order_id = 'way-2'));
SELECT (task).capture, pg_temp.reply('way-3', 'authorized', 'way-3', 1000) FROM held WHERE (task).order_id = 'way-3';
-- manual: asked about once a day; what the channel captures by itself, as any other
SELECT order_id, run_at > clock_timestamp() + interval '23 h' AS tomorrow FROM payguard.tasks WHERE order_id ~ '^way' AND kind = 'query' ORDER BY 1;
SELECT pg_temp.work('way-3', 'query'), pg_temp.reply('way-3', 'succeeded', 'way-3', 1000), pg_temp.now_of('way-3');
-- who says something else than that has the channel asked soon
SELECT pg_temp.reserve('soon-1'), pg_temp.say(pg_temp.this('soon-1'), 'pending');
SELECT pg_temp.reserve('soon-2'), pg_temp.say(pg_temp.this('soon-2'), 'authorized', 'soon-2', 40000), pg_temp.reserve('soon-3'), pg_temp.say(pg_temp.this('soon-3'), 'authorized', 'soon-3', 60000);
SELECT pg_temp.reserve('soon-4'), pg_temp.say(pg_temp.this('soon-4'), 'authorized', 'soon-4', 50000), pg_temp.say(pg_temp.this('soon-4'), 'authorized');
-- and what is to be asked soon is not put off by a message that comes again
SELECT pg_temp.reserve('soon-5'), (payguard.query_payment(pg_temp.this('soon-5'))).outcome, pg_temp.say(pg_temp.this('soon-5'), 'authorized', 'soon-5', 50000);
SELECT order_id, run_at < clock_timestamp() + interval '1 h' AS soon FROM payguard.tasks WHERE order_id ~ '^soon-' AND kind = 'query' ORDER BY 1;
-- whose question was answered is not asked again at once, also where less is reserved
SELECT pg_temp.reserve('soon-6'), (payguard.query_payment(pg_temp.this('soon-6'))).outcome, pg_temp.work('soon-6', 'query'), pg_temp.reply('soon-6', 'authorized', 'soon-6', 40000);
SELECT run_at > clock_timestamp() + interval '23 h' AS tomorrow FROM payguard.tasks WHERE order_id = 'soon-6' AND kind = 'query';
-- a batch answers captures
SELECT pg_temp.capture('way-1'), pg_temp.capture('way-2'), pg_temp.work('way-1', 'capture');
SELECT outcome, order_status FROM payguard.complete_tasks(ARRAY(SELECT ((task).task_id, (task).lease_token, 'succeeded', (task).order_id, (task).amount, 'EUR', NULL, NULL)::payguard.task_answer FROM held WHERE (task).order_id ~ '^way-[12]' AND (task).kind = 'capture' ORDER BY (task).order_id));
-- given up: the channel is asked to close it
SELECT pg_temp.reserve('void-1'), (payguard.close_payment(pg_temp.this('void-1'))).outcome;
SELECT pg_temp.now_of('void-1'), pg_temp.work('void-1', 'close'), pg_temp.reply('void-1', 'closed'), pg_temp.now_of('void-1');
-- a capture that nobody has taken yet is withdrawn, one that a worker has is not
SELECT pg_temp.reserve('void-2'), pg_temp.capture('void-2');
SELECT outcome FROM payguard.close_payment(pg_temp.this('void-2'));
SELECT pg_temp.now_of('void-2');
SELECT pg_temp.reserve('void-3'), pg_temp.capture('void-3'), pg_temp.work('void-3', 'capture');
SELECT pg_temp.answer($$SELECT payguard.close_payment(pg_temp.this('void-3'))$$);
SELECT status, closing_as FROM payguard.cancel_order('void-3');
SELECT pg_temp.now_of('void-3'), pg_temp.reply('void-3', 'succeeded', 'void-3', 50000), pg_temp.now_of('void-3');
SELECT pg_temp.reserve('void-4'), pg_temp.capture('void-4'), pg_temp.work('void-4', 'capture'), (payguard.cancel_order('void-4')).closing_as;
SELECT pg_temp.reply('void-4', 'authorized'), pg_temp.now_of('void-4');
SELECT pg_temp.reserve('void-5'), pg_temp.capture('void-5'), (payguard.cancel_order('void-5')).closing_as, pg_temp.now_of('void-5');
-- a worker could not reach the channel, and nobody wants the money any more
SELECT pg_temp.reserve('void-6'), pg_temp.capture('void-6'), pg_temp.work('void-6', 'capture'), (payguard.cancel_order('void-6')).closing_as;
SELECT payguard.retry_task((task).task_id, (task).lease_token, 'not sent') IS NOT NULL AS retried, pg_temp.now_of('void-6') FROM held WHERE (task).order_id = 'void-6' AND (task).kind = 'capture';
SELECT pg_temp.reserve('void-7'), pg_temp.capture('void-7'), pg_temp.work('void-7', 'capture');
SELECT payguard.retry_task((task).task_id, (task).lease_token, 'not sent', '1 ms') IS NOT NULL AS retried, pg_temp.now_of('void-7') FROM held WHERE (task).order_id = 'void-7' AND (task).kind = 'capture';
SELECT (payguard.close_payment(pg_temp.this('void-7'))).outcome, pg_temp.now_of('void-7');
-- nobody takes it: somebody has to look, after the channel's patience
SELECT pg_temp.reserve('slow-1'), pg_temp.capture('slow-1'), pg_sleep(0.01), (SELECT count(*) FROM payguard.maintain()) AS duties;
SELECT kind, severity, details ->> 'status' AS status FROM payguard.alerts WHERE order_id = 'slow-1' AND resolved_at IS NULL;
SELECT advice, message FROM payguard.order_status('slow-1');
SELECT pg_temp.say(pg_temp.this('slow-1'), 'succeeded', 'slow-1', 50000, 'EUR'), (SELECT count(*) FROM payguard.maintain()) AS duties, pg_temp.now_of('slow-1');
-- nor is the customer troubled by a capture that is out of tries
SELECT pg_temp.reserve('slow-2'), pg_temp.capture('slow-2');
DO $$
BEGIN
  FOR i IN 1 .. 10 LOOP
    PERFORM payguard.retry_task(t.task_id, t.lease_token, 'no way out', '1 ms') FROM payguard.claim_tasks('worker', 100, kinds := '{capture}', channels := '{hold}') t WHERE t.order_id = 'slow-2';
    PERFORM pg_sleep(0.01);
  END LOOP;
END
$$;
SELECT kind, severity FROM payguard.alerts WHERE order_id = 'slow-2' AND resolved_at IS NULL;
SELECT advice, message FROM payguard.order_status('slow-2');
SELECT payguard.requeue_task(task_id) > 0 AS due, pg_temp.now_of('slow-2') FROM payguard.tasks WHERE order_id = 'slow-2' AND kind = 'capture';
-- but whose charge has no outcome is told to ask
SELECT (payguard.create_order('slow-3', 1000, 'EUR')).status, pg_temp.say(pg_temp.start('slow-3', 'this', 'hold'), 'unknown'), pg_sleep(0.01), (SELECT count(*) FROM payguard.maintain()) AS duties;
SELECT (SELECT kind || ', ' || severity FROM payguard.alerts WHERE order_id = 'slow-3' AND resolved_at IS NULL) AS alert, advice FROM payguard.order_status('slow-3');
-- a lease that runs out: the channel is asked, and where it keeps an id it is told again, under the same one
SELECT pg_temp.reserve('lost-1', channel := 'hold_once'), pg_temp.capture('lost-1'), pg_temp.work('lost-1', 'capture', '1 ms'), pg_sleep(0.01);
SELECT (SELECT count(*) FROM payguard.maintain()) AS duties, pg_temp.now_of('lost-1');
SELECT pg_temp.say(pg_temp.this('lost-1'), 'authorized'), pg_temp.now_of('lost-1');
SELECT pg_temp.work('lost-1', 'query'), pg_temp.reply('lost-1', 'authorized'), pg_temp.now_of('lost-1');
SELECT pg_temp.work('lost-1', 'capture'), pg_temp.reply('lost-1', 'succeeded', 'lost-1', 50000), pg_temp.now_of('lost-1');
SELECT count(*), count(DISTINCT (task).capture_id) AS ids FROM held WHERE (task).order_id = 'lost-1' AND (task).kind = 'capture';
-- another channel is not told again by itself
SELECT pg_temp.reserve('lost-2'), pg_temp.capture('lost-2'), pg_temp.work('lost-2', 'capture', '1 ms'), pg_sleep(0.01);
SELECT (SELECT count(*) FROM payguard.maintain()) AS duties, pg_temp.work('lost-2', 'query'), pg_temp.reply('lost-2', 'authorized'), pg_temp.now_of('lost-2');
-- nor is one that has less reserved by now than the capture asks for, or money of another currency
SELECT pg_temp.reserve('lost-' || n, channel := 'hold_once'), pg_temp.capture('lost-' || n), pg_temp.work('lost-' || n, 'capture') FROM generate_series(6, 8) n;
SELECT n, pg_temp.reply('lost-' || n, 'unknown'), (payguard.query_payment(pg_temp.this('lost-' || n))).outcome FROM generate_series(6, 8) n;
SELECT pg_temp.work('lost-6', 'query'), pg_temp.reply('lost-6', 'authorized', 'lost-6', 49999), pg_temp.now_of('lost-6');
SELECT pg_temp.reply('lost-7', 'authorized', 'lost-7', 50000), pg_temp.now_of('lost-7');
SELECT r.outcome, pg_temp.now_of('lost-8') FROM held CROSS JOIN LATERAL payguard.complete_task((task).task_id, (task).lease_token, 'authorized', 'lost-8', 50000, 'USD') r WHERE (task).order_id = 'lost-8' AND (task).kind = 'query';
SELECT order_id, authorized_amount, capture_amount FROM payguard.payments WHERE order_id ~ '^lost-[678]' ORDER BY 1;
-- the channel is only asked while the capture is still to be sent
SELECT pg_temp.reserve('lost-3', channel := 'hold_once'), pg_temp.capture('lost-3'), (payguard.query_payment(pg_temp.this('lost-3'))).outcome;
INSERT INTO held (task) SELECT t FROM payguard.claim_tasks('worker', 100, kinds := '{query}', channels := '{hold_once}') t WHERE order_id = 'lost-3';
SELECT pg_temp.reply('lost-3', 'authorized'), pg_temp.now_of('lost-3');
-- somebody has it tried again while a worker sends it: that is not a second capture, nor a second charge
SELECT pg_temp.reserve('lost-9'), pg_temp.capture('lost-9'), pg_temp.work('lost-9', 'capture');
SELECT (payguard.create_order('lost-10', 1000, 'EUR')).status, (payguard.request_payment('lost-10', 'lost-10/this', 'hold')).outcome, pg_temp.work('lost-10', 'charge');
SELECT (task).order_id, payguard.requeue_task((task).task_id) = (task).task_id AS due FROM held WHERE (task).order_id IN ('lost-9', 'lost-10') ORDER BY 1;
SELECT n, pg_temp.reply('lost-' || n, 'unknown'), pg_temp.now_of('lost-' || n) FROM generate_series(9, 10) n;
-- a person who sees in the channel's console that the money is still reserved does not know of a request on its way
SELECT pg_temp.reserve('lost-4', channel := 'hold_once'), pg_temp.capture('lost-4'), pg_temp.work('lost-4', 'capture'), pg_temp.give_word(pg_temp.this('lost-4'), 'authorized'), pg_temp.now_of('lost-4');
SELECT pg_temp.reply('lost-4', 'unknown'), pg_temp.give_word(pg_temp.this('lost-4'), 'authorized'), pg_temp.now_of('lost-4');
SELECT pg_temp.capture('lost-4'), (SELECT capture_id = (task).capture_id FROM payguard.payments WHERE payment_id = (task).payment_id) AS under_the_same_id FROM held WHERE (task).order_id = 'lost-4';
SELECT pg_temp.reserve('lost-5'), pg_temp.capture('lost-5'), pg_temp.work('lost-5', 'capture'), pg_temp.give_word(pg_temp.this('lost-5'), 'authorized');
SELECT pg_temp.reply('lost-5', 'unknown'), pg_temp.give_word(pg_temp.this('lost-5'), 'authorized'), pg_temp.now_of('lost-5');
-- what is old takes nothing back
SELECT pg_temp.say(pg_temp.this('lost-3'), 'authorized'), pg_temp.say(pg_temp.this('lost-3'), 'pending'), pg_temp.say(pg_temp.this('lost-3'), 'not_found'), pg_temp.now_of('lost-3');
-- the channel takes more, or less, than the capture asked for
SELECT pg_temp.reserve('much-1'), pg_temp.lower('much-1', 30000), pg_temp.capture('much-1'), pg_temp.say(pg_temp.this('much-1'), 'succeeded', 'much-1', 50000, 'EUR'), pg_temp.now_of('much-1');
SELECT pg_temp.reserve('much-2'), pg_temp.capture('much-2'), pg_temp.say(pg_temp.this('much-2'), 'succeeded', 'much-2', 30000, 'EUR'), pg_temp.now_of('much-2');
-- somebody captured in the channel's console what the order asks for by now
SELECT pg_temp.reserve('much-3'), pg_temp.lower('much-3', 30000), pg_temp.say(pg_temp.this('much-3'), 'succeeded', 'much-3', 30000, 'EUR'), pg_temp.now_of('much-3');
-- of what it reserved nobody knows what it took, where the order asks for less by now
SELECT pg_temp.reserve('much-4'), pg_temp.lower('much-4', 30000), pg_temp.say(pg_temp.this('much-4'), 'succeeded', 'much-4'), pg_temp.now_of('much-4');
-- what was reserved first counts, until somebody has asked; a later time is believed
SELECT pg_temp.reserve('told-1', until := '2100-01-01'), pg_temp.say(pg_temp.this('told-1'), 'authorized', 'told-1', 60000, 'EUR');
SELECT outcome FROM payguard.report_payment(pg_temp.this('told-1'), 'authorized', capture_before := '2101-01-01');
SELECT outcome FROM payguard.report_payment(pg_temp.this('told-1'), 'authorized', capture_before := '2099-01-01');
SELECT authorized_amount, capture_before FROM payguard.payments WHERE payment_id = pg_temp.this('told-1');
SELECT outcome FROM payguard.settle_payment(pg_temp.this('told-1'), 'authorized', 'asked', NULL, 45000, 'EUR');
SELECT authorized_amount, capture_before FROM payguard.payments WHERE payment_id = pg_temp.this('told-1');
-- an amount of something else than an authorization is not reserved
SELECT outcome, replayed FROM payguard.settle_payment(pg_temp.this('told-1'), 'unknown', 'asked', NULL, 50000, 'EUR');
SELECT authorized_amount, capture_before FROM payguard.payments WHERE payment_id = pg_temp.this('told-1');
-- the answer to a question that was asked before the last message is not newer than that; it is asked again
SELECT pg_temp.reserve('told-5', until := '2100-01-01'), (payguard.query_payment(pg_temp.this('told-5'))).outcome, pg_temp.work('told-5', 'query');
SELECT outcome FROM payguard.report_payment(pg_temp.this('told-5'), 'authorized', capture_before := '2101-01-01');
SELECT r.outcome FROM (SELECT task FROM held WHERE (task).order_id = 'told-5' ORDER BY n DESC LIMIT 1) h CROSS JOIN LATERAL payguard.complete_task((task).task_id, (task).lease_token, 'authorized', capture_before := '2099-01-01') r;
SELECT capture_before, run_at <= clock_timestamp() AS due FROM payguard.payments JOIN payguard.tasks USING (payment_id) WHERE payment_id = pg_temp.this('told-5');
SELECT pg_temp.work('told-5', 'query');
SELECT r.outcome FROM (SELECT task FROM held WHERE (task).order_id = 'told-5' ORDER BY n DESC LIMIT 1) h CROSS JOIN LATERAL payguard.complete_task((task).task_id, (task).lease_token, 'authorized', capture_before := '2099-01-01') r;
SELECT capture_before, run_at <= clock_timestamp() AS due FROM payguard.payments JOIN payguard.tasks USING (payment_id) WHERE payment_id = pg_temp.this('told-5');
-- a smaller amount is believed at once: the first message may have named none
SELECT (payguard.create_order('told-4', 1000, 'EUR')).status, pg_temp.say(pg_temp.start('told-4', 'this', 'hold'), 'authorized'), pg_temp.say(pg_temp.this('told-4'), 'authorized', NULL, 900), pg_temp.say(pg_temp.this('told-4'), 'authorized', NULL, 1000), pg_temp.now_of('told-4');
SELECT authorized_amount FROM payguard.payments WHERE payment_id = pg_temp.this('told-4');
-- what was reserved before counts no more where an attempt goes on that had failed
SELECT pg_temp.reserve('told-3', until := '2100-01-01'), pg_temp.say(pg_temp.this('told-3'), 'failed'), pg_temp.give_word(pg_temp.this('told-3'), 'pending');
SELECT outcome FROM payguard.report_payment(pg_temp.this('told-3'), 'authorized', NULL, 40000, 'EUR', capture_before := '2099-01-01');
SELECT authorized_amount, capture_before, pg_temp.answer($$SELECT pg_temp.capture('told-3')$$) FROM payguard.payments WHERE payment_id = pg_temp.this('told-3');
-- a message that waits for its payment carries the time
SELECT (payguard.create_order('told-2', 1000, 'EUR')).status, (payguard.record_notification('hold', '{"a": 1}'::text, 'told-2', channel_status := 'authorized', channel_txn_id := 'told-2', amount := 1000, currency := 'EUR', capture_before := '2100-01-01')).outcome;
SELECT pg_temp.say(pg_temp.start('told-2', 'this', 'hold'), 'pending', 'told-2'), pg_temp.now_of('told-2');
SELECT capture_before FROM payguard.payments WHERE payment_id = pg_temp.this('told-2');
-- an order whose money is reserved does not expire
SELECT (payguard.create_order('late-1', 1000, 'EUR', expires_at := clock_timestamp() + interval '100 ms')).status, pg_temp.say(pg_temp.start('late-1', 'this', 'hold'), 'authorized'), pg_temp.past('late-1'), pg_temp.now_of('late-1');
SELECT pg_temp.say(pg_temp.this('late-1'), 'failed'), payguard.expire_orders() > 0 AS expired, pg_temp.now_of('late-1');
-- nor does one whose channel processes it; the deadline counts again when somebody has that given up
SELECT (payguard.create_order('late-' || n, 1000, 'EUR', expires_at := clock_timestamp() + interval '100 ms')).status, pg_temp.say(pg_temp.start('late-' || n, 'this', 'hold'), CASE n WHEN 2 THEN 'authorized' ELSE 'processing' END) FROM generate_series(2, 3) n;
SELECT pg_temp.past('late-' || n), (payguard.close_payment(pg_temp.this('late-' || n))).outcome FROM generate_series(2, 3) n;
SELECT payguard.expire_orders() AS seen, pg_temp.now_of('late-2'), pg_temp.now_of('late-3');
SELECT count(*) FROM payguard.verify();
SELECT n, pg_temp.say(pg_temp.this('late-' || n), 'closed'), pg_temp.now_of('late-' || n) FROM generate_series(2, 3) n;
-- an attempt that had failed is reserved after all: who asked is believed
SELECT pg_temp.make('alive-c', 'failed, unpaid', 'hold') IS NOT NULL AS made, pg_temp.give_word(pg_temp.this('alive-c'), 'authorized'), pg_temp.now_of('alive-c');
SELECT pg_temp.capture('alive-c'), pg_temp.work('alive-c', 'capture'), pg_temp.reply('alive-c', 'succeeded', 'alive-c', 1000), pg_temp.now_of('alive-c');
-- also where the order asks for less by now: that is still reserved; not where it asks for more
SELECT pg_temp.reserve('alive-' || n), pg_temp.lower('alive-' || n, 30000), pg_temp.say(pg_temp.this('alive-' || n), 'failed') FROM generate_series(1, 3) n;
SELECT pg_temp.lower('alive-2', 50001), pg_temp.say(pg_temp.this('alive-1'), 'authorized'), pg_temp.now_of('alive-1');
SELECT n, pg_temp.give_word(pg_temp.this('alive-' || n), CASE n WHEN 3 THEN 'pending' ELSE 'authorized' END), pg_temp.now_of('alive-' || n) FROM generate_series(1, 3) n;
-- nor where it asks for other money, or nothing was reserved before
SELECT pg_temp.reserve('alive-4'), pg_temp.say(pg_temp.this('alive-4'), 'failed'), (SELECT amount || ' ' || currency FROM payguard.update_order('alive-4', 3, 30000, 'USD')) AS asked;
SELECT (payguard.create_order('alive-5', 50000, 'EUR')).status, pg_temp.say(pg_temp.start('alive-5', 'this', 'hold'), 'failed'), pg_temp.lower('alive-5', 30000);
SELECT n, pg_temp.give_word(pg_temp.this('alive-' || n), 'authorized'), pg_temp.now_of('alive-' || n) FROM generate_series(4, 5) n;
SELECT pg_temp.capture('alive-1'), pg_temp.say(pg_temp.this('alive-1'), 'succeeded', 'alive-1', 30000, 'EUR'), pg_temp.now_of('alive-1');
-- other money comes first: what is reserved is given up
SELECT pg_temp.reserve('other-1'), (payguard.record_payment('other-1', 'bank', 'other-1/bank', 50000, 'EUR')).outcome;
SELECT pg_temp.now_of('other-1'), pg_temp.work('other-1', 'close'), pg_temp.reply('other-1', 'closed'), pg_temp.now_of('other-1');
SELECT pg_temp.reserve('other-2'), pg_temp.capture('other-2'), (payguard.record_payment('other-2', 'bank', 'other-2/bank', 50000, 'EUR')).outcome;
SELECT pg_temp.now_of('other-2'), pg_temp.say(pg_temp.this('other-2'), 'succeeded', 'other-2', 50000, 'EUR'), pg_temp.now_of('other-2');
-- and the order is paid: nobody has to look at the capture that had failed
SELECT pg_temp.reserve('other-3'), pg_temp.capture('other-3'), pg_temp.work('other-3', 'capture'), pg_temp.reply('other-3', 'authorized'), pg_temp.now_of('other-3');
SELECT (payguard.record_payment('other-3', 'bank', 'other-3/bank', 50000, 'EUR')).outcome, pg_temp.say(pg_temp.this('other-3'), 'closed'), pg_temp.now_of('other-3');
-- nor where the money was given up after that
SELECT pg_temp.reserve('other-4'), pg_temp.capture('other-4'), pg_temp.work('other-4', 'capture'), pg_temp.reply('other-4', 'authorized'), pg_temp.now_of('other-4');
SELECT (payguard.close_payment(pg_temp.this('other-4'))).outcome, pg_temp.say(pg_temp.this('other-4'), 'closed'), pg_temp.now_of('other-4');
-- who has approved an order has approved less of it, where it was lowered while the money was reserved
SELECT (payguard.set_policy('EUR', 20000, approve_payment := true)).min_amount, (payguard.create_order('allow-' || n, 50000, 'EUR')).status FROM generate_series(1, 2) n;
RESET SESSION AUTHORIZATION;
SELECT status, amount FROM generate_series(1, 2) n, payguard.approve_order('allow-' || n, 'seen');
SET SESSION AUTHORIZATION regress_capture;
SELECT pg_temp.reserve('allow-' || n), pg_temp.lower('allow-' || n, 30000), pg_temp.say(pg_temp.this('allow-' || n), 'failed') FROM generate_series(1, 2) n;
SELECT amount, version FROM payguard.update_order('allow-1', 4, expires_at := '2100-01-01');
SELECT (payguard.start_payment('allow-1', 'allow-1/again', 'hold')).outcome, (payguard.record_payment('allow-2', 'bank', 'allow-2/bank', 30000, 'EUR')).outcome;
SELECT pg_temp.say(pg_temp.id('allow-1', 'again'), 'failed'), pg_temp.lower('allow-1', 30001), pg_temp.answer($$SELECT payguard.start_payment('allow-1', 'allow-1/more', 'hold')$$);
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_capture;
\c :database
DROP DATABASE regress_payguard_capture;
DROP ROLE regress_capture;
