-- Payments.
CREATE TABLE payguard.payments (
  payment_id        uuid PRIMARY KEY,
  order_id          text COLLATE "C" NOT NULL,
  idempotency_key   text COLLATE "C",
  channel           text COLLATE "C" NOT NULL,
  amount            bigint NOT NULL,
  currency          text COLLATE "C" NOT NULL,
  received_amount   bigint,
  received_currency text COLLATE "C",
  amount_verified   boolean NOT NULL,
  status            text COLLATE "C" NOT NULL,
  channel_txn_id    text COLLATE "C",
  channel_time      timestamptz,
  failure_code      text COLLATE "C",
  failure_message   text,
  order_version     bigint NOT NULL,
  request_kind      text COLLATE "C" NOT NULL,
  details           jsonb,
  created_at        timestamptz NOT NULL,
  expires_at        timestamptz,
  completed_at      timestamptz,
  capture           text COLLATE "C",
  authorized_amount bigint,
  capture_amount    bigint,
  capture_id        uuid,
  capture_before    timestamptz
) WITH (fillfactor = 90,
        autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_insert_scale_factor = 0.05,
        autovacuum_analyze_scale_factor = 0.02, autovacuum_analyze_threshold = 1000);
COMMENT ON TABLE payguard.payments IS 'Movements of money from customers, and attempts at them';
COMMENT ON COLUMN payguard.payments.amount IS 'The amount that was asked, in the currency''s minor unit';
COMMENT ON COLUMN payguard.payments.received_amount IS 'The amount that came, as the channel reported it';
COMMENT ON COLUMN payguard.payments.amount_verified IS 'The channel has named the amount';
COMMENT ON COLUMN payguard.payments.order_version IS 'The order''s version when this payment was made or begun';
COMMENT ON COLUMN payguard.payments.capture IS
  'What the shop asked for: automatic, or manual (capture_payment() takes the money). NULL: the channel decides';
COMMENT ON COLUMN payguard.payments.authorized_amount IS 'The amount that the channel has reserved';
COMMENT ON COLUMN payguard.payments.capture_amount IS 'The part of the reserved money that the channel was asked to take';
COMMENT ON COLUMN payguard.payments.capture_id IS 'The idempotency key of that capture, for the channel';
COMMENT ON COLUMN payguard.payments.capture_before IS
  'Until when the channel holds the reserved money, as the channel says';
COMMENT ON COLUMN payguard.payments.request_kind IS
  'The call that made the payment: pay, start, request, revoke, record, import';

-- A key names one request.
CREATE UNIQUE INDEX payments_idempotency_key ON payguard.payments (idempotency_key);
-- An order has at most one live or successful payment. A state added later blocks by default.
CREATE UNIQUE INDEX payments_that_count ON payguard.payments (order_id)
  WHERE status NOT IN ('failed', 'superseded', 'surplus', 'returned');
-- The others of an order; paying does not touch it.
CREATE INDEX payments_that_do_not_count ON payguard.payments (order_id)
  WHERE status IN ('failed', 'superseded', 'surplus', 'returned');
-- A channel's transaction is one payment.
CREATE UNIQUE INDEX payments_channel_txn ON payguard.payments (channel, channel_txn_id)
  WHERE channel_txn_id IS NOT NULL;

CREATE TYPE payguard.payment_result AS (
  outcome        text,
  order_id       text,
  payment_id     uuid,
  order_status   text,
  payment_status text,
  version        bigint,
  amount         bigint,
  currency       text,
  completed_at   timestamptz,
  replayed       boolean,
  message        text
);
COMMENT ON TYPE payguard.payment_result IS
  'The answer of a call about a payment. outcome is a stable code, such as paid, pending or failed';

CREATE TYPE payguard.pay_request AS (
  order_id         text,
  idempotency_key  text,
  amount           bigint,
  currency         text,
  expected_version bigint,
  channel          text
);
COMMENT ON TYPE payguard.pay_request IS 'One element of pay_orders(): the arguments of pay_order()';

CREATE TYPE payguard.payment_request AS (
  order_id         text,
  idempotency_key  text,
  channel          text,
  amount           bigint,
  currency         text,
  expected_version bigint,
  expires_at       timestamptz,
  details          jsonb,
  capture          text
);
COMMENT ON TYPE payguard.payment_request IS 'One element of request_payments(): the arguments of request_payment()';

CREATE FUNCTION payguard.payment_slot(payment_id uuid) RETURNS integer
AS 'MODULE_PATHNAME', 'payguard_payment_slot'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION payguard.payment_slot(uuid) IS 'Returns the slot of the payment''s order';

CREATE FUNCTION payguard.pay_order(order_id text, idempotency_key text, amount bigint DEFAULT NULL,
  currency text DEFAULT NULL, expected_version bigint DEFAULT NULL, channel text DEFAULT 'internal')
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_pay_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.pay_order(text, text, bigint, text, bigint, text) IS
  'Pays an order once. The same call again returns the same payment, replayed. Errors: PY101, PY102, PY103, PY104, PY201, PY301, PY302, PY303, PY401, PY405, PY406, PY501, PY502, PY601';

CREATE FUNCTION payguard.try_pay_order(order_id text, idempotency_key text, amount bigint DEFAULT NULL,
  currency text DEFAULT NULL, expected_version bigint DEFAULT NULL, channel text DEFAULT 'internal')
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_try_pay_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.try_pay_order(text, text, bigint, text, bigint, text) IS
  'pay_order(), but a business error is returned as the outcome and not raised';

CREATE FUNCTION payguard.pay_orders(requests payguard.pay_request[])
RETURNS SETOF payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_pay_orders'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.pay_orders(payguard.pay_request[]) IS
  'Pays a batch of orders in one transaction. Answers each element as try_pay_order() would, in the order asked';

CREATE FUNCTION payguard.start_payment(order_id varchar, idempotency_key text, channel text,
  amount bigint DEFAULT NULL, currency text DEFAULT NULL, expected_version bigint DEFAULT NULL,
  expires_at timestamptz DEFAULT NULL, details jsonb DEFAULT NULL,
  capture text DEFAULT NULL)
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_start_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.start_payment(varchar, text, text, bigint, text, bigint, timestamptz, jsonb, text) IS
  'Opens an attempt through a channel. The caller commits, and then calls the channel with payment_id as idempotency key. Errors: those of pay_order()';

CREATE FUNCTION payguard.start_payment(order_id text, idempotency_key text, channel text,
  amount bigint DEFAULT NULL, currency text DEFAULT NULL, expected_version bigint DEFAULT NULL,
  expires_at timestamptz DEFAULT NULL, details jsonb DEFAULT NULL)
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_start_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.start_payment(text, text, text, bigint, text, bigint, timestamptz, jsonb) IS
  'The arguments of 1.1.0, kept for stored calls and for grants in dumps';

CREATE FUNCTION payguard.request_payment(order_id varchar, idempotency_key text, channel text,
  amount bigint DEFAULT NULL, currency text DEFAULT NULL, expected_version bigint DEFAULT NULL,
  expires_at timestamptz DEFAULT NULL, details jsonb DEFAULT NULL,
  capture text DEFAULT NULL)
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_request_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.request_payment(varchar, text, text, bigint, text, bigint, timestamptz, jsonb, text) IS
  'start_payment() with a task of kind charge: a worker calls the channel. Errors: those of pay_order()';

CREATE FUNCTION payguard.request_payment(order_id text, idempotency_key text, channel text,
  amount bigint DEFAULT NULL, currency text DEFAULT NULL, expected_version bigint DEFAULT NULL,
  expires_at timestamptz DEFAULT NULL, details jsonb DEFAULT NULL)
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_request_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.request_payment(text, text, text, bigint, text, bigint, timestamptz, jsonb) IS
  'The arguments of 1.1.0, kept for stored calls and for grants in dumps';

CREATE FUNCTION payguard.try_start_payment(order_id text, idempotency_key text, channel text,
  amount bigint DEFAULT NULL, currency text DEFAULT NULL, expected_version bigint DEFAULT NULL,
  expires_at timestamptz DEFAULT NULL, details jsonb DEFAULT NULL,
  capture text DEFAULT NULL)
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_try_start_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.try_start_payment(text, text, text, bigint, text, bigint, timestamptz, jsonb, text) IS
  'start_payment(), but a business error is returned as the outcome and not raised';

CREATE FUNCTION payguard.try_request_payment(order_id text, idempotency_key text, channel text,
  amount bigint DEFAULT NULL, currency text DEFAULT NULL, expected_version bigint DEFAULT NULL,
  expires_at timestamptz DEFAULT NULL, details jsonb DEFAULT NULL,
  capture text DEFAULT NULL)
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_try_request_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.try_request_payment(text, text, text, bigint, text, bigint, timestamptz, jsonb, text) IS
  'request_payment(), but a business error is returned as the outcome and not raised';

CREATE FUNCTION payguard.request_payments(requests payguard.payment_request[])
RETURNS SETOF payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_request_payments'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.request_payments(payguard.payment_request[]) IS
  'Requests a batch of payments in one transaction. Answers each element as try_request_payment() would, in the order asked';

CREATE FUNCTION payguard.capture_payment(payment_id uuid) RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_capture_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.capture_payment(uuid) IS
  'Opens a task that has the channel take reserved money: as much as the order asks now. Errors: PY105, PY402, PY503';

CREATE FUNCTION payguard.close_payment(payment_id uuid) RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_close_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.close_payment(uuid) IS
  'Opens a task that has the channel close an open attempt, so that another one may begin. Reserved money is given up. Errors: PY105, PY402';

CREATE FUNCTION payguard.revoke_key(order_id text, idempotency_key text)
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_revoke_key'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.revoke_key(text, text) IS
  'Spends an unused key, so that a late call with it is refused. If the key was used, it returns that payment. Errors: PY301, PY401';
