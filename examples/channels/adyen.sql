-- Adyen: /payments and standard webhooks. common.sql first.
--
-- Expects reference = the attempt's payment_id, of a refund refund-<refund_id>, both with 32 hex digits. A body
-- with several notificationItems is unclear: in JSON there is always one.
--
-- An authorisation is money only where it is captured automatically and at once. That is a setting of the merchant
-- account or of the request, and no field of a message tells it, so that the caller says it: capture = 'automatic'. With
-- anything else, and without it, an authorisation is money that is reserved, and never pays an order: its CAPTURE does.
--
-- Rests on Adyen's documents: Notification webhooks (OpenAPI, github.com/Adyen/adyen-openapi, Webhooks-v1),
-- Webhook structure and types (docs.adyen.com/development-resources/webhooks/webhook-types), Capture and failure reasons
-- (docs.adyen.com/online-payments/capture), Cancel (docs.adyen.com/online-payments/cancel), Update an authorised amount
-- (docs.adyen.com/api-explorer/Checkout/72/post/payments/(paymentPspReference)/amountUpdates), Dispute webhooks
-- (docs.adyen.com/risk-management/disputes-api/dispute-notifications), Dispute process and flow
-- (docs.adyen.com/risk-management/understanding-disputes), Currency codes and minor units (docs.adyen.com/development-resources/currency-codes), result codes of /payments
-- (Adyen's API library). README.md says what could not be read.
CREATE SCHEMA adyen;
COMMENT ON SCHEMA adyen IS 'What Adyen says, in payguard''s words';

CREATE FUNCTION adyen.amount(value text, currency text) RETURNS bigint
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- Adyen's unit is ISO 4217's but for these ("differs from standard")
  SELECT CASE WHEN value !~ '^[0-9]{1,13}$' THEN NULL
              WHEN currency IN ('CLP', 'ISK') THEN CASE WHEN value::bigint % 100 = 0 THEN value::bigint / 100 END
              WHEN currency IN ('CVE', 'IDR') THEN value::bigint * 100
              ELSE value::bigint END
$$;
COMMENT ON FUNCTION adyen.amount(text, text) IS 'Adyen''s amount in the ISO 4217 minor unit; NULL where that is not exact';

CREATE FUNCTION adyen.amount_to_send(amount bigint, currency text) RETURNS bigint
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN currency IN ('CLP', 'ISK') THEN amount * 100
              WHEN currency IN ('CVE', 'IDR') THEN CASE WHEN amount % 100 = 0 THEN amount / 100 END
              ELSE amount END
$$;
COMMENT ON FUNCTION adyen.amount_to_send(bigint, text) IS 'payguard''s amount as Adyen wants it; NULL where that is not exact';

CREATE FUNCTION adyen.item(body text) RETURNS jsonb
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN jsonb_typeof(b -> 'notificationItems') = 'array' AND b #> '{notificationItems,1}' IS NULL
              THEN b #> '{notificationItems,0,NotificationRequestItem}' END
  FROM channel_body.json(body) b
$$;
COMMENT ON FUNCTION adyen.item(text) IS 'The one item of a webhook, otherwise NULL';

CREATE FUNCTION adyen.event_code(item jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN code = 'CANCEL_OR_REFUND' THEN
                CASE channel_body.field(item, 'additionalData', 'modification.action')
                  WHEN 'cancel' THEN 'CANCELLATION' WHEN 'refund' THEN 'REFUND' ELSE code END
              ELSE code END
  FROM channel_body.field(item, 'eventCode') code
$$;
COMMENT ON FUNCTION adyen.event_code(jsonb) IS 'The eventCode of an item; of CANCEL_OR_REFUND, that of what was done';

CREATE FUNCTION adyen.succeeded(item jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE item ->> 'success' WHEN 'true' THEN true WHEN 'false' THEN false END
$$;
COMMENT ON FUNCTION adyen.succeeded(jsonb) IS 'What success says, a string or a boolean; otherwise NULL';

CREATE FUNCTION adyen.payment_status(event_code text, success boolean, capture text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE event_code
    WHEN 'AUTHORISATION' THEN
      CASE WHEN success THEN CASE WHEN waits THEN 'authorized' ELSE 'succeeded' END
           WHEN NOT success THEN 'failed' ELSE 'unknown' END
    WHEN 'AUTHORISATION_ADJUSTMENT' THEN CASE WHEN success AND waits THEN 'authorized' ELSE 'unknown' END
    -- where it was refused, the money is reserved as before
    WHEN 'CAPTURE' THEN CASE WHEN success THEN 'succeeded' WHEN NOT success AND waits THEN 'authorized' ELSE 'unknown' END
    WHEN 'EXPIRE' THEN CASE WHEN success AND waits THEN 'closed' ELSE 'unknown' END
    WHEN 'CANCELLATION' THEN CASE WHEN success THEN 'closed' ELSE 'unknown' END
    WHEN 'TECHNICAL_CANCEL' THEN CASE WHEN success THEN 'closed' ELSE 'unknown' END
    -- the customer did not finish in time
    WHEN 'OFFER_CLOSED' THEN CASE WHEN success THEN 'closed' ELSE 'unknown' END
    -- the capture was refused by the scheme: the money that was authorised does not come
    WHEN 'CAPTURE_FAILED' THEN CASE WHEN success THEN 'failed' ELSE 'unknown' END
    ELSE 'unknown'
  END
  FROM (SELECT capture IS DISTINCT FROM 'automatic' AS waits) c
$$;
COMMENT ON FUNCTION adyen.payment_status(text, boolean, text) IS
  'channel_status of a payment, from eventCode, success, and how the account captures';

CREATE FUNCTION adyen.payment_of(item jsonb, capture text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT channel_body.answer_of('payment', adyen.payment_status(code, done, capture),
    -- a modification has a reference of its own, and that of the payment beside it
    channel_txn_id := CASE WHEN code = 'AUTHORISATION' THEN channel_body.field(item, 'pspReference')
                           ELSE channel_body.field(item, 'originalReference') END,
    -- a capture that was refused names what was asked for, not what is reserved
    amount := CASE WHEN code <> 'CAPTURE' OR done THEN adyen.amount(channel_body.field(item, 'amount', 'value'), currency) END,
    currency := currency,
    code := CASE WHEN code IN ('AUTHORISATION', 'CAPTURE') AND done THEN NULL ELSE code END,
    message := CASE WHEN code IN ('AUTHORISATION', 'CAPTURE') AND done THEN NULL ELSE channel_body.field(item, 'reason') END,
    channel_time := channel_body.rfc3339(channel_body.field(item, 'eventDate')),
    payment_id := channel_body.uuid(channel_body.field(item, 'merchantReference')),
    event_id := code || ':' || channel_body.field(item, 'success') || ':' || channel_body.field(item, 'pspReference'),
    amount_needed := code <> 'CAPTURE' OR done)
  FROM adyen.event_code(item) code, adyen.succeeded(item) done,
       channel_body.currency(channel_body.field(item, 'amount', 'currency')) currency
$$;
COMMENT ON FUNCTION adyen.payment_of(jsonb, text) IS 'The answer that an item about a payment is';

CREATE FUNCTION adyen.refund_status(event_code text, success boolean) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN event_code = 'REFUND' AND success THEN 'succeeded'
              WHEN event_code = 'REFUND' AND NOT success THEN 'failed'
              -- the customer's bank refused it, or it came back: the money is the merchant's again
              WHEN event_code IN ('REFUND_FAILED', 'REFUNDED_REVERSED') AND success THEN 'failed'
              ELSE 'unknown' END
$$;
COMMENT ON FUNCTION adyen.refund_status(text, boolean) IS 'channel_status of a refund, from eventCode and success';

CREATE FUNCTION adyen.refund_of(item jsonb) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT channel_body.answer_of('refund', adyen.refund_status(code, adyen.succeeded(item)),
    channel_txn_id := channel_body.field(item, 'pspReference'),
    of_txn_id := channel_body.field(item, 'originalReference'),
    amount := adyen.amount(channel_body.field(item, 'amount', 'value'), currency),
    currency := currency,
    code := CASE WHEN code = 'REFUND' AND adyen.succeeded(item) THEN NULL ELSE code END,
    message := CASE WHEN code = 'REFUND' AND adyen.succeeded(item) THEN NULL ELSE channel_body.field(item, 'reason') END,
    channel_time := channel_body.rfc3339(channel_body.field(item, 'eventDate')),
    refund_id := channel_body.refund_reference(channel_body.field(item, 'merchantReference')),
    event_id := code || ':' || channel_body.field(item, 'success') || ':' || channel_body.field(item, 'pspReference'))
  FROM adyen.event_code(item) code, channel_body.currency(channel_body.field(item, 'amount', 'currency')) currency
$$;
COMMENT ON FUNCTION adyen.refund_of(jsonb) IS 'The answer that an item about a refund is';

CREATE FUNCTION adyen.payment(body text, capture text DEFAULT 'manual') RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT channel_body.answer_of('payment',
    CASE result
      WHEN 'Authorised' THEN CASE capture WHEN 'automatic' THEN 'succeeded' ELSE 'authorized' END
      WHEN 'Refused' THEN 'failed'
      WHEN 'Cancelled' THEN 'closed'
      -- perhaps there is something left for the customer to do
      WHEN 'Pending' THEN 'pending'
      -- Adyen has it, and the webhook tells how it ends
      WHEN 'Received' THEN 'processing'
      WHEN 'RedirectShopper' THEN 'pending'
      WHEN 'IdentifyShopper' THEN 'pending'
      WHEN 'ChallengeShopper' THEN 'pending'
      WHEN 'PresentToShopper' THEN 'pending'
      ELSE 'unknown' END,
    channel_txn_id := channel_body.field(b, 'pspReference'),
    amount := adyen.amount(channel_body.field(b, 'amount', 'value'), currency),
    currency := currency,
    code := CASE WHEN result IS DISTINCT FROM 'Authorised' THEN
              coalesce(channel_body.field(b, 'refusalReasonCode'), channel_body.field(b, 'errorCode'), result) END,
    message := CASE WHEN result IS DISTINCT FROM 'Authorised' THEN
                 coalesce(channel_body.field(b, 'refusalReason'), channel_body.field(b, 'message')) END,
    payment_id := channel_body.uuid(channel_body.field(b, 'merchantReference')))
  FROM channel_body.json(body) b,
       LATERAL (SELECT channel_body.field(b, 'resultCode') AS result,
                       channel_body.currency(channel_body.field(b, 'amount', 'currency')) AS currency) r
$$;
COMMENT ON FUNCTION adyen.payment(text, text) IS
  'The answer to /payments and /payments/details; capture: automatic, where the account or the request captures at once';

CREATE FUNCTION adyen.reversals(body text) RETURNS SETOF channel_body.reversal
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- All events of a dispute have its pspReference: a second chargeback is the first one once more, later.
  SELECT v.*
  FROM adyen.item(body) item,
       LATERAL (SELECT adyen.event_code(item) AS code, channel_body.currency(channel_body.field(item, 'amount', 'currency')) AS currency) c,
       LATERAL (SELECT CASE WHEN code IN ('CHARGEBACK', 'SECOND_CHARGEBACK') THEN 'chargeback'
                            WHEN code = 'REFUND' THEN 'refund' END AS kind) k,
       LATERAL channel_body.reversal_of(
         CASE WHEN kind IS NOT NULL THEN 'record_reversal' ELSE 'record_reinstatement' END,
         channel_body.field(item, 'pspReference'), channel_body.field(item, 'originalReference'), kind,
         adyen.amount(channel_body.field(item, 'amount', 'value'), currency), currency,
         channel_body.rfc3339(channel_body.field(item, 'eventDate'))) v
  WHERE adyen.succeeded(item)
    AND (code IN ('CHARGEBACK', 'SECOND_CHARGEBACK', 'CHARGEBACK_REVERSED')
         OR code IN ('REFUND', 'REFUND_FAILED', 'REFUNDED_REVERSED')
            AND channel_body.refund_reference(channel_body.field(item, 'merchantReference')) IS NULL)
$$;
COMMENT ON FUNCTION adyen.reversals(text) IS
  'Money that a webhook says was moved without payguard: chargebacks, and refunds made in Adyen''s Customer Area';

CREATE FUNCTION adyen.event_subject(item jsonb, told_otherwise boolean) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
    WHEN told_otherwise THEN NULL
    WHEN code IN ('AUTHORISATION', 'AUTHORISATION_ADJUSTMENT', 'CANCELLATION', 'TECHNICAL_CANCEL', 'CAPTURE',
                  'CAPTURE_FAILED', 'OFFER_CLOSED', 'EXPIRE', 'NOTIFICATION_OF_CHARGEBACK',
                  'REQUEST_FOR_INFORMATION', 'NOTIFICATION_OF_FRAUD') THEN 'payment'
    WHEN code IN ('REFUND', 'REFUND_FAILED', 'REFUNDED_REVERSED') THEN
      CASE WHEN channel_body.refund_reference(channel_body.field(item, 'merchantReference')) IS NOT NULL THEN 'refund'
           -- a refund that was asked for in the Customer Area and not made
           WHEN adyen.succeeded(item) IS NOT FALSE THEN 'unclear' END
    -- what moves money in a dispute's later stages, or does not, is for somebody to read
    WHEN code IS NULL OR code ~ '(CHARGEBACK|ARBITRATION)' OR code IN ('CANCEL_OR_REFUND', 'REFUND_WITH_DATA', 'PAIDOUT_REVERSED')
      THEN 'unclear'
  END
  FROM adyen.event_code(item) code
$$;
COMMENT ON FUNCTION adyen.event_subject(jsonb, boolean) IS
  'The subject of a webhook''s item; told_otherwise: adyen.reversals() has a row for it';

CREATE FUNCTION adyen.event(body text, capture text DEFAULT 'manual') RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE subject
    WHEN 'payment' THEN adyen.payment_of(item, capture)
    WHEN 'refund' THEN adyen.refund_of(item)
    ELSE channel_body.answer_of(subject, 'unknown', code := adyen.event_code(item),
           event_id := adyen.event_code(item) || ':' || channel_body.field(item, 'success') || ':'
                       || channel_body.field(item, 'pspReference')) END
  FROM adyen.item(body) item, LATERAL adyen.event_subject(item, EXISTS (SELECT FROM adyen.reversals(body))) subject
$$;
COMMENT ON FUNCTION adyen.event(text, text) IS
  'The answer that a webhook is; capture: automatic, where the account or the request captures at once';
