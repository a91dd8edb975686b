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
COMMENT ON TABLE payguard.notifications IS 'Messages from channels, verbatim';
COMMENT ON COLUMN payguard.notifications.event_id IS 'The channel''s, or the SHA-256 of the body';
COMMENT ON COLUMN payguard.notifications.reversal_kind IS 'Of a record_reversal(): channel_txn_id is what was reversed';
COMMENT ON COLUMN payguard.notifications.result IS 'applied, duplicate, unmatched, contradicting or unreadable';
COMMENT ON COLUMN payguard.notifications.code IS 'Of a report; where it cannot be read, the function and the argument that cannot';
COMMENT ON COLUMN payguard.notifications.message IS 'Of a report; where it cannot be read, why, and what record_notification() was given';

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

CREATE FUNCTION payguard.record_notification(channel varchar, body bytea, event_id text DEFAULT NULL,
  payment_id uuid DEFAULT NULL, refund_id uuid DEFAULT NULL, channel_status text DEFAULT NULL,
  channel_txn_id text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL,
  channel_time timestamptz DEFAULT NULL, capture_before timestamptz DEFAULT NULL)
RETURNS payguard.notification_result
AS 'MODULE_PATHNAME', 'payguard_record_notification'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.record_notification(varchar, bytea, text, uuid, uuid, text, text, bigint, text, timestamptz, timestamptz) IS
  'Evidence: a message from a channel, stored verbatim, applied once. Whatever it returns: answer the channel with 200';

CREATE FUNCTION payguard.record_notification(channel text, body bytea, event_id text DEFAULT NULL,
  payment_id uuid DEFAULT NULL, refund_id uuid DEFAULT NULL, channel_status text DEFAULT NULL,
  channel_txn_id text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL,
  channel_time timestamptz DEFAULT NULL)
RETURNS payguard.notification_result
AS 'MODULE_PATHNAME', 'payguard_record_notification'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.record_notification(text, bytea, text, uuid, uuid, text, text, bigint, text, timestamptz) IS
  'The arguments of 1.1.0, for calls that are stored and grants in dumps';

CREATE FUNCTION payguard.record_notification(channel text, body text, event_id text DEFAULT NULL,
  payment_id uuid DEFAULT NULL, refund_id uuid DEFAULT NULL, channel_status text DEFAULT NULL,
  channel_txn_id text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL,
  channel_time timestamptz DEFAULT NULL, capture_before timestamptz DEFAULT NULL)
RETURNS payguard.notification_result
AS 'MODULE_PATHNAME', 'payguard_record_notification_1_2'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.record_notification(text, text, text, uuid, uuid, text, text, bigint, text, timestamptz, timestamptz) IS
  E'The same with a body of text, kept as it was sent, in UTF-8; \\x and hex digits alone are bytes';

CREATE FUNCTION payguard.match_notifications("max" integer DEFAULT 1000) RETURNS integer
AS 'MODULE_PATHNAME', 'payguard_match_notifications'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.match_notifications(integer) IS
  'Tries again to match notifications that matched nothing; returns how many now do';
