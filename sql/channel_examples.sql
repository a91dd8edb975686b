-- examples/channels: each documented status of a channel in payguard's words; what is not
-- understood is unknown, never failed, and never an error.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
\set common :srcdir /examples/channels/common.sql
\set stripe :srcdir /examples/channels/stripe.sql
\set wechatpay :srcdir /examples/channels/wechatpay.sql
\set alipay :srcdir /examples/channels/alipay.sql
\set ECHO none
\i :common
\i :stripe
\i :wechatpay
\i :alipay
\set ECHO all
SET TIME ZONE 'UTC';
CREATE ROLE regress_channel_examples;
SELECT payguard.grant_access('regress_channel_examples', access) FROM unnest('{checkout,channel,admin,refunds,auditor}'::text[]) access;
GRANT USAGE ON SCHEMA channel_body, stripe, wechatpay, alipay TO regress_channel_examples;
SET SESSION AUTHORIZATION regress_channel_examples;
-- the words themselves
SELECT value, channel_body.minor_units(value, 2) FROM unnest('{88.88,0.01,0,7,88.880,88.885,0.001,-1.00,1e2,"1,000.00",.5,5.,NaN,9999999999999.99,99999999999999.99,""}'::text[]) value;
SELECT value, channel_body.rfc3339(value) FROM unnest('{2018-06-08T10:34:56+08:00,2018-06-08T10:34:56Z,2024-02-29T00:00:00.123-05:30,2023-02-29T00:00:00Z,2018-13-01T00:00:00Z,0000-01-01T00:00:00Z,2018-06-08T24:00:00Z,2018-06-08T10:34:56,2018-06-08T10:34:56+99:00,now}'::text[]) value;
SELECT value, channel_body.uuid(value) FROM unnest('{0190f3a25b7c7abc8def0123456789ab,0190F3A2-5B7C-7ABC-8DEF-0123456789AB,0190f3a25b7c-7abc-8def-0123456789ab,0190f3a25b7c7abc8def0123456789a,ORDER-1,""}'::text[]) value;
SELECT octet_length(channel_body.note(repeat(chr(8364), 3000))), channel_body.note(E' two\nlines '), channel_body.id(repeat('x', 256)) IS NULL AS too_long, channel_body.id(E'a\tb') IS NULL AS control;
SELECT currency, value, stripe.amount(value, currency), stripe.amount_to_send(stripe.amount(value, currency), currency) AS back
FROM (VALUES ('EUR', '1099'), ('JPY', '500'), ('KWD', '5120'), ('ISK', '500'), ('ISK', '550'), ('UGX', '500'), ('MGA', '5'), ('EUR', '10.99'), ('EUR', '-1')) v(currency, value);
-- three decimals, of which the last one is 0
SELECT currency, amount, stripe.amount_to_send(amount, currency)
FROM unnest('{BHD,JOD,KWD,OMR,TND,USD}'::text[]) currency, unnest('{5120,5124}'::bigint[]) amount;
SELECT currency, channel_body.digits(currency) FROM unnest('{JPY,EUR,KWD,CLF,NULL}'::text[]) currency;
SELECT value, channel_body.refund_reference(value) FROM unnest('{refund-0190f3a25b7c7abc8def0123456789cd,0190f3a25b7c7abc8def0123456789cd,refund-7,NULL}'::text[]) value;
SELECT r.* FROM (VALUES ('record_reversal', 'r', 'p', 7, 'EUR'), ('record_reinstatement', 'r', NULL, NULL, NULL), ('record_reversal', NULL, 'p', 7, 'EUR'),
                        ('record_reversal', 'r', NULL, 7, 'EUR'), ('record_reversal', 'r', 'p', 0, 'EUR'), ('record_reversal', 'r', 'p', NULL, 'EUR'), ('record_reversal', 'r', 'p', 7, NULL),
                        ('record_reinstatement', repeat('r', 256), NULL, NULL, NULL)) v(call, r, p, amount, currency),
     channel_body.reversal_of(call, v.r, p, 'chargeback', v.amount, v.currency) r;
SELECT fen, alipay.yuan(fen), channel_body.minor_units(alipay.yuan(fen), 2) = fen AS back FROM unnest('{0,1,10,8888,123456789012}'::bigint[]) fen;
SELECT alipay.decoded(value) FROM unnest('{a+b%2Bc%26,%2,%zz,%,""}'::text[]) value;
SELECT alipay.form('a=1&b=%3D%26+&c=1&c=2&d&=x&e=');

-- Stripe
CREATE TEMP TABLE stripe_bodies (place serial, name text, body text);
INSERT INTO stripe_bodies (name, body)
SELECT 'intent ' || status, jsonb_build_object('id', 'pi_1', 'object', 'payment_intent', 'amount', 2000, 'amount_capturable', CASE status WHEN 'requires_capture' THEN 2000 ELSE 0 END,
  'amount_received', CASE status WHEN 'succeeded' THEN 2000 ELSE 0 END, 'created', 1680800504, 'currency', 'usd', 'latest_charge', 'ch_1',
  'canceled_at', NULL, 'cancellation_reason', CASE status WHEN 'canceled' THEN 'abandoned' END, 'last_payment_error', NULL,
  'metadata', jsonb_build_object('payment_id', '0190f3a25b7c7abc8def0123456789ab'), 'status', status)::text
FROM unnest('{requires_payment_method,requires_confirmation,requires_action,processing,requires_capture,canceled,succeeded,requires_source,a_new_one}'::text[]) status;
INSERT INTO stripe_bodies (name, body) VALUES
('declined, still open', '{"id":"pi_1","object":"payment_intent","amount":2000,"amount_received":0,"currency":"usd","last_payment_error":{"type":"card_error","code":"card_declined","decline_code":"insufficient_funds","message":"Your card has insufficient funds."},"metadata":{"payment_id":"0190f3a25b7c7abc8def0123456789ab"},"status":"requires_payment_method"}'),
('declined, as an error', '{"error":{"type":"card_error","code":"card_declined","decline_code":"generic_decline","message":"Your card was declined.","payment_intent":{"id":"pi_1","object":"payment_intent","amount":2000,"amount_received":0,"currency":"usd","status":"requires_payment_method","last_payment_error":{"type":"card_error","code":"card_declined","decline_code":"generic_decline","message":"Your card was declined."},"metadata":{"payment_id":"0190f3a25b7c7abc8def0123456789ab"}}}}'),
('cancel came too late', '{"error":{"type":"invalid_request_error","code":"payment_intent_unexpected_state","message":"You cannot cancel this PaymentIntent because it has a status of succeeded.","payment_intent":{"id":"pi_1","object":"payment_intent","amount":2000,"amount_received":2000,"currency":"usd","status":"succeeded","metadata":{"payment_id":"0190f3a25b7c7abc8def0123456789ab"}}}}'),
('no such intent', '{"error":{"type":"invalid_request_error","code":"resource_missing","message":"No such payment_intent: ''pi_9''","param":"intent"}}'),
('idempotency error', '{"error":{"type":"idempotency_error","message":"Keys for idempotent requests can only be used with the same parameters they were first used with."}}'),
('api error', '{"error":{"type":"api_error","message":"An unknown error occurred"}}'),
('rate limit', '{"error":{"type":"invalid_request_error","code":"rate_limit","message":"Too many requests"}}'),
('part received', '{"id":"pi_1","object":"payment_intent","amount":2000,"amount_received":1500,"currency":"usd","status":"succeeded","metadata":{}}'),
('canceled after money', '{"id":"pi_1","object":"payment_intent","amount":2000,"amount_received":1500,"currency":"usd","status":"canceled","metadata":{}}'),
('krona', '{"id":"pi_1","object":"payment_intent","amount":500,"amount_received":500,"currency":"isk","status":"succeeded","metadata":{"payment_id":"order 7"}}'),
('reserved, charge expanded', '{"id":"pi_1","object":"payment_intent","amount":2000,"amount_capturable":2000,"amount_received":0,"currency":"usd","status":"requires_capture","latest_charge":{"id":"ch_1","created":1680800600,"captured":false,"payment_method_details":{"type":"card","card":{"capture_before":1681405400}}}}'),
('reserved at a terminal', '{"id":"pi_1","object":"payment_intent","amount":2000,"amount_capturable":2000,"amount_received":0,"currency":"usd","status":"requires_capture","latest_charge":{"id":"ch_1","payment_method_details":{"card_present":{"capture_before":1680973400}}}}'),
('reserved, and some taken', '{"id":"pi_1","object":"payment_intent","amount":2000,"amount_capturable":1500,"amount_received":500,"currency":"usd","status":"requires_capture"}'),
('reserved, how much', '{"id":"pi_1","object":"payment_intent","amount":2000,"amount_received":0,"currency":"usd","status":"requires_capture"}'),
('no amount', '{"id":"pi_1","object":"payment_intent","currency":"usd","status":"succeeded"}'),
('no currency', '{"id":"pi_1","object":"payment_intent","amount_received":2000,"status":"succeeded"}'),
('expanded charge', '{"id":"pi_1","object":"payment_intent","amount_received":2000,"currency":"usd","status":"succeeded","latest_charge":{"id":"ch_1","created":1680800600}}');
SELECT name, (a).channel_status, (a).channel_txn_id, (a).amount, (a).currency, (a).code, (a).message, (a).channel_time, (a).payment_id, (a).capture_before
FROM (SELECT place, name, stripe.payment(body) AS a FROM stripe_bodies) s ORDER BY place;
-- a capture that was refused: the money is reserved as before, where that is certain
SELECT refused, a.channel_status, a.amount, a.code
FROM unnest('{amount_too_large,amount_too_small,parameter_invalid_integer,charge_already_captured,charge_expired_for_capture,resource_missing,lock_timeout,a_new_one}'::text[]) refused,
     stripe.payment_captured(400, jsonb_build_object('error', jsonb_build_object('type', 'invalid_request_error', 'code', refused))::text) a;
SELECT http_status, name, a.channel_status, a.amount
FROM stripe_bodies, unnest('{200,400,402,500}'::int[]) http_status, stripe.payment_captured(http_status, body) a
WHERE name IN ('part received', 'intent canceled', 'intent requires_capture', 'cancel came too late', 'api error') ORDER BY 2, 1;
CREATE TEMP TABLE stripe_refunds AS
SELECT status AS name, jsonb_build_object('id', 're_1', 'object', 'refund', 'amount', 1000, 'charge', 'ch_1', 'created', 1692942318, 'currency', 'usd',
  'failure_reason', CASE status WHEN 'failed' THEN 'expired_or_canceled_card' WHEN 'canceled' THEN 'merchant_request' END,
  'metadata', jsonb_build_object('refund_id', '0190f3a25b7c7abc8def0123456789cd', 'payment_id', '0190f3a25b7c7abc8def0123456789ab'),
  'payment_intent', 'pi_1', 'status', status)::text AS body
FROM unnest('{pending,requires_action,succeeded,failed,canceled,a_new_one}'::text[]) status;
SELECT name, (a).* FROM (SELECT name, stripe.refund(body) AS a FROM stripe_refunds) s;
SELECT (stripe.refund('{"error":{"type":"invalid_request_error","code":"charge_already_refunded","message":"Charge ch_1 has already been refunded."}}')).*;
SELECT (stripe.refund('{"error":{"type":"invalid_request_error","code":"resource_missing","message":"No such refund"}}')).channel_status;
-- a request to create something that Stripe refused: nothing was made
CREATE TEMP TABLE stripe_refusals (place serial, name text, http_status integer, body text);
INSERT INTO stripe_refusals (name, http_status, body) VALUES
('a parameter', 400, '{"error":{"type":"invalid_request_error","code":"parameter_missing","message":"Missing required param: currency.","param":"currency"}}'),
('no such customer', 400, '{"error":{"type":"invalid_request_error","code":"resource_missing","message":"No such customer: ''cus_9''"}}'),
('with an intent', 400, '{"error":{"type":"invalid_request_error","code":"payment_intent_unexpected_state","message":"state","payment_intent":{"id":"pi_1","object":"payment_intent","amount_received":0,"currency":"usd","status":"requires_action"}}}'),
('declined', 402, (SELECT body FROM stripe_bodies WHERE name = 'declined, as an error')),
('the key was used before', 400, '{"error":{"type":"idempotency_error","message":"Keys for idempotent requests can only be used with the same parameters they were first used with."}}'),
('the key is in use', 409, '{"error":{"type":"invalid_request_error","code":"idempotency_key_in_use","message":"in use"}}'),
('the key is in use', 400, '{"error":{"type":"invalid_request_error","code":"idempotency_key_in_use","message":"in use"}}'),
('refunded before, perhaps by us', 400, '{"error":{"type":"invalid_request_error","code":"charge_already_refunded","message":"Charge ch_1 has already been refunded."}}'),
('no key', 401, '{"error":{"type":"invalid_request_error","message":"Invalid API Key provided"}}'),
('too many', 429, '{"error":{"type":"invalid_request_error","code":"rate_limit","message":"Too many requests"}}'),
('their error', 500, '{"error":{"type":"api_error","message":"An unknown error occurred"}}'),
('a page', 400, '<html>Bad Request</html>'), ('nothing', 400, NULL), ('no status', NULL, '{"error":{"type":"invalid_request_error"}}'),
('created', 200, (SELECT body FROM stripe_bodies WHERE name = 'intent processing'));
SELECT name, http_status, (p).channel_status AS payment, (p).code, (r).channel_status AS refund
FROM (SELECT place, name, http_status, stripe.payment_created(http_status, body) AS p, stripe.refund_created(http_status, body) AS r FROM stripe_refusals) s ORDER BY place;
-- events
CREATE TEMP TABLE stripe_events AS
SELECT type, jsonb_build_object('id', 'evt_' || n, 'object', 'event', 'created', 1686089970, 'type', type, 'data', jsonb_build_object('object', body::jsonb))::text AS body
FROM (SELECT 1 AS n, 'payment_intent.succeeded' AS type, body FROM stripe_bodies WHERE name = 'intent succeeded'
  UNION ALL SELECT 2, 'payment_intent.payment_failed', body FROM stripe_bodies WHERE name = 'declined, still open'
  UNION ALL SELECT 3, 'payment_intent.canceled', body FROM stripe_bodies WHERE name = 'intent canceled'
  UNION ALL SELECT 4, 'payment_intent.processing', body FROM stripe_bodies WHERE name = 'intent processing'
  UNION ALL SELECT 5, 'refund.updated', body FROM stripe_refunds WHERE name = 'succeeded'
  UNION ALL SELECT 6, 'refund.failed', body FROM stripe_refunds WHERE name = 'failed'
  UNION ALL SELECT 7, 'charge.failed', '{"id":"ch_1","object":"charge","amount":2000,"payment_intent":"pi_1","status":"failed","metadata":{"payment_id":"0190f3a25b7c7abc8def0123456789ab"}}'
  UNION ALL SELECT 8, 'charge.refunded', '{"id":"ch_1","object":"charge","amount":2000,"amount_refunded":2000,"refunded":true,"payment_intent":"pi_1","status":"succeeded","metadata":{}}'
  UNION ALL SELECT 10 + n, type, (jsonb_build_object('id', 'ch_1', 'object', 'charge', 'amount', 2000, 'amount_captured', 0, 'captured', false, 'refunded', false, 'currency', 'usd', 'payment_intent', 'pi_1', 'status', 'succeeded',
                      'payment_method_details', '{"type":"card","card":{"brand":"visa","capture_before":1686694770}}'::jsonb, 'metadata', '{"payment_id":"0190f3a25b7c7abc8def0123456789ab"}'::jsonb) || more)::text
  FROM (VALUES (1, 'charge.succeeded', '{}'::jsonb), (2, 'charge.succeeded', '{"captured":true,"amount_captured":2000}'), (3, 'charge.succeeded', '{"status":"pending"}'), (4, 'charge.captured', '{"captured":true,"amount_captured":1500}'),
               (5, 'charge.expired', '{"refunded":true}'), (6, 'charge.updated', '{}'), (7, 'charge.succeeded', '{"captured":"false"}')) v(n, type, more)
  UNION ALL SELECT 20, 'payment_intent.amount_capturable_updated', body FROM stripe_bodies WHERE name = 'intent requires_capture'
  UNION ALL SELECT 9, 'customer.created', '{"id":"cus_1","object":"customer"}') e;
SELECT type, (a).subject, (a).channel_status, (a).channel_txn_id, (a).of_txn_id, (a).amount, (a).code, (a).channel_time, (a).payment_id, (a).refund_id, (a).event_id, (a).capture_before
FROM (SELECT type, stripe.event(body) AS a FROM stripe_events) s ORDER BY event_id;
-- money that Stripe moves without being asked: each event is told once, by the one function or the other
CREATE TEMP TABLE stripe_money (place integer, name text, body text);
INSERT INTO stripe_money
SELECT n, name, jsonb_build_object('id', 'evt_m' || n, 'object', 'event', 'created', 1686089970, 'type', type, 'data', jsonb_build_object('object', object || more))::text
FROM (SELECT '{"id":"dp_1","object":"dispute","amount":2000,"charge":"ch_1","currency":"usd","payment_intent":"pi_1","status":"needs_response","reason":"fraudulent","metadata":{}}'::jsonb AS object) d,
     (VALUES (1, 'opened', 'charge.dispute.created', '{}'::jsonb),
             (2, 'inquiry', 'charge.dispute.created', '{"status":"warning_needs_response"}'),
             (3, 'taken', 'charge.dispute.funds_withdrawn', '{}'),
             (4, 'given back', 'charge.dispute.funds_reinstated', '{"status":"won"}'),
             (5, 'given back in part', 'charge.dispute.funds_reinstated', '{"status":"lost"}'),
             (6, 'won', 'charge.dispute.closed', '{"status":"won"}'),
             (7, 'lost', 'charge.dispute.closed', '{"status":"lost"}'),
             (8, 'of a charge without an intent', 'charge.dispute.funds_withdrawn', '{"payment_intent":null}'),
             (9, 'in krona', 'charge.dispute.funds_withdrawn', '{"amount":500,"currency":"isk"}'),
             (10, 'no amount', 'charge.dispute.funds_withdrawn', '{"amount":"all"}')) v(n, name, type, more)
UNION ALL
SELECT n, name, jsonb_build_object('id', 'evt_m' || n, 'object', 'event', 'created', 1692942400, 'type', type, 'data', jsonb_build_object('object', object || more))::text
FROM (SELECT '{"id":"re_2","object":"refund","amount":700,"charge":"ch_1","created":1692942318,"currency":"usd","metadata":{},"payment_intent":"pi_1","status":"succeeded"}'::jsonb AS object) d,
     (VALUES (21, 'refund at the console', 'refund.created', '{}'::jsonb),
             (22, 'the same again', 'charge.refund.updated', '{}'),
             (23, 'not yet', 'refund.created', '{"status":"pending"}'),
             (24, 'failed after all', 'refund.failed', '{"status":"failed"}'),
             (25, 'canceled', 'refund.updated', '{"status":"canceled"}'),
             (26, 'a new status', 'refund.updated', '{"status":"reversed"}'),
             (27, 'ours', 'refund.updated', '{"metadata":{"refund_id":"0190f3a25b7c7abc8def0123456789cd"}}'),
             (28, 'a number of somebody else', 'refund.created', '{"metadata":{"refund_id":"7"}}'),
             (29, 'no intent', 'refund.created', '{"payment_intent":null}'),
             (30, 'listed by its charge', 'charge.refunded', '{"id":"ch_1","object":"charge","captured":true,"refunds":{"data":[{"id":"re_3","object":"refund","amount":300,"currency":"usd","payment_intent":"pi_1","status":"succeeded","metadata":{}},{"id":"re_4","object":"refund","amount":400,"currency":"usd","payment_intent":"pi_1","status":"succeeded","metadata":{"refund_id":"0190f3a25b7c7abc8def0123456789cd"}},7]}}'),
             (31, 'the sum alone', 'charge.refunded', '{"id":"ch_1","object":"charge","amount_refunded":700}'),
             (33, 'given up, and listed', 'charge.refunded', '{"id":"ch_1","object":"charge","captured":false,"refunded":true,"payment_intent":"pi_1","refunds":{"data":[{"id":"re_5","object":"refund","amount":2000,"currency":"usd","payment_intent":"pi_1","status":"succeeded","metadata":{}}]}}'),
             (32, 'another charge event', 'charge.updated', '{"id":"ch_1","object":"charge","refunds":{"data":[{"id":"re_3","object":"refund","amount":300,"currency":"usd","payment_intent":"pi_1","status":"succeeded"}]}}')) v(n, name, type, more)
UNION ALL VALUES (41, 'a payout', '{"id":"evt_m41","object":"event","type":"payout.paid","data":{"object":{"id":"po_1","object":"payout"}}}'),
                 (42, 'a charge of a new shape', '{"id":"evt_m42","object":"event","type":"charge.expired","data":{"object":{"id":"ch_1","object":"charge_v2"}}}'),
                 (43, 'cut', '{"id":"evt_m43","type":"charge.dispute.funds_withdrawn","data":{');
SELECT name, (a).subject, (a).channel_status, (a).channel_txn_id, (a).refund_id, (a).code, (SELECT count(*) FROM stripe.reversals(body)) AS reversals
FROM (SELECT place, name, body, stripe.event(body) AS a FROM stripe_money) s ORDER BY place;
SELECT name, v.* FROM stripe_money, stripe.reversals(body) v ORDER BY place;

-- WeChat Pay
CREATE TEMP TABLE wechatpay_bodies (place serial, name text, http_status integer, body text);
INSERT INTO wechatpay_bodies (name, http_status, body)
SELECT state, 200, (jsonb_build_object('appid', 'wxd678efh567hg6787', 'mchid', '1230000109', 'out_trade_no', '0190f3a25b7c7abc8def0123456789ab',
  'trade_state', state, 'trade_state_desc', 'as it is') ||
  CASE WHEN state IN ('SUCCESS', 'REFUND') THEN '{"transaction_id":"1217752501201407033233368018","trade_type":"JSAPI","success_time":"2018-06-08T10:34:56+08:00","amount":{"total":100,"payer_total":90,"currency":"CNY","payer_currency":"CNY"}}'::jsonb ELSE '{}' END)::text
FROM unnest('{SUCCESS,REFUND,NOTPAY,CLOSED,REVOKED,USERPAYING,PAYERROR,ACCEPT,success}'::text[]) state;
INSERT INTO wechatpay_bodies (name, http_status, body) VALUES
('not found', 404, '{"code":"ORDER_NOT_EXIST","message":"order does not exist"}'),
('not found, older name', 404, '{"code":"ORDERNOTEXIST","message":"order does not exist"}'),
('404 of something else', 404, '{"code":"RESOURCE_NOT_EXISTS","message":"?"}'),
('system error', 500, '{"code":"SYSTEM_ERROR","message":"try later"}'),
('signature', 401, '{"code":"SIGN_ERROR","message":"signature"}'),
('a success in an error', 500, '{"trade_state":"SUCCESS","amount":{"total":100}}'),
('no amount', 200, '{"trade_state":"SUCCESS","transaction_id":"1"}'),
('no currency: yuan', 200, '{"trade_state":"SUCCESS","transaction_id":"1","amount":{"total":100}}'),
('another currency', 200, '{"trade_state":"SUCCESS","transaction_id":"1","amount":{"total":100,"currency":"HKD"}}'),
('malformed currency', 200, '{"trade_state":"SUCCESS","transaction_id":"1","amount":{"total":100,"currency":7}}'),
('half a fen', 200, '{"trade_state":"SUCCESS","transaction_id":"1","amount":{"total":100.5}}'),
('no body', 200, ''), ('no status', NULL, NULL), ('a page', 502, '<html>Bad Gateway</html>');
SELECT name, http_status, (a).channel_status, (a).channel_txn_id, (a).amount, (a).currency, (a).code, (a).message, (a).channel_time, (a).payment_id
FROM (SELECT place, name, http_status, wechatpay.payment(http_status, body) AS a FROM wechatpay_bodies) s ORDER BY place;
SELECT http_status, code, (a).channel_status, (a).amount, (a).code
FROM (VALUES (204, NULL), (202, 'USER_PAYING'), (400, 'ORDER_CLOSED'), (400, 'ORDERPAID'), (404, 'ORDER_NOT_EXIST'), (403, 'TRADE_ERROR'),
             (403, 'RULE_LIMIT'), (400, 'INVALID_REQUEST'), (401, 'SIGN_ERROR'), (500, 'SYSTEM_ERROR'), (500, 'ORDERPAID'), (200, NULL), (NULL, 'ORDERPAID')) v(http_status, code),
     LATERAL (SELECT wechatpay.close(http_status, jsonb_build_object('code', code, 'message', 'as it is')::text) AS a) s;
SELECT (wechatpay.close(204, '')).channel_status, (wechatpay.close(204, NULL)).code;
-- a combined order: each sub-order has a state of its own
CREATE TEMP TABLE wechatpay_combined AS SELECT '{"combine_appid":"wxd678efh567hg6787","combine_mchid":"1230000109","combine_out_trade_no":"1217752501201407033233368018","combine_payer_info":{"openid":"oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},"sub_orders":[
 {"mchid":"1900000109","trade_type":"JSAPI","trade_state":"SUCCESS","bank_type":"CMC","success_time":"2015-05-20T13:29:35+08:00","transaction_id":"1009660380201506130728806387","out_trade_no":"0190f3a25b7c7abc8def0123456789ab","amount":{"total_amount":10,"currency":"CNY","payer_amount":9,"payer_currency":"CNY"}},
 {"mchid":"1900000110","trade_type":"JSAPI","trade_state":"NOTPAY","out_trade_no":"0190f3a25b7c7abc8def0123456789ac","amount":{"total_amount":20,"currency":"CNY"}},
 {"mchid":"1900000111","trade_state":"REFUND","transaction_id":"1009660380201506130728806388","out_trade_no":"0190f3a25b7c7abc8def0123456789ad","amount":{"total_amount":30,"currency":"CNY"}},
 {"trade_state":"SUCCESS","transaction_id":"1009660380201506130728806389","out_trade_no":"0190f3a25b7c7abc8def0123456789ae"}, 7]}'::text AS body;
SELECT a.channel_status, a.channel_txn_id, a.amount, a.currency, a.code, a.channel_time, a.payment_id FROM wechatpay_combined, wechatpay.payments(200, body) a;
SELECT a.channel_status, a.code, a.payment_id FROM wechatpay_combined, wechatpay.payment(200, body) a;
SELECT http_status, a.channel_status, a.code, a.payment_id
FROM (VALUES (200, '{"trade_state":"NOTPAY","out_trade_no":"0190f3a25b7c7abc8def0123456789ab"}'), (404, '{"code":"ORDER_NOT_EXIST"}'), (500, (SELECT body FROM wechatpay_combined)),
             (200, '{"sub_orders":[]}'), (200, '{"sub_orders":{"0":7}}'), (200, NULL)) v(http_status, body), wechatpay.payments(http_status, body) a;
SELECT a.subject, a.channel_status, a.amount, a.payment_id, a.event_id
FROM wechatpay_combined, wechatpay.notifications('{"id":"EV-9","event_type":"TRANSACTION.SUCCESS"}', body) a;
SELECT a.subject, a.channel_status, a.code, a.event_id FROM wechatpay_combined, wechatpay.notification('{"id":"EV-9","event_type":"TRANSACTION.SUCCESS"}', body) a;
CREATE TEMP TABLE wechatpay_refunds AS
SELECT status AS name, jsonb_build_object('refund_id', '50000000382019052709732678859', 'out_refund_no', '0190f3a25b7c7abc8def0123456789cd',
  'transaction_id', '1217752501201407033233368018', 'out_trade_no', '0190f3a25b7c7abc8def0123456789ab', 'channel', 'ORIGINAL',
  'success_time', CASE status WHEN 'SUCCESS' THEN '2020-12-01T16:18:12+08:00' END, 'status', status,
  'amount', '{"total":100,"refund":40,"payer_total":90,"payer_refund":36,"currency":"CNY"}'::jsonb)::text AS body
FROM unnest('{SUCCESS,CLOSED,PROCESSING,ABNORMAL,CHANGE}'::text[]) status;
SELECT name, (a).* FROM (SELECT name, wechatpay.refund(200, body) AS a FROM wechatpay_refunds) s;
SELECT (wechatpay.refund(404, '{"code":"RESOURCE_NOT_EXISTS","message":"no such refund"}')).channel_status,
       (wechatpay.refund(403, '{"code":"NOT_ENOUGH","message":"balance"}')).channel_status;
SELECT type, (a).*
FROM (VALUES (1, 'TRANSACTION.SUCCESS', '{"transaction_id":"1217752501201407033233368018","amount":{"payer_total":100,"total":100,"currency":"CNY","payer_currency":"CNY"},"mchid":"1230000109","trade_state":"SUCCESS","success_time":"2018-06-08T10:34:56+08:00","out_trade_no":"0190f3a25b7c7abc8def0123456789ab"}'),
             (2, 'REFUND.SUCCESS', '{"mchid":"1900000100","transaction_id":"1008450740201411110005820873","out_trade_no":"0190f3a25b7c7abc8def0123456789ab","refund_id":"50200207182018070300011301001","out_refund_no":"0190f3a25b7c7abc8def0123456789cd","refund_status":"SUCCESS","success_time":"2018-06-08T10:34:56+08:00","amount":{"total":999,"refund":999,"payer_total":999,"payer_refund":999}}'),
             (3, 'REFUND.ABNORMAL', '{"refund_id":"5","out_refund_no":"0190f3a25b7c7abc8def0123456789cd","refund_status":"ABNORMAL","amount":{"total":999,"refund":999}}'),
             (4, 'REFUND.CLOSED', '{"refund_id":"5","out_refund_no":"0190f3a25b7c7abc8def0123456789cd","refund_status":"CLOSED","amount":{"total":999,"refund":999}}'),
             (5, 'TRANSACTION.SUCCESS', 'not decrypted'), (6, 'COUPON.USE', '{}')) v(n, type, resource),
     LATERAL (SELECT wechatpay.notification(jsonb_build_object('id', 'EV-' || n, 'create_time', '2018-06-08T10:34:56+08:00', 'event_type', type,
       'resource_type', 'encrypt-resource', 'resource', '{"algorithm":"AEAD_AES_256_GCM"}'::jsonb)::text, resource) AS a) s ORDER BY n;
-- refunds that were not asked for here, and what is not about payments
SELECT name, a.subject, a.channel_status, a.code, x.*
FROM (VALUES (1, 'at the merchant platform', 'REFUND.SUCCESS', '{"transaction_id":"1008450740201411110005820873","refund_id":"50200207182018070300011301001","out_refund_no":"7752501201407033233368018","refund_status":"SUCCESS","success_time":"2018-06-08T10:34:56+08:00","amount":{"total":999,"refund":300}}'),
             (2, 'ours', 'REFUND.SUCCESS', '{"transaction_id":"1","refund_id":"5","out_refund_no":"0190f3a25b7c7abc8def0123456789cd","refund_status":"SUCCESS","amount":{"total":999,"refund":300}}'),
             (3, 'the bank refused', 'REFUND.ABNORMAL', '{"transaction_id":"1","refund_id":"5","out_refund_no":"77","refund_status":"ABNORMAL","amount":{"refund":300}}'),
             (4, 'not made', 'REFUND.CLOSED', '{"transaction_id":"1","refund_id":"5","out_refund_no":"77","refund_status":"CLOSED","amount":{"refund":300}}'),
             (5, 'no amount', 'REFUND.SUCCESS', '{"transaction_id":"1","refund_id":"5","out_refund_no":"77","refund_status":"SUCCESS","amount":{}}'),
             (6, 'not decrypted', 'REFUND.SUCCESS', 'gibberish'), (7, 'a coupon', 'COUPON.USE', '{}'), (8, 'no type', NULL, '{}')) v(n, name, type, resource),
     LATERAL (SELECT jsonb_build_object('id', 'EV-r' || n, 'event_type', type)::text AS body) b,
     wechatpay.notifications(body, resource) a LEFT JOIN wechatpay.reversals(body, resource) x ON true ORDER BY n;

-- Alipay
CREATE TEMP TABLE alipay_bodies (place serial, name text, body text);
INSERT INTO alipay_bodies (name, body)
SELECT name, jsonb_build_object('alipay_trade_query_response', '{"code":"10000","msg":"Success","trade_no":"2013112011001004330000121536","out_trade_no":"0190f3a25b7c7abc8def0123456789ab","buyer_logon_id":"159****5620","total_amount":"88.88"}'::jsonb || more, 'sign', 'x')::text
FROM (VALUES (1, 'waiting', '{"trade_status":"WAIT_BUYER_PAY","buyer_pay_amount":"0.00","receipt_amount":"0.00"}'::jsonb),
             (2, 'paid', '{"trade_status":"TRADE_SUCCESS","buyer_pay_amount":"88.88","receipt_amount":"88.88","send_pay_date":"2014-11-27 15:45:57"}'),
             (3, 'finished', '{"trade_status":"TRADE_FINISHED","send_pay_date":"2014-11-27 15:45:57"}'),
             (4, 'timed out', '{"trade_status":"TRADE_CLOSED","buyer_pay_amount":"0.00","receipt_amount":"0.00"}'),
             (5, 'timed out, short', '{"trade_status":"TRADE_CLOSED"}'),
             (6, 'given back in full', '{"trade_status":"TRADE_CLOSED","buyer_pay_amount":"88.88","receipt_amount":"88.88","send_pay_date":"2014-11-27 15:45:57"}'),
             (7, 'closed, either', '{"trade_status":"TRADE_CLOSED","send_pay_date":"2014-11-27 15:45:57"}'),
             (8, 'closed, either', '{"trade_status":"TRADE_CLOSED","fund_bill_list":[{"fund_channel":"ALIPAYACCOUNT","amount":"88.88"}]}'),
             (9, 'closed, unreadable', '{"trade_status":"TRADE_CLOSED","buyer_pay_amount":"free"}'),
             (14, 'closed, unreadable', '{"trade_status":"TRADE_CLOSED","send_pay_date":true}'),
             (10, 'a new status', '{"trade_status":"TRADE_PENDING"}'),
             (11, 'no status', '{}'),
             (12, 'not exact', '{"trade_status":"TRADE_SUCCESS","total_amount":"88.885"}'),
             (13, 'in dollars', '{"trade_status":"TRADE_SUCCESS","trans_currency":"USD"}')) v(n, name, more) ORDER BY n;
INSERT INTO alipay_bodies (name, body) VALUES
('does not exist', '{"alipay_trade_query_response":{"code":"40004","msg":"Business Failed","sub_code":"ACQ.TRADE_NOT_EXIST","sub_msg":"no such trade"},"sign":"x"}'),
('system error', '{"alipay_trade_query_response":{"code":"40004","msg":"Business Failed","sub_code":"ACQ.SYSTEM_ERROR","sub_msg":"system"},"sign":"x"}'),
('gateway', '{"error_response":{"code":"20000","msg":"Service Currently Unavailable","sub_code":"isp.unknow-error"}}'),
('another answer', '{"alipay_trade_close_response":{"code":"10000","trade_status":"TRADE_SUCCESS"}}');
SELECT name, (a).channel_status, (a).channel_txn_id, (a).amount, (a).currency, (a).code, (a).message, (a).channel_time, (a).payment_id
FROM (SELECT place, name, alipay.payment(body) AS a FROM alipay_bodies) s ORDER BY place;
SELECT name, (a).channel_status, (a).code, (a).payment_id
FROM (VALUES (1, 'closed', '{"code":"10000","msg":"Success","trade_no":"2013112111001004500000675971","out_trade_no":"0190f3a25b7c7abc8def0123456789ab"}'),
             (2, 'never opened', '{"code":"40004","msg":"Business Failed","sub_code":"ACQ.TRADE_NOT_EXIST","sub_msg":"no such trade"}'),
             (3, 'in another state', '{"code":"40004","msg":"Business Failed","sub_code":"ACQ.TRADE_STATUS_ERROR","sub_msg":"state"}'),
             (4, 'in another state', '{"code":"40004","msg":"Business Failed","sub_code":"ACQ.REASON_TRADE_STATUS_INVALID","sub_msg":"state"}'),
             (6, 'in another state', '{"code":"40004","msg":"Business Failed","sub_code":"ACQ.REASON_ILLEGAL_STATUS","sub_msg":"state"}'),
             (7, 'system error', '{"code":"40004","msg":"Business Failed","sub_code":"ACQ.SYSTEM_ERROR","sub_msg":"system"}')) v(n, name, response),
     LATERAL (SELECT alipay.close(jsonb_build_object('alipay_trade_close_response', response::jsonb)::text) AS a) s ORDER BY n;
-- payment codes: charged at once, with no trade_status; canceled where nobody knows
SELECT name, (a).channel_status, (a).channel_txn_id, (a).amount, (a).currency, (a).code, (a).message, (a).channel_time, (a).payment_id
FROM (VALUES (1, 'paid', '{"code":"10000","msg":"Success","trade_no":"2013112011001004330000121536","out_trade_no":"0190f3a25b7c7abc8def0123456789ab","total_amount":"120.88","receipt_amount":"88.88","gmt_payment":"2014-11-27 15:45:57"}'),
             (2, 'waiting', '{"code":"10003","msg":"order success pay inprocess","trade_no":"2013112011001004330000121536","out_trade_no":"0190f3a25b7c7abc8def0123456789ab","total_amount":"120.88"}'),
             (3, 'nobody knows', '{"code":"20000","msg":"Service Currently Unavailable","sub_code":"isp.unknow-error"}'),
             (4, 'no money', '{"code":"40004","msg":"Business Failed","sub_code":"ACQ.BUYER_BALANCE_NOT_ENOUGH","sub_msg":"balance"}'),
             (5, 'paid before', '{"code":"40004","msg":"Business Failed","sub_code":"ACQ.TRADE_HAS_SUCCESS","sub_msg":"paid"}'),
             (6, 'no amount', '{"code":"10000","trade_no":"2013"}')) v(n, name, response),
     LATERAL (SELECT alipay.pay(jsonb_build_object('alipay_trade_pay_response', response::jsonb)::text) AS a) s ORDER BY n;
SELECT name, (a).channel_status, (a).channel_txn_id, (a).code, (a).message, (a).payment_id
FROM (VALUES (1, 'closed', '{"code":"10000","msg":"Success","trade_no":"2013","out_trade_no":"0190f3a25b7c7abc8def0123456789ab","retry_flag":"N","action":"close"}'),
             (2, 'given back', '{"code":"10000","msg":"Success","trade_no":"2013","out_trade_no":"0190f3a25b7c7abc8def0123456789ab","retry_flag":"N","action":"refund"}'),
             (3, 'nothing found', '{"code":"10000","msg":"Success","out_trade_no":"0190f3a25b7c7abc8def0123456789ab","retry_flag":"N"}'),
             (4, 'to be repeated', '{"code":"40004","msg":"Business Failed","sub_code":"ACQ.SYSTEM_ERROR","sub_msg":"system","retry_flag":"Y"}'),
             (5, 'no such trade', '{"code":"40004","msg":"Business Failed","sub_code":"ACQ.TRADE_NOT_EXIST","sub_msg":"no such trade"}')) v(n, name, response),
     LATERAL (SELECT alipay.cancel(jsonb_build_object('alipay_trade_cancel_response', response::jsonb)::text) AS a) s ORDER BY n;
SELECT name, (a).channel_status, (a).of_txn_id, (a).amount, (a).code
FROM (VALUES (1, 'made', '{"code":"10000","msg":"Success","trade_no":"2013","out_trade_no":"0190f3a25b7c7abc8def0123456789ab","fund_change":"Y","refund_fee":"88.88"}'),
             (2, 'asked again', '{"code":"10000","msg":"Success","trade_no":"2013","fund_change":"N","refund_fee":"88.88"}'),
             (3, 'too much', '{"code":"40004","msg":"Business Failed","sub_code":"ACQ.REFUND_AMT_NOT_EQUAL_TOTAL","sub_msg":"amount"}'),
             (4, 'no money', '{"code":"40004","msg":"Business Failed","sub_code":"ACQ.SELLER_BALANCE_NOT_ENOUGH","sub_msg":"balance"}')) v(n, name, response),
     LATERAL (SELECT alipay.refund(jsonb_build_object('alipay_trade_refund_response', response::jsonb)::text) AS a) s ORDER BY n;
SELECT name, (a).*
FROM (VALUES (1, 'made', '{"code":"10000","msg":"Success","trade_no":"2013","out_trade_no":"0190f3a25b7c7abc8def0123456789ab","out_request_no":"0190f3a25b7c7abc8def0123456789cd","total_amount":"88.88","refund_amount":"12.33","refund_status":"REFUND_SUCCESS","gmt_refund_pay":"2014-11-27 15:45:57"}'),
             (2, 'not made, or not yet', '{"code":"10000","msg":"Success"}'),
             (3, 'a new status', '{"code":"10000","msg":"Success","refund_status":"REFUND_PROCESSING","refund_amount":"12.33"}'),
             (4, 'no amount', '{"code":"10000","msg":"Success","refund_status":"REFUND_SUCCESS"}'),
             (5, 'no trade', '{"code":"40004","msg":"Business Failed","sub_code":"ACQ.TRADE_NOT_EXIST","sub_msg":"no such trade"}')) v(n, name, response),
     LATERAL (SELECT alipay.refund_query(jsonb_build_object('alipay_trade_fastpay_refund_query_response', response::jsonb)::text) AS a) s ORDER BY n;
-- made in Alipay's console: no number of ours
SELECT v.* FROM (VALUES ('{"code":"10000","trade_no":"2013","out_request_no":"HZ01RF001","refund_amount":"12.33","refund_status":"REFUND_SUCCESS","gmt_refund_pay":"2014-11-27 15:45:57"}'),
             ('{"code":"10000","trade_no":"2013","out_request_no":"0190f3a25b7c7abc8def0123456789cd","refund_amount":"12.33","refund_status":"REFUND_SUCCESS"}'),
             ('{"code":"10000","trade_no":"2013","out_request_no":"HZ01RF002","refund_amount":"12.335","refund_status":"REFUND_SUCCESS"}'),
             ('{"code":"10000"}'), ('{"code":"40004","sub_code":"ACQ.TRADE_NOT_EXIST"}')) r(response),
     alipay.reversals(jsonb_build_object('alipay_trade_fastpay_refund_query_response', response::jsonb)::text) v;
-- one notification may tell of the payment and of a refund
CREATE TEMP TABLE alipay_forms AS
SELECT n, name, 'notify_time=2015-12-27+06%3A20%3A30&notify_type=trade_status_sync&notify_id=ac05' || n || '&app_id=2014072300007148&trade_no=2013112011001004330000121536&out_trade_no=0190f3a25b7c7abc8def0123456789ab&total_amount=20.00&subject=%E6%94%AF%E4%BB%98' || more AS body
FROM (VALUES (1, 'waiting', '&trade_status=WAIT_BUYER_PAY'),
             (2, 'paid', '&trade_status=TRADE_SUCCESS&receipt_amount=20.00&buyer_pay_amount=20.00&gmt_payment=2015-12-27+06%3A20%3A29'),
             (3, 'finished', '&trade_status=TRADE_FINISHED&gmt_payment=2015-12-27+06%3A20%3A29'),
             (4, 'timed out', '&trade_status=TRADE_CLOSED&gmt_close=2015-12-27+06%3A20%3A29'),
             (5, 'given back in part', '&trade_status=TRADE_SUCCESS&gmt_payment=2015-12-27+06%3A20%3A29&refund_fee=5.00&gmt_refund=2015-12-28+06%3A20%3A29.320&out_biz_no=0190f3a25b7c7abc8def0123456789cd'),
             (6, 'given back in full', '&trade_status=TRADE_CLOSED&gmt_payment=2015-12-27+06%3A20%3A29&refund_fee=20.00&gmt_refund=2015-12-28+06%3A20%3A29.320&gmt_close=2015-12-28+06%3A20%3A29&out_biz_no=HZ01RF001'),
             (7, 'a new status', '&trade_status=TRADE_SPLIT'),
             (8, 'two statuses', '&trade_status=TRADE_CLOSED&trade_status=TRADE_SUCCESS'),
             (9, 'two sums', '&trade_status=TRADE_CLOSED&refund_fee=0.00&refund_fee=20.00'),
             (10, 'undecodable sum', '&trade_status=TRADE_CLOSED&refund_fee=%E6')) v(n, name, more);
SELECT name, (a).channel_status, (a).channel_txn_id, (a).amount, (a).currency, (a).code, (a).message, (a).channel_time, (a).payment_id, (a).event_id
FROM (SELECT n, name, alipay.notification(body) AS a FROM alipay_forms) s ORDER BY n;
SELECT name, (a).subject, (a).channel_status, (a).channel_txn_id, (a).of_txn_id, (a).amount, (a).channel_time, (a).payment_id, (a).refund_id
FROM (SELECT n, name, alipay.notification_refund(body) AS a FROM alipay_forms) s WHERE (a).subject IS NOT NULL ORDER BY n;
SELECT (alipay.notification('notify_type=something&notify_id=1&trade_status=TRADE_SUCCESS')).*;
SELECT (alipay.notification('notify_id=2&trade_status=TRADE_SUCCESS')).subject, (alipay.notification('<xml/>')).subject;

-- a pre-authorization: as a whole, by its operations, and by the calls about it
CREATE TEMP TABLE alipay_authorizations (place serial, name text, body text);
INSERT INTO alipay_authorizations (name, body)
SELECT name, jsonb_build_object('alipay_fund_auth_operation_detail_query_response', '{"code":"10000","msg":"Success","auth_no":"2014031600002001260000001000","out_order_no":"0190f3a25b7c7abc8def0123456789ab","operation_id":"20140216355864862002","operation_type":"FREEZE","status":"SUCCESS","amount":"500.00","total_freeze_amount":"500.00","total_pay_amount":"0.00","rest_amount":"500.00","gmt_trans":"2014-09-15 11:23:04"}'::jsonb || more, 'sign', 'x')::text
FROM (VALUES (1, 'made', '{"order_status":"INIT","status":"INIT","rest_amount":"0.00"}'::jsonb),
             (2, 'frozen', '{"order_status":"AUTHORIZED"}'),
             (3, 'a part given up', '{"order_status":"AUTHORIZED","operation_type":"UNFREEZE","amount":"200.00","rest_amount":"300.00"}'),
             (4, 'a part taken', '{"order_status":"AUTHORIZED","total_pay_amount":"300.00","rest_amount":"200.00"}'),
             (5, 'taken', '{"order_status":"FINISH","total_pay_amount":"500.00","rest_amount":"0.00"}'),
             (6, 'given up', '{"order_status":"CLOSED","rest_amount":"0.00"}'),
             (7, 'closed, some was taken', '{"order_status":"CLOSED","total_pay_amount":"300.00","rest_amount":"0.00"}'),
             (8, 'closed, unreadable', '{"order_status":"CLOSED","total_pay_amount":"none"}'),
             (9, 'a new state', '{"order_status":"FROZEN"}'),
             (10, 'finished with nothing', '{"order_status":"FINISH"}'),
             (11, 'of credit', '{"order_status":"AUTHORIZED","pre_auth_type":"CREDIT_AUTH"}'),
             (12, 'not exact', '{"order_status":"AUTHORIZED","rest_amount":"500.005"}'),
             (13, 'in dollars', '{"order_status":"AUTHORIZED","trans_currency":"USD"}')) v(n, name, more) ORDER BY n;
INSERT INTO alipay_authorizations (name, body) VALUES
('no such order', '{"alipay_fund_auth_operation_detail_query_response":{"code":"40004","msg":"Business Failed","sub_code":"AUTH_ORDER_NOT_EXIST","sub_msg":"no such order"}}'),
('system error', '{"alipay_fund_auth_operation_detail_query_response":{"code":"40004","msg":"Business Failed","sub_code":"SYSTEM_ERROR","sub_msg":"system"}}');
SELECT name, (a).channel_status, (a).channel_txn_id, (a).amount, (a).currency, (a).code, (a).channel_time, (a).payment_id
FROM (SELECT place, name, alipay.authorization(body) AS a FROM alipay_authorizations) s ORDER BY place;
CREATE TEMP TABLE alipay_operations AS
SELECT n, name, 'notify_time=2019-06-21+14%3A46%3A08&notify_id=3f4bed' || n || '&auth_no=2019062110002001000281886861&out_order_no=0190f3a25b7c7abc8def0123456789ab&out_request_no=0190f3a25b7c7abc8def0123456789ab&operation_id=20190621025153980002&gmt_create=2019-06-21+14%3A46%3A06&gmt_trans=2019-06-21+14%3A46%3A07&total_freeze_amount=500.00&' || more AS body
FROM (VALUES (1, 'frozen', 'notify_type=fund_auth_freeze&operation_type=FREEZE&status=SUCCESS&amount=500.00&rest_amount=500.00&total_pay_amount=0.00'),
             (2, 'not frozen yet', 'notify_type=fund_auth_freeze.init&operation_type=FREEZE&status=INIT&amount=500.00&rest_amount=0.00&total_pay_amount=0.00'),
             (3, 'never frozen', 'notify_type=fund_auth_freeze.closed&operation_type=FREEZE&status=CLOSED&amount=500.00&rest_amount=0.00&total_pay_amount=0.00'),
             (4, 'a part given up', 'notify_type=fund_auth_unfreeze&operation_type=UNFREEZE&status=SUCCESS&amount=200.00&rest_amount=300.00&total_pay_amount=0.00'),
             (5, 'given up', 'notify_type=fund_auth_unfreeze&operation_type=UNFREEZE&status=SUCCESS&amount=500.00&rest_amount=0.00&total_pay_amount=0.00'),
             (6, 'the rest of what was taken', 'notify_type=fund_auth_unfreeze&operation_type=UNFREEZE&status=SUCCESS&amount=200.00&rest_amount=0.00&total_pay_amount=300.00'),
             (7, 'taken', 'notify_type=fund_auth_freeze&operation_type=PAY&status=SUCCESS&amount=500.00&rest_amount=0.00&total_pay_amount=500.00'),
             (8, 'canceled', 'notify_type=fund_auth_operation_cancel&operation_type=FREEZE&status=a+new+one&rest_amount=0.00&total_pay_amount=0.00'),
             (9, 'no sums', 'notify_type=fund_auth_freeze&operation_type=FREEZE&status=SUCCESS')) v(n, name, more);
SELECT name, (a).subject, (a).channel_status, (a).channel_txn_id, (a).amount, (a).currency, (a).code, (a).channel_time, (a).payment_id, (a).event_id
FROM (SELECT n, name, alipay.notification(body) AS a FROM alipay_operations) s ORDER BY n;
SELECT name, (a).channel_status, (a).channel_txn_id, (a).amount, (a).code, (a).payment_id
FROM (VALUES (1, 'frozen', '{"code":"10000","auth_no":"2014070800002001550000014417","out_order_no":"0190f3a25b7c7abc8def0123456789ab","amount":"500.00","status":"SUCCESS","gmt_trans":"2014-09-15 11:23:04"}'::jsonb),
             (2, 'waiting', '{"code":"10000","auth_no":"2014070800002001550000014417","amount":"500.00","status":"INIT"}'),
             (3, 'closed', '{"code":"10000","auth_no":"2014070800002001550000014417","amount":"500.00","status":"CLOSED"}'),
             (4, 'no amount', '{"code":"10000","auth_no":"2014070800002001550000014417","status":"SUCCESS"}'),
             (5, 'an error', '{"code":"40004","sub_code":"AUTH_ORDER_NOT_EXIST"}')) v(n, name, response),
     LATERAL (SELECT alipay.freeze(jsonb_build_object('alipay_fund_auth_order_freeze_response', response)::text) AS a) s ORDER BY n;
SELECT name, (a).channel_status, (a).channel_txn_id, (a).code, (a).payment_id
FROM (VALUES (1, 'closed', '{"code":"10000","auth_no":"2014070800002001550000014417","out_order_no":"0190f3a25b7c7abc8def0123456789ab","action":"close"}'::jsonb),
             (2, 'unfrozen', '{"code":"10000","auth_no":"2014070800002001550000014417","action":"unfreeze"}'),
             (3, 'neither', '{"code":"10000","auth_no":"2014070800002001550000014417"}'),
             (4, 'no such order', '{"code":"40004","sub_code":"AUTH_ORDER_NOT_EXIST"}'),
             (5, 'an error', '{"code":"40004","sub_code":"ORDER_ALREADY_CLOSED"}')) v(n, name, response),
     LATERAL (SELECT alipay.cancel_authorization(jsonb_build_object('alipay_fund_auth_operation_cancel_response', response)::text) AS a) s ORDER BY n;

-- Malformed: a body cut at any place, any field replaced by anything. Never an error, and
-- nothing but what the whole body says, or unknown. (A trade that Alipay closed and that shows an
-- unclear sign of money is unknown; the sign taken away, it is closed.) One in four of the
-- replacements; PAYGUARD_EVERY=1 runs them all.
\getenv every PAYGUARD_EVERY
\if :{?every} \else \set every 4 \endif
CREATE TEMP TABLE bodies AS
SELECT 'stripe.payment' AS mapping, body FROM stripe_bodies
UNION ALL SELECT 'stripe.refund', body FROM stripe_refunds
UNION ALL SELECT 'stripe.event', body FROM stripe_events UNION ALL SELECT 'stripe.event', body FROM stripe_money WHERE name <> 'cut'
UNION ALL SELECT 'wechatpay.payment', body FROM wechatpay_bodies WHERE http_status = 200
UNION ALL SELECT 'wechatpay.refund', body FROM wechatpay_refunds
UNION ALL SELECT 'alipay.payment', body FROM alipay_bodies UNION ALL SELECT 'alipay.authorization', body FROM alipay_authorizations;
CREATE FUNCTION pg_temp.mapped(mapping text, body text) RETURNS channel_body.answer LANGUAGE sql AS $$
  SELECT CASE mapping WHEN 'stripe.payment' THEN stripe.payment(body) WHEN 'stripe.refund' THEN stripe.refund(body)
                      WHEN 'stripe.event' THEN stripe.event(body) WHEN 'wechatpay.payment' THEN wechatpay.payment(200, body)
                      WHEN 'wechatpay.refund' THEN wechatpay.refund(200, body) WHEN 'alipay.payment' THEN alipay.payment(body)
                      WHEN 'alipay.authorization' THEN alipay.authorization(body) END
$$;
SELECT DISTINCT mapping, (pg_temp.mapped(mapping, left(body, n))).channel_status
FROM bodies, generate_series(0, length(body) - 1, 29) n ORDER BY 1, 2;
WITH RECURSIVE fields(mapping, body, path, value) AS (
  SELECT mapping, body::jsonb, '{}'::text[], body::jsonb FROM bodies WHERE body ~ '^\{'
  UNION ALL
  SELECT mapping, body, path || key, f.value FROM fields, jsonb_each(CASE jsonb_typeof(fields.value) WHEN 'object' THEN fields.value ELSE '{}' END) f(key, value)
), broken AS (
  SELECT mapping, (pg_temp.mapped(mapping, body::text)).channel_status AS whole,
         pg_temp.mapped(mapping, jsonb_set(body, path, other)::text) AS a, other
  FROM fields, unnest(ARRAY['null', 'true', '[]', '{}', '""', '-1', '1e30', '"\u0001"', '[{"a":[1]}]', to_jsonb(repeat('9', 400))]::jsonb[]) other
  WHERE path <> '{}' AND abs(hashtext(body::text || path::text || other::text)) % :every = 0)
SELECT mapping, count(*) > 100 AS many,
       count(*) FILTER (WHERE (a).channel_status IS NULL) AS nothing_said,
       count(*) FILTER (WHERE (a).channel_status = 'failed' AND whole <> 'failed') AS failed_by_guess,
       count(*) FILTER (WHERE (a).channel_status = 'authorized' AND whole NOT IN ('authorized', 'unknown')) AS authorized_by_guess,
       count(*) FILTER (WHERE (a).channel_status = 'closed' AND (whole NOT IN ('closed', 'unknown') OR whole = 'unknown' AND other NOT IN ('null', '""', '[]'))) AS closed_by_guess,
       count(*) FILTER (WHERE (a).channel_status = 'succeeded' AND whole NOT IN ('succeeded', 'unknown')) AS succeeded_by_guess,
       count(*) FILTER (WHERE (a).amount IS NOT NULL AND (a).channel_status NOT IN ('succeeded', 'authorized')) AS amounts_without_money
FROM broken GROUP BY 1 ORDER BY 1;
-- money moved by the channel: a broken message tells of none, or of what the whole one told
WITH RECURSIVE fields(name, body, path, value) AS (
  SELECT name, body::jsonb, '{}'::text[], body::jsonb FROM stripe_money WHERE name <> 'cut'
  UNION ALL
  SELECT name, body, path || key, f.value FROM fields, jsonb_each(CASE jsonb_typeof(fields.value) WHEN 'object' THEN fields.value ELSE '{}' END) f(key, value)
), broken AS (
  SELECT path, body::text AS whole, jsonb_set(body, path, other)::text AS part
  FROM fields, unnest(ARRAY['null', 'true', '[]', '{}', '""', '-1', '1e30', '"\u0001"', '[{"a":[1]}]']::jsonb[]) other WHERE path <> '{}' AND abs(hashtext(body::text || path::text || other::text)) % :every = 0)
SELECT count(*) > 300 AS many, count(*) FILTER (WHERE v.call = 'record_reversal' AND (v.amount > 0) IS NOT TRUE) AS nonsense,
       count(*) FILTER (WHERE v.call IS NOT NULL AND path[3] NOT IN ('id', 'payment_intent', 'metadata')
                        AND NOT EXISTS (SELECT FROM stripe.reversals(whole) w
                                        WHERE (w.call, w.reversal_id) = (v.call, v.reversal_id) AND w.amount IS NOT DISTINCT FROM v.amount)) AS other_money,
       count(*) FILTER (WHERE v.call IS NULL AND a.subject IS NULL AND EXISTS (SELECT FROM stripe.reversals(whole))
                        AND path NOT IN ('{data,object,status}', '{type}')) AS lost
FROM broken, stripe.event(part) a LEFT JOIN stripe.reversals(part) v ON true;
SELECT (pg_temp.mapped(mapping, body)).channel_status, count(*)
FROM unnest('{stripe.payment,stripe.refund,stripe.event,wechatpay.payment,wechatpay.refund,alipay.payment,alipay.authorization}'::text[]) mapping,
     unnest(ARRAY[NULL, '', 'null', '7', '[]', '{}', '"succeeded"', '{"status":"succeeded"}', '{"object":"payment_intent"}', '{', repeat('[', 100000), '{"a":"\u0000"}', '<xml/>']) body
GROUP BY 1;
SELECT (alipay.notification(body)).channel_status, count(*)
FROM unnest(ARRAY[NULL, '', '&', '=', 'a', '%', 'notify_type=trade_status_sync', 'notify_type=trade_status_sync&trade_status=%', '{"trade_status":"TRADE_SUCCESS"}']) body GROUP BY 1;

-- From the order to the refund, with each channel
SELECT name FROM unnest('{stripe,wechatpay,alipay}'::text[]) n, payguard.register_channel(n);
SELECT (payguard.create_order(id, 2000, currency)).status FROM (VALUES ('ch-1', 'USD'), ('ch-2', 'CNY'), ('ch-3', 'CNY'), ('ch-4', 'CNY'), ('ch-5', 'CNY'), ('ch-6', 'CNY'), ('ch-7', 'CNY'), ('ch-8', 'USD')) v(id, currency);
-- Stripe: declined, tried again, paid; the webhook comes after the answer
SELECT payment_id AS p, replace(payment_id::text, '-', '') AS p32 FROM payguard.start_payment('ch-1', 'ch-1', 'stripe') \gset
SELECT replace(body, '0190f3a25b7c7abc8def0123456789ab', :'p32') AS body FROM stripe_bodies WHERE name = 'declined, as an error' \gset
SELECT outcome, payment_status FROM stripe.payment(:'body') a, payguard.report_payment(a.payment_id, a.channel_status, a.channel_txn_id, a.amount, a.currency, a.code, a.message, a.channel_time);
SELECT replace(body, '0190f3a25b7c7abc8def0123456789ab', :'p32') AS body FROM stripe_bodies WHERE name = 'intent succeeded' \gset
SELECT outcome, order_status, p.amount, p.currency FROM stripe.payment(:'body') a, payguard.report_payment(a.payment_id, a.channel_status, a.channel_txn_id, a.amount, a.currency, a.code, a.message, a.channel_time) p;
SELECT replace(body, '0190f3a25b7c7abc8def0123456789ab', :'p32') AS body FROM stripe_events WHERE type = 'payment_intent.succeeded' \gset
SELECT result, outcome, replayed FROM stripe.event(:'body') a, payguard.record_notification('stripe', convert_to(:'body', 'UTF8'), a.event_id, a.payment_id, a.refund_id, a.channel_status, a.channel_txn_id, a.amount, a.currency, a.channel_time);
-- an event of before comes late, and changes nothing
SELECT replace(body, '0190f3a25b7c7abc8def0123456789ab', :'p32') AS body FROM stripe_events WHERE type = 'payment_intent.payment_failed' \gset
SELECT result, outcome, replayed FROM stripe.event(:'body') a, payguard.record_notification('stripe', convert_to(:'body', 'UTF8'), a.event_id, a.payment_id, a.refund_id, a.channel_status, a.channel_txn_id, a.amount, a.currency, a.channel_time);
SELECT replace(refund_id::text, '-', '') AS r32 FROM payguard.refund_order('ch-1', 'ch-1-r', 1000, 'damaged') \gset
SELECT replace(body, '0190f3a25b7c7abc8def0123456789cd', :'r32') AS body FROM stripe_events WHERE type = 'refund.updated' \gset
SELECT result, outcome, replayed FROM stripe.event(:'body') a, payguard.record_notification('stripe', convert_to(:'body', 'UTF8'), a.event_id, a.payment_id, a.refund_id, a.channel_status, a.channel_txn_id, a.amount, a.currency, a.channel_time);
SELECT status, refunded_amount FROM payguard.orders WHERE order_id = 'ch-1';
-- WeChat Pay: closing comes too late, the query tells the amount and the transaction
SELECT payment_id AS p, replace(payment_id::text, '-', '') AS p32 FROM payguard.start_payment('ch-2', 'ch-2', 'wechatpay') \gset
SELECT outcome FROM payguard.close_payment(:'p');
SELECT outcome, order_status FROM wechatpay.close(400, '{"code":"ORDERPAID","message":"paid"}') a, payguard.report_payment(:'p', a.channel_status, a.channel_txn_id, a.amount, a.currency, a.code, a.message, a.channel_time);
SELECT replace(replace(body, '0190f3a25b7c7abc8def0123456789ab', :'p32'), '"total": 100', '"total": 2000') AS body FROM wechatpay_bodies WHERE name = 'SUCCESS' \gset
SELECT outcome, order_status FROM wechatpay.payment(200, :'body') a, payguard.report_payment(a.payment_id, a.channel_status, a.channel_txn_id, a.amount, a.currency, a.code, a.message, a.channel_time);
SELECT status, received_amount, received_currency, amount_verified, channel_txn_id FROM payguard.payments WHERE order_id = 'ch-2';
-- a close that was taken is followed by a query: only that ends the attempt
SELECT payment_id AS p FROM payguard.start_payment('ch-4', 'ch-4', 'wechatpay') \gset
SELECT outcome FROM payguard.close_payment(:'p');
SELECT outcome, order_status FROM wechatpay.close(204, '') a, payguard.report_payment(:'p', a.channel_status, a.channel_txn_id, a.amount, a.currency, a.code, a.message, a.channel_time);
SELECT kind FROM payguard.tasks WHERE payment_id = :'p' ORDER BY 1;
SELECT outcome, order_status FROM wechatpay.payment(200, '{"trade_state":"CLOSED"}') a, payguard.report_payment(:'p', a.channel_status, a.channel_txn_id, a.amount, a.currency, a.code, a.message, a.channel_time);
-- paid and given back before anybody here heard of it: nothing to ship
SELECT payment_id AS p FROM payguard.start_payment('ch-4', 'ch-4b', 'wechatpay') \gset
SELECT outcome, order_status FROM wechatpay.payment(200, '{"trade_state":"REFUND","transaction_id":"1217752501201407033233368019","amount":{"total":2000}}') a, payguard.report_payment(:'p', a.channel_status, a.channel_txn_id, a.amount, a.currency, a.code, a.message, a.channel_time);
-- a payment code that failed is to be closed
SELECT payment_id AS p FROM payguard.start_payment('ch-5', 'ch-5', 'wechatpay') \gset
SELECT a.code, c.outcome FROM wechatpay.payment(200, '{"trade_state":"PAYERROR"}') a, payguard.report_payment(:'p', a.channel_status, a.channel_txn_id, a.amount, a.currency, a.code, a.message, a.channel_time) r, payguard.close_payment(:'p') c WHERE a.code = 'PAYERROR';
SELECT outcome, order_status FROM wechatpay.payment(200, '{"trade_state":"REVOKED"}') a, payguard.report_payment(:'p', a.channel_status, a.channel_txn_id, a.amount, a.currency, a.code, a.message, a.channel_time);
-- two orders paid in one: each by its own sub-order
SELECT replace(payment_id::text, '-', '') AS p1 FROM payguard.start_payment('ch-6', 'ch-6', 'wechatpay') \gset
SELECT replace(payment_id::text, '-', '') AS p2 FROM payguard.start_payment('ch-7', 'ch-7', 'wechatpay') \gset
SELECT format('{"combine_out_trade_no":"7","sub_orders":[{"out_trade_no":"%s","trade_state":"SUCCESS","transaction_id":"71","amount":{"total_amount":2000,"currency":"CNY"}},{"out_trade_no":"%s","trade_state":"NOTPAY"}]}', :'p1', :'p2') AS body \gset
SELECT r.outcome, r.order_id FROM wechatpay.payments(200, :'body') a, payguard.report_payment(a.payment_id, a.channel_status, a.channel_txn_id, a.amount, a.currency, a.code, a.message, a.channel_time) r;
SELECT n.result, n.outcome FROM wechatpay.notifications('{"id":"EV-c","event_type":"TRANSACTION.SUCCESS"}', replace(:'body', 'NOTPAY"', 'SUCCESS","transaction_id":"72","amount":{"total_amount":2000}')) a,
     payguard.record_notification('wechatpay', :'body', a.event_id, a.payment_id, a.refund_id, a.channel_status, a.channel_txn_id, a.amount, a.currency, a.channel_time) n;
-- Alipay: not there yet, then paid and given back in full at the console, and no message of the payment came
SELECT payment_id AS p, replace(payment_id::text, '-', '') AS p32 FROM payguard.start_payment('ch-3', 'ch-3', 'alipay') \gset
SELECT body FROM alipay_bodies WHERE name = 'does not exist' \gset
SELECT outcome, order_status FROM alipay.payment(:'body') a, payguard.report_payment(:'p', a.channel_status, a.channel_txn_id, a.amount, a.currency, a.code, a.message, a.channel_time);
SELECT replace(body, '0190f3a25b7c7abc8def0123456789ab', :'p32') AS body FROM alipay_forms WHERE name = 'given back in full' \gset
SELECT result, outcome FROM alipay.notification(:'body') a, payguard.record_notification('alipay', :'body', a.event_id, a.payment_id, a.refund_id, a.channel_status, a.channel_txn_id, a.amount, a.currency, a.channel_time);
SELECT status FROM payguard.orders WHERE order_id = 'ch-3';
-- an operator who has looked: first what went back, then what had come
SELECT outcome FROM alipay.notification_refund(:'body') a, payguard.record_reversal('alipay', a.of_txn_id || ':' || a.channel_txn_id, a.of_txn_id, 'refund', 2000, 'CNY');
SELECT outcome, order_status FROM alipay.notification(:'body') a, payguard.settle_payment(:'p', 'succeeded', 'paid, and refunded at the console', a.channel_txn_id, 2000, 'CNY');
SELECT status, refunded_amount FROM payguard.orders WHERE order_id = 'ch-3';
-- money that a channel moves by itself, and what is none of it: the handler of README.md
CREATE FUNCTION pg_temp.stripe_webhook(body text) RETURNS TABLE (call text, answer text) LANGUAGE sql AS $$
  SELECT 'record_notification', n.result
  FROM stripe.event(body) a,
       payguard.record_notification('stripe', body, a.event_id, a.payment_id, a.refund_id,
                                    a.channel_status, a.channel_txn_id, a.amount, a.currency, a.channel_time, a.capture_before) n
  WHERE a.subject IS NOT NULL
  UNION ALL
  SELECT v.call, r.outcome
  FROM stripe.reversals(body) v,
       payguard.record_reversal('stripe', v.reversal_id, v.channel_txn_id, v.kind, v.amount, v.currency, v.channel_time) r
  WHERE v.call = 'record_reversal'
  UNION ALL
  SELECT v.call, r.outcome
  FROM stripe.reversals(body) v, payguard.record_reinstatement('stripe', v.reversal_id, v.channel_time) r
  WHERE v.call = 'record_reinstatement'
$$;
SELECT payment_id AS p FROM payguard.start_payment('ch-8', 'ch-8', 'stripe') \gset
SELECT outcome FROM payguard.report_payment(:'p', 'succeeded', 'pi_8', 2000, 'USD');
SELECT s.name, w.* FROM stripe_money s, LATERAL pg_temp.stripe_webhook(replace(s.body, 'pi_1', 'pi_8')) w
WHERE name IN ('opened', 'taken', 'given back in part', 'refund at the console', 'the same again', 'not yet', 'a payout') ORDER BY place;
SELECT status, refunded_amount FROM payguard.orders WHERE order_id = 'ch-8';
SELECT result, channel_txn_id FROM payguard.notifications WHERE channel = 'stripe' AND event_id LIKE 'evt_m%' ORDER BY event_id;
-- a dispute that is won gives the money back, a refund that failed after all does
SELECT s.name, w.* FROM stripe_money s, LATERAL pg_temp.stripe_webhook(replace(replace(s.body, 'pi_1', 'pi_8'), '1686089970', '1686089990')) w WHERE name = 'given back';
SELECT s.name, w.* FROM stripe_money s, LATERAL pg_temp.stripe_webhook(replace(replace(s.body, 'pi_1', 'pi_8'), '1692942400', '1692942500')) w WHERE name = 'failed after all';
SELECT reversal_kind, status, amount FROM payguard.refunds WHERE order_id = 'ch-8' ORDER BY 1;
SELECT status, refunded_amount FROM payguard.orders WHERE order_id = 'ch-8';
SELECT order_id, status, refunded_amount FROM payguard.orders WHERE order_id LIKE 'ch-%' ORDER BY 1;
SELECT kind, order_id FROM payguard.alerts WHERE order_id LIKE 'ch-%' ORDER BY alert_id;
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP SCHEMA alipay, wechatpay, stripe, channel_body CASCADE;
SELECT payguard.revoke_access('regress_channel_examples', access) FROM unnest('{checkout,channel,admin,refunds,auditor}'::text[]) access;
DISCARD TEMP;
DROP ROLE regress_channel_examples;
