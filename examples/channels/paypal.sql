-- PayPal: Orders v2, Payments v2 and their webhooks. common.sql first.
--
-- Expects one purchase unit an order, with custom_id = the attempt's payment_id, of a refund custom_id =
-- refund-<refund_id>, both with 32 hex digits, and each with that id as its PayPal-Request-Id. The transaction
-- is the capture: its id is what refunds and reversals name. Until there is one, it is the authorization.
--
-- An order that the customer approved is no money, and an authorization is money that is reserved: only a capture takes it.
--
-- Rests on PayPal's documents: Orders v2 and Payments v2 (OpenAPI, github.com/paypal/paypal-rest-api-specifications,
-- checkout_orders_v2 and payments_payment_v2), Webhook event names (developer.paypal.com/api/rest/webhooks/event-names),
-- Subscribe to checkout webhooks (developer.paypal.com/payment-methods/webhooks), Handle funding failures, Resource not
-- found (developer.paypal.com/api/errors/resource-not-found); sample messages of PayPal's webhook simulator, as public
-- code quotes them. README.md says what could not be read.
CREATE SCHEMA paypal;
COMMENT ON SCHEMA paypal IS 'What PayPal says, in payguard''s words';

CREATE FUNCTION paypal.amount(money jsonb) RETURNS bigint
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT channel_body.minor_units(channel_body.field(money, 'value'),
           channel_body.digits(channel_body.currency(channel_body.field(money, 'currency_code'))))
$$;
COMMENT ON FUNCTION paypal.amount(jsonb) IS 'An amount of PayPal''s in the ISO 4217 minor unit; NULL where that is not exact';

CREATE FUNCTION paypal.amount_to_send(amount bigint, currency text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- "This currency does not support decimals"
  SELECT CASE WHEN amount < 0 OR currency IS NULL THEN NULL
              WHEN currency IN ('HUF', 'TWD') THEN CASE WHEN amount % 100 = 0 THEN (amount / 100)::text END
              WHEN channel_body.digits(currency) = 0 THEN amount::text
              ELSE round(amount / 10::numeric ^ channel_body.digits(currency), channel_body.digits(currency))::text END
$$;
COMMENT ON FUNCTION paypal.amount_to_send(bigint, text) IS
  'payguard''s amount as PayPal wants it; NULL where PayPal would refuse it';

CREATE FUNCTION paypal.capture_status(status text, reason text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE status
    WHEN 'COMPLETED' THEN 'succeeded'
    -- "not yet credited": an eCheck, a review; or the customer has still to send the money
    WHEN 'PENDING' THEN CASE reason WHEN 'TRANSACTION_APPROVED_AWAITING_FUNDING' THEN 'pending' ELSE 'processing' END
    WHEN 'DECLINED' THEN 'failed'
    WHEN 'DENIED' THEN 'failed'
    WHEN 'FAILED' THEN 'failed'
    -- REFUNDED, PARTIALLY_REFUNDED: it was paid, and given back, how much is not told: no order that may be shipped
    ELSE 'unknown'
  END
$$;
COMMENT ON FUNCTION paypal.capture_status(text, text) IS 'channel_status of a capture, from its status and the reason of that';

CREATE FUNCTION paypal.authorization_status(status text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE status
    WHEN 'CREATED' THEN 'authorized'
    -- PENDING_REVIEW: the customer has done it all
    WHEN 'PENDING' THEN 'processing'
    WHEN 'DENIED' THEN 'failed'
    WHEN 'VOIDED' THEN 'closed'
    WHEN 'EXPIRED' THEN 'closed'
    -- CAPTURED, PARTIALLY_CAPTURED: what was taken the capture says
    ELSE 'unknown'
  END
$$;
COMMENT ON FUNCTION paypal.authorization_status(text) IS 'channel_status of an authorization';

CREATE FUNCTION paypal.refund_status(status text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE status
    WHEN 'COMPLETED' THEN 'succeeded'
    WHEN 'PENDING' THEN 'pending'
    WHEN 'FAILED' THEN 'failed'
    WHEN 'CANCELLED' THEN 'closed'
    ELSE 'unknown'
  END
$$;
COMMENT ON FUNCTION paypal.refund_status(text) IS 'channel_status of a refund';

CREATE FUNCTION paypal.payment_of(capture jsonb, event_id text DEFAULT NULL) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- a capture that was declined leaves its authorization as it was
  SELECT channel_body.answer_of('payment', CASE WHEN stands THEN 'authorized' ELSE captured END,
    channel_txn_id := CASE WHEN stands THEN auth_id ELSE channel_body.field(capture, 'id') END,
    amount := CASE WHEN NOT stands THEN paypal.amount(capture -> 'amount') END,
    currency := channel_body.currency(channel_body.field(capture, 'amount', 'currency_code')),
    code := CASE WHEN status IS DISTINCT FROM 'COMPLETED' THEN
              coalesce(channel_body.field(capture, 'status_details', 'reason'), status) END,
    channel_time := channel_body.rfc3339(coalesce(channel_body.field(capture, 'create_time'),
                                                  channel_body.field(capture, 'update_time'))),
    payment_id := channel_body.uuid(channel_body.field(capture, 'custom_id')),
    event_id := event_id,
    amount_needed := NOT stands)
  FROM channel_body.field(capture, 'status') status,
       channel_body.field(capture, 'supplementary_data', 'related_ids', 'authorization_id') auth_id,
       paypal.capture_status(status, channel_body.field(capture, 'status_details', 'reason')) captured,
       LATERAL (SELECT captured = 'failed' AND auth_id IS NOT NULL AS stands) s
$$;
COMMENT ON FUNCTION paypal.payment_of(jsonb, text) IS 'The answer that a capture is';

CREATE FUNCTION paypal.authorization_of(auth jsonb, event_id text DEFAULT NULL) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT channel_body.answer_of('payment', paypal.authorization_status(status),
    channel_txn_id := channel_body.field(auth, 'id'),
    amount := paypal.amount(auth -> 'amount'),
    currency := channel_body.currency(channel_body.field(auth, 'amount', 'currency_code')),
    code := CASE WHEN status IS DISTINCT FROM 'CREATED' THEN
              coalesce(channel_body.field(auth, 'status_details', 'reason'), status) END,
    channel_time := channel_body.rfc3339(coalesce(channel_body.field(auth, 'create_time'), channel_body.field(auth, 'update_time'))),
    payment_id := channel_body.uuid(channel_body.field(auth, 'custom_id')),
    event_id := event_id,
    capture_before := channel_body.rfc3339(channel_body.field(auth, 'expiration_time')))
  FROM channel_body.field(auth, 'status') status
$$;
COMMENT ON FUNCTION paypal.authorization_of(jsonb, text) IS 'The answer that an authorization is';

CREATE FUNCTION paypal.capture_of(refund jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- no field of a refund has it, but a link does
  SELECT coalesce(channel_body.field(refund, 'supplementary_data', 'related_ids', 'capture_id'),
    (SELECT max((regexp_match(channel_body.field(link, 'href'), '/v2/payments/captures/([A-Z0-9]+)$'))[1])
     FROM jsonb_array_elements(CASE jsonb_typeof(refund -> 'links') WHEN 'array' THEN refund -> 'links' ELSE '[]' END) link
     WHERE channel_body.field(link, 'rel') = 'up'))
$$;
COMMENT ON FUNCTION paypal.capture_of(jsonb) IS 'The id of the capture that a refund gives back';

CREATE FUNCTION paypal.refund_of(refund jsonb, event_id text DEFAULT NULL) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT channel_body.answer_of('refund', paypal.refund_status(status),
    channel_txn_id := channel_body.field(refund, 'id'),
    of_txn_id := paypal.capture_of(refund),
    amount := paypal.amount(refund -> 'amount'),
    currency := channel_body.currency(channel_body.field(refund, 'amount', 'currency_code')),
    code := CASE WHEN status IS DISTINCT FROM 'COMPLETED' THEN
              coalesce(channel_body.field(refund, 'status_details', 'reason'), status) END,
    channel_time := channel_body.rfc3339(channel_body.field(refund, 'create_time')),
    refund_id := channel_body.refund_reference(channel_body.field(refund, 'custom_id')),
    event_id := event_id)
  FROM channel_body.field(refund, 'status') status
$$;
COMMENT ON FUNCTION paypal.refund_of(jsonb, text) IS 'The answer that a refund is';

CREATE FUNCTION paypal.order_of(paypal_order jsonb, event_id text DEFAULT NULL) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- the one capture that was not declined; the customer may choose another funding source while the order is open
  -- intent AUTHORIZE: without such a capture, what its one authorization says
  SELECT CASE
    WHEN unit IS NULL OR live > 1 OR live = 0 AND several THEN channel_body.answer_of('payment', 'unknown',
      code := CASE WHEN live > 1 OR several OR paypal_order #> '{purchase_units,1}' IS NOT NULL
                   THEN 'SEVERAL_PAYMENTS' ELSE status END,
      event_id := event_id)
    WHEN live = 1 THEN paypal.payment_of(jsonb_build_object('custom_id', unit -> 'custom_id') || the_one, event_id)
    WHEN status = 'COMPLETED' AND authorized IS NOT NULL
      THEN paypal.authorization_of(jsonb_build_object('custom_id', unit -> 'custom_id') || authorized, event_id)
    ELSE channel_body.answer_of('payment',
      CASE WHEN status IN ('CREATED', 'SAVED', 'APPROVED', 'PAYER_ACTION_REQUIRED') THEN 'pending'
           WHEN status = 'VOIDED' THEN 'closed'
           WHEN status = 'COMPLETED' AND declined > 0 AND unit #> '{payments,authorizations}' IS NULL THEN 'failed'
           ELSE 'unknown' END,
      code := status, payment_id := channel_body.uuid(channel_body.field(unit, 'custom_id')), event_id := event_id) END
  FROM channel_body.field(paypal_order, 'status') status,
       LATERAL (SELECT CASE WHEN jsonb_typeof(paypal_order #> '{purchase_units,0}') = 'object'
                             AND paypal_order #> '{purchase_units,1}' IS NULL THEN paypal_order #> '{purchase_units,0}' END AS unit) u,
       LATERAL (SELECT unit #> '{payments,authorizations,1}' IS NOT NULL AS several,
                       CASE jsonb_typeof(unit #> '{payments,authorizations,0}') WHEN 'object'
                       THEN unit #> '{payments,authorizations,0}' END AS authorized) a,
       LATERAL (SELECT count(*) FILTER (WHERE NOT lost) AS live, count(*) FILTER (WHERE lost) AS declined,
                       max(capture::text) FILTER (WHERE NOT lost)::jsonb AS the_one
                FROM jsonb_array_elements(CASE jsonb_typeof(unit #> '{payments,captures}') WHEN 'array'
                                          THEN unit #> '{payments,captures}' ELSE '[]' END) capture,
                     LATERAL (SELECT coalesce(channel_body.field(capture, 'status') IN ('DECLINED', 'DENIED', 'FAILED'), false) AS lost) l) c
$$;
COMMENT ON FUNCTION paypal.order_of(jsonb, text) IS 'The answer that an order of PayPal''s is';

CREATE FUNCTION paypal.error_of(subject text, http_status integer, body jsonb) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT channel_body.answer_of(subject,
    CASE WHEN http_status = 404 AND channel_body.field(body, 'name') = 'RESOURCE_NOT_FOUND' THEN 'not_found'
         -- the customer has not approved it, or can choose another funding source: the order is open
         WHEN http_status = 422 AND issue IN ('ORDER_NOT_APPROVED', 'INSTRUMENT_DECLINED', 'PAYER_ACTION_REQUIRED')
           AND subject = 'payment' THEN 'pending'
         ELSE 'unknown' END,
    code := coalesce(issue, channel_body.field(body, 'name')),
    message := coalesce(channel_body.field(body, 'details', '0', 'description'), channel_body.field(body, 'message')))
  FROM channel_body.field(body, 'details', '0', 'issue') issue
$$;
COMMENT ON FUNCTION paypal.error_of(text, integer, jsonb) IS 'The answer that an error is: an error is not a failed payment';

CREATE FUNCTION paypal.payment(http_status integer, body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN http_status BETWEEN 200 AND 299 THEN paypal.order_of(b)
              ELSE paypal.error_of('payment', http_status, b) END
  FROM channel_body.json(body) b
$$;
COMMENT ON FUNCTION paypal.payment(integer, text) IS
  'The answer to creating, showing, authorizing or capturing an order, with Prefer: return=representation';

CREATE FUNCTION paypal.capture(http_status integer, body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
    WHEN http_status BETWEEN 200 AND 299 THEN paypal.payment_of(b)
    WHEN http_status = 422 AND issue IN ('AUTHORIZATION_VOIDED', 'AUTHORIZATION_EXPIRED', 'AUTHORIZATION_DENIED')
      THEN channel_body.answer_of('payment', 'closed', code := issue, message := description)
    -- nothing was taken, and the money is reserved as before
    WHEN http_status = 422 AND issue IN ('TRANSACTION_REFUSED', 'PAYER_CANNOT_PAY', 'PAYER_ACCOUNT_LOCKED_OR_CLOSED',
        'PAYEE_ACCOUNT_LOCKED_OR_CLOSED', 'PAYEE_ACCOUNT_RESTRICTED', 'MAX_CAPTURE_AMOUNT_EXCEEDED', 'INVALID_CURRENCY_CODE',
        'AUTH_CAPTURE_CURRENCY_MISMATCH', 'CANNOT_BE_ZERO_OR_NEGATIVE', 'DECIMAL_PRECISION', 'DECIMALS_NOT_SUPPORTED')
      THEN channel_body.answer_of('payment', 'authorized', code := issue, message := description, amount_needed := false)
    ELSE paypal.error_of('payment', http_status, b) END
  FROM channel_body.json(body) b, channel_body.field(b, 'details', '0', 'issue') issue,
       channel_body.field(b, 'details', '0', 'description') description
$$;
COMMENT ON FUNCTION paypal.capture(integer, text) IS
  'The answer to capturing an authorization, or showing a capture, with Prefer: return=representation';

CREATE FUNCTION paypal.authorization(http_status integer, body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
    -- voided, and Prefer: return=minimal
    WHEN http_status = 204 THEN channel_body.answer_of('payment', 'closed')
    WHEN http_status BETWEEN 200 AND 299 THEN paypal.authorization_of(b)
    WHEN http_status = 422 AND issue = 'PREVIOUSLY_VOIDED' THEN channel_body.answer_of('payment', 'closed', code := issue)
    ELSE paypal.error_of('payment', http_status, b) END
  FROM channel_body.json(body) b, channel_body.field(b, 'details', '0', 'issue') issue
$$;
COMMENT ON FUNCTION paypal.authorization(integer, text) IS 'The answer to showing or voiding an authorization';

CREATE FUNCTION paypal.refund(http_status integer, body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN http_status BETWEEN 200 AND 299 THEN paypal.refund_of(b)
              ELSE paypal.error_of('refund', http_status, b) END
  FROM channel_body.json(body) b
$$;
COMMENT ON FUNCTION paypal.refund(integer, text) IS
  'The answer to refunding a capture or showing a refund, with Prefer: return=representation';

CREATE FUNCTION paypal.reversals(body text) RETURNS SETOF channel_body.reversal
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT v.*
  FROM channel_body.json(body) b,
       LATERAL (SELECT channel_body.field(b, 'event_type') AS type, b -> 'resource' AS refund) e,
       LATERAL channel_body.reversal_of('record_reversal', channel_body.field(refund, 'id'), paypal.capture_of(refund),
         CASE type WHEN 'PAYMENT.CAPTURE.REVERSED' THEN 'chargeback' ELSE 'refund' END,
         paypal.amount(refund -> 'amount'), channel_body.currency(channel_body.field(refund, 'amount', 'currency_code')),
         channel_body.rfc3339(channel_body.field(b, 'create_time'))) v
  WHERE channel_body.field(b, 'resource_type') = 'refund' AND channel_body.field(refund, 'status') = 'COMPLETED'
    AND (type = 'PAYMENT.CAPTURE.REVERSED'
         OR type = 'PAYMENT.CAPTURE.REFUNDED' AND channel_body.refund_reference(channel_body.field(refund, 'custom_id')) IS NULL)
$$;
COMMENT ON FUNCTION paypal.reversals(text) IS
  'Money that a webhook event says was moved without payguard: what PayPal took back, and refunds made at PayPal''s site';

CREATE FUNCTION paypal.event_subject(type text, event jsonb, told_otherwise boolean) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
    WHEN told_otherwise THEN NULL
    WHEN type LIKE 'PAYMENT.CAPTURE.%' AND channel_body.field(event, 'resource_type') = 'capture' THEN 'payment'
    WHEN type IN ('PAYMENT.CAPTURE.REFUNDED', 'PAYMENT.REFUND.PENDING', 'PAYMENT.REFUND.FAILED')
      AND channel_body.refund_reference(channel_body.field(event, 'resource', 'custom_id')) IS NOT NULL THEN 'refund'
    WHEN type LIKE 'CHECKOUT.ORDER.%' AND event #> '{resource,purchase_units}' IS NOT NULL THEN 'payment'
    WHEN type LIKE 'PAYMENT.AUTHORIZATION.%' THEN 'payment'
    WHEN type IS NULL OR type ~ '^PAYMENT[.](CAPTURE|REFUND)[.]' AND type <> 'PAYMENT.REFUND.PENDING' THEN 'unclear'
  END
$$;
COMMENT ON FUNCTION paypal.event_subject(text, jsonb, boolean) IS
  'The subject of a webhook event; told_otherwise: paypal.reversals() has a row for it';

CREATE FUNCTION paypal.event(body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
    WHEN subject = 'payment' AND type LIKE 'PAYMENT.CAPTURE.%' THEN paypal.payment_of(b -> 'resource', event_id)
    WHEN subject = 'payment' AND type LIKE 'CHECKOUT.ORDER.%' THEN paypal.order_of(b -> 'resource', event_id)
    -- CREATED may come late, with an authorization that is captured: its status counts
    WHEN subject = 'payment' THEN paypal.authorization_of(b -> 'resource', event_id)
    WHEN subject = 'refund' THEN paypal.refund_of(b -> 'resource', event_id)
    ELSE channel_body.answer_of(subject, 'unknown', code := type, event_id := event_id) END
  FROM channel_body.json(body) b,
       LATERAL (SELECT channel_body.field(b, 'event_type') AS type, channel_body.field(b, 'id') AS event_id) e,
       LATERAL paypal.event_subject(type, b, EXISTS (SELECT FROM paypal.reversals(body))) subject
$$;
COMMENT ON FUNCTION paypal.event(text) IS 'The answer that a webhook event is';
