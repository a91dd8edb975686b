-- Tasks: what a worker has to do outside.
CREATE SEQUENCE payguard.tasks_task_id_seq CACHE 1;
CREATE TABLE payguard.tasks (
  task_id    bigint PRIMARY KEY DEFAULT nextval('payguard.tasks_task_id_seq'),
  kind       text COLLATE "C" NOT NULL,
  order_id   text COLLATE "C" NOT NULL,
  payment_id uuid NOT NULL,
  refund_id  uuid,
  channel    text COLLATE "C" NOT NULL,
  run_at     timestamptz NOT NULL,
  tries      bigint NOT NULL,
  sent       boolean NOT NULL,
  again      boolean NOT NULL,
  last_error text,
  dead_at    timestamptz,
  created_at timestamptz NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
ALTER SEQUENCE payguard.tasks_task_id_seq OWNED BY payguard.tasks.task_id;
COMMENT ON TABLE payguard.tasks IS
  'Work outside that is due or will be: charge, capture, query, close, refund, query_refund';
COMMENT ON COLUMN payguard.tasks.tries IS
  'How often a worker has claimed the task. After requeue_task() the count begins again at 1';
COMMENT ON COLUMN payguard.tasks.sent IS 'A worker may have told the channel of the task';
COMMENT ON COLUMN payguard.tasks.again IS 'An earlier task may have told the channel of the same request';
COMMENT ON COLUMN payguard.tasks.dead_at IS 'Since when the task is out of tries and waits for a person';
-- One open task per subject and kind.
CREATE UNIQUE INDEX tasks_of_payment ON payguard.tasks (payment_id, kind) WHERE refund_id IS NULL;
CREATE UNIQUE INDEX tasks_of_refund ON payguard.tasks (refund_id, kind) WHERE refund_id IS NOT NULL;
-- Claiming changes no column of an index: it is a HOT update.
CREATE INDEX tasks_due ON payguard.tasks (run_at, task_id);
CREATE INDEX tasks_dead ON payguard.tasks (task_id) WHERE dead_at IS NOT NULL;

-- Who works on which order. One lease of an order: its tasks run one at a time.
CREATE TABLE payguard.leases (
  order_id     text COLLATE "C" PRIMARY KEY,
  task_id      bigint NOT NULL,
  lease_token  uuid NOT NULL,
  leased_until timestamptz NOT NULL,
  worker       text COLLATE "C" NOT NULL,
  run_at       timestamptz NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX leases_leased_until ON payguard.leases (leased_until);
COMMENT ON TABLE payguard.leases IS 'Tasks that workers hold';
COMMENT ON COLUMN payguard.leases.run_at IS
  'When the task was due at its claim. If the task has become due again since, the answer does not end it';

-- Tasks that were claimed and are gone: what a late or repeated answer is about.
CREATE TABLE payguard.finished_tasks (
  task_id     bigint PRIMARY KEY,
  kind        text COLLATE "C" NOT NULL,
  order_id    text COLLATE "C" NOT NULL,
  payment_id  uuid NOT NULL,
  refund_id   uuid,
  lease_token uuid,
  outcome     text COLLATE "C",
  finished_at timestamptz NOT NULL
);
COMMENT ON TABLE payguard.finished_tasks IS 'Tasks that were claimed and have ended, kept for a week at least';

CREATE VIEW payguard.dead_tasks AS
  SELECT * FROM payguard.tasks WHERE dead_at IS NOT NULL;
COMMENT ON VIEW payguard.dead_tasks IS
  'Tasks that are out of tries. An operator ends them with requeue_task(), or states their outcome';

CREATE TYPE payguard.task AS (
  task_id           bigint,
  lease_token       uuid,
  leased_until      timestamptz,
  kind              text,
  tries             bigint,
  order_id          text,
  payment_id        uuid,
  refund_id         uuid,
  channel           text,
  amount            bigint,
  currency          text,
  channel_txn_id    text,
  channel_refund_id text,
  expires_at        timestamptz,
  details           jsonb,
  capture           text,
  capture_id        uuid
);
COMMENT ON TYPE payguard.task IS 'A claimed task with everything that the channel needs';

CREATE TYPE payguard.task_answer AS (
  task_id        bigint,
  lease_token    uuid,
  channel_status text,
  channel_txn_id text,
  amount         bigint,
  currency       text,
  code           text,
  message        text
);
COMMENT ON TYPE payguard.task_answer IS
  'One element of complete_tasks(): the arguments of complete_task() without capture_before';

CREATE FUNCTION payguard.claim_tasks(worker text, max_tasks integer DEFAULT 10,
  lease interval DEFAULT '30 s', kinds text[] DEFAULT NULL, channels text[] DEFAULT NULL)
RETURNS SETOF payguard.task
AS 'MODULE_PATHNAME', 'payguard_claim_tasks'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.claim_tasks(text, integer, interval, text[], text[]) IS
  'Gives a worker due tasks to hold until their lease is over. It gives one task of an order at a time';

CREATE FUNCTION payguard.expire_leases("max" integer DEFAULT 1000) RETURNS integer
AS 'MODULE_PATHNAME', 'payguard_expire_leases'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.expire_leases(integer) IS
  'Part of maintain(): ends leases whose time is over, as claim_tasks() does';

CREATE FUNCTION payguard.complete_task(task_id bigint, lease_token uuid, channel_status varchar,
  channel_txn_id text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL,
  code text DEFAULT NULL, message text DEFAULT NULL,
  capture_before timestamptz DEFAULT NULL)
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_complete_task'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.complete_task(bigint, uuid, varchar, text, bigint, text, text, text, timestamptz) IS
  'Evidence: the channel''s answer to a task. It is applied and the task ends, in one transaction. Never refused';

CREATE FUNCTION payguard.complete_task(task_id bigint, lease_token uuid, channel_status text,
  channel_txn_id text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL,
  code text DEFAULT NULL, message text DEFAULT NULL)
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_complete_task'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.complete_task(bigint, uuid, text, text, bigint, text, text, text) IS
  'The arguments of 1.1.0, kept for stored calls and for grants in dumps';

CREATE FUNCTION payguard.complete_tasks(answers payguard.task_answer[])
RETURNS SETOF payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_complete_tasks'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.complete_tasks(payguard.task_answer[]) IS
  'complete_task() for a batch, in one transaction. Never refused';

CREATE FUNCTION payguard.retry_task(task_id bigint, lease_token uuid, error text, delay interval DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_retry_task'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.retry_task(bigint, uuid, text, interval) IS
  'A worker that is certain that nothing reached the channel gives its task back. The task is due again later. Errors: PY404, PY701';

CREATE FUNCTION payguard.extend_lease(task_id bigint, lease_token uuid, lease interval) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'payguard_extend_lease'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.extend_lease(bigint, uuid, interval) IS
  'Holds a task longer, counted from now. Returns the time until which it is held. Errors: PY404, PY701';

CREATE FUNCTION payguard.requeue_task(task_id bigint) RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_requeue_task'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.requeue_task(bigint) IS
  'An operator has a task that is out of tries tried again, now. Errors: PY404';

CREATE FUNCTION payguard.query_payment(payment_id uuid) RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_query_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.query_payment(uuid) IS
  'Opens a task that asks the channel about an open payment, now. Errors: PY402';
