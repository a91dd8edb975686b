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
COMMENT ON TABLE payguard.events IS
  'One row for each change of an order, payment or refund, written in the transaction of the change';
COMMENT ON COLUMN payguard.events.version IS 'The order''s new version, if the order changed';
COMMENT ON COLUMN payguard.events.actor IS 'The session''s user, or the person for whom a delegate acted';

CREATE FUNCTION payguard.current_actor() RETURNS text
AS 'MODULE_PATHNAME', 'payguard_current_actor'
LANGUAGE C STABLE;
COMMENT ON FUNCTION payguard.current_actor() IS
  'Returns the actor that the events of this transaction name. For delegates';

CREATE FUNCTION payguard.session_role() RETURNS text
AS 'MODULE_PATHNAME', 'payguard_session_role'
LANGUAGE C STABLE;
COMMENT ON FUNCTION payguard.session_role() IS
  'Returns the session''s user. Bytes of the name that are not valid text in this database are written in hexadecimal';

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
    SELECT t.at, t.kind, t.from_status, t.to_status, t.version, t.payment_id, t.refund_id,
           t.actor, t.details
    FROM (
      SELECT e.at, e.kind, e.from_status, e.to_status, e.version, e.payment_id, e.refund_id,
             e.actor, e.details, e.event_id
      FROM payguard.every_event e
      WHERE e.order_id = order_timeline.order_id
      UNION ALL
      SELECT n.received_at, 'notification.' || n.result, NULL, n.channel_status, NULL,
             n.payment_id, n.refund_id, n.channel,
             jsonb_build_object('event_id', n.event_id, 'channel_txn_id', n.channel_txn_id,
                                'amount', n.amount, 'currency', n.currency)
             || CASE n.result WHEN 'unreadable' THEN jsonb_build_object('unreadable', n.code) ELSE '{}' END, NULL
      FROM payguard.every_notification n
      WHERE n.order_id = order_timeline.order_id
      UNION ALL
      SELECT a.opened_at, 'alert.' || a.kind, NULL, a.severity, NULL, a.payment_id, a.refund_id,
             NULL, a.details, NULL
      FROM payguard.alerts a
      WHERE a.order_id = order_timeline.order_id
      UNION ALL
      SELECT a.acknowledged_at, 'alert_acknowledged.' || a.kind, NULL, NULL, NULL, a.payment_id, a.refund_id,
             a.acknowledged_by, jsonb_build_object('note', a.acknowledged_note), NULL
      FROM payguard.alerts a
      WHERE a.order_id = order_timeline.order_id AND a.acknowledged_at IS NOT NULL
      UNION ALL
      SELECT a.resolved_at, 'alert_resolved.' || a.kind, NULL, NULL, NULL, a.payment_id, a.refund_id,
             a.resolved_by, jsonb_build_object('note', a.note), NULL
      FROM payguard.alerts a
      WHERE a.order_id = order_timeline.order_id AND a.resolved_at IS NOT NULL
    ) t
    ORDER BY t.at, t.event_id;
END
$$;
COMMENT ON FUNCTION payguard.order_timeline(text) IS
  'Lists the changes, messages and alerts of an order in the order of time. For support. Errors: PY401';
