-- Stripe: PaymentIntents and Refunds. common.sql first.
--
-- Expects that the PaymentIntent was created with metadata[payment_id] = the attempt's payment_id,
-- the Refund with metadata[refund_id], and each with that id as its Idempotency-Key.
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
              WHEN currency = 'MGA' THEN CASE WHEN amount % 100 = 0 THEN amount / 100 END
              ELSE amount END
$$;
COMMENT ON FUNCTION stripe.amount_to_send(bigint, text) IS 'payguard''s amount as Stripe wants it; NULL where that is not exact';

CREATE FUNCTION stripe.intent_status(intent jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE channel_body.field(intent, 'status')
    WHEN 'succeeded' THEN 'succeeded'
    -- also after a declined attempt: the customer may try the next card on the same intent
    WHEN 'requires_payment_method' THEN 'pending'
    WHEN 'requires_confirmation' THEN 'pending'
    WHEN 'requires_action' THEN 'pending'
    WHEN 'processing' THEN 'pending'
    -- authorised: it can be captured
    WHEN 'requires_capture' THEN 'pending'
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

CREATE FUNCTION stripe.payment_of(intent jsonb, event_id text DEFAULT NULL, event_time text DEFAULT NULL)
RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT channel_body.answer_of('payment', stripe.intent_status(intent),
    channel_txn_id := channel_body.field(intent, 'id'),
    amount := stripe.amount(channel_body.field(intent, 'amount_received'), currency),
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
    event_id := event_id)
  FROM channel_body.currency(channel_body.field(intent, 'currency')) currency
$$;
COMMENT ON FUNCTION stripe.payment_of(jsonb, text, text) IS 'The answer that a PaymentIntent object is';

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

CREATE FUNCTION stripe.event(body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE channel_body.field(object, 'object')
    WHEN 'payment_intent' THEN stripe.payment_of(object, event_id, event_time)
    WHEN 'refund' THEN stripe.refund_of(object, event_id, event_time)
    -- one attempt of an intent, a failed one too, or what has been refunded of it in all: the
    -- intent and the refunds themselves say more
    WHEN 'charge' THEN channel_body.answer_of('payment', 'unknown',
      channel_txn_id := channel_body.field(object, 'payment_intent'),
      code := channel_body.field(b, 'type'),
      channel_time := channel_body.unix_time(event_time),
      payment_id := channel_body.uuid(channel_body.field(object, 'metadata', 'payment_id')),
      event_id := event_id)
    ELSE channel_body.answer_of(NULL, 'unknown', code := channel_body.field(b, 'type'), event_id := event_id)
  END
  FROM channel_body.json(body) b,
       LATERAL (SELECT b #> '{data,object}' AS object, channel_body.field(b, 'id') AS event_id,
                       channel_body.field(b, 'created') AS event_time) e
$$;
COMMENT ON FUNCTION stripe.event(text) IS 'The answer that a webhook event is';
