-- examples/channels: PayPal. Only a capture is money: not an approved order; an authorization is reserved money; what
-- PayPal takes back and refunds of others are told as reversals; what is not understood is unknown, never failed, and never an error.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
\set common :srcdir /examples/channels/common.sql
\set paypal :srcdir /examples/channels/paypal.sql
\set broken :srcdir /test/lib/broken_messages.sql
\set ECHO none
\i :common
\i :paypal
\set ECHO all
SET TIME ZONE 'UTC';
CREATE ROLE regress_channel_paypal;
SELECT payguard.grant_access('regress_channel_paypal', access) FROM unnest('{checkout,channel,admin,refunds,auditor}'::text[]) access;
GRANT USAGE ON SCHEMA channel_body, paypal TO regress_channel_paypal;
SET SESSION AUTHORIZATION regress_channel_paypal;
-- decimal amounts
SELECT currency, value, paypal.amount(jsonb_build_object('value', value, 'currency_code', currency))
FROM (VALUES ('USD', '5.00'), ('USD', '5'), ('USD', '5.005'), ('JPY', '500'), ('JPY', '500.5'), ('TND', '5.124'), ('HUF', '500'), ('USD', '-5.00'), ('US', '5.00'), ('USD', NULL)) v(currency, value);
SELECT currency, amount, paypal.amount_to_send(amount, currency)
FROM (VALUES (500, 'USD'), (7, 'USD'), (500, 'JPY'), (5124, 'TND'), (500, 'HUF'), (501, 'HUF'), (-1, 'USD'), (NULL, 'USD'), (1, NULL)) v(amount, currency);
-- orders: created, shown, captured
CREATE TEMP TABLE paypal_orders (place serial, name text, http_status integer, body text);
INSERT INTO paypal_orders (name, http_status, body)
SELECT name, 200, jsonb_build_object('id', '5O190127TN364715T', 'intent', 'CAPTURE', 'status', status, 'purchase_units', jsonb_build_array(
         '{"reference_id":"default","custom_id":"0190f3a25b7c7abc8def0123456789ab","amount":{"currency_code":"USD","value":"20.00"}}'::jsonb || CASE WHEN payments <> '{}' THEN jsonb_build_object('payments', payments::jsonb) ELSE '{}' END))::text
FROM (SELECT '{"id":"3C679366HH908993F","status":"COMPLETED","amount":{"currency_code":"USD","value":"20.00"},"final_capture":true,"create_time":"2018-04-01T21:20:49Z"}'::text AS c) c,
     LATERAL (VALUES (1, 'created', 'CREATED', '{}'), (2, 'saved', 'SAVED', '{}'), (3, 'approved', 'APPROVED', '{}'), (4, 'action', 'PAYER_ACTION_REQUIRED', '{}'),
             (5, 'voided', 'VOIDED', '{}'), (6, 'a new one', 'FROZEN', '{}'), (7, 'completed with nothing', 'COMPLETED', '{}'),
             (8, 'captured', 'COMPLETED', '{"captures":[' || c || ']}'),
             (9, 'capture pending', 'COMPLETED', '{"captures":[' || replace(c, '"status":"COMPLETED"', '"status":"PENDING","status_details":{"reason":"ECHECK"}') || ']}'),
             (20, 'to be funded', 'COMPLETED', '{"captures":[' || replace(c, '"status":"COMPLETED"', '"status":"PENDING","status_details":{"reason":"TRANSACTION_APPROVED_AWAITING_FUNDING"}') || ']}'),
             (10, 'declined, still open', 'APPROVED', '{"captures":[' || replace(c, 'COMPLETED', 'DECLINED') || ']}'),
             (11, 'declined', 'COMPLETED', '{"captures":[' || replace(c, 'COMPLETED', 'DECLINED') || ']}'),
             (12, 'failed', 'COMPLETED', '{"captures":[' || replace(c, 'COMPLETED', 'FAILED') || ']}'),
             (13, 'declined, then captured', 'COMPLETED', '{"captures":[' || replace(c, 'COMPLETED', 'DECLINED') || ',' || c || ']}'),
             (14, 'captured twice', 'COMPLETED', '{"captures":[' || c || ',' || c || ']}'),
             (15, 'given back', 'COMPLETED', '{"captures":[' || replace(c, 'COMPLETED', 'REFUNDED') || ']}'),
             (16, 'given back in part', 'COMPLETED', '{"captures":[' || replace(c, 'COMPLETED', 'PARTIALLY_REFUNDED') || ']}'),
             (17, 'a new capture status', 'COMPLETED', '{"captures":[' || replace(c, 'COMPLETED', 'HELD') || ']}'),
             (18, 'authorized', 'COMPLETED', '{"authorizations":[{"id":"0VF52814937998046","status":"CREATED","amount":{"currency_code":"USD","value":"20.00"}}]}'),
             (21, 'authorized, until', 'COMPLETED', '{"authorizations":[{"id":"0VF52814937998046","status":"CREATED","custom_id":"0190f3a25b7c7abc8def0123456789ab","amount":{"currency_code":"USD","value":"20.00"},"expiration_time":"2018-04-30T21:20:49Z","create_time":"2018-04-01T21:20:49Z"}]}'),
             (22, 'authorized, capture declined', 'COMPLETED', '{"authorizations":[{"id":"0VF52814937998046","status":"CREATED","amount":{"currency_code":"USD","value":"20.00"}}],"captures":[' || replace(c, 'COMPLETED', 'DECLINED') || ']}'),
             (23, 'authorized, then captured', 'COMPLETED', '{"authorizations":[{"id":"0VF52814937998046","status":"CAPTURED","amount":{"currency_code":"USD","value":"20.00"}}],"captures":[' || c || ']}'),
             (24, 'captured, by what', 'COMPLETED', '{"authorizations":[{"id":"0VF52814937998046","status":"PARTIALLY_CAPTURED","amount":{"currency_code":"USD","value":"20.00"}}]}'),
             (25, 'voided since', 'COMPLETED', '{"authorizations":[{"id":"0VF52814937998046","status":"VOIDED","amount":{"currency_code":"USD","value":"20.00"}}]}'),
             (26, 'authorized twice', 'COMPLETED', '{"authorizations":[{"id":"0VF52814937998046","status":"CREATED"},{"id":"1VF52814937998046","status":"CREATED"}]}'),
             (19, 'not exact', 'COMPLETED', '{"captures":[' || replace(c, '20.00', '20.005') || ']}')) v(n, name, status, payments) ORDER BY n;
INSERT INTO paypal_orders (name, http_status, body) VALUES
('two units', 200, '{"status":"COMPLETED","purchase_units":[{"custom_id":"0190f3a25b7c7abc8def0123456789ab"},{"custom_id":"0190f3a25b7c7abc8def0123456789ac"}]}'),
('minimal', 201, '{"id":"5O190127TN364715T","status":"COMPLETED"}'),
('no such order', 404, '{"name":"RESOURCE_NOT_FOUND","details":[{"location":"path","issue":"INVALID_RESOURCE_ID","description":"Specified resource ID does not exist. Please check the resource ID and try again."}],"message":"The specified resource does not exist.","debug_id":"b1"}'),
('not approved', 422, '{"name":"UNPROCESSABLE_ENTITY","details":[{"issue":"ORDER_NOT_APPROVED","description":"Payer has not yet approved the Order for payment."}],"message":"The requested action could not be performed, semantically incorrect, or failed business validation."}'),
('funding declined', 422, '{"name":"UNPROCESSABLE_ENTITY","details":[{"issue":"INSTRUMENT_DECLINED","description":"The instrument presented was either declined by the processor or bank."}]}'),
('captured before', 422, '{"name":"UNPROCESSABLE_ENTITY","details":[{"issue":"ORDER_ALREADY_CAPTURED","description":"Order already captured."}]}'),
('their error', 500, '{"name":"INTERNAL_SERVER_ERROR","message":"An internal server error has occurred."}'), ('a page', 502, '<html/>'), ('nothing', NULL, NULL);
SELECT name, (a).channel_status, (a).channel_txn_id, (a).amount, (a).currency, (a).code, (a).message, (a).channel_time, (a).payment_id, (a).capture_before
FROM (SELECT place, name, paypal.payment(http_status, body) AS a FROM paypal_orders) s ORDER BY place;
-- authorizations: shown, voided, captured
CREATE TEMP TABLE paypal_authorizations AS
SELECT status AS name, jsonb_build_object('id', '0VF52814937998046', 'status', status, 'custom_id', '0190f3a25b7c7abc8def0123456789ab', 'amount', '{"currency_code":"USD","value":"20.00"}'::jsonb,
  'status_details', CASE status WHEN 'PENDING' THEN '{"reason":"PENDING_REVIEW"}'::jsonb END, 'create_time', '2018-04-01T21:20:49Z', 'expiration_time', '2018-04-30T21:20:49Z')::text AS body
FROM unnest('{CREATED,PENDING,DENIED,VOIDED,EXPIRED,CAPTURED,PARTIALLY_CAPTURED,PARTIALLY_CREATED,a new one}'::text[]) status;
SELECT name, (a).channel_status, (a).channel_txn_id, (a).amount, (a).currency, (a).code, (a).channel_time, (a).payment_id, (a).capture_before
FROM (SELECT name, paypal.authorization(200, body) AS a FROM paypal_authorizations) s;
SELECT http_status, issue, v.channel_status AS voided, v.code, c.channel_status AS captured, c.code, c.amount
FROM (VALUES (1, 204, NULL), (2, 422, 'PREVIOUSLY_VOIDED'), (3, 422, 'PREVIOUSLY_CAPTURED'), (4, 422, 'CANNOT_BE_VOIDED'), (5, 422, 'AUTHORIZATION_ALREADY_CAPTURED'),
             (6, 422, 'AUTHORIZATION_VOIDED'), (7, 422, 'AUTHORIZATION_EXPIRED'), (8, 422, 'AUTHORIZATION_DENIED'), (9, 422, 'TRANSACTION_REFUSED'), (10, 422, 'PAYER_CANNOT_PAY'),
             (11, 422, 'MAX_CAPTURE_AMOUNT_EXCEEDED'), (12, 422, 'MAX_CAPTURE_COUNT_EXCEEDED'), (13, 422, 'DUPLICATE_INVOICE_ID'), (14, 422, 'a new one'), (15, 400, 'DECIMAL_PRECISION'),
             (16, 500, 'TRANSACTION_REFUSED'), (17, 404, 'INVALID_RESOURCE_ID')) e(n, http_status, issue),
     LATERAL (SELECT jsonb_build_object('name', CASE http_status WHEN 404 THEN 'RESOURCE_NOT_FOUND' END, 'details', jsonb_build_array(jsonb_build_object('issue', issue)))::text AS body) b,
     paypal.authorization(http_status, body) v, paypal.capture(http_status, body) c ORDER BY n;
CREATE TEMP TABLE paypal_captures AS
SELECT n, name, '{"id":"3C679366HH908993F","amount":{"currency_code":"USD","value":"12.00"},"final_capture":true,"create_time":"2018-04-02T21:20:49Z","custom_id":"0190f3a25b7c7abc8def0123456789ab"}'::jsonb || more || '{"supplementary_data":{"related_ids":{"authorization_id":"0VF52814937998046"}}}' AS body
FROM (VALUES (1, 'captured in part', '{"status":"COMPLETED"}'::jsonb), (2, 'in review', '{"status":"PENDING","status_details":{"reason":"PENDING_REVIEW"}}'), (3, 'declined', '{"status":"DECLINED"}'), (4, 'failed', '{"status":"FAILED"}')) v(n, name, more);
SELECT name, (a).channel_status, (a).channel_txn_id, (a).amount, (a).code FROM (SELECT n, name, paypal.capture(201, body::text) AS a FROM paypal_captures) s ORDER BY n;
CREATE TEMP TABLE paypal_refunds AS
SELECT status AS name, jsonb_build_object('id', '1JU08902781691411', 'status', status, 'custom_id', 'refund-0190f3a25b7c7abc8def0123456789cd', 'amount', '{"currency_code":"USD","value":"10.99"}'::jsonb,
  'status_details', CASE status WHEN 'PENDING' THEN '{"reason":"ECHECK"}'::jsonb END, 'create_time', '2018-09-11T23:24:19Z',
  'links', '[{"rel":"self","method":"GET","href":"https://api-m.paypal.com/v2/payments/refunds/1JU08902781691411"},{"rel":"up","method":"GET","href":"https://api-m.paypal.com/v2/payments/captures/3C679366HH908993F"}]'::jsonb)::text AS body
FROM unnest('{COMPLETED,PENDING,FAILED,CANCELLED,a new one}'::text[]) status;
SELECT name, (a).* FROM (SELECT name, paypal.refund(201, body) AS a FROM paypal_refunds) s;
SELECT (paypal.refund(422, '{"name":"UNPROCESSABLE_ENTITY","details":[{"issue":"CAPTURE_FULLY_REFUNDED"}]}')).channel_status,
       (paypal.refund(404, '{"name":"RESOURCE_NOT_FOUND"}')).channel_status;
-- webhooks
CREATE TEMP TABLE paypal_events (place integer, name text, body text);
INSERT INTO paypal_events
SELECT n, name, jsonb_build_object('id', 'WH-' || n, 'create_time', '2019-02-14T21:50:07.940Z', 'event_version', '1.0', 'resource_version', '2.0', 'resource_type', kind,
                                   'event_type', type, 'resource', resource::jsonb || more)::text
FROM (VALUES ('capture', '{"id":"3C679366HH908993F","amount":{"currency_code":"USD","value":"20.00"},"final_capture":true,"custom_id":"0190f3a25b7c7abc8def0123456789ab","status":"COMPLETED","create_time":"2019-02-14T21:49:58Z","update_time":"2019-02-14T21:49:58Z","links":[{"rel":"up","href":"https://api.paypal.com/v2/checkout/orders/5O190127TN364715T"}]}'),
             ('refund', '{"id":"09E71677NS257044M","amount":{"currency_code":"USD","value":"2.51"},"note_to_payer":"Payment reversed","status":"COMPLETED","create_time":"2018-08-15T14:30:10-07:00","links":[{"href":"https://api.paypal.com/v2/payments/refunds/09E71677NS257044M","rel":"self"},{"href":"https://api.paypal.com/v2/payments/captures/3C679366HH908993F","rel":"up"}]}'),
             ('authorization', '{"id":"0VF52814937998046","status":"CREATED","amount":{"currency_code":"USD","value":"20.00"},"custom_id":"0190f3a25b7c7abc8def0123456789ab","create_time":"2019-02-14T21:49:58Z","expiration_time":"2099-03-15T21:49:58Z"}'),
             ('checkout-order', '{"id":"5O190127TN364715T","intent":"CAPTURE","status":"APPROVED","purchase_units":[{"custom_id":"0190f3a25b7c7abc8def0123456789ab","amount":{"currency_code":"USD","value":"20.00"}}]}'),
             ('dispute', '{"dispute_id":"PP-000-042-663-135","status":"RESOLVED"}')) r(kind, resource),
     LATERAL (VALUES (1, 'capture', 'paid', 'PAYMENT.CAPTURE.COMPLETED', '{}'::jsonb),
             (2, 'capture', 'waiting', 'PAYMENT.CAPTURE.PENDING', '{"status":"PENDING","status_details":{"reason":"ECHECK"}}'),
             (3, 'capture', 'denied', 'PAYMENT.CAPTURE.DENIED', '{"status":"DECLINED"}'),
             (4, 'capture', 'declined', 'PAYMENT.CAPTURE.DECLINED', '{"status":"DECLINED"}'),
             (5, 'capture', 'given back since', 'PAYMENT.CAPTURE.COMPLETED', '{"status":"REFUNDED"}'),
             (6, 'capture', 'no amount', 'PAYMENT.CAPTURE.COMPLETED', '{"amount":null}'),
             (7, 'refund', 'refund of ours', 'PAYMENT.CAPTURE.REFUNDED', '{"custom_id":"refund-0190f3a25b7c7abc8def0123456789cd"}'),
             (8, 'refund', 'refund at the site', 'PAYMENT.CAPTURE.REFUNDED', '{}'),
             (9, 'refund', 'with the payment''s number', 'PAYMENT.CAPTURE.REFUNDED', '{"custom_id":"0190f3a25b7c7abc8def0123456789ab"}'),
             (10, 'refund', 'not made yet', 'PAYMENT.CAPTURE.REFUNDED', '{"status":"PENDING"}'),
             (11, 'refund', 'taken back', 'PAYMENT.CAPTURE.REVERSED', '{}'),
             (12, 'refund', 'taken back, of what', 'PAYMENT.CAPTURE.REVERSED', '{"links":[]}'),
             (13, 'refund', 'taken back, by an id', 'PAYMENT.CAPTURE.REVERSED', '{"links":[],"supplementary_data":{"related_ids":{"capture_id":"3C679366HH908993F"}}}'),
             (14, 'refund', 'refund of ours failed', 'PAYMENT.REFUND.FAILED', '{"status":"FAILED","custom_id":"refund-0190f3a25b7c7abc8def0123456789cd"}'),
             (15, 'refund', 'a refund failed', 'PAYMENT.REFUND.FAILED', '{"status":"FAILED"}'),
             (16, 'refund', 'a refund is on its way', 'PAYMENT.REFUND.PENDING', '{"status":"PENDING"}'),
             (17, 'authorization', 'authorized', 'PAYMENT.AUTHORIZATION.CREATED', '{}'),
             (18, 'authorization', 'voided', 'PAYMENT.AUTHORIZATION.VOIDED', '{"status":"VOIDED"}'),
             (22, 'authorization', 'captured before it was told', 'PAYMENT.AUTHORIZATION.CREATED', '{"status":"CAPTURED"}'),
             (23, 'authorization', 'of payments v1', 'PAYMENT.AUTHORIZATION.CREATED', '{"status":null,"state":"authorized","amount":{"total":"20.00","currency":"USD"}}'),
             (24, 'capture', 'an authorization''s, declined', 'PAYMENT.CAPTURE.DENIED', '{"status":"DECLINED","supplementary_data":{"related_ids":{"authorization_id":"0VF52814937998046"}}}'),
             (25, 'capture', 'an authorization''s, a part', 'PAYMENT.CAPTURE.COMPLETED', '{"amount":{"currency_code":"USD","value":"12.00"},"supplementary_data":{"related_ids":{"authorization_id":"0VF52814937998046"}}}'),
             (19, 'checkout-order', 'approved', 'CHECKOUT.ORDER.APPROVED', '{}'),
             (20, 'checkout-order', 'of a new shape', 'CHECKOUT.ORDER.APPROVED', '{"purchase_units":7}'),
             (21, 'dispute', 'a dispute', 'CUSTOMER.DISPUTE.RESOLVED', '{}')) v(n, of, name, type, more)
WHERE of = kind;
INSERT INTO paypal_events VALUES (31, 'a plan', '{"id":"WH-31","event_type":"BILLING.PLAN.CREATED","resource":{"id":"P-1"}}'),
                                 (32, 'no type', '{"id":"WH-32","resource":{"status":"COMPLETED"}}');
SELECT name, (a).subject, (a).channel_status, (a).channel_txn_id, (a).of_txn_id, (a).amount, (a).currency, (a).code, (a).channel_time, (a).payment_id, (a).refund_id, (a).event_id, (a).capture_before
FROM (SELECT place, name, paypal.event(body) AS a FROM paypal_events) s ORDER BY place;
SELECT name, v.* FROM paypal_events, paypal.reversals(body) v ORDER BY place;
-- malformed
CREATE TEMP TABLE messages AS SELECT 'paypal.event' AS mapping, body FROM paypal_events UNION ALL SELECT 'paypal.payment', body FROM paypal_orders WHERE http_status = 200
UNION ALL SELECT 'paypal.refund', body FROM paypal_refunds UNION ALL SELECT 'paypal.authorization', body FROM paypal_authorizations;
CREATE FUNCTION pg_temp.mapped(mapping text, body text) RETURNS channel_body.answer LANGUAGE sql AS $$
  SELECT CASE mapping WHEN 'paypal.event' THEN paypal.event(body) WHEN 'paypal.payment' THEN paypal.payment(200, body) WHEN 'paypal.refund' THEN paypal.refund(200, body)
                      ELSE paypal.authorization(200, body) END
$$;
CREATE FUNCTION pg_temp.moved(mapping text, body text) RETURNS SETOF channel_body.reversal LANGUAGE sql AS $$
  SELECT * FROM paypal.reversals(body) WHERE mapping = 'paypal.event'
$$;
\i :broken
-- from the order to the reversal, as the handler of README.md does it
CREATE FUNCTION pg_temp.paypal_webhook(body text) RETURNS TABLE (call text, answer text) LANGUAGE sql AS $$
  SELECT 'record_notification', concat_ws(' ', n.result, n.outcome)
  FROM paypal.event(body) a,
       payguard.record_notification('paypal', body, a.event_id, a.payment_id, a.refund_id,
                                    a.channel_status, a.channel_txn_id, a.amount, a.currency, a.channel_time, a.capture_before) n
  WHERE a.subject IS NOT NULL
  UNION ALL
  SELECT v.call, r.outcome
  FROM paypal.reversals(body) v,
       payguard.record_reversal('paypal', v.reversal_id, v.channel_txn_id, v.kind, v.amount, v.currency, v.channel_time) r
  WHERE v.call = 'record_reversal'
$$;
SELECT name FROM payguard.register_channel('paypal');
SELECT (payguard.create_order('pp-1', 2000, 'USD')).status;
SELECT payment_id AS p, replace(payment_id::text, '-', '') AS p32 FROM payguard.start_payment('pp-1', 'pp-1', 'paypal') \gset
SELECT replace(body, '0190f3a25b7c7abc8def0123456789ab', :'p32') AS body FROM paypal_orders WHERE name = 'approved' \gset
SELECT outcome, order_status FROM paypal.payment(200, :'body') a, payguard.report_payment(:'p', a.channel_status, a.channel_txn_id, a.amount, a.currency, a.code, a.message, a.channel_time);
SELECT s.name, w.* FROM paypal_events s, LATERAL pg_temp.paypal_webhook(replace(s.body, '0190f3a25b7c7abc8def0123456789ab', :'p32')) w
WHERE s.name IN ('authorized', 'approved', 'waiting') ORDER BY place;
SELECT status FROM payguard.orders WHERE order_id = 'pp-1';
SELECT s.name, w.* FROM paypal_events s, LATERAL pg_temp.paypal_webhook(replace(s.body, '0190f3a25b7c7abc8def0123456789ab', :'p32')) w
WHERE s.name IN ('paid', 'given back since', 'a plan', 'a dispute') ORDER BY place;
SELECT replace(refund_id::text, '-', '') AS r FROM payguard.refund_order('pp-1', 'pp-1-r', 251, 'damaged') \gset
SELECT w.* FROM paypal_events, pg_temp.paypal_webhook(replace(replace(body, '0190f3a25b7c7abc8def0123456789cd', :'r'), '09E71677NS257044M', '09E71677NS257044N')) w WHERE name = 'refund of ours';
SELECT w.* FROM paypal_events, pg_temp.paypal_webhook(body) w WHERE name = 'taken back';
SELECT status, refunded_amount FROM payguard.orders WHERE order_id = 'pp-1';
SELECT kind, order_id FROM payguard.alerts WHERE order_id LIKE 'pp-%' ORDER BY alert_id;
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP SCHEMA paypal, channel_body CASCADE;
SELECT payguard.revoke_access('regress_channel_paypal', access) FROM unnest('{checkout,channel,admin,refunds,auditor}'::text[]) access;
DISCARD TEMP;
DROP ROLE regress_channel_paypal;
