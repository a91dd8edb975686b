-- Tasks: what a worker has to do outside.
CREATE SEQUENCE payguard.tasks_task_id_seq CACHE 1;
CREATE TABLE payguard.tasks (
  task_id      bigint PRIMARY KEY DEFAULT nextval('payguard.tasks_task_id_seq'),
  kind         text COLLATE "C" NOT NULL,
  order_id     text COLLATE "C" NOT NULL,
  payment_id   uuid NOT NULL,
  refund_id    uuid,
  channel      text COLLATE "C" NOT NULL,
  run_at       timestamptz NOT NULL,
  lease_token  uuid,
  leased_until timestamptz,
  worker       text COLLATE "C",
  tries        bigint NOT NULL,
  last_error   text,
  dead_at      timestamptz,
  created_at   timestamptz NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
ALTER SEQUENCE payguard.tasks_task_id_seq OWNED BY payguard.tasks.task_id;
COMMENT ON TABLE payguard.tasks IS 'Outside work that is due: charge, query, close, refund, query_refund';
COMMENT ON COLUMN payguard.tasks.tries IS 'How often a worker has claimed it';
-- One open task per subject and kind.
CREATE UNIQUE INDEX tasks_of_payment ON payguard.tasks (payment_id, kind) WHERE refund_id IS NULL;
CREATE UNIQUE INDEX tasks_of_refund ON payguard.tasks (refund_id, kind) WHERE refund_id IS NOT NULL;
CREATE INDEX tasks_due ON payguard.tasks (run_at);

-- Alerts: what a person must look at.
CREATE SEQUENCE payguard.alerts_alert_id_seq CACHE 1;
CREATE TABLE payguard.alerts (
  alert_id        bigint PRIMARY KEY DEFAULT nextval('payguard.alerts_alert_id_seq'),
  kind            text COLLATE "C" NOT NULL,
  severity        text COLLATE "C" NOT NULL,
  cause           text COLLATE "C" NOT NULL,
  order_id        text COLLATE "C",
  payment_id      uuid,
  refund_id       uuid,
  task_id         bigint,
  details         jsonb,
  opened_at       timestamptz NOT NULL,
  acknowledged_at timestamptz,
  acknowledged_by text COLLATE "C",
  resolved_at     timestamptz,
  resolved_by     text COLLATE "C",
  note            text
);
ALTER SEQUENCE payguard.alerts_alert_id_seq OWNED BY payguard.alerts.alert_id;
COMMENT ON TABLE payguard.alerts IS 'What a person must look at; one open alert per kind and cause';
COMMENT ON COLUMN payguard.alerts.severity IS 'info, warning or critical';
CREATE UNIQUE INDEX alerts_open ON payguard.alerts (kind, cause) WHERE resolved_at IS NULL;
CREATE INDEX alerts_order_id ON payguard.alerts (order_id);
