-- Stripe: PaymentIntents, Refunds and Disputes. common.sql first.
--
-- Expects that the PaymentIntent was created with metadata[payment_id] = the attempt's payment_id,
-- the Refund with metadata[refund_id], and each with that id as its Idempotency-Key.
--
-- Rests on Stripe's documents: The Dispute object and its events (docs.stripe.com/api/disputes/object,
-- /api/events/types), How disputes work (docs.stripe.com/disputes/how-disputes-work), Dispute for full charge amount
-- after a partial refund was issued (support.stripe.com), Errors (docs.stripe.com/api/errors), Idempotent requests
-- (docs.stripe.com/api/idempotent_requests), Supported currencies (docs.stripe.com/currencies), Place a hold on a payment
-- method (docs.stripe.com/payments/capture-later), The Charge object (docs.stripe.com/api/charges/object), changelog
-- 2024-10-28.acacia (refund events) and 2025-03-31.basil (no Refund of what was only reserved). README.md says what could
-- not be read.
CREATE SCHEMA stripe;
COMMENT ON SCHEMA stripe IS 'What Stripe says, in payguard''s words';

CREATE FUNCTION stripe.amount(value text, currency text) RETURNS bigint
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- Stripe's unit is ISO 4217's but for these: krona and Ugandan shilling have no minor unit and
  -- are given with two zeros; the ariary has one and is given without
  SELECT CASE WHEN value !~ '^[0-9]{1,15}$' THEN NULL
              WHEN currency IN ('ISK', 'UGX') THEN CASE WHEN value::bigint % 100 = 0 THEN value::bigint / 100 END
              WHEN currency = 'MGA' THEN value::bigint * 100
              ELSE value::bigint END
$$;
COMMENT ON FUNCTION stripe.amount(text, text) IS 'Stripe''s amount in the ISO 4217 minor unit; NULL where that is not exact';

CREATE FUNCTION stripe.amount_to_send(amount bigint, currency text) RETURNS bigint
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN currency IN ('ISK', 'UGX') THEN amount * 100
              -- "Three-decimal currencies": the last digit has to be 0
              WHEN currency IN ('BHD', 'JOD', 'KWD', 'OMR', 'TND') THEN CASE WHEN amount % 10 = 0 THEN amount END
              WHEN currency = 'MGA' THEN CASE WHEN amount % 100 = 0 THEN amount / 100 END
              ELSE amount END
$$;
COMMENT ON FUNCTION stripe.amount_to_send(bigint, text) IS
  'payguard''s amount as Stripe wants it; NULL where that is not exact, and where Stripe would refuse it';

CREATE FUNCTION stripe.intent_status(intent jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE channel_body.field(intent, 'status')
    WHEN 'succeeded' THEN 'succeeded'
    -- also after a declined attempt: the customer may try the next card on the same intent
    WHEN 'requires_payment_method' THEN 'pending'
    WHEN 'requires_confirmation' THEN 'pending'
    WHEN 'requires_action' THEN 'pending'
    -- the customer has done it all: the bank takes hours or days
    WHEN 'processing' THEN 'processing'
    -- the money is reserved; where some of it is taken already, nobody here has asked for that
    WHEN 'requires_capture' THEN CASE channel_body.field(intent, 'amount_received') WHEN '0' THEN 'authorized' ELSE 'unknown' END
    WHEN 'canceled' THEN CASE channel_body.field(intent, 'amount_received') WHEN '0' THEN 'closed' ELSE 'unknown' END
    ELSE 'unknown'
  END
$$;
COMMENT ON FUNCTION stripe.intent_status(jsonb) IS 'channel_status of a PaymentIntent';

CREATE FUNCTION stripe.refund_status(refund jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE channel_body.field(refund, 'status')
    WHEN 'succeeded' THEN 'succeeded'
    WHEN 'pending' THEN 'pending'
    WHEN 'requires_action' THEN 'pending'
    WHEN 'failed' THEN 'failed'
    WHEN 'canceled' THEN 'closed'
    ELSE 'unknown'
  END
$$;
COMMENT ON FUNCTION stripe.refund_status(jsonb) IS 'channel_status of a Refund';

CREATE FUNCTION stripe.capture_before(charge jsonb) RETURNS timestamptz
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT channel_body.unix_time(coalesce(channel_body.field(charge, 'payment_method_details', 'card', 'capture_before'),
                                         channel_body.field(charge, 'payment_method_details', 'card_present', 'capture_before')))
$$;
COMMENT ON FUNCTION stripe.capture_before(jsonb) IS 'Until when what a Charge has reserved can be captured';

CREATE FUNCTION stripe.payment_of(intent jsonb, event_id text DEFAULT NULL, event_time text DEFAULT NULL)
RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT channel_body.answer_of('payment', stripe.intent_status(intent),
    channel_txn_id := channel_body.field(intent, 'id'),
    amount := stripe.amount(channel_body.field(intent, CASE channel_body.field(intent, 'status')
                              WHEN 'requires_capture' THEN 'amount_capturable' ELSE 'amount_received' END), currency),
    currency := currency,
    code := CASE WHEN channel_body.field(intent, 'status') <> 'succeeded' THEN
              coalesce(channel_body.field(intent, 'cancellation_reason'),
                       channel_body.field(intent, 'last_payment_error', 'decline_code'),
                       channel_body.field(intent, 'last_payment_error', 'code'),
                       channel_body.field(intent, 'status')) END,
    message := CASE WHEN channel_body.field(intent, 'status') <> 'succeeded' THEN
                 channel_body.field(intent, 'last_payment_error', 'message') END,
    channel_time := channel_body.unix_time(coalesce(channel_body.field(intent, 'latest_charge', 'created'), event_time)),
    payment_id := channel_body.uuid(channel_body.field(intent, 'metadata', 'payment_id')),
    event_id := event_id,
    -- where latest_charge is expanded
    capture_before := stripe.capture_before(intent -> 'latest_charge'))
  FROM channel_body.currency(channel_body.field(intent, 'currency')) currency
$$;
COMMENT ON FUNCTION stripe.payment_of(jsonb, text, text) IS 'The answer that a PaymentIntent object is';

CREATE FUNCTION stripe.charge_of(charge jsonb, type text, event_id text, event_time text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- A charge is one attempt of an intent, a failed one too, or what has been refunded of it in all: the intent and the
  -- refunds themselves say more. One that succeeded and is not captured has reserved money, and says until when.
  SELECT channel_body.answer_of('payment',
    CASE WHEN type = 'charge.succeeded' AND channel_body.field(charge, 'status') = 'succeeded'
          AND charge -> 'captured' = 'false' AND charge -> 'refunded' = 'false' THEN 'authorized' ELSE 'unknown' END,
    channel_txn_id := channel_body.field(charge, 'payment_intent'),
    amount := stripe.amount(channel_body.field(charge, 'amount'), currency),
    currency := currency,
    code := type,
    channel_time := channel_body.unix_time(event_time),
    payment_id := channel_body.uuid(channel_body.field(charge, 'metadata', 'payment_id')),
    event_id := event_id,
    capture_before := stripe.capture_before(charge))
  FROM channel_body.currency(channel_body.field(charge, 'currency')) currency
$$;
COMMENT ON FUNCTION stripe.charge_of(jsonb, text, text, text) IS 'The answer that an event of a Charge, or of a Dispute, is';

CREATE FUNCTION stripe.refund_of(refund jsonb, event_id text DEFAULT NULL, event_time text DEFAULT NULL)
RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT channel_body.answer_of('refund', stripe.refund_status(refund),
    channel_txn_id := channel_body.field(refund, 'id'),
    of_txn_id := channel_body.field(refund, 'payment_intent'),
    amount := stripe.amount(channel_body.field(refund, 'amount'), currency),
    currency := currency,
    code := CASE WHEN channel_body.field(refund, 'status') <> 'succeeded' THEN
              coalesce(channel_body.field(refund, 'failure_reason'), channel_body.field(refund, 'status')) END,
    channel_time := channel_body.unix_time(event_time),
    refund_id := channel_body.uuid(channel_body.field(refund, 'metadata', 'refund_id')),
    event_id := event_id)
  FROM channel_body.currency(channel_body.field(refund, 'currency')) currency
$$;
COMMENT ON FUNCTION stripe.refund_of(jsonb, text, text) IS 'The answer that a Refund object is';

CREATE FUNCTION stripe.error_of(subject text, body jsonb) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT channel_body.answer_of(subject,
    CASE channel_body.field(body, 'error', 'code') WHEN 'resource_missing' THEN 'not_found' ELSE 'unknown' END,
    code := coalesce(channel_body.field(body, 'error', 'code'), channel_body.field(body, 'error', 'type')),
    message := channel_body.field(body, 'error', 'message'))
$$;
COMMENT ON FUNCTION stripe.error_of(text, jsonb) IS 'The answer that an error is: an error is not a failed payment';

CREATE FUNCTION stripe.payment(body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- an error about a PaymentIntent carries its state: a declined card, a cancel that came too late
  SELECT CASE WHEN channel_body.field(b, 'object') = 'payment_intent' THEN stripe.payment_of(b)
              WHEN channel_body.field(b, 'error', 'payment_intent', 'object') = 'payment_intent'
                THEN stripe.payment_of(b #> '{error,payment_intent}')
              ELSE stripe.error_of('payment', b) END
  FROM channel_body.json(body) b
$$;
COMMENT ON FUNCTION stripe.payment(text) IS
  'The answer to creating, confirming, retrieving, capturing or canceling a PaymentIntent';

CREATE FUNCTION stripe.refund(body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN channel_body.field(b, 'object') = 'refund' THEN stripe.refund_of(b)
              ELSE stripe.error_of('refund', b) END
  FROM channel_body.json(body) b
$$;
COMMENT ON FUNCTION stripe.refund(text) IS 'The answer to creating, retrieving or canceling a Refund';

CREATE FUNCTION stripe.refused(http_status integer, body jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- an idempotency_error says that the key was used before: what came of that is not known
  SELECT coalesce(http_status = 400 AND channel_body.field(body, 'error', 'type') = 'invalid_request_error'
                  AND body #> '{error,payment_intent}' IS NULL
                  AND coalesce(channel_body.field(body, 'error', 'code'), '') <> ALL
                      ('{idempotency_key_in_use,lock_timeout,rate_limit,charge_already_refunded}'::text[]), false)
$$;
COMMENT ON FUNCTION stripe.refused(integer, jsonb) IS
  'Stripe answered a request to create something with 400 and made nothing';

CREATE FUNCTION stripe.payment_created(http_status integer, body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN stripe.refused(http_status, b)
                THEN channel_body.answer_of('payment', 'failed',
                       code := coalesce(channel_body.field(b, 'error', 'code'), channel_body.field(b, 'error', 'type')),
                       message := channel_body.field(b, 'error', 'message'))
              ELSE stripe.payment(body) END
  FROM channel_body.json(body) b
$$;
COMMENT ON FUNCTION stripe.payment_created(integer, text) IS 'The answer to creating a PaymentIntent: what was refused has failed';

CREATE FUNCTION stripe.payment_captured(http_status integer, body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- what was wrong is the request: the money is reserved as before
  SELECT CASE WHEN stripe.refused(http_status, b)
               AND channel_body.field(b, 'error', 'code') ~ '^(amount_too_large|amount_too_small|parameter_[a-z_]+)$'
                THEN channel_body.answer_of('payment', 'authorized', code := channel_body.field(b, 'error', 'code'),
                       message := channel_body.field(b, 'error', 'message'), amount_needed := false)
              ELSE stripe.payment(body) END
  FROM channel_body.json(body) b
$$;
COMMENT ON FUNCTION stripe.payment_captured(integer, text) IS
  'The answer to capturing a PaymentIntent: where the request was refused, the money is reserved as before';

CREATE FUNCTION stripe.refund_created(http_status integer, body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN stripe.refused(http_status, b)
                THEN channel_body.answer_of('refund', 'failed',
                       code := coalesce(channel_body.field(b, 'error', 'code'), channel_body.field(b, 'error', 'type')),
                       message := channel_body.field(b, 'error', 'message'))
              ELSE stripe.refund(body) END
  FROM channel_body.json(body) b
$$;
COMMENT ON FUNCTION stripe.refund_created(integer, text) IS 'The answer to creating a Refund: what was refused has failed';

CREATE FUNCTION stripe.refund_reversals(refund jsonb, event_time text) RETURNS SETOF channel_body.reversal
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- a refund that failed after all brings the money back
  SELECT r.*
  FROM channel_body.currency(channel_body.field(refund, 'currency')) currency,
       channel_body.reversal_of(
         CASE stripe.refund_status(refund) WHEN 'succeeded' THEN 'record_reversal' ELSE 'record_reinstatement' END,
         channel_body.field(refund, 'id'), channel_body.field(refund, 'payment_intent'), 'refund',
         stripe.amount(channel_body.field(refund, 'amount'), currency), currency, channel_body.unix_time(event_time)) r
  WHERE channel_body.field(refund, 'object') = 'refund' AND stripe.refund_status(refund) IN ('succeeded', 'failed')
    AND channel_body.uuid(channel_body.field(refund, 'metadata', 'refund_id')) IS NULL
$$;
COMMENT ON FUNCTION stripe.refund_reversals(jsonb, text) IS 'What a Refund that payguard has not asked for leads to';

CREATE FUNCTION stripe.dispute_reversals(type text, dispute jsonb, event_time text) RETURNS SETOF channel_body.reversal
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- a dispute that is not won may give a part of the money back: that is no reinstatement of all
  SELECT r.*
  FROM channel_body.currency(channel_body.field(dispute, 'currency')) currency,
       channel_body.reversal_of(
         CASE type WHEN 'charge.dispute.funds_withdrawn' THEN 'record_reversal' ELSE 'record_reinstatement' END,
         channel_body.field(dispute, 'id'), channel_body.field(dispute, 'payment_intent'), 'chargeback',
         stripe.amount(channel_body.field(dispute, 'amount'), currency), currency, channel_body.unix_time(event_time)) r
  WHERE channel_body.field(dispute, 'object') = 'dispute'
    AND (type = 'charge.dispute.funds_withdrawn'
         OR type = 'charge.dispute.funds_reinstated' AND channel_body.field(dispute, 'status') = 'won')
$$;
COMMENT ON FUNCTION stripe.dispute_reversals(text, jsonb, text) IS 'What an event of a Dispute leads to, where it moved money';

CREATE FUNCTION stripe.reversals(body text) RETURNS SETOF channel_body.reversal
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT r.*
  FROM channel_body.json(body) b,
       LATERAL (SELECT channel_body.field(b, 'type') AS type, b #> '{data,object}' AS object,
                       channel_body.field(b, 'created') AS event_time) e,
       LATERAL (SELECT * FROM stripe.dispute_reversals(type, object, event_time)
                UNION ALL
                SELECT * FROM stripe.refund_reversals(object, event_time)
                UNION ALL
                -- a charge lists its refunds only before API version 2022-11-15
                SELECT refunded.*
                FROM jsonb_array_elements(CASE jsonb_typeof(object #> '{refunds,data}') WHEN 'array'
                                          THEN object #> '{refunds,data}' ELSE '[]' END) refund,
                     stripe.refund_reversals(refund, event_time) refunded
                WHERE type = 'charge.refunded' AND channel_body.field(object, 'object') = 'charge'
                  -- otherwise what was only reserved was given up
                  AND object -> 'captured' = 'true') r
$$;
COMMENT ON FUNCTION stripe.reversals(text) IS
  'Money that a webhook event says was moved without payguard: disputes, and refunds made in Stripe''s Dashboard';

CREATE FUNCTION stripe.event_subject(type text, object jsonb, told_otherwise boolean) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
    WHEN told_otherwise AND channel_body.field(object, 'object') IN ('refund', 'dispute') THEN NULL
    WHEN channel_body.field(object, 'object') = 'payment_intent' THEN 'payment'
    WHEN channel_body.field(object, 'object') = 'refund' THEN
      CASE WHEN channel_body.uuid(channel_body.field(object, 'metadata', 'refund_id')) IS NOT NULL THEN 'refund'
           -- no money has moved, or none of it has come so far
           WHEN stripe.refund_status(object) IN ('pending', 'closed') THEN NULL
           ELSE 'unclear' END
    WHEN channel_body.field(object, 'object') = 'charge' THEN 'payment'
    WHEN channel_body.field(object, 'object') = 'dispute' AND type NOT IN
           ('charge.dispute.funds_withdrawn', 'charge.dispute.funds_reinstated') THEN 'payment'
    WHEN channel_body.field(object, 'object') IS NULL OR type IS NULL OR type ~ '^(payment_intent|charge|refund)[.]'
      THEN 'unclear'
  END
$$;
COMMENT ON FUNCTION stripe.event_subject(text, jsonb, boolean) IS
  'The subject of a webhook event; told_otherwise: stripe.reversals() has a row for it';

CREATE FUNCTION stripe.event(body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
    WHEN subject = 'payment' AND channel_body.field(object, 'object') = 'payment_intent'
      THEN stripe.payment_of(object, event_id, event_time)
    WHEN subject = 'refund' THEN stripe.refund_of(object, event_id, event_time)
    -- a dispute that opens or closes moves no money by itself
    WHEN subject = 'payment' THEN stripe.charge_of(object, type, event_id, event_time)
    ELSE channel_body.answer_of(subject, 'unknown', code := type, event_id := event_id) END
  FROM channel_body.json(body) b,
       LATERAL (SELECT b #> '{data,object}' AS object, channel_body.field(b, 'id') AS event_id,
                       channel_body.field(b, 'created') AS event_time, channel_body.field(b, 'type') AS type) e,
       LATERAL stripe.event_subject(type, object, EXISTS (SELECT FROM stripe.reversals(body))) subject
$$;
COMMENT ON FUNCTION stripe.event(text) IS 'The answer that a webhook event is';
