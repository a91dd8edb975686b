-- Alipay, mainland China: the gateway's alipay.trade.* and alipay.fund.auth.* answers and asynchronous notifications.
-- common.sql first.
--
-- Expects out_trade_no = the attempt's payment_id and out_request_no = the refund_id, as 32 hex
-- digits; of a pre-authorization out_order_no and out_request_no = the payment_id. Amounts are yuan with two decimals,
-- times are Beijing's.
--
-- Rests on Alipay's documents, most of them in copies, which README.md names: the states of a trade
-- (developer.aliyun.com/article/707619), telling a full refund from a time-out (developer.aliyun.com/ask/285129),
-- alipay.trade.pay (w3cschool.cn/aliminiapp/aliminiapp-2wa52f4q.html), alipay.trade.cancel
-- (developer.aliyun.com/article/710931), alipay.trade.close (zhifubao.apifox.cn/api-126371943), the fields of
-- alipay.fund.auth.* (github.com/alipay/alipay-sdk-java-all), their notifications (opendocs.alipay.com/open/04ij9t).
CREATE SCHEMA alipay;
COMMENT ON SCHEMA alipay IS 'What Alipay says, in payguard''s words';

CREATE FUNCTION alipay.yuan(amount bigint) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN amount >= 0 THEN concat(amount / 100, '.', lpad((amount % 100)::text, 2, '0')) END
$$;
COMMENT ON FUNCTION alipay.yuan(bigint) IS 'payguard''s amount in fen as Alipay wants it';

CREATE FUNCTION alipay.decoded(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF value ~ '%(?![0-9a-fA-F]{2})' THEN
    RETURN NULL;
  END IF;
  RETURN (SELECT convert_from(coalesce(string_agg(
                   CASE WHEN part[1] ~ '^%' THEN decode(substr(part[1], 2), 'hex')
                        ELSE convert_to(replace(part[1], '+', ' '), 'UTF8') END, ''::bytea ORDER BY place), ''), 'UTF8')
          FROM regexp_matches(value, '%..|[^%]+', 'g') WITH ORDINALITY AS piece(part, place));
EXCEPTION WHEN data_exception THEN
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION alipay.decoded(text) IS
  'A name or value of a form in UTF-8; NULL where it is malformed or this database cannot hold it';

CREATE FUNCTION alipay.form(body text) RETURNS jsonb
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- what cannot be read (false) or comes twice (an array) is there, but has no value
  SELECT jsonb_object_agg(name, value)
  FROM (SELECT alipay.decoded(split_part(pair, '=', 1)) AS name,
               CASE count(*) WHEN 1 THEN coalesce(to_jsonb(min(alipay.decoded(substr(pair, strpos(pair, '=') + 1)))), 'false')
                             ELSE jsonb_agg(alipay.decoded(substr(pair, strpos(pair, '=') + 1))) END AS value
        FROM unnest(string_to_array(body, '&')) pair
        WHERE strpos(pair, '=') > 1
        GROUP BY 1) f
  WHERE name IS NOT NULL
$$;
COMMENT ON FUNCTION alipay.form(text) IS 'The fields of an application/x-www-form-urlencoded body';

CREATE FUNCTION alipay.given_back(trade jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(channel_body.field(trade, 'trade_status') = 'TRADE_CLOSED'
    AND (channel_body.minor_units(channel_body.field(trade, 'refund_fee'), 2) > 0
      OR channel_body.minor_units(channel_body.field(trade, 'buyer_pay_amount'), 2) > 0
      OR channel_body.minor_units(channel_body.field(trade, 'receipt_amount'), 2) > 0
      OR channel_body.field(trade, 'gmt_payment') IS NOT NULL
      OR channel_body.field(trade, 'gmt_refund') IS NOT NULL), false)
$$;
COMMENT ON FUNCTION alipay.given_back(jsonb) IS 'The trade was paid, and all of it has been given back: it is closed, with signs of money';

CREATE FUNCTION alipay.trade_status(trade jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE channel_body.field(trade, 'trade_status')
    WHEN 'WAIT_BUYER_PAY' THEN 'pending'
    WHEN 'TRADE_SUCCESS' THEN 'succeeded'
    -- paid, and too old to be refunded
    WHEN 'TRADE_FINISHED' THEN 'succeeded'
    -- unpaid and timed out; or paid and given back in full, which is no order that may be shipped
    WHEN 'TRADE_CLOSED' THEN
      CASE WHEN alipay.given_back(trade) THEN 'unknown'
           -- neither clearly the one nor the other
           WHEN EXISTS (SELECT FROM unnest('{refund_fee,buyer_pay_amount,receipt_amount}'::text[]) name
                        WHERE trade ->> name <> '' AND channel_body.minor_units(channel_body.field(trade, name), 2) IS NULL)
             OR EXISTS (SELECT FROM unnest('{gmt_payment,gmt_refund,send_pay_date,fund_bill_list}'::text[]) name
                        WHERE trade ->> name NOT IN ('', '[]')) THEN 'unknown'
           ELSE 'closed' END
    ELSE 'unknown'
  END
$$;
COMMENT ON FUNCTION alipay.trade_status(jsonb) IS 'channel_status of a trade, from its trade_status and signs of money';

CREATE FUNCTION alipay.payment_of(trade jsonb, event_id text DEFAULT NULL) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT channel_body.answer_of('payment', alipay.trade_status(trade),
    channel_txn_id := channel_body.field(trade, 'trade_no'),
    amount := channel_body.minor_units(channel_body.field(trade, 'total_amount'), 2),
    -- another currency than the yuan is not what these mappings were written for
    currency := CASE WHEN coalesce(channel_body.field(trade, 'trans_currency'), 'CNY') = 'CNY' THEN 'CNY' END,
    code := CASE WHEN channel_body.field(trade, 'trade_status') IS DISTINCT FROM 'TRADE_SUCCESS' THEN
              channel_body.field(trade, 'trade_status') END,
    message := CASE WHEN alipay.given_back(trade) THEN 'paid, then refunded in full' END,
    channel_time := channel_body.zoned_time(coalesce(channel_body.field(trade, 'gmt_payment'),
                      CASE WHEN channel_body.field(trade, 'trade_status') IN ('TRADE_SUCCESS', 'TRADE_FINISHED')
                           THEN channel_body.field(trade, 'send_pay_date') END), '+08:00'),
    payment_id := channel_body.uuid(channel_body.field(trade, 'out_trade_no')),
    event_id := event_id)
$$;
COMMENT ON FUNCTION alipay.payment_of(jsonb, text) IS 'The answer that the fields of a trade are';

CREATE FUNCTION alipay.error_of(subject text, response jsonb) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT channel_body.answer_of(subject,
    CASE WHEN channel_body.field(response, 'code') = '40004'
          AND channel_body.field(response, 'sub_code') IN ('ACQ.TRADE_NOT_EXIST', 'AUTH_ORDER_NOT_EXIST') THEN 'not_found'
         ELSE 'unknown' END,
    code := coalesce(channel_body.field(response, 'sub_code'), channel_body.field(response, 'code')),
    message := coalesce(channel_body.field(response, 'sub_msg'), channel_body.field(response, 'msg')))
$$;
COMMENT ON FUNCTION alipay.error_of(text, jsonb) IS 'The answer that a refusal is: a refused call is not a failed payment';

CREATE FUNCTION alipay.authorization_status(auth jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- a query has the state of the whole, order_status; a notification that of one operation, and what is left frozen
  SELECT CASE
    WHEN state = 'INIT' OR operation = 'FREEZE INIT' THEN 'pending'
    -- some of it was taken: the trade says what became of it
    WHEN taken IS DISTINCT FROM 0 THEN 'unknown'
    WHEN state IS NOT NULL THEN CASE state WHEN 'AUTHORIZED' THEN 'authorized' WHEN 'CLOSED' THEN 'closed' ELSE 'unknown' END
    WHEN operation IN ('FREEZE SUCCESS', 'UNFREEZE SUCCESS') AND rest > 0 THEN 'authorized'
    WHEN operation = 'FREEZE CLOSED' OR operation = 'UNFREEZE SUCCESS' AND rest = 0 THEN 'closed'
    ELSE 'unknown' END
  FROM channel_body.field(auth, 'order_status') state,
       concat_ws(' ', channel_body.field(auth, 'operation_type'), channel_body.field(auth, 'status')) operation,
       channel_body.minor_units(channel_body.field(auth, 'total_pay_amount'), 2) taken,
       channel_body.minor_units(channel_body.field(auth, 'rest_amount'), 2) rest
$$;
COMMENT ON FUNCTION alipay.authorization_status(jsonb) IS
  'channel_status of a pre-authorization, from its state or its last operation';

CREATE FUNCTION alipay.authorization_of(auth jsonb, event_id text DEFAULT NULL) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT channel_body.answer_of('payment', alipay.authorization_status(auth),
    channel_txn_id := channel_body.field(auth, 'auth_no'),
    amount := channel_body.minor_units(channel_body.field(auth, 'rest_amount'), 2),
    currency := CASE WHEN coalesce(channel_body.field(auth, 'trans_currency'), 'CNY') = 'CNY' THEN 'CNY' END,
    -- CREDIT_AUTH: nothing is frozen, the customer's credit stands for it
    code := coalesce(channel_body.field(auth, 'pre_auth_type'), channel_body.field(auth, 'order_status'),
                     channel_body.field(auth, 'operation_type')),
    channel_time := channel_body.zoned_time(channel_body.field(auth, 'gmt_trans'), '+08:00'),
    payment_id := channel_body.uuid(channel_body.field(auth, 'out_order_no')),
    event_id := event_id)
$$;
COMMENT ON FUNCTION alipay.authorization_of(jsonb, text) IS 'The answer that the fields of a pre-authorization are';

CREATE FUNCTION alipay.authorization(body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN channel_body.field(r, 'code') = '10000' THEN alipay.authorization_of(r)
              ELSE alipay.error_of('payment', r) END
  FROM channel_body.json(body) b,
       LATERAL coalesce(b -> 'alipay_fund_auth_operation_detail_query_response', b -> 'error_response') r
$$;
COMMENT ON FUNCTION alipay.authorization(text) IS 'The answer to alipay.fund.auth.operation.detail.query';

CREATE FUNCTION alipay.freeze(body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- all that this first operation has frozen is left
  SELECT CASE WHEN channel_body.field(r, 'code') = '10000'
                THEN alipay.authorization_of(r || jsonb_build_object('operation_type', 'FREEZE', 'rest_amount', r -> 'amount',
                                                                     'total_pay_amount', '0.00'))
              ELSE channel_body.answer_of('payment', 'unknown',
                     code := coalesce(channel_body.field(r, 'sub_code'), channel_body.field(r, 'code')),
                     message := coalesce(channel_body.field(r, 'sub_msg'), channel_body.field(r, 'msg'))) END
  FROM channel_body.json(body) b,
       LATERAL coalesce(b -> 'alipay_fund_auth_order_freeze_response', b -> 'error_response') r
$$;
COMMENT ON FUNCTION alipay.freeze(text) IS 'The answer to alipay.fund.auth.order.freeze, which freezes by a payment code';

CREATE FUNCTION alipay.cancel_authorization(body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN channel_body.field(r, 'code') = '10000' AND channel_body.field(r, 'action') IN ('close', 'unfreeze')
                THEN channel_body.answer_of('payment', 'closed', channel_txn_id := channel_body.field(r, 'auth_no'),
                       payment_id := channel_body.uuid(channel_body.field(r, 'out_order_no')))
              ELSE alipay.error_of('payment', r) END
  FROM channel_body.json(body) b,
       LATERAL coalesce(b -> 'alipay_fund_auth_operation_cancel_response', b -> 'error_response') r
$$;
COMMENT ON FUNCTION alipay.cancel_authorization(text) IS 'The answer to alipay.fund.auth.operation.cancel';

CREATE FUNCTION alipay.payment(body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN channel_body.field(r, 'code') = '10000' THEN alipay.payment_of(r)
              ELSE alipay.error_of('payment', r) END
  FROM channel_body.json(body) b,
       LATERAL coalesce(b -> 'alipay_trade_query_response', b -> 'error_response') r
$$;
COMMENT ON FUNCTION alipay.payment(text) IS 'The answer to alipay.trade.query';

CREATE FUNCTION alipay.pay(body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- there is no trade_status: 10000 says paid; 10003, that the customer is typing the password
  SELECT CASE channel_body.field(r, 'code')
           WHEN '10000' THEN alipay.payment_of(r || '{"trade_status":"TRADE_SUCCESS"}')
           WHEN '10003' THEN alipay.payment_of(r || '{"trade_status":"WAIT_BUYER_PAY"}')
           ELSE channel_body.answer_of('payment', 'unknown',
                  code := coalesce(channel_body.field(r, 'sub_code'), channel_body.field(r, 'code')),
                  message := coalesce(channel_body.field(r, 'sub_msg'), channel_body.field(r, 'msg'))) END
  FROM channel_body.json(body) b,
       LATERAL coalesce(b -> 'alipay_trade_pay_response', b -> 'error_response') r
$$;
COMMENT ON FUNCTION alipay.pay(text) IS 'The answer to alipay.trade.pay, which charges a payment code';

CREATE FUNCTION alipay.cancel(body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- it closes an unpaid trade, and gives the money of a paid one back
  SELECT CASE WHEN channel_body.field(r, 'code') = '10000' AND channel_body.field(r, 'action') IN ('close', 'refund') THEN
                channel_body.answer_of('payment',
                  CASE channel_body.field(r, 'action') WHEN 'close' THEN 'closed' ELSE 'unknown' END,
                  channel_txn_id := channel_body.field(r, 'trade_no'),
                  code := CASE channel_body.field(r, 'action') WHEN 'refund' THEN 'CANCELLED_BY_REFUND' END,
                  message := CASE channel_body.field(r, 'action') WHEN 'refund' THEN 'paid, then refunded in full' END,
                  payment_id := channel_body.uuid(channel_body.field(r, 'out_trade_no')))
              WHEN channel_body.field(r, 'code') = '10000' THEN
                -- no trade was found that could be closed: the customer may still make one
                channel_body.answer_of('payment', 'unknown', code := 'CANCELLED_NOTHING')
              ELSE alipay.error_of('payment', r) END
  FROM channel_body.json(body) b,
       LATERAL coalesce(b -> 'alipay_trade_cancel_response', b -> 'error_response') r
$$;
COMMENT ON FUNCTION alipay.cancel(text) IS 'The answer to alipay.trade.cancel, for payment codes whose result is not known';

CREATE FUNCTION alipay.close(body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN channel_body.field(r, 'code') = '10000' THEN
                channel_body.answer_of('payment', 'closed', channel_txn_id := channel_body.field(r, 'trade_no'),
                  payment_id := channel_body.uuid(channel_body.field(r, 'out_trade_no')))
              ELSE alipay.error_of('payment', r) END
  FROM channel_body.json(body) b,
       LATERAL coalesce(b -> 'alipay_trade_close_response', b -> 'error_response') r
$$;
COMMENT ON FUNCTION alipay.close(text) IS 'The answer to alipay.trade.close';

CREATE FUNCTION alipay.refund(body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- refund_fee is what has been refunded of the trade in all, so that no amount is taken from it;
  -- fund_change N: nothing moved now, which a repeated call says of a refund that was made, too
  SELECT CASE WHEN channel_body.field(r, 'code') = '10000' THEN
                channel_body.answer_of('refund',
                  CASE channel_body.field(r, 'fund_change') WHEN 'Y' THEN 'succeeded' ELSE 'unknown' END,
                  of_txn_id := channel_body.field(r, 'trade_no'),
                  code := CASE WHEN channel_body.field(r, 'fund_change') IS DISTINCT FROM 'Y' THEN 'fund_change' END,
                  amount_needed := false)
              ELSE alipay.error_of('refund', r) END
  FROM channel_body.json(body) b,
       LATERAL coalesce(b -> 'alipay_trade_refund_response', b -> 'error_response') r
$$;
COMMENT ON FUNCTION alipay.refund(text) IS 'The answer to alipay.trade.refund; it does not name the refund';

CREATE FUNCTION alipay.refund_query(body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- no refund_status: not received, failed, or not done yet
  SELECT CASE WHEN channel_body.field(r, 'code') = '10000' THEN
                channel_body.answer_of('refund',
                  CASE channel_body.field(r, 'refund_status') WHEN 'REFUND_SUCCESS' THEN 'succeeded' ELSE 'unknown' END,
                  of_txn_id := channel_body.field(r, 'trade_no'),
                  amount := channel_body.minor_units(channel_body.field(r, 'refund_amount'), 2),
                  currency := 'CNY',
                  code := nullif(channel_body.field(r, 'refund_status'), 'REFUND_SUCCESS'),
                  channel_time := channel_body.zoned_time(channel_body.field(r, 'gmt_refund_pay'), '+08:00'),
                  refund_id := channel_body.uuid(channel_body.field(r, 'out_request_no')))
              ELSE alipay.error_of('refund', r) END
  FROM channel_body.json(body) b,
       LATERAL coalesce(b -> 'alipay_trade_fastpay_refund_query_response', b -> 'error_response') r
$$;
COMMENT ON FUNCTION alipay.refund_query(text) IS 'The answer to alipay.trade.fastpay.refund.query';

CREATE FUNCTION alipay.reversals(body text) RETURNS SETOF channel_body.reversal
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- a refund has no number but that of who asked for it, which is unique within its trade
  SELECT v.*
  FROM channel_body.json(body) b,
       LATERAL (SELECT b -> 'alipay_trade_fastpay_refund_query_response' AS r) r,
       LATERAL channel_body.reversal_of('record_reversal',
         channel_body.field(r, 'trade_no') || ':' || channel_body.field(r, 'out_request_no'), channel_body.field(r, 'trade_no'),
         'refund', channel_body.minor_units(channel_body.field(r, 'refund_amount'), 2), 'CNY',
         channel_body.zoned_time(channel_body.field(r, 'gmt_refund_pay'), '+08:00')) v
  WHERE channel_body.field(r, 'code') = '10000' AND channel_body.field(r, 'refund_status') = 'REFUND_SUCCESS'
    AND channel_body.uuid(channel_body.field(r, 'out_request_no')) IS NULL
$$;
COMMENT ON FUNCTION alipay.reversals(text) IS
  'A refund that was made in Alipay''s console, as alipay.trade.fastpay.refund.query tells of it';

CREATE FUNCTION alipay.notification(body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN channel_body.field(f, 'notify_type') = 'trade_status_sync'
                THEN alipay.payment_of(f, channel_body.field(f, 'notify_id'))
              WHEN channel_body.field(f, 'notify_type') ~ '^fund_auth_'
                THEN alipay.authorization_of(f, channel_body.field(f, 'notify_id'))
              ELSE channel_body.answer_of(CASE WHEN channel_body.field(f, 'notify_type') IS NULL THEN 'unclear' END, 'unknown',
                     code := channel_body.field(f, 'notify_type'), event_id := channel_body.field(f, 'notify_id')) END
  FROM alipay.form(body) f
$$;
COMMENT ON FUNCTION alipay.notification(text) IS
  'What an asynchronous notification says of the payment; notify_type fund_auth_…: of its pre-authorization';

CREATE FUNCTION alipay.notification_refund(body text) RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- refund_fee is the sum of all refunds of the trade: no amount of this one
  SELECT CASE WHEN channel_body.field(f, 'notify_type') = 'trade_status_sync'
               AND channel_body.field(f, 'gmt_refund') IS NOT NULL
               AND channel_body.minor_units(channel_body.field(f, 'refund_fee'), 2) > 0
                THEN channel_body.answer_of('refund', 'succeeded',
                       -- whose number is not ours was made in Alipay's console: what to ask for with the refund query
                       channel_txn_id := CASE WHEN channel_body.uuid(channel_body.field(f, 'out_biz_no')) IS NULL
                                              THEN channel_body.field(f, 'out_biz_no') END,
                       of_txn_id := channel_body.field(f, 'trade_no'),
                       channel_time := channel_body.zoned_time(channel_body.field(f, 'gmt_refund'), '+08:00'),
                       refund_id := channel_body.uuid(channel_body.field(f, 'out_biz_no')),
                       event_id := channel_body.field(f, 'notify_id'),
                       amount_needed := false)
              ELSE channel_body.answer_of(NULL, 'unknown', event_id := channel_body.field(f, 'notify_id')) END
  FROM alipay.form(body) f
$$;
COMMENT ON FUNCTION alipay.notification_refund(text) IS
  'What the same notification says of a refund; subject NULL: nothing';
