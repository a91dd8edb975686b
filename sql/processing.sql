-- The channel settles for hours or days; it goes on with what it had said to have failed.
\getenv srcdir PG_ABS_SRCDIR
CREATE ROLE regress_processing;
SELECT count(payguard.grant_access('regress_processing', a)) FROM unnest('{checkout,cashier,channel,admin,refunds,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_processing;
\set situation :srcdir /test/lib/situation.sql
\i :situation
SELECT (payguard.register_channel('slow', processing_alert_after := '2 days', alert_after := '0 s', first_query_after := '0 s')).processing_alert_after;
\set ECHO none
-- now_of(id): all_of(), of this moment and not of the statement's beginning.
CREATE FUNCTION pg_temp.now_of(id text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN pg_temp.all_of(id); END $$;
-- claimed(id): the order's tasks that a worker has now.
CREATE TEMP TABLE held (n int GENERATED ALWAYS AS IDENTITY, task payguard.task);
CREATE FUNCTION pg_temp.claimed(id text, kind text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  last int := coalesce((SELECT max(n) FROM held), 0);
BEGIN
  FOR i IN 1 .. 20 LOOP
    INSERT INTO held (task) SELECT t FROM payguard.claim_tasks('worker', 100, channels := '{slow,card,bank}') t;
    EXIT WHEN EXISTS (SELECT FROM held WHERE n > last AND (task).order_id = id AND (task).kind = claimed.kind);
    PERFORM pg_sleep(0.1);
  END LOOP;
  RETURN (SELECT string_agg((task).kind, ', ') FROM held WHERE n > last AND (task).order_id = id AND (task).kind = claimed.kind);
END
$$;
CREATE FUNCTION pg_temp.reply(id text, status text, txn text DEFAULT NULL, amount bigint DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(', ', r.outcome, r.order_status, r.payment_status)
  FROM (SELECT task FROM held WHERE (task).order_id = id ORDER BY n DESC LIMIT 1) h
  CROSS JOIN LATERAL payguard.complete_task((task).task_id, (task).lease_token, status, txn, amount, CASE WHEN amount IS NOT NULL THEN 'EUR' END) r
$$;
\set ECHO all
-- the customer has done it all, and is told to wait
SELECT pg_temp.make('slow-1', 'processing', 'slow') IS NOT NULL AS made, pg_temp.now_of('slow-1');
SELECT advice, message, can_pay, can_cancel, resume_payment_id IS NULL AS nothing_to_resume FROM payguard.order_status('slow-1');
SELECT pg_temp.answer($$SELECT outcome FROM payguard.start_payment('slow-1', 'slow-1/again', 'card')$$);
SELECT outcome, payment_status, replayed FROM payguard.start_payment('slow-1', 'slow-1/this', 'slow');
-- an older message takes nothing back, and has the channel asked; who asks then is believed
SELECT pg_temp.say(pg_temp.id('slow-1', 'this'), 'pending'), pg_temp.say(pg_temp.id('slow-1', 'this'), 'unknown'), pg_temp.say(pg_temp.id('slow-1', 'this'), 'not_found'), pg_temp.now_of('slow-1');
SELECT pg_temp.claimed('slow-1', 'query'), pg_temp.reply('slow-1', 'pending'), pg_temp.now_of('slow-1');
SELECT pg_temp.say(pg_temp.id('slow-1', 'this'), 'processing'), pg_temp.now_of('slow-1');
-- who has asked before the last change is not
SELECT pg_temp.make('slow-2', 'pending', 'slow') IS NOT NULL AS made;
SELECT pg_temp.claimed('slow-2', 'query'), pg_temp.say(pg_temp.id('slow-2', 'this'), 'processing'), pg_temp.reply('slow-2', 'pending'), pg_temp.now_of('slow-2');
-- a batch of answers goes by the same
SELECT pg_temp.claimed('slow-2', 'query');
SELECT outcome, payment_status FROM payguard.complete_tasks(ARRAY(SELECT ((task).task_id, (task).lease_token, 'processing', NULL, NULL, NULL, NULL, NULL)::payguard.task_answer FROM held WHERE (task).order_id = 'slow-2' ORDER BY n DESC LIMIT 1));
-- it succeeds or fails as any other
SELECT pg_temp.say(pg_temp.id('slow-1', 'this'), 'succeeded', 'slow-1', 1000, 'EUR'), pg_temp.now_of('slow-1');
SELECT pg_temp.say(pg_temp.id('slow-2', 'this'), 'failed'), pg_temp.now_of('slow-2');
-- nobody is alarmed for as long as the setting says
SELECT pg_temp.make('slow-3', 'processing', 'slow') IS NOT NULL AS made, pg_temp.make('slow-4', 'pending', 'slow') IS NOT NULL AS made, pg_sleep(0.01);
SELECT count(*) FROM payguard.maintain();
SELECT order_id, kind, severity FROM payguard.alerts WHERE order_id IN ('slow-3', 'slow-4') AND resolved_at IS NULL;
SELECT (payguard.register_channel('slow', processing_alert_after := '0 s')).processing_alert_after;
SELECT count(*) FROM payguard.maintain();
SELECT order_id, kind, severity FROM payguard.alerts WHERE order_id = 'slow-3' AND resolved_at IS NULL;
-- its order does not expire, and is looked at again when it has ended
SELECT (payguard.create_order('slow-5', 1000, 'EUR', expires_at := clock_timestamp() + interval '100 ms')).status, pg_temp.say(pg_temp.start('slow-5', 'this', 'slow'), 'processing'), pg_temp.past('slow-5'), pg_temp.now_of('slow-5');
SELECT pg_temp.say(pg_temp.id('slow-5', 'this'), 'failed'), pg_temp.order_of('slow-5');
SELECT payguard.expire_orders() > 0 AS expired, pg_temp.now_of('slow-5');
SELECT count(*) FROM payguard.deadlines WHERE order_id = 'slow-5';
-- one that is paid is not looked at any more
SELECT (payguard.create_order('slow-7', 1000, 'EUR', expires_at := clock_timestamp() + interval '100 ms')).status, pg_temp.say(pg_temp.start('slow-7', 'this', 'slow'), 'processing'), pg_temp.past('slow-7'), pg_temp.now_of('slow-7');
SELECT pg_temp.say(pg_temp.id('slow-7', 'this'), 'succeeded', 'slow-7', 1000, 'EUR'), pg_temp.now_of('slow-7');
SELECT count(*) FROM payguard.deadlines WHERE order_id = 'slow-7';
-- resume only before the attempt's end
SELECT (payguard.create_order('slow-6', 1000, 'EUR')).status, (payguard.start_payment('slow-6', 'slow-6/this', 'slow', expires_at := clock_timestamp() + interval '100 ms')).outcome;
SELECT advice, resume_payment_id IS NOT NULL AS resumes FROM payguard.order_status('slow-6');
SELECT pg_sleep(0.11);
SELECT advice, resume_payment_id IS NOT NULL AS resumes FROM payguard.order_status('slow-6');
-- after its end and a request to close it, what the channel does not know will never be charged
SELECT pg_temp.say(pg_temp.id('slow-6', 'this'), 'not_found'), pg_temp.now_of('slow-6');
SELECT outcome FROM payguard.close_payment(pg_temp.id('slow-6', 'this'));
SELECT pg_temp.say(pg_temp.id('slow-6', 'this'), 'not_found'), pg_temp.now_of('slow-6');
SELECT pg_temp.claimed('slow-6', 'close'), pg_temp.reply('slow-6', 'not_found'), pg_temp.now_of('slow-6');
-- a failed attempt that goes on: a message alone has the channel asked
SELECT pg_temp.make('alive-' || n, 'failed, unpaid', 'slow') IS NOT NULL AS made FROM generate_series(1, 5) n;
SELECT pg_temp.say(pg_temp.id('alive-1', 'this'), 'pending'), pg_temp.now_of('alive-1');
SELECT pg_temp.claimed('alive-1', 'query'), pg_temp.reply('alive-1', 'processing'), pg_temp.now_of('alive-1');
SELECT failure_code, completed_at IS NULL AS open FROM payguard.payments WHERE payment_id = pg_temp.id('alive-1', 'this');
SELECT pg_temp.say(pg_temp.id('alive-1', 'this'), 'succeeded', 'alive-1', 1000, 'EUR'), pg_temp.now_of('alive-1');
SELECT failure_code IS NULL AS no_failure FROM payguard.payments WHERE payment_id = pg_temp.id('alive-1', 'this');
-- it may fail again, and is never charged again by us
SELECT pg_temp.give_word(pg_temp.id('alive-2', 'this'), 'pending'), pg_temp.say(pg_temp.id('alive-2', 'this'), 'failed'), pg_temp.now_of('alive-2');
SELECT (payguard.create_order('alive-6', 1000, 'EUR')).status, (payguard.request_payment('alive-6', 'alive-6/this', 'slow')).outcome, pg_temp.claimed('alive-6', 'charge'), pg_temp.reply('alive-6', 'failed');
SELECT pg_temp.give_word(pg_temp.id('alive-6', 'this'), 'pending'), pg_temp.claimed('alive-6', 'query'), pg_temp.reply('alive-6', 'not_found'), pg_temp.now_of('alive-6');
-- an order that another attempt pays, or that is closed, or changed: it is closed again
SELECT pg_temp.start('alive-3', 'other', 'bank') IS NOT NULL AS started;
SELECT pg_temp.give_word(pg_temp.id('alive-3', 'this'), 'processing'), pg_temp.now_of('alive-3');
SELECT (payguard.cancel_order('alive-4')).status, pg_temp.give_word(pg_temp.id('alive-4', 'this'), 'pending'), pg_temp.now_of('alive-4');
SELECT (payguard.update_order('alive-5', version, 900)).amount, pg_temp.give_word(pg_temp.id('alive-5', 'this'), 'pending'), pg_temp.now_of('alive-5') FROM payguard.orders WHERE order_id = 'alive-5';
SELECT pg_temp.claimed('alive-4', 'close'), pg_temp.reply('alive-4', 'closed'), pg_temp.now_of('alive-4');
SELECT count(*) FROM payguard.maintain();
SELECT count(*) FROM payguard.alerts WHERE order_id = 'alive-4' AND resolved_at IS NULL;
-- where its order may be paid by it after all nobody wants it closed: it goes on, and who was asked to close it before does not know
SELECT pg_temp.make('alive-' || n, 'failed, unpaid', 'slow') IS NOT NULL AS made, pg_temp.start('alive-' || n, 'other', 'bank') IS NOT NULL AS started FROM generate_series(8, 9) n;
SELECT pg_temp.give_word(pg_temp.id('alive-' || n, 'this'), 'pending'), pg_temp.say(pg_temp.id('alive-' || n, 'other'), 'failed') FROM generate_series(8, 9) n;
SELECT pg_temp.claimed('alive-8', 'close'), pg_temp.give_word(pg_temp.id('alive-8', 'this'), 'processing'), pg_temp.reply('alive-8', 'pending'), pg_temp.now_of('alive-8');
SELECT pg_temp.reply('alive-9', 'processing'), pg_temp.now_of('alive-9');
-- what the channel processes is not charged any more, and is no attempt that was never sent
SELECT (payguard.create_order('sent-1', 1000, 'EUR')).status, (payguard.request_payment('sent-1', 'sent-1/this', 'slow')).outcome;
SELECT pg_temp.say(pg_temp.id('sent-1', 'this'), 'processing'), pg_temp.now_of('sent-1');
SELECT outcome, payment_status FROM payguard.close_payment(pg_temp.id('sent-1', 'this'));
SELECT pg_temp.say(pg_temp.id('sent-1', 'this'), 'closed'), pg_temp.now_of('sent-1');
-- nor is a policy passed by
SELECT pg_temp.make('alive-7', 'failed, unpaid', 'slow') IS NOT NULL AS made;
SELECT (payguard.set_policy('EUR', 1000, approve_payment := true)).min_amount;
SELECT pg_temp.give_word(pg_temp.id('alive-7', 'this'), 'pending'), pg_temp.now_of('alive-7');
SELECT (payguard.set_policy('EUR', 1000)).min_amount;
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_processing;
DROP ROLE regress_processing;
