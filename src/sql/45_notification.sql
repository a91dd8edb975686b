-- Messages from channels: kept verbatim, applied once.
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
  capture_before    timestamptz,
  PRIMARY KEY (channel, event_id)
);
CREATE INDEX notifications_unmatched ON payguard.notifications (channel, channel_txn_id)
  WHERE result = 'unmatched';
CREATE INDEX notifications_order_id ON payguard.notifications (order_id) WHERE order_id IS NOT NULL;
COMMENT ON TABLE payguard.notifications IS 'Messages from channels, stored as they came';
COMMENT ON COLUMN payguard.notifications.event_id IS 'The channel''s own id of the message, or the SHA-256 of the body';
COMMENT ON COLUMN payguard.notifications.reversal_kind IS
  'The kind of reversal, set by record_reversal(). channel_txn_id is then the transaction that was reversed';
COMMENT ON COLUMN payguard.notifications.result IS 'applied, duplicate, unmatched, contradicting or unreadable';
COMMENT ON COLUMN payguard.notifications.code IS
  'The channel''s code. If the message is unreadable: the function and the argument that could not be read';
COMMENT ON COLUMN payguard.notifications.message IS
  'The channel''s words. If the message is unreadable: why, and the values of the call';

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
  'What was done with a message. Answer the channel with 200, whatever this says';

CREATE FUNCTION payguard.record_notification(channel varchar, body bytea, event_id text DEFAULT NULL,
  payment_id uuid DEFAULT NULL, refund_id uuid DEFAULT NULL, channel_status text DEFAULT NULL,
  channel_txn_id text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL,
  channel_time timestamptz DEFAULT NULL, capture_before timestamptz DEFAULT NULL)
RETURNS payguard.notification_result
AS 'MODULE_PATHNAME', 'payguard_record_notification'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.record_notification(varchar, bytea, text, uuid, uuid, text, text, bigint, text, timestamptz, timestamptz) IS
  'Evidence: stores a message from a channel as it came, and applies it once. Answer the channel with 200, whatever this returns. Never refused';

CREATE FUNCTION payguard.record_notification(channel text, body bytea, event_id text DEFAULT NULL,
  payment_id uuid DEFAULT NULL, refund_id uuid DEFAULT NULL, channel_status text DEFAULT NULL,
  channel_txn_id text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL,
  channel_time timestamptz DEFAULT NULL)
RETURNS payguard.notification_result
AS 'MODULE_PATHNAME', 'payguard_record_notification'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.record_notification(text, bytea, text, uuid, uuid, text, text, bigint, text, timestamptz) IS
  'The arguments of 1.1.0, kept for stored calls and for grants in dumps';

CREATE FUNCTION payguard.record_notification(channel text, body text, event_id text DEFAULT NULL,
  payment_id uuid DEFAULT NULL, refund_id uuid DEFAULT NULL, channel_status text DEFAULT NULL,
  channel_txn_id text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL,
  channel_time timestamptz DEFAULT NULL, capture_before timestamptz DEFAULT NULL)
RETURNS payguard.notification_result
AS 'MODULE_PATHNAME', 'payguard_record_notification_1_2'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.record_notification(text, text, text, uuid, uuid, text, text, bigint, text, timestamptz, timestamptz) IS
  E'The same with a body of type text, stored as it was sent, in UTF-8. A body of \\x and hexadecimal digits alone is taken as bytes';

CREATE FUNCTION payguard.match_notifications("max" integer DEFAULT 1000) RETURNS integer
AS 'MODULE_PATHNAME', 'payguard_match_notifications'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.match_notifications(integer) IS
  'Tries unmatched messages again. Returns the number that matched';
