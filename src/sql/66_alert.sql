-- Alerts: what a person must look at.
CREATE SEQUENCE payguard.alerts_alert_id_seq CACHE 1;
CREATE TABLE payguard.alerts (
  alert_id          bigint PRIMARY KEY DEFAULT nextval('payguard.alerts_alert_id_seq'),
  kind              text COLLATE "C" NOT NULL,
  severity          text COLLATE "C" NOT NULL,
  cause             text COLLATE "C" NOT NULL,
  order_id          text COLLATE "C",
  payment_id        uuid,
  refund_id         uuid,
  task_id           bigint,
  details           jsonb,
  opened_at         timestamptz NOT NULL,
  acknowledged_at   timestamptz,
  acknowledged_by   text COLLATE "C",
  acknowledged_note text,
  resolved_at       timestamptz,
  resolved_by       text COLLATE "C",
  note              text,
  notified_at       timestamptz
);
ALTER SEQUENCE payguard.alerts_alert_id_seq OWNED BY payguard.alerts.alert_id;
COMMENT ON TABLE payguard.alerts IS 'What a person must look at. One alert is open for each kind and cause';
COMMENT ON COLUMN payguard.alerts.severity IS 'warning or critical';
COMMENT ON COLUMN payguard.alerts.note IS 'Why the alert was resolved';
CREATE UNIQUE INDEX alerts_open ON payguard.alerts (kind, cause) WHERE resolved_at IS NULL;
CREATE INDEX alerts_order_id ON payguard.alerts (order_id);
CREATE INDEX alerts_to_notify ON payguard.alerts (alert_id) WHERE notified_at IS NULL;

CREATE FUNCTION payguard.acknowledge_alert(alert_id bigint, note text) RETURNS payguard.alerts
AS 'MODULE_PATHNAME', 'payguard_acknowledge_alert'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.acknowledge_alert(bigint, text) IS 'A person looks into an alert. It stays open';

CREATE FUNCTION payguard.resolve_alert(alert_id bigint, note text) RETURNS payguard.alerts
AS 'MODULE_PATHNAME', 'payguard_resolve_alert'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.resolve_alert(bigint, text) IS
  'A person has dealt with an alert. maintain() opens it again if its cause is still there';
