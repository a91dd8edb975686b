-- examples/channels: what a channel calls a success of an authorization never pays an order. The money is reserved, a capture
-- pays, a void ends it: each channel's messages, as the handler of README.md and a worker hand them in.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
\set common :srcdir /examples/channels/common.sql
\set stripe :srcdir /examples/channels/stripe.sql
\set adyen :srcdir /examples/channels/adyen.sql
\set paypal :srcdir /examples/channels/paypal.sql
\set alipay :srcdir /examples/channels/alipay.sql
\set ECHO none
\i :common
\i :stripe
\i :adyen
\i :paypal
\i :alipay
\set ECHO all
SET TIME ZONE 'UTC';
CREATE ROLE regress_channel_capture;
SELECT payguard.grant_access('regress_channel_capture', access) FROM unnest('{checkout,channel,admin,refunds,auditor}'::text[]) access;
GRANT USAGE ON SCHEMA channel_body, stripe, adyen, paypal, alipay TO regress_channel_capture;
SET SESSION AUTHORIZATION regress_channel_capture;
CREATE FUNCTION pg_temp.said(channel text, body text) RETURNS channel_body.answer LANGUAGE sql AS $$
  SELECT CASE channel WHEN 'stripe' THEN stripe.event(body) WHEN 'adyen' THEN adyen.event(body) WHEN 'paypal' THEN paypal.event(body)
                      WHEN 'alipay' THEN alipay.notification(body) END
$$;
CREATE FUNCTION pg_temp.moved(channel text, body text) RETURNS SETOF channel_body.reversal LANGUAGE sql AS $$
  SELECT r.* FROM stripe.reversals(body) r WHERE channel = 'stripe' UNION ALL SELECT r.* FROM adyen.reversals(body) r WHERE channel = 'adyen'
  UNION ALL SELECT r.* FROM paypal.reversals(body) r WHERE channel = 'paypal'
$$;
-- a message comes twice
CREATE FUNCTION pg_temp.webhook(channel text, body text, OUT said text, OUT result text, OUT outcome text, OUT again text, OUT reversals bigint) LANGUAGE sql AS $$
  SELECT a.channel_status, n.result, n.outcome, m.result, (SELECT count(*) FROM pg_temp.moved(channel, body))
  FROM pg_temp.said(channel, body) a,
       payguard.record_notification(channel, body, a.event_id, a.payment_id, a.refund_id, a.channel_status, a.channel_txn_id, a.amount, a.currency, a.channel_time, a.capture_before) n,
       LATERAL (SELECT (payguard.record_notification(channel, body, a.event_id, a.payment_id, a.refund_id, a.channel_status, a.channel_txn_id, a.amount, a.currency, a.channel_time, a.capture_before)).result
                WHERE n.result IS NOT NULL) m
$$;
-- what payguard has of an order
CREATE FUNCTION pg_temp.stands(id text) RETURNS TABLE (of text, order_status text, payment text, authorized bigint, capture bigint, received bigint, txn text, until timestamptz) LANGUAGE sql AS $$
  SELECT id, o.status, p.status, p.authorized_amount, p.capture_amount, p.received_amount, p.channel_txn_id, p.capture_before
  FROM payguard.orders o, payguard.payments p WHERE o.order_id = id AND p.order_id = id
$$;
-- a worker, and what the channel answers it
CREATE FUNCTION pg_temp.worker(kind text, channel text, a channel_body.answer, OUT asked bigint, OUT txn text, OUT said text, OUT outcome text) LANGUAGE sql AS $$
  SELECT t.amount, t.channel_txn_id, a.channel_status, r.outcome
  FROM payguard.claim_tasks('worker', 1, kinds => ARRAY[kind], channels => ARRAY[channel]) t,
       payguard.complete_task(t.task_id, t.lease_token, a.channel_status, a.channel_txn_id, a.amount, a.currency, a.code, a.message, a.capture_before) r
$$;
SELECT name FROM unnest('{stripe,adyen,paypal,alipay}'::text[]) n, payguard.register_channel(n, first_query_after => '1 day');
SELECT order_id, status FROM unnest('{cst-1,cst-2,cad-1,cad-2,cad-3,cpp-1,cpp-2,cpp-3,cal-1,cal-2}'::text[]) id, payguard.create_order(id, 50000, CASE WHEN id LIKE 'cal-%' THEN 'CNY' ELSE 'USD' END);
CREATE TEMP TABLE attempts AS
SELECT p.order_id AS of_order, p.payment_id, replace(p.payment_id::text, '-', '') AS p32
FROM unnest('{cst-1,cst-2,cad-1,cad-2,cad-3,cpp-1,cpp-2,cpp-3,cal-1,cal-2}'::text[]) id,
     payguard.start_payment(id, id, CASE substr(id, 2, 2) WHEN 'st' THEN 'stripe' WHEN 'ad' THEN 'adyen' WHEN 'pp' THEN 'paypal' ELSE 'alipay' END, capture => 'manual') p;
-- Stripe: a charge that succeeded, and is not captured
CREATE FUNCTION pg_temp.intent(id text, type text, more jsonb, name text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
  SELECT jsonb_build_object('id', 'evt_' || id || type || coalesce(name, ''), 'object', 'event', 'created', 1686089970, 'type', type, 'data', jsonb_build_object('object', '{"object":"payment_intent","amount":50000,"amount_capturable":0,"amount_received":0,"currency":"usd","capture_method":"manual"}'::jsonb
    || jsonb_build_object('id', 'pi_' || id, 'metadata', jsonb_build_object('payment_id', p32)) || more))::text FROM attempts WHERE of_order = id
$$;
CREATE FUNCTION pg_temp.charge(id text, type text, more jsonb) RETURNS text LANGUAGE sql AS $$
  SELECT pg_temp.intent(id, type, '{"object":"charge","status":"succeeded","captured":false,"refunded":false,"amount_captured":0,"payment_method_details":{"type":"card","card":{"capture_before":4102444800}}}'::jsonb
    || jsonb_build_object('id', 'ch_' || id, 'payment_intent', 'pi_' || id) || more)
$$;
SELECT * FROM pg_temp.webhook('stripe', pg_temp.charge('cst-1', 'charge.succeeded', '{}'));
SELECT * FROM pg_temp.webhook('stripe', pg_temp.intent('cst-1', 'payment_intent.amount_capturable_updated', '{"status":"requires_capture","amount_capturable":50000}'));
SELECT * FROM pg_temp.stands('cst-1');
SELECT advice FROM payguard.order_status('cst-1');
-- an item is out of stock
SELECT amount FROM payguard.update_order('cst-1', (SELECT version FROM payguard.orders WHERE order_id = 'cst-1'), 30000);
SELECT outcome FROM attempts, payguard.capture_payment(payment_id) WHERE of_order = 'cst-1';
-- the first answer: more was asked for than Stripe lets be taken; then it is captured
SELECT * FROM pg_temp.worker('capture', 'stripe', stripe.payment_captured(400, '{"error":{"type":"invalid_request_error","code":"amount_too_large","message":"The amount is too large."}}'));
SELECT * FROM pg_temp.stands('cst-1');
SELECT outcome FROM attempts, payguard.capture_payment(payment_id) WHERE of_order = 'cst-1';
SELECT * FROM pg_temp.webhook('stripe', pg_temp.charge('cst-1', 'charge.captured', '{"captured":true,"amount_captured":30000}'));
SELECT * FROM pg_temp.stands('cst-1');
SELECT * FROM pg_temp.webhook('stripe', pg_temp.intent('cst-1', 'payment_intent.succeeded', '{"status":"succeeded","amount_received":30000}'));
SELECT * FROM pg_temp.stands('cst-1');
-- the first message comes once more, under another id
SELECT * FROM pg_temp.webhook('stripe', pg_temp.intent('cst-1', 'payment_intent.amount_capturable_updated', '{"status":"requires_capture","amount_capturable":50000}', 'late'));
SELECT * FROM pg_temp.stands('cst-1');
-- given up: the Refund that an older API version makes of it is no money that went back
SELECT * FROM pg_temp.webhook('stripe', pg_temp.intent('cst-2', 'payment_intent.amount_capturable_updated', '{"status":"requires_capture","amount_capturable":50000}'));
SELECT outcome FROM attempts, payguard.close_payment(payment_id) WHERE of_order = 'cst-2';
SELECT * FROM pg_temp.webhook('stripe', pg_temp.charge('cst-2', 'charge.refunded', '{"refunded":true,"refunds":{"data":[{"id":"re_1","object":"refund","amount":50000,"currency":"usd","payment_intent":"pi_st-2","status":"succeeded","metadata":{}}]}}'));
SELECT * FROM pg_temp.stands('cst-2');
SELECT * FROM pg_temp.webhook('stripe', pg_temp.intent('cst-2', 'payment_intent.canceled', '{"status":"canceled","cancellation_reason":"requested_by_customer"}'));
SELECT * FROM pg_temp.stands('cst-2');
-- Adyen: an AUTHORISATION with success
CREATE FUNCTION pg_temp.item(id text, code text, more jsonb DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
  SELECT jsonb_build_object('live', 'false', 'notificationItems', jsonb_build_array(jsonb_build_object('NotificationRequestItem',
    '{"amount":{"currency":"USD","value":50000},"eventDate":"2021-01-01T01:00:00+01:00","paymentMethod":"visa","reason":"","success":"true"}'::jsonb
    || CASE code WHEN 'AUTHORISATION' THEN jsonb_build_object('pspReference', 'PSP' || id) ELSE jsonb_build_object('pspReference', code || id, 'originalReference', 'PSP' || id) END
    || jsonb_build_object('eventCode', code, 'merchantReference', p32) || more)))::text FROM attempts WHERE of_order = id
$$;
SELECT * FROM pg_temp.webhook('adyen', pg_temp.item('cad-1', 'AUTHORISATION', '{"operations":["CANCEL","CAPTURE","REFUND"]}'));
SELECT * FROM pg_temp.stands('cad-1');
SELECT outcome FROM attempts, payguard.capture_payment(payment_id) WHERE of_order = 'cad-1';
-- "received" says nothing of the money
SELECT * FROM pg_temp.worker('capture', 'adyen', channel_body.answer_of('payment', 'processing', 'PSPcad-1'));
SELECT * FROM pg_temp.webhook('adyen', pg_temp.item('cad-1', 'CAPTURE', '{"success":"false","reason":"Insufficient balance on payment","pspReference":"CAPTURE1"}'));
SELECT * FROM pg_temp.stands('cad-1');
-- the same capture once more, under its id, would be answered as before
SELECT (payguard.register_channel('adyen', idempotent_charge => false)).idempotent_charge;
-- no message takes a capture back, and Adyen cannot be asked: a person does
SELECT outcome FROM attempts, payguard.settle_payment(payment_id, 'authorized', 'the capture was refused, says the Customer Area') WHERE of_order = 'cad-1';
SELECT outcome FROM attempts, payguard.capture_payment(payment_id) WHERE of_order = 'cad-1';
SELECT * FROM pg_temp.webhook('adyen', pg_temp.item('cad-1', 'CAPTURE'));
SELECT * FROM pg_temp.stands('cad-1');
SELECT * FROM pg_temp.webhook('adyen', pg_temp.item('cad-2', 'AUTHORISATION'));
SELECT outcome FROM attempts, payguard.close_payment(payment_id) WHERE of_order = 'cad-2';
SELECT * FROM pg_temp.webhook('adyen', pg_temp.item('cad-2', 'CANCELLATION'));
SELECT * FROM pg_temp.stands('cad-2');
SELECT * FROM pg_temp.webhook('adyen', pg_temp.item('cad-3', 'AUTHORISATION'));
SELECT * FROM pg_temp.webhook('adyen', pg_temp.item('cad-3', 'AUTHORISATION_ADJUSTMENT', '{"amount":{"currency":"USD","value":60000}}'));
SELECT * FROM pg_temp.stands('cad-3');
SELECT * FROM pg_temp.webhook('adyen', pg_temp.item('cad-3', 'EXPIRE', '{"originalReference":null}'));
SELECT * FROM pg_temp.stands('cad-3');
-- PayPal: an order that is COMPLETED, with an authorization; the transaction becomes the capture's
CREATE FUNCTION pg_temp.resource(id text, type text, kind text, more jsonb) RETURNS text LANGUAGE sql AS $$
  SELECT jsonb_build_object('id', 'WH-' || id || type, 'create_time', '2019-02-14T21:50:07Z', 'resource_type', kind, 'resource_version', '2.0', 'event_type', type,
    'resource', '{"amount":{"currency_code":"USD","value":"500.00"},"create_time":"2019-02-14T21:49:58Z"}'::jsonb || jsonb_build_object('custom_id', p32) || more)::text FROM attempts WHERE of_order = id
$$;
SELECT r.outcome, r.order_status
FROM attempts, payguard.report_payment(payment_id, 'pending') q,
     LATERAL (SELECT jsonb_build_object('id', '5O190127TN364715T', 'intent', 'AUTHORIZE', 'status', 'COMPLETED', 'purchase_units', jsonb_build_array(jsonb_build_object('custom_id', p32, 'payments',
       '{"authorizations":[{"id":"AUTHpp-1","status":"CREATED","amount":{"currency_code":"USD","value":"500.00"},"expiration_time":"2099-03-15T21:49:58Z"}]}'::jsonb)))::text AS body) b,
     paypal.payment(201, body) a,
     payguard.report_payment(a.payment_id, a.channel_status, a.channel_txn_id, a.amount, a.currency, a.code, a.message, a.channel_time, a.capture_before) r WHERE of_order = 'cpp-1';
SELECT * FROM pg_temp.webhook('paypal', pg_temp.resource('cpp-1', 'PAYMENT.AUTHORIZATION.CREATED', 'authorization', '{"id":"AUTHpp-1","status":"CREATED","expiration_time":"2099-03-15T21:49:58Z"}'));
SELECT * FROM pg_temp.stands('cpp-1');
SELECT outcome FROM attempts, payguard.capture_payment(payment_id) WHERE of_order = 'cpp-1';
-- a capture that is in review, then denied
SELECT * FROM pg_temp.worker('capture', 'paypal', paypal.capture(201, '{"id":"CAP1","status":"PENDING","status_details":{"reason":"PENDING_REVIEW"},"amount":{"currency_code":"USD","value":"500.00"}}'));
SELECT * FROM pg_temp.webhook('paypal', pg_temp.resource('cpp-1', 'PAYMENT.CAPTURE.DENIED', 'capture', '{"id":"CAP1","status":"DECLINED","supplementary_data":{"related_ids":{"authorization_id":"AUTHpp-1"}}}'));
SELECT * FROM pg_temp.stands('cpp-1');
SELECT * FROM pg_temp.webhook('paypal', pg_temp.resource('cpp-1', 'PAYMENT.CAPTURE.COMPLETED', 'capture', '{"id":"CAP2","status":"COMPLETED","final_capture":true,"supplementary_data":{"related_ids":{"authorization_id":"AUTHpp-1"}}}'));
SELECT * FROM pg_temp.stands('cpp-1');
-- late, and of before
SELECT * FROM pg_temp.webhook('paypal', replace(pg_temp.resource('cpp-1', 'PAYMENT.AUTHORIZATION.CREATED', 'authorization', '{"id":"AUTHpp-1","status":"CAPTURED","expiration_time":"2099-03-15T21:49:58Z"}'), 'WH-', 'WH2-'));
SELECT * FROM pg_temp.stands('cpp-1');
SELECT * FROM pg_temp.webhook('paypal', pg_temp.resource('cpp-2', 'PAYMENT.AUTHORIZATION.CREATED', 'authorization', '{"id":"AUTHpp-2","status":"CREATED"}'));
SELECT outcome FROM attempts, payguard.close_payment(payment_id) WHERE of_order = 'cpp-2';
SELECT * FROM pg_temp.worker('close', 'paypal', paypal.authorization(204, NULL));
SELECT * FROM pg_temp.webhook('paypal', pg_temp.resource('cpp-2', 'PAYMENT.AUTHORIZATION.VOIDED', 'authorization', '{"id":"AUTHpp-2","status":"VOIDED"}'));
SELECT * FROM pg_temp.stands('cpp-2');
SELECT * FROM pg_temp.webhook('paypal', pg_temp.resource('cpp-3', 'PAYMENT.AUTHORIZATION.CREATED', 'authorization', '{"id":"AUTHpp-3","status":"CREATED"}'));
SELECT outcome FROM attempts, payguard.capture_payment(payment_id) WHERE of_order = 'cpp-3';
SELECT * FROM pg_temp.worker('capture', 'paypal', paypal.capture(422, '{"name":"UNPROCESSABLE_ENTITY","details":[{"issue":"AUTHORIZATION_EXPIRED"}]}'));
SELECT * FROM pg_temp.stands('cpp-3');
-- Alipay: a freeze with the status SUCCESS; the trade that takes of it has a number of its own
CREATE FUNCTION pg_temp.frozen(id text, n text, more text) RETURNS text LANGUAGE sql AS $$
  SELECT 'notify_id=' || n || id || '&auth_no=AUTH' || id || '&out_order_no=' || p32 || '&out_request_no=' || p32 || '&gmt_trans=2019-06-21+14%3A46%3A07&total_freeze_amount=500.00&' || more FROM attempts WHERE of_order = id
$$;
SELECT * FROM pg_temp.webhook('alipay', pg_temp.frozen('cal-1', 'n1', 'notify_type=fund_auth_freeze&operation_type=FREEZE&status=SUCCESS&amount=500.00&rest_amount=500.00&total_pay_amount=0.00'));
SELECT * FROM pg_temp.stands('cal-1');
SELECT outcome FROM attempts, payguard.capture_payment(payment_id) WHERE of_order = 'cal-1';
SELECT w.* FROM attempts, pg_temp.worker('capture', 'alipay', alipay.pay('{"alipay_trade_pay_response":{"code":"10000","trade_no":"TRADEal-1","out_trade_no":"' || p32 || '","total_amount":"500.00","gmt_payment":"2019-06-22 14:46:07"}}')) w WHERE of_order = 'cal-1';
SELECT * FROM pg_temp.webhook('alipay', pg_temp.frozen('cal-1', 'n2', 'notify_type=fund_auth_unfreeze&operation_type=UNFREEZE&status=SUCCESS&amount=0.00&rest_amount=0.00&total_pay_amount=500.00'));
SELECT * FROM pg_temp.stands('cal-1');
SELECT * FROM pg_temp.webhook('alipay', pg_temp.frozen('cal-2', 'n1', 'notify_type=fund_auth_freeze&operation_type=FREEZE&status=SUCCESS&amount=500.00&rest_amount=500.00&total_pay_amount=0.00'));
SELECT outcome FROM attempts, payguard.close_payment(payment_id) WHERE of_order = 'cal-2';
SELECT * FROM pg_temp.webhook('alipay', pg_temp.frozen('cal-2', 'n2', 'notify_type=fund_auth_unfreeze&operation_type=UNFREEZE&status=SUCCESS&amount=500.00&rest_amount=0.00&total_pay_amount=0.00'));
SELECT * FROM pg_temp.stands('cal-2');
SELECT kind, order_id, resolved_at IS NOT NULL AS resolved FROM payguard.alerts WHERE order_id ~ '^c(st|ad|pp|al)-' ORDER BY alert_id;
SELECT count(*) AS refunds FROM payguard.refunds WHERE order_id ~ '^c(st|ad|pp|al)-';
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP SCHEMA alipay, paypal, adyen, stripe, channel_body CASCADE;
SELECT payguard.revoke_access('regress_channel_capture', access) FROM unnest('{checkout,channel,admin,refunds,auditor}'::text[]) access;
DISCARD TEMP;
DROP ROLE regress_channel_capture;
