-- examples/channels: Adyen. An authorisation is money only where it is captured automatically, and reserved money
-- otherwise; chargebacks and
-- refunds of others are told as reversals; what is not understood is unknown, never failed, and never an error.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
\set common :srcdir /examples/channels/common.sql
\set adyen :srcdir /examples/channels/adyen.sql
\set broken :srcdir /test/lib/broken_messages.sql
\set ECHO none
\i :common
\i :adyen
\set ECHO all
SET TIME ZONE 'UTC';
CREATE ROLE regress_channel_adyen;
SELECT payguard.grant_access('regress_channel_adyen', access) FROM unnest('{checkout,channel,admin,refunds,auditor}'::text[]) access;
GRANT USAGE ON SCHEMA channel_body, adyen TO regress_channel_adyen;
SET SESSION AUTHORIZATION regress_channel_adyen;
-- minor units, four of which are not ISO 4217's
SELECT currency, value, adyen.amount(value, currency), adyen.amount_to_send(adyen.amount(value, currency), currency) AS back
FROM (VALUES ('EUR', '1099'), ('JPY', '500'), ('KWD', '5124'), ('CLP', '50000'), ('CLP', '50001'), ('ISK', '50000'), ('IDR', '500'), ('CVE', '500'),
             ('EUR', '10.99'), ('EUR', '-1'), ('EUR', NULL)) v(currency, value);
SELECT adyen.amount_to_send(501, 'IDR') AS half_a_rupiah;
-- the answer to /payments: only with automatic capture an authorisation is money
CREATE TEMP TABLE adyen_answers (place serial, name text, body text);
INSERT INTO adyen_answers (name, body)
SELECT result, jsonb_build_object('pspReference', 'QFQTPCQ8HXSKGK82', 'resultCode', result, 'amount', '{"currency":"EUR","value":1000}'::jsonb,
                                  'merchantReference', '0190f3a25b7c7abc8def0123456789ab', 'refusalReason', CASE result WHEN 'Refused' THEN 'Not enough balance' END)::text
FROM unnest('{Authorised,Refused,Cancelled,Error,Pending,Received,RedirectShopper,IdentifyShopper,ChallengeShopper,PresentToShopper,PartiallyAuthorised,AuthenticationFinished,a new one}'::text[]) result;
INSERT INTO adyen_answers (name, body) VALUES
('no amount', '{"pspReference":"Q","resultCode":"Authorised","merchantReference":"0190f3a25b7c7abc8def0123456789ab"}'),
('an error', '{"status":422,"errorCode":"14_030","message":"Return URL is missing.","errorType":"validation","pspReference":"Q"}');
SELECT name, (a).channel_status AS automatic, (m).channel_status AS manual, (n).channel_status AS "null", (o).channel_status AS "not told", (a).channel_txn_id, (a).amount, (a).currency, (a).code, (a).message, (a).payment_id
FROM (SELECT place, name, adyen.payment(body, 'automatic') AS a, adyen.payment(body, 'manual') AS m, adyen.payment(body, NULL) AS n, adyen.payment(body) AS o FROM adyen_answers) s ORDER BY place;
-- webhooks
CREATE TEMP TABLE adyen_events (place integer, name text, body text);
INSERT INTO adyen_events
SELECT n, name, jsonb_build_object('live', 'false', 'notificationItems', jsonb_build_array(jsonb_build_object('NotificationRequestItem',
  '{"amount":{"currency":"EUR","value":1000},"eventDate":"2021-01-01T01:00:00+01:00","merchantAccountCode":"YOUR_MERCHANT_ACCOUNT","merchantReference":"0190f3a25b7c7abc8def0123456789ab","paymentMethod":"visa","reason":"","success":"true"}'::jsonb
  || CASE WHEN code = 'AUTHORISATION' THEN '{"pspReference":"9913140798220028"}' ELSE '{"pspReference":"QFQTPCQ8HXSKGK82","originalReference":"9913140798220028"}' END::jsonb
  || jsonb_build_object('eventCode', code) || more)))::text
FROM (VALUES (1, 'paid', 'AUTHORISATION', '{"operations":["CANCEL","CAPTURE","REFUND"]}'::jsonb),
             (2, 'refused', 'AUTHORISATION', '{"success":"false","reason":"Refused"}'),
             (3, 'a boolean', 'AUTHORISATION', '{"success":true}'),
             (4, 'neither', 'AUTHORISATION', '{"success":"maybe"}'),
             (5, 'no amount', 'AUTHORISATION', '{"amount":{"currency":"EUR"}}'),
             (6, 'canceled', 'CANCELLATION', '{}'),
             (7, 'not canceled', 'CANCELLATION', '{"success":"false","reason":"Transaction already captured"}'),
             (8, 'canceled by name', 'TECHNICAL_CANCEL', '{}'),
             (9, 'not finished in time', 'OFFER_CLOSED', '{"originalReference":null}'),
             (10, 'captured', 'CAPTURE', '{}'),
             (11, 'capture refused by the scheme', 'CAPTURE_FAILED', '{"reason":"Capture Failed"}'),
             (32, 'capture refused', 'CAPTURE', '{"success":"false","reason":"Insufficient balance on payment"}'),
             (33, 'a part captured', 'CAPTURE', '{"amount":{"currency":"EUR","value":600}}'),
             (34, 'captured, neither', 'CAPTURE', '{"success":"maybe"}'),
             (35, 'adjusted', 'AUTHORISATION_ADJUSTMENT', '{"amount":{"currency":"EUR","value":1200}}'),
             (36, 'not adjusted', 'AUTHORISATION_ADJUSTMENT', '{"success":"false"}'),
             (37, 'expired', 'EXPIRE', '{"pspReference":"9913140798220028","originalReference":null}'),
             (12, 'refund of ours', 'REFUND', '{"merchantReference":"refund-0190f3a25b7c7abc8def0123456789cd"}'),
             (13, 'refund of ours, not made', 'REFUND', '{"merchantReference":"refund-0190f3a25b7c7abc8def0123456789cd","success":"false","reason":"Transaction hasn''t been captured, refund not possible"}'),
             (14, 'refund of ours, came back', 'REFUND_FAILED', '{"merchantReference":"refund-0190f3a25b7c7abc8def0123456789cd","reason":"Refund Failed"}'),
             (15, 'refund of ours, reversed', 'REFUNDED_REVERSED', '{"merchantReference":"refund-0190f3a25b7c7abc8def0123456789cd"}'),
             (16, 'refund at the console', 'REFUND', '{"amount":{"currency":"EUR","value":300}}'),
             (17, 'that one, not made', 'REFUND', '{"amount":{"currency":"EUR","value":300},"success":"false"}'),
             (18, 'that one, came back', 'REFUND_FAILED', '{"amount":{"currency":"EUR","value":300}}'),
             (19, 'canceled or refunded: canceled', 'CANCEL_OR_REFUND', '{"additionalData":{"modification.action":"cancel"}}'),
             (20, 'canceled or refunded: refunded', 'CANCEL_OR_REFUND', '{"additionalData":{"modification.action":"refund"}}'),
             (21, 'canceled or refunded: unknown', 'CANCEL_OR_REFUND', '{}'),
             (22, 'dispute opened', 'NOTIFICATION_OF_CHARGEBACK', '{}'),
             (23, 'charged back', 'CHARGEBACK', '{"pspReference":"DZ4DPSHB4WD2WN82","eventDate":"2021-02-01T01:00:00+01:00","additionalData":{"disputeStatus":"Undefended"}}'),
             (24, 'defended', 'CHARGEBACK_REVERSED', '{"pspReference":"DZ4DPSHB4WD2WN82","eventDate":"2021-03-01T01:00:00+01:00","originalReference":null}'),
             (25, 'charged back again', 'SECOND_CHARGEBACK', '{"pspReference":"DZ4DPSHB4WD2WN82","eventDate":"2021-04-01T01:00:00+02:00"}'),
             (26, 'again, of what', 'SECOND_CHARGEBACK', '{"originalReference":null}'),
             (27, 'pre-arbitration', 'PREARBITRATION_LOST', '{}'),
             (28, 'in krona', 'CHARGEBACK', '{"amount":{"currency":"ISK","value":50000}}'),
             (29, 'a report', 'REPORT_AVAILABLE', '{"reason":"https://ca-test.adyen.com/reports/download/x.csv"}'),
             (30, 'fraud', 'NOTIFICATION_OF_FRAUD', '{}'),
             (31, 'a new one', 'AUTOPILOT', '{}')) v(n, name, code, more);
INSERT INTO adyen_events VALUES (41, 'two items', '{"notificationItems":[{"NotificationRequestItem":{"eventCode":"AUTHORISATION","success":"true"}},{"NotificationRequestItem":{"eventCode":"CHARGEBACK","success":"true"}}]}'),
                                (42, 'no items', '{"notificationItems":[]}');
SELECT name, (a).subject, (a).channel_status AS automatic, (m).channel_status AS manual, (a).channel_txn_id, (a).of_txn_id, (a).amount, (m).amount AS manual_amount, (a).currency, (a).code, (a).message
FROM (SELECT place, name, adyen.event(body, 'automatic') AS a, adyen.event(body, 'manual') AS m FROM adyen_events) s ORDER BY place;
SELECT name, (a).channel_time, (a).payment_id, (a).refund_id, (a).event_id
FROM (SELECT place, name, adyen.event(body, 'automatic') AS a FROM adyen_events) s WHERE place IN (1, 6, 12, 14, 29, 41) ORDER BY place;
SELECT name, v.* FROM adyen_events, adyen.reversals(body) v ORDER BY place;
-- malformed
CREATE TEMP TABLE messages AS SELECT 'adyen.event' AS mapping, body FROM adyen_events WHERE place < 41 AND name <> 'again, of what' UNION ALL SELECT 'adyen.payment', body FROM adyen_answers
UNION ALL SELECT 'manual', body FROM adyen_events WHERE place < 12 OR place BETWEEN 32 AND 37;
CREATE FUNCTION pg_temp.mapped(mapping text, body text) RETURNS channel_body.answer LANGUAGE sql AS $$
  SELECT CASE mapping WHEN 'adyen.event' THEN adyen.event(body, 'automatic') WHEN 'manual' THEN adyen.event(body) ELSE adyen.payment(body, 'automatic') END
$$;
CREATE FUNCTION pg_temp.moved(mapping text, body text) RETURNS SETOF channel_body.reversal LANGUAGE sql AS $$
  SELECT * FROM adyen.reversals(body) WHERE mapping = 'adyen.event'
$$;
\i :broken
-- no way to pay an order with an authorisation that waits for its capture
SELECT capture, name FROM adyen_events, unnest('{manual,delayed,"",NULL}'::text[]) capture, adyen.event(body, capture) a
WHERE a.subject = 'payment' AND a.channel_status = 'succeeded' ORDER BY 1, 2;
SELECT name FROM adyen_events, adyen.event(body) a WHERE a.subject = 'payment' AND a.channel_status = 'succeeded' ORDER BY 1;
-- from the order to the chargeback, as the handler of README.md does it
CREATE FUNCTION pg_temp.adyen_webhook(body text, capture text) RETURNS TABLE (call text, answer text) LANGUAGE sql AS $$
  SELECT 'record_notification', concat_ws(' ', n.result, n.outcome)
  FROM adyen.event(body, capture) a,
       payguard.record_notification('adyen', body, a.event_id, a.payment_id, a.refund_id,
                                    a.channel_status, a.channel_txn_id, a.amount, a.currency, a.channel_time, a.capture_before) n
  WHERE a.subject IS NOT NULL
  UNION ALL
  SELECT v.call, r.outcome
  FROM adyen.reversals(body) v,
       payguard.record_reversal('adyen', v.reversal_id, v.channel_txn_id, v.kind, v.amount, v.currency, v.channel_time) r
  WHERE v.call = 'record_reversal'
  UNION ALL
  SELECT v.call, r.outcome
  FROM adyen.reversals(body) v, payguard.record_reinstatement('adyen', v.reversal_id, v.channel_time) r
  WHERE v.call = 'record_reinstatement'
$$;
SELECT name FROM payguard.register_channel('adyen');
SELECT (payguard.create_order(id, 1000, 'EUR')).status FROM unnest('{ad-1,ad-2}'::text[]) id;
SELECT replace(payment_id::text, '-', '') AS p1 FROM payguard.start_payment('ad-1', 'ad-1', 'adyen') \gset
SELECT replace(payment_id::text, '-', '') AS p2 FROM payguard.start_payment('ad-2', 'ad-2', 'adyen') \gset
SELECT w.* FROM adyen_events, pg_temp.adyen_webhook(replace(body, '0190f3a25b7c7abc8def0123456789ab', :'p1'), 'automatic') w WHERE name = 'paid';
SELECT w.* FROM adyen_events, pg_temp.adyen_webhook(replace(replace(body, '0190f3a25b7c7abc8def0123456789ab', :'p2'), '9913140798220028', '9913140798220029'), 'manual') w WHERE name = 'paid';
SELECT s.name, w.* FROM adyen_events s, LATERAL pg_temp.adyen_webhook(replace(s.body, '0190f3a25b7c7abc8def0123456789ab', :'p1'), 'automatic') w
WHERE s.name IN ('paid', 'dispute opened', 'a report', 'pre-arbitration') ORDER BY place;
SELECT replace(refund_id::text, '-', '') AS r FROM payguard.refund_order('ad-1', 'ad-1-r', 400, 'damaged') \gset
SELECT w.* FROM adyen_events, pg_temp.adyen_webhook(replace(replace(body, '1000', '400'), '0190f3a25b7c7abc8def0123456789cd', :'r'), 'automatic') w WHERE name = 'refund of ours';
SELECT order_id, status, refunded_amount FROM payguard.orders WHERE order_id LIKE 'ad-%' ORDER BY 1;
SELECT w.* FROM adyen_events, pg_temp.adyen_webhook(replace(replace(body, '1000', '400'), '0190f3a25b7c7abc8def0123456789cd', :'r'), 'automatic') w WHERE name = 'refund of ours, came back';
SELECT w.* FROM adyen_events, pg_temp.adyen_webhook(body, 'automatic') w WHERE name = 'charged back';
SELECT w.* FROM adyen_events, pg_temp.adyen_webhook(body, 'automatic') w WHERE name = 'defended';
SELECT reversal_kind, status, amount FROM payguard.refunds WHERE order_id = 'ad-1' ORDER BY 1;
SELECT w.* FROM adyen_events, pg_temp.adyen_webhook(body, 'automatic') w WHERE name = 'charged back again';
SELECT reversal_kind, status, amount FROM payguard.refunds WHERE order_id = 'ad-1' ORDER BY 1;
SELECT order_id, status, refunded_amount FROM payguard.orders WHERE order_id LIKE 'ad-%' ORDER BY 1;
SELECT kind, order_id FROM payguard.alerts WHERE order_id LIKE 'ad-%' ORDER BY alert_id;
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP SCHEMA adyen, channel_body CASCADE;
SELECT payguard.revoke_access('regress_channel_adyen', access) FROM unnest('{checkout,channel,admin,refunds,auditor}'::text[]) access;
DISCARD TEMP;
DROP ROLE regress_channel_adyen;
