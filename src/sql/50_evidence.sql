-- Evidence: what channels report. It is never refused.
CREATE FUNCTION payguard.decisions(
  OUT order_status text, OUT closing_as text, OUT payment_status text, OUT channel_status text,
  OUT late_success text, OUT money_fits boolean, OUT other_txn boolean,
  OUT order_becomes text, OUT payment_becomes text, OUT supersede boolean, OUT refund boolean, OUT hold boolean,
  OUT second_charge boolean, OUT fill_in boolean, OUT query boolean, OUT close boolean, OUT alert text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'payguard_decisions'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION payguard.decisions() IS
  'What follows from every possible order, attempt and report; payment_status is NULL for money without an attempt';

CREATE TABLE payguard.notifications (
  channel           text COLLATE "C" NOT NULL,
  event_id          text COLLATE "C" NOT NULL,
  body              bytea NOT NULL,
  payment_id        uuid,
  refund_id         uuid,
  channel_status    text COLLATE "C",
  channel_txn_id    text COLLATE "C",
  amount            bigint,
  currency          text COLLATE "C",
  channel_time      timestamptz,
  code              text COLLATE "C",
  message           text,
  reversal_kind     text COLLATE "C",
  reversal_id       text COLLATE "C",
  result            text COLLATE "C" NOT NULL,
  order_id          text COLLATE "C",
  received_at       timestamptz NOT NULL,
  PRIMARY KEY (channel, event_id)
);
CREATE INDEX notifications_unmatched ON payguard.notifications (channel, channel_txn_id)
  WHERE result = 'unmatched';
CREATE INDEX notifications_order_id ON payguard.notifications (order_id) WHERE order_id IS NOT NULL;
COMMENT ON TABLE payguard.notifications IS 'Messages from channels, verbatim';
COMMENT ON COLUMN payguard.notifications.event_id IS 'The channel''s, or the SHA-256 of the body';
COMMENT ON COLUMN payguard.notifications.reversal_kind IS 'Of a record_reversal(): channel_txn_id is what was reversed';
COMMENT ON COLUMN payguard.notifications.result IS 'applied, duplicate, unmatched or contradicting';

CREATE TYPE payguard.notification_result AS (
  result     text,
  outcome    text,
  order_id   text,
  payment_id uuid,
  refund_id  uuid,
  replayed   boolean,
  message    text
);
COMMENT ON TYPE payguard.notification_result IS
  'What was done with a notification; whatever it says, the channel is to be answered with 200';

CREATE FUNCTION payguard.start_payment(order_id text, idempotency_key text, channel text,
  amount bigint DEFAULT NULL, currency text DEFAULT NULL, expected_version bigint DEFAULT NULL,
  expires_at timestamptz DEFAULT NULL, details jsonb DEFAULT NULL)
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_start_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.start_payment(text, text, text, bigint, text, bigint, timestamptz, jsonb) IS
  'Opens an attempt through a channel, which the caller calls next, with payment_id as its idempotency key. Errors: those of pay_order()';

CREATE FUNCTION payguard.close_payment(payment_id uuid) RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_close_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.close_payment(uuid) IS
  'Has an open attempt closed at its channel, so that another may start. Errors: PY105, PY402';

CREATE FUNCTION payguard.report_payment(payment_id uuid, channel_status text,
  channel_txn_id text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL,
  code text DEFAULT NULL, message text DEFAULT NULL, channel_time timestamptz DEFAULT NULL)
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_report_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.report_payment(uuid, text, text, bigint, text, text, text, timestamptz) IS
  'Evidence: what a channel says of a payment: succeeded, failed, closed, pending, unknown or not_found. Never refused';

CREATE FUNCTION payguard.record_payment(order_id text, channel text, channel_txn_id text,
  amount bigint, currency text, channel_time timestamptz DEFAULT NULL)
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_record_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.record_payment(text, text, text, bigint, text, timestamptz) IS
  'Evidence: money that came without an attempt of ours. Never refused';

CREATE FUNCTION payguard.record_notification(channel text, body bytea, event_id text DEFAULT NULL,
  payment_id uuid DEFAULT NULL, refund_id uuid DEFAULT NULL, channel_status text DEFAULT NULL,
  channel_txn_id text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL,
  channel_time timestamptz DEFAULT NULL)
RETURNS payguard.notification_result
AS 'MODULE_PATHNAME', 'payguard_record_notification'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.record_notification(text, bytea, text, uuid, uuid, text, text, bigint, text, timestamptz) IS
  'Evidence: a message from a channel, stored verbatim, applied once. Whatever it returns: answer the channel with 200';

CREATE FUNCTION payguard.record_notification(channel text, body text, event_id text DEFAULT NULL,
  payment_id uuid DEFAULT NULL, refund_id uuid DEFAULT NULL, channel_status text DEFAULT NULL,
  channel_txn_id text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL,
  channel_time timestamptz DEFAULT NULL)
RETURNS payguard.notification_result
AS 'MODULE_PATHNAME', 'payguard_record_notification_1_2'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.record_notification(text, text, text, uuid, uuid, text, text, bigint, text, timestamptz) IS
  E'The same with a body of text, kept as it was sent, in UTF-8; \\x and hex digits alone are bytes';

CREATE FUNCTION payguard.match_notifications("max" integer DEFAULT 1000) RETURNS integer
AS 'MODULE_PATHNAME', 'payguard_match_notifications'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.match_notifications(integer) IS
  'Tries again to match notifications that matched nothing; returns how many now do';

CREATE FUNCTION payguard.settle_payment(payment_id uuid, channel_status text, note text,
  channel_txn_id text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL)
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_settle_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.settle_payment(uuid, text, text, text, bigint, text) IS
  'An operator''s word where the channel cannot be asked: report_payment() with a note. Errors: PY402';

CREATE FUNCTION payguard.accept_surplus(payment_id uuid, note text) RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_accept_surplus'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.accept_surplus(uuid, text) IS
  'An operator lets surplus money pay its order; the refund is waived. Errors: PY101, PY103, PY105, PY402, PY501, PY502';

CREATE FUNCTION payguard.dismiss_surplus(payment_id uuid, same_as uuid, note text) RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_dismiss_surplus'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.dismiss_surplus(uuid, uuid, text) IS
  'An operator states that surplus money was a second name of the charge same_as. Errors: PY105, PY402';

-- Deadlines: due orders are found here, so that expiring costs what is due, and paying nothing.
CREATE TABLE payguard.deadlines (
  order_id   text COLLATE "C" PRIMARY KEY,
  expires_at timestamptz NOT NULL
);
CREATE INDEX deadlines_expires_at ON payguard.deadlines (expires_at);
COMMENT ON TABLE payguard.deadlines IS 'When orders expire; a row goes when its time has come';

CREATE FUNCTION payguard.expire_orders("max" integer DEFAULT 1000) RETURNS integer
AS 'MODULE_PATHNAME', 'payguard_expire_orders'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.expire_orders(integer) IS
  'Expires orders whose deadline has passed; returns how many deadlines it dealt with';
