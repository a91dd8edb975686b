-- WeChat Pay, API v3. common.sql first.
--
-- Expects out_trade_no = the attempt's payment_id and out_refund_no = the refund_id, as 32 hex
-- digits; of a combined order, that each sub-order's out_trade_no is the payment_id of an attempt of its own. The
-- body is taken with its HTTP status, since a success may have no body at all.
--
-- Rests on WeChat Pay's documents: query by out_trade_no (pay.weixin.qq.com/doc/v3/merchant/4012556352), close
-- (4012556398), refund (4012556457), query and notification of combined orders (4012557006 and
-- wiki/doc/apiv3/apis/chapter5_1_11), close of combined orders (chapter5_1_12), revoke an order of a payment code
-- (docs/merchant/apis/code-payment-v3/direct/reverse). README.md says what could not be read.
CREATE SCHEMA wechatpay;
COMMENT ON SCHEMA wechatpay IS 'What WeChat Pay says, in payguard''s words';

CREATE FUNCTION wechatpay.trade_status(trade_state text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE trade_state
    WHEN 'SUCCESS' THEN 'succeeded'
    -- it was paid, and something has been given back, how much is not told: no order that may be shipped
    WHEN 'REFUND' THEN 'unknown'
    WHEN 'NOTPAY' THEN 'pending'
    WHEN 'USERPAYING' THEN 'pending'
    -- a debit that is still to come
    WHEN 'ACCEPT' THEN 'pending'
    WHEN 'CLOSED' THEN 'closed'
    WHEN 'REVOKED' THEN 'closed'
    -- "payment failed, please revoke the order": until then it may have been paid, so that it is to be closed
    WHEN 'PAYERROR' THEN 'pending'
    ELSE 'unknown'
  END
$$;
COMMENT ON FUNCTION wechatpay.trade_status(text) IS 'channel_status of a trade_state';

CREATE FUNCTION wechatpay.refund_status(status text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE status
    WHEN 'SUCCESS' THEN 'succeeded'
    WHEN 'PROCESSING' THEN 'pending'
    -- the bank refused the money: it waits half-way for a person, and may still be made
    WHEN 'ABNORMAL' THEN 'pending'
    WHEN 'CLOSED' THEN 'closed'
    ELSE 'unknown'
  END
$$;
COMMENT ON FUNCTION wechatpay.refund_status(text) IS 'channel_status of a refund''s status';

CREATE FUNCTION wechatpay.payment_of(trade jsonb, event_id text DEFAULT NULL) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT channel_body.answer_of('payment', wechatpay.trade_status(state),
    channel_txn_id := channel_body.field(trade, 'transaction_id'),
    -- a sub-order calls it total_amount
    amount := channel_body.minor_units(coalesce(channel_body.field(trade, 'amount', 'total'),
                                                channel_body.field(trade, 'amount', 'total_amount')), 0),
    currency := CASE WHEN trade #> '{amount,currency}' IS NULL THEN 'CNY'
                     ELSE channel_body.currency(channel_body.field(trade, 'amount', 'currency')) END,
    code := CASE WHEN state IS DISTINCT FROM 'SUCCESS' THEN coalesce(state, channel_body.field(trade, 'code')) END,
    message := CASE WHEN state IS DISTINCT FROM 'SUCCESS' THEN
                 coalesce(channel_body.field(trade, 'trade_state_desc'), channel_body.field(trade, 'message')) END,
    channel_time := channel_body.rfc3339(channel_body.field(trade, 'success_time')),
    payment_id := channel_body.uuid(channel_body.field(trade, 'out_trade_no')),
    event_id := event_id)
  FROM channel_body.field(trade, 'trade_state') state
$$;
COMMENT ON FUNCTION wechatpay.payment_of(jsonb, text) IS 'The answer that a transaction object is';

CREATE FUNCTION wechatpay.refund_of(refund jsonb, event_id text DEFAULT NULL) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT channel_body.answer_of('refund', wechatpay.refund_status(state),
    channel_txn_id := channel_body.field(refund, 'refund_id'),
    of_txn_id := channel_body.field(refund, 'transaction_id'),
    amount := channel_body.minor_units(channel_body.field(refund, 'amount', 'refund'), 0),
    currency := CASE WHEN refund #> '{amount,currency}' IS NULL THEN 'CNY'
                     ELSE channel_body.currency(channel_body.field(refund, 'amount', 'currency')) END,
    code := CASE WHEN state IS DISTINCT FROM 'SUCCESS' THEN coalesce(state, channel_body.field(refund, 'code')) END,
    message := channel_body.field(refund, 'message'),
    channel_time := channel_body.rfc3339(channel_body.field(refund, 'success_time')),
    refund_id := channel_body.uuid(channel_body.field(refund, 'out_refund_no')),
    event_id := event_id)
  -- an answer says status, a notification refund_status
  FROM coalesce(channel_body.field(refund, 'refund_status'), channel_body.field(refund, 'status')) state
$$;
COMMENT ON FUNCTION wechatpay.refund_of(jsonb, text) IS 'The answer that a refund object is';

CREATE FUNCTION wechatpay.error_of(subject text, channel_status text, body jsonb) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT channel_body.answer_of(subject, channel_status, code := channel_body.field(body, 'code'),
    message := channel_body.field(body, 'message'), amount_needed := false)
$$;
COMMENT ON FUNCTION wechatpay.error_of(text, text, jsonb) IS 'The answer that an error is';

CREATE FUNCTION wechatpay.sub_orders(combined jsonb, event_id text DEFAULT NULL) RETURNS SETOF channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT a.*
  FROM jsonb_array_elements(CASE jsonb_typeof(combined -> 'sub_orders') WHEN 'array' THEN combined -> 'sub_orders' ELSE '[]' END) sub_order,
       wechatpay.payment_of(sub_order, event_id || ':' || coalesce(channel_body.field(sub_order, 'out_trade_no'), '')) a
$$;
COMMENT ON FUNCTION wechatpay.sub_orders(jsonb, text) IS
  'The answers that the sub-orders of a combined order are, each with a state of its own';

CREATE FUNCTION wechatpay.payment(http_status integer, body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN http_status = 200 THEN wechatpay.payment_of(b)
              WHEN http_status = 404 AND channel_body.field(b, 'code') IN ('ORDER_NOT_EXIST', 'ORDERNOTEXIST')
                THEN wechatpay.error_of('payment', 'not_found', b)
              ELSE wechatpay.error_of('payment', 'unknown', b) END
  FROM channel_body.json(body) b
$$;
COMMENT ON FUNCTION wechatpay.payment(integer, text) IS 'The answer to querying an order by out_trade_no or transaction_id';

CREATE FUNCTION wechatpay.payments(http_status integer, body text) RETURNS SETOF channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT a.*
  FROM channel_body.json(body) b,
       LATERAL (SELECT http_status = 200 AND b #> '{sub_orders,0}' IS NOT NULL AS combined) c,
       LATERAL (SELECT * FROM wechatpay.sub_orders(b) WHERE combined
                UNION ALL
                SELECT * FROM wechatpay.payment(http_status, body) WHERE combined IS NOT TRUE) a
$$;
COMMENT ON FUNCTION wechatpay.payments(integer, text) IS
  'The answers to querying an order or a combined order: one for each sub-order, which names its payment_id';

CREATE FUNCTION wechatpay.close(http_status integer, body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN http_status = 204
                -- the request was taken: what became of a customer who paid meanwhile, a query tells
                THEN channel_body.answer_of('payment', 'unknown', code := 'CLOSE_ACCEPTED', message := 'query the order')
              WHEN http_status BETWEEN 200 AND 499 THEN wechatpay.error_of('payment',
                CASE channel_body.field(b, 'code')
                  WHEN 'ORDER_CLOSED' THEN 'closed'
                  WHEN 'ORDERCLOSED' THEN 'closed'
                  -- without amount and transaction: payguard has the order queried for them
                  WHEN 'ORDERPAID' THEN 'succeeded'
                  WHEN 'USER_PAYING' THEN 'pending'
                  WHEN 'USERPAYING' THEN 'pending'
                  WHEN 'ORDER_NOT_EXIST' THEN 'not_found'
                  WHEN 'ORDERNOTEXIST' THEN 'not_found'
                  ELSE 'unknown'
                END, b)
              ELSE wechatpay.error_of('payment', 'unknown', b) END
  FROM channel_body.json(body) b
$$;
COMMENT ON FUNCTION wechatpay.close(integer, text) IS 'The answer to closing an order';

CREATE FUNCTION wechatpay.refund(http_status integer, body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN http_status = 200 THEN wechatpay.refund_of(b)
              WHEN http_status = 404 AND channel_body.field(b, 'code') = 'RESOURCE_NOT_EXISTS'
                THEN wechatpay.error_of('refund', 'not_found', b)
              ELSE wechatpay.error_of('refund', 'unknown', b) END
  FROM channel_body.json(body) b
$$;
COMMENT ON FUNCTION wechatpay.refund(integer, text) IS 'The answer to asking for a refund, or querying it by out_refund_no';

CREATE FUNCTION wechatpay.reversals(body text, resource text) RETURNS SETOF channel_body.reversal
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT v.*
  FROM channel_body.json(body) b, channel_body.json(resource) r,
       LATERAL (SELECT CASE WHEN r #> '{amount,currency}' IS NULL THEN 'CNY'
                            ELSE channel_body.currency(channel_body.field(r, 'amount', 'currency')) END AS currency) c,
       LATERAL channel_body.reversal_of('record_reversal', channel_body.field(r, 'refund_id'),
         channel_body.field(r, 'transaction_id'), 'refund',
         channel_body.minor_units(channel_body.field(r, 'amount', 'refund'), 0), currency,
         channel_body.rfc3339(channel_body.field(r, 'success_time'))) v
  WHERE channel_body.field(b, 'event_type') LIKE 'REFUND.%' AND channel_body.field(r, 'refund_status') = 'SUCCESS'
    AND channel_body.uuid(channel_body.field(r, 'out_refund_no')) IS NULL
$$;
COMMENT ON FUNCTION wechatpay.reversals(text, text) IS
  'A refund that was made at the merchant platform, as a notification tells: its body as received, and its resource decrypted by the caller';

CREATE FUNCTION wechatpay.notification_subject(type text, resource jsonb, told_otherwise boolean) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
    WHEN type LIKE 'TRANSACTION.%' AND resource -> 'sub_orders' IS NULL THEN 'payment'
    WHEN type LIKE 'REFUND.%' THEN
      CASE WHEN channel_body.uuid(channel_body.field(resource, 'out_refund_no')) IS NOT NULL THEN 'refund'
           -- not ours: told by wechatpay.reversals(), or not made
           WHEN NOT told_otherwise AND coalesce(channel_body.field(resource, 'refund_status'), '') NOT IN
                  ('PROCESSING', 'ABNORMAL', 'CLOSED') THEN 'unclear' END
    WHEN type IS NULL OR type LIKE 'TRANSACTION.%' THEN 'unclear'
  END
$$;
COMMENT ON FUNCTION wechatpay.notification_subject(text, jsonb, boolean) IS
  'The subject of a notification; told_otherwise: wechatpay.reversals() has a row for it';

CREATE FUNCTION wechatpay.notification(body text, resource text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE subject WHEN 'payment' THEN wechatpay.payment_of(r, event_id)
                      WHEN 'refund' THEN wechatpay.refund_of(r, event_id)
                      ELSE channel_body.answer_of(subject, 'unknown', code := type, event_id := event_id) END
  FROM channel_body.json(body) b, channel_body.json(resource) r,
       LATERAL (SELECT channel_body.field(b, 'event_type') AS type, channel_body.field(b, 'id') AS event_id) e,
       LATERAL wechatpay.notification_subject(type, r, EXISTS (SELECT FROM wechatpay.reversals(body, resource))) subject
$$;
COMMENT ON FUNCTION wechatpay.notification(text, text) IS
  'The answer that a notification is: its body as received, and its resource decrypted by the caller';

CREATE FUNCTION wechatpay.notifications(body text, resource text) RETURNS SETOF channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT a.*
  FROM channel_body.json(body) b, channel_body.json(resource) r,
       LATERAL (SELECT channel_body.field(b, 'event_type') LIKE 'TRANSACTION.%' AND r #> '{sub_orders,0}' IS NOT NULL AS combined) c,
       LATERAL (SELECT * FROM wechatpay.sub_orders(r, channel_body.field(b, 'id')) WHERE combined
                UNION ALL
                SELECT * FROM wechatpay.notification(body, resource) WHERE combined IS NOT TRUE) a
$$;
COMMENT ON FUNCTION wechatpay.notifications(text, text) IS
  'The answers that a notification is: one for each sub-order of a combined order, otherwise the one of wechatpay.notification()';
