-- Events: the history, append-only.
CREATE SEQUENCE payguard.events_event_id_seq CACHE 1;
CREATE TABLE payguard.events (
  event_id    bigint PRIMARY KEY DEFAULT nextval('payguard.events_event_id_seq'),
  xid         xid8 NOT NULL DEFAULT pg_current_xact_id(),
  at          timestamptz NOT NULL,
  order_id    text COLLATE "C",
  payment_id  uuid,
  refund_id   uuid,
  kind        text COLLATE "C" NOT NULL,
  from_status text COLLATE "C",
  to_status   text COLLATE "C",
  version     bigint,
  actor       text COLLATE "C" NOT NULL,
  details     jsonb
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);
ALTER SEQUENCE payguard.events_event_id_seq OWNED BY payguard.events.event_id;
CREATE INDEX events_order_id ON payguard.events (order_id);
COMMENT ON TABLE payguard.events IS 'Each change of an order, payment or refund, in the transaction of the change';
COMMENT ON COLUMN payguard.events.version IS 'The order''s new version, where the order changed';
COMMENT ON COLUMN payguard.events.actor IS 'The session''s user, or who a delegate acted for';

CREATE FUNCTION payguard.current_actor() RETURNS text
AS 'MODULE_PATHNAME', 'payguard_current_actor'
LANGUAGE C STABLE;
COMMENT ON FUNCTION payguard.current_actor() IS
  'Who the events of this transaction will name; for delegates';

CREATE FUNCTION payguard.order_timeline(order_id text)
RETURNS TABLE (at timestamptz, kind text, from_status text, to_status text, version bigint,
               payment_id uuid, refund_id uuid, actor text, details jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  PERFORM payguard.order_status(order_timeline.order_id);
  RETURN QUERY
    SELECT e.at, e.kind, e.from_status, e.to_status, e.version, e.payment_id, e.refund_id,
           e.actor, e.details
    FROM payguard.events e
    WHERE e.order_id = order_timeline.order_id
    ORDER BY e.event_id;
END
$$;
COMMENT ON FUNCTION payguard.order_timeline(text) IS
  'Everything that happened to an order, in order; for support. Errors: PY401';
