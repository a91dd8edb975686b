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
COMMENT ON TABLE payguard.refunds IS 'Movements of money back to the customer';
COMMENT ON COLUMN payguard.refunds.amount IS 'As asked, in the currency''s minor unit';
COMMENT ON COLUMN payguard.refunds.returned_amount IS 'As the channel reported; as asked where it named no amount';
COMMENT ON COLUMN payguard.refunds.amount_verified IS 'The channel has named the amount that went back';
COMMENT ON COLUMN payguard.refunds.origin IS 'request, surplus, or channel (the channel gave it back on its own)';
COMMENT ON COLUMN payguard.refunds.reversal_kind IS 'Of a channel''s own: refund, chargeback, bank_return, or failed (a payment that had succeeded)';
COMMENT ON COLUMN payguard.refunds.channel_time IS 'Of a channel''s own: when, as the channel has it';
COMMENT ON COLUMN payguard.refunds.reinstated_time IS 'When the channel undid it, as the channel has it';
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
COMMENT ON TABLE payguard.refund_balances IS 'The refunds of one payment added up; locked by every refund';
COMMENT ON COLUMN payguard.refund_balances.excess IS 'What a channel gave back beyond what was received';

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
  'What a call about a refund answers; outcome is the refund''s status, or recorded';

CREATE FUNCTION payguard.refund_order(order_id varchar, idempotency_key text, amount bigint DEFAULT NULL,
  reason text DEFAULT NULL, details jsonb DEFAULT NULL, channel text DEFAULT NULL)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_refund_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.refund_order(varchar, text, bigint, text, jsonb, text) IS
  'Gives money of the order''s payment back; amount NULL: the rest; reason is required. Errors: PY301, PY401, PY402, PY405, PY406, PY504';

CREATE FUNCTION payguard.refund_order(order_id text, idempotency_key text, amount bigint DEFAULT NULL,
  reason text DEFAULT NULL, details jsonb DEFAULT NULL)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_refund_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.refund_order(text, text, bigint, text, jsonb) IS
  'The arguments of 1.1.0, for calls that are stored and grants in dumps';

CREATE FUNCTION payguard.refund_payment(payment_id uuid, idempotency_key varchar, amount bigint DEFAULT NULL,
  reason text DEFAULT NULL, details jsonb DEFAULT NULL, channel text DEFAULT NULL)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_refund_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.refund_payment(uuid, varchar, bigint, text, jsonb, text) IS
  'Gives money of one payment back, surplus money for example. Errors: PY301, PY402, PY405, PY406, PY504';

CREATE FUNCTION payguard.refund_payment(payment_id uuid, idempotency_key text, amount bigint DEFAULT NULL,
  reason text DEFAULT NULL, details jsonb DEFAULT NULL)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_refund_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.refund_payment(uuid, text, bigint, text, jsonb) IS
  'The arguments of 1.1.0, for calls that are stored and grants in dumps';

CREATE FUNCTION payguard.report_refund(refund_id uuid, channel_status text,
  channel_refund_id text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL,
  code text DEFAULT NULL, message text DEFAULT NULL)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_report_refund'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.report_refund(uuid, text, text, bigint, text, text, text) IS
  'Evidence: what a channel says of a refund. Never refused';

CREATE FUNCTION payguard.record_reversal(channel varchar, reversal_id text, channel_txn_id text,
  kind text, amount bigint, currency text, channel_time timestamptz DEFAULT NULL)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_record_reversal'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.record_reversal(varchar, text, text, text, bigint, text, timestamptz) IS
  'Evidence: money that a channel gave back on its own: refund, chargeback or bank_return. Never refused';

CREATE FUNCTION payguard.record_reversal(channel text, reversal_id text, channel_txn_id text,
  kind text, amount bigint, currency text)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_record_reversal'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.record_reversal(text, text, text, text, bigint, text) IS
  'The arguments of 1.1.0, for calls that are stored and grants in dumps';

CREATE FUNCTION payguard.record_reinstatement(channel text, reversal_id text, channel_time timestamptz DEFAULT NULL)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_record_reinstatement'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.record_reinstatement(text, text, timestamptz) IS
  'Evidence: a channel gave the shop money again that it had taken back. Never refused';

CREATE FUNCTION payguard.retry_refund(refund_id uuid, note text) RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_retry_refund'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.retry_refund(uuid, text) IS
  'Makes a failed refund once more. Errors: PY105, PY403, PY504, PY602';

CREATE FUNCTION payguard.waive_refund(refund_id uuid, note text) RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_waive_refund'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.waive_refund(uuid, text) IS
  'An operator decides that a refund that has not begun, or has failed, shall not be made. Errors: PY105, PY403';

CREATE FUNCTION payguard.settle_refund(refund_id uuid, channel_status varchar, note text, channel_refund_id text DEFAULT NULL)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_settle_refund'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.settle_refund(uuid, varchar, text, text) IS
  'An operator''s word where the channel cannot be asked: report_refund() with a note. Errors: PY403';

CREATE FUNCTION payguard.settle_refund(refund_id uuid, channel_status text, note text)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_settle_refund'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.settle_refund(uuid, text, text) IS
  'The arguments of 1.1.0, for calls that are stored and grants in dumps';
