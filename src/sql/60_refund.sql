-- Refunds.
CREATE TABLE payguard.refunds (
  refund_id         uuid PRIMARY KEY,
  payment_id        uuid NOT NULL,
  order_id          text COLLATE "C" NOT NULL,
  idempotency_key   text COLLATE "C",
  channel           text COLLATE "C" NOT NULL,
  amount            bigint NOT NULL,
  currency          text COLLATE "C" NOT NULL,
  returned_amount   bigint,
  amount_verified   boolean NOT NULL,
  status            text COLLATE "C" NOT NULL,
  origin            text COLLATE "C" NOT NULL,
  reversal_kind     text COLLATE "C",
  reason            text,
  channel_refund_id text COLLATE "C",
  failure_code      text COLLATE "C",
  failure_message   text,
  requested_by      text COLLATE "C" NOT NULL,
  details           jsonb,
  created_at        timestamptz NOT NULL,
  completed_at      timestamptz,
  channel_time      timestamptz,
  reinstated_time   timestamptz
);
COMMENT ON TABLE payguard.refunds IS 'Movements of money back to customers, asked for here or made by a channel';
COMMENT ON COLUMN payguard.refunds.amount IS 'The amount that was asked, in the currency''s minor unit';
COMMENT ON COLUMN payguard.refunds.returned_amount IS
  'The amount that went back, as the channel reported it. If the channel named none, the amount that was asked';
COMMENT ON COLUMN payguard.refunds.amount_verified IS 'The channel has named the amount that went back';
COMMENT ON COLUMN payguard.refunds.origin IS
  'request: somebody asked for it; surplus: opened for surplus money; channel: a reversal';
COMMENT ON COLUMN payguard.refunds.reversal_kind IS
  'The kind of a reversal: refund, chargeback, bank_return, or failed (a payment that had succeeded)';
COMMENT ON COLUMN payguard.refunds.channel_time IS 'When the reversal happened, by the channel''s clock';
COMMENT ON COLUMN payguard.refunds.reinstated_time IS 'When the channel undid the reversal, by the channel''s clock';
CREATE UNIQUE INDEX refunds_idempotency_key ON payguard.refunds (idempotency_key)
  WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX refunds_channel_refund ON payguard.refunds (channel, channel_refund_id)
  WHERE channel_refund_id IS NOT NULL;
CREATE INDEX refunds_payment_id ON payguard.refunds (payment_id);

CREATE TABLE payguard.refund_balances (
  payment_id uuid PRIMARY KEY,
  received   bigint NOT NULL,
  refunding  bigint NOT NULL,
  refunded   bigint NOT NULL,
  excess     bigint NOT NULL,
  CONSTRAINT refund_exceeds_payment CHECK (refunding >= 0 AND refunded >= 0 AND excess >= 0
    AND refunding + refunded <= received)
);
COMMENT ON TABLE payguard.refund_balances IS 'The refunds of one payment, added up. Every refund locks its row';
COMMENT ON COLUMN payguard.refund_balances.excess IS 'The amount that a channel gave back beyond what was received';

CREATE TYPE payguard.refund_result AS (
  outcome    text,
  refund_id  uuid,
  payment_id uuid,
  order_id   text,
  status     text,
  amount     bigint,
  currency   text,
  replayed   boolean,
  message    text
);
COMMENT ON TYPE payguard.refund_result IS
  'The answer of a call about a refund. outcome is the refund''s status, or recorded';

CREATE FUNCTION payguard.refund_order(order_id varchar, idempotency_key text, amount bigint DEFAULT NULL,
  reason text DEFAULT NULL, details jsonb DEFAULT NULL, channel text DEFAULT NULL)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_refund_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.refund_order(varchar, text, bigint, text, jsonb, text) IS
  'Refunds the payment that paid an order. amount NULL means all that is left. reason is required. Errors: PY301, PY401, PY402, PY405, PY406, PY504';

CREATE FUNCTION payguard.refund_order(order_id text, idempotency_key text, amount bigint DEFAULT NULL,
  reason text DEFAULT NULL, details jsonb DEFAULT NULL)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_refund_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.refund_order(text, text, bigint, text, jsonb) IS
  'The arguments of 1.1.0, kept for stored calls and for grants in dumps';

CREATE FUNCTION payguard.refund_payment(payment_id uuid, idempotency_key varchar, amount bigint DEFAULT NULL,
  reason text DEFAULT NULL, details jsonb DEFAULT NULL, channel text DEFAULT NULL)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_refund_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.refund_payment(uuid, varchar, bigint, text, jsonb, text) IS
  'Refunds one payment, for example surplus money. Errors: PY301, PY402, PY405, PY406, PY504';

CREATE FUNCTION payguard.refund_payment(payment_id uuid, idempotency_key text, amount bigint DEFAULT NULL,
  reason text DEFAULT NULL, details jsonb DEFAULT NULL)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_refund_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.refund_payment(uuid, text, bigint, text, jsonb) IS
  'The arguments of 1.1.0, kept for stored calls and for grants in dumps';

CREATE FUNCTION payguard.report_refund(refund_id uuid, channel_status text,
  channel_refund_id text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL,
  code text DEFAULT NULL, message text DEFAULT NULL)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_report_refund'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.report_refund(uuid, text, text, bigint, text, text, text) IS
  'Evidence: what a channel says about a refund. Never refused';

CREATE FUNCTION payguard.record_reversal(channel varchar, reversal_id text, channel_txn_id text,
  kind text, amount bigint, currency text, channel_time timestamptz DEFAULT NULL)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_record_reversal'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.record_reversal(varchar, text, text, text, bigint, text, timestamptz) IS
  'Evidence: money that a channel gave or took back on its own: refund, chargeback or bank_return. Never refused';

CREATE FUNCTION payguard.record_reversal(channel text, reversal_id text, channel_txn_id text,
  kind text, amount bigint, currency text)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_record_reversal'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.record_reversal(text, text, text, text, bigint, text) IS
  'The arguments of 1.1.0, kept for stored calls and for grants in dumps';

CREATE FUNCTION payguard.record_reinstatement(channel text, reversal_id text, channel_time timestamptz DEFAULT NULL)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_record_reinstatement'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.record_reinstatement(text, text, timestamptz) IS
  'Evidence: a channel undid a reversal, and the shop has the money again. Never refused';

CREATE FUNCTION payguard.retry_refund(refund_id uuid, note text) RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_retry_refund'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.retry_refund(uuid, text) IS
  'Makes a failed refund again. Errors: PY105, PY403, PY504, PY602';

CREATE FUNCTION payguard.waive_refund(refund_id uuid, note text) RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_waive_refund'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.waive_refund(uuid, text) IS
  'An operator decides not to make a refund that no worker has begun, or that has failed. Errors: PY105, PY403';

CREATE FUNCTION payguard.settle_refund(refund_id uuid, channel_status varchar, note text, channel_refund_id text DEFAULT NULL)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_settle_refund'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.settle_refund(uuid, varchar, text, text) IS
  'An operator states the outcome of a refund because the channel cannot be asked. The rules are those of report_refund(). Errors: PY403';

CREATE FUNCTION payguard.settle_refund(refund_id uuid, channel_status text, note text)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_settle_refund'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.settle_refund(uuid, text, text) IS
  'The arguments of 1.1.0, kept for stored calls and for grants in dumps';
