-- WeChat Pay, API v3. common.sql first.
--
-- Expects out_trade_no = the attempt's payment_id and out_refund_no = the refund_id, as 32 hex
-- digits. The body is taken with its HTTP status, since a success may have no body at all.
CREATE SCHEMA wechatpay;
COMMENT ON SCHEMA wechatpay IS 'What WeChat Pay says, in payguard''s words';

CREATE FUNCTION wechatpay.trade_status(trade_state text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE trade_state
    WHEN 'SUCCESS' THEN 'succeeded'
    -- it was paid, and something has been given back
    WHEN 'REFUND' THEN 'succeeded'
    WHEN 'NOTPAY' THEN 'pending'
    WHEN 'USERPAYING' THEN 'pending'
    WHEN 'CLOSED' THEN 'closed'
    WHEN 'REVOKED' THEN 'closed'
    WHEN 'PAYERROR' THEN 'failed'
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
    amount := channel_body.minor_units(channel_body.field(trade, 'amount', 'total'), 0),
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

CREATE FUNCTION wechatpay.close(http_status integer, body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN http_status = 204 THEN channel_body.answer_of('payment', 'closed')
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

CREATE FUNCTION wechatpay.notification(body text, resource text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN type LIKE 'TRANSACTION.%' THEN wechatpay.payment_of(r, event_id)
              WHEN type LIKE 'REFUND.%' THEN wechatpay.refund_of(r, event_id)
              ELSE channel_body.answer_of(NULL, 'unknown', code := type, event_id := event_id) END
  FROM channel_body.json(body) b, channel_body.json(resource) r,
       LATERAL (SELECT channel_body.field(b, 'event_type') AS type, channel_body.field(b, 'id') AS event_id) e
$$;
COMMENT ON FUNCTION wechatpay.notification(text, text) IS
  'The answer that a notification is: its body as received, and its resource decrypted by the caller';
