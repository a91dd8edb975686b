-- Orders.
CREATE TABLE payguard.orders (
  order_id        text COLLATE "C" PRIMARY KEY,
  customer_id     text COLLATE "C",
  amount          bigint NOT NULL,
  currency        text COLLATE "C" NOT NULL,
  status          text COLLATE "C" NOT NULL,
  closing_as      text COLLATE "C",
  version         bigint NOT NULL,
  payment_id      uuid,
  refunded_amount bigint NOT NULL,
  created_at      timestamptz NOT NULL,
  updated_at      timestamptz NOT NULL,
  expires_at      timestamptz,
  returned_payment_id uuid
) WITH (fillfactor = 80,
        autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
        autovacuum_analyze_scale_factor = 0.02, autovacuum_analyze_threshold = 1000);
-- No index may name a column that paying changes: paying is a HOT update.
-- A customer's orders over one amount: for policies that look for duplicates.
CREATE INDEX orders_of_customer ON payguard.orders (customer_id, currency, amount) WHERE customer_id IS NOT NULL;
COMMENT ON TABLE payguard.orders IS 'What customers owe. Only payguard''s functions change it';
COMMENT ON COLUMN payguard.orders.amount IS 'In the currency''s minor unit';
COMMENT ON COLUMN payguard.orders.closing_as IS
  'cancelled or expired: the state that the order takes when its live attempt ends without money';
COMMENT ON COLUMN payguard.orders.version IS '1 at first, and 1 more with each change';
COMMENT ON COLUMN payguard.orders.payment_id IS 'The payment that paid the order';
COMMENT ON COLUMN payguard.orders.returned_payment_id IS
  'The last payment that had paid the order and whose money the channel has taken back';

-- Deadlines: expire_orders() finds due orders here. Its cost depends on what is due, and paying costs nothing.
CREATE TABLE payguard.deadlines (
  order_id   text COLLATE "C" PRIMARY KEY,
  expires_at timestamptz NOT NULL
);
CREATE INDEX deadlines_expires_at ON payguard.deadlines (expires_at);
COMMENT ON TABLE payguard.deadlines IS 'When orders expire. expire_orders() deletes a row when its time has come';

CREATE TYPE payguard.order_status_result AS (
  order_id          text,
  status            text,
  advice            text,
  message           text,
  can_pay           boolean,
  can_cancel        boolean,
  retry_after       interval,
  resume_payment_id uuid,
  amount            bigint,
  currency          text,
  refunded_amount   bigint,
  version           bigint
);
COMMENT ON TYPE payguard.order_status_result IS
  'What a customer''s page may show and offer. advice is a stable code: pay, resume, wait, authorized, request_approval, duplicate, paid, refunded, closed, contact_support';

CREATE FUNCTION payguard.new_order_id() RETURNS text
AS 'MODULE_PATHNAME', 'payguard_new_order_id'
LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION payguard.new_order_id() IS
  'Returns a new order id (uuid v7). Call it once for each checkout, so that a retry has the same id';

CREATE FUNCTION payguard.minor_units(amount numeric, currency text) RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_minor_units'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION payguard.minor_units(numeric, text) IS
  'Converts an amount to the currency''s minor unit, exactly: 26.03 and EUR give 2603. Errors: 22003, 22023';

CREATE FUNCTION payguard.major_units(amount bigint, currency text) RETURNS numeric
AS 'MODULE_PATHNAME', 'payguard_major_units'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION payguard.major_units(bigint, text) IS
  'Converts an amount to the currency''s major unit, as people read it: 2603 and EUR give 26.03. Errors: 22023';

CREATE FUNCTION payguard.slot(order_id text) RETURNS integer
AS 'MODULE_PATHNAME', 'payguard_slot'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION payguard.slot(text) IS
  'Returns the order''s slot, 0 to 4095. It is the same on every machine and never changes';

CREATE FUNCTION payguard.create_order(order_id text, amount bigint, currency text,
  customer_id text DEFAULT NULL, expires_at timestamptz DEFAULT NULL)
RETURNS payguard.orders
AS 'MODULE_PATHNAME', 'payguard_create_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.create_order(text, bigint, text, text, timestamptz) IS
  'Makes an order. The same call again returns it. amount is in minor units. Errors: PY304';

CREATE FUNCTION payguard.update_order(order_id varchar, expected_version bigint,
  amount bigint DEFAULT NULL, currency text DEFAULT NULL, expires_at timestamptz DEFAULT NULL,
  customer_id text DEFAULT NULL)
RETURNS payguard.orders
AS 'MODULE_PATHNAME', 'payguard_update_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.update_order(varchar, bigint, bigint, text, timestamptz, text) IS
  'Changes an unpaid order, or gives a guest''s order its customer. It may also lower an order whose money is reserved. NULL leaves a value as it is. Errors: PY101, PY102, PY103, PY105, PY201, PY401, PY503';

CREATE FUNCTION payguard.update_order(order_id text, expected_version bigint,
  amount bigint DEFAULT NULL, currency text DEFAULT NULL, expires_at timestamptz DEFAULT NULL)
RETURNS payguard.orders
AS 'MODULE_PATHNAME', 'payguard_update_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.update_order(text, bigint, bigint, text, timestamptz) IS
  'The arguments of 1.1.0, kept for stored calls and for grants in dumps';

CREATE FUNCTION payguard.cancel_order(order_id text, expected_version bigint DEFAULT NULL,
  reason text DEFAULT NULL)
RETURNS payguard.orders
AS 'MODULE_PATHNAME', 'payguard_cancel_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.cancel_order(text, bigint, text) IS
  'Cancels an order that is not paid. Money that comes later does not pay it. A cancelled order is returned as it is. Errors: PY101, PY102, PY201, PY401';

CREATE FUNCTION payguard.reopen_order(order_id text, note text) RETURNS payguard.orders
AS 'MODULE_PATHNAME', 'payguard_reopen_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.reopen_order(text, text) IS
  'Makes an order unpaid again after a channel has taken its money back. Money that is left of it becomes surplus. For operators. Errors: PY105, PY401';

CREATE FUNCTION payguard.import_order(order_id text, amount bigint, currency text, status text,
  customer_id text DEFAULT NULL, created_at timestamptz DEFAULT NULL, paid_at timestamptz DEFAULT NULL,
  channel text DEFAULT NULL, channel_txn_id text DEFAULT NULL, refunded_amount bigint DEFAULT NULL,
  refunded_at timestamptz DEFAULT NULL, channel_refund_id text DEFAULT NULL, closed_at timestamptz DEFAULT NULL)
RETURNS payguard.orders
AS 'MODULE_PATHNAME', 'payguard_import_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.import_order(text, bigint, text, text, text, timestamptz, timestamptz, text, text, bigint, timestamptz, text, timestamptz) IS
  'Takes over an order that was paid, refunded, cancelled or expired elsewhere, with its own times. The same call again returns it. Amounts are in minor units. Errors: PY304, PY305, PY405';

CREATE FUNCTION payguard.expire_orders("max" integer DEFAULT 1000) RETURNS integer
AS 'MODULE_PATHNAME', 'payguard_expire_orders'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.expire_orders(integer) IS
  'Expires orders whose deadline has passed. Returns the number of deadlines that it handled';

CREATE FUNCTION payguard.order_status(order_id text) RETURNS payguard.order_status_result
AS 'MODULE_PATHNAME', 'payguard_order_status'
LANGUAGE C STABLE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.order_status(text) IS
  'Tells what the customer''s page may show and offer. It works on a standby, too. Errors: PY401';
