-- Consumers: readers of the events, each with a position of its own.
CREATE TABLE payguard.consumers (
  consumer          text COLLATE "C" PRIMARY KEY,
  window_id         bigint NOT NULL,
  low_event         bigint NOT NULL,
  high_event        bigint NOT NULL,
  last_event        bigint NOT NULL,
  late_xids         xid8[] NOT NULL,
  open_xids         xid8[] NOT NULL,
  open_floors       bigint[] NOT NULL,
  system_identifier bigint NOT NULL,
  opened_at         timestamptz NOT NULL,
  committed_at      timestamptz,
  waiting           text[] COLLATE "C"
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE payguard.consumers IS
  'How far each reader of events has got. read_events() and commit_events() change it';
COMMENT ON COLUMN payguard.consumers.low_event IS 'The window begins after this event';
COMMENT ON COLUMN payguard.consumers.high_event IS 'The window ends with this event. Events of open_xids are not in it';
COMMENT ON COLUMN payguard.consumers.last_event IS 'How far the reader has got in the window';
COMMENT ON COLUMN payguard.consumers.late_xids IS
  'Transactions that were open in the window before. Their earlier events belong to this one';
COMMENT ON COLUMN payguard.consumers.open_xids IS
  'Transactions that were open when the window was opened. Their events belong to a later one';
COMMENT ON COLUMN payguard.consumers.open_floors IS 'For each of open_xids: its events come after this event';
COMMENT ON COLUMN payguard.consumers.waiting IS
  'Of a guarded table that follows: the orders whose rows sync_rows() tries again';

CREATE FUNCTION payguard.read_events(consumer text, "max" integer DEFAULT 1000)
RETURNS TABLE (window_id bigint, event_id bigint, at timestamptz, order_id text, payment_id uuid,
               refund_id uuid, kind text, from_status text, to_status text, version bigint,
               actor text, details jsonb)
AS 'MODULE_PATHNAME', 'payguard_read_events'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.read_events(text, integer) IS
  'Returns the next events for a consumer. The first call registers the consumer. Each event is given at least once and none is left out. Those of one order come in the order of its versions';

CREATE FUNCTION payguard.commit_events(consumer text, window_id bigint, event_id bigint)
RETURNS boolean
AS 'MODULE_PATHNAME', 'payguard_commit_events'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.commit_events(text, bigint, bigint) IS
  'The consumer is done up to this event. window_id and event_id are those of a row of read_events(). Returns false if another reader under the name was further';

CREATE FUNCTION payguard.drop_consumer(consumer text) RETURNS boolean
AS 'MODULE_PATHNAME', 'payguard_drop_consumer'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.drop_consumer(text) IS
  'Forgets a consumer that reads no more. Returns false if there was none';

CREATE VIEW payguard.outbox AS
  SELECT event_id AS id,
         CASE WHEN refund_id IS NOT NULL THEN 'refund'
              WHEN kind LIKE 'payment.%' THEN 'payment'
              WHEN order_id IS NOT NULL THEN 'order'
              ELSE 'payguard' END AS aggregatetype,
         coalesce(CASE WHEN refund_id IS NOT NULL THEN refund_id::text
                       WHEN kind LIKE 'payment.%' THEN payment_id::text
                       ELSE order_id END, 'payguard') AS aggregateid,
         kind AS type,
         jsonb_strip_nulls(jsonb_build_object(
           'order_id', order_id, 'payment_id', payment_id, 'refund_id', refund_id,
           'from_status', from_status, 'to_status', to_status, 'version', version,
           'actor', actor, 'details', details)) AS payload,
         at AS "timestamp"
  FROM payguard.events;
COMMENT ON VIEW payguard.outbox IS 'The events under the column names of Debezium''s outbox event router';
