"""An application that keeps by hand the facts that payguard keeps: its tables and its statements.

It is meant to be as good as such an application is: every look-up has its index, every statement is
prepared, an order has one payment that counts by a unique index, a message is stored once by its
event id, a worker takes jobs with SKIP LOCKED. It writes the same facts, each in the transaction of
its call: the order, the payment, an event for each change of either, the job that will ask the channel
if no answer comes, the job that a worker did, the message as it came. A fact is written once: an event
does not repeat what its payment says, only what an order asked for at first, which may change. What it leaves out is what
payguard does beyond that: it refuses nothing but by its constraints, and finds no contradiction.

APP is what applications send: BEGIN, a statement for each table, COMMIT. ONE is the least that can be
sent: one statement for each call, which writes all of it.
"""

TABLES = """
CREATE SCHEMA hand;

CREATE TABLE hand.orders (
  order_id        text COLLATE "C" PRIMARY KEY,
  customer_id     text COLLATE "C",
  amount          bigint NOT NULL,
  currency        text COLLATE "C" NOT NULL,
  status          text COLLATE "C" NOT NULL,
  version         bigint NOT NULL,
  payment_id      uuid,
  refunded_amount bigint NOT NULL,
  created_at      timestamptz NOT NULL,
  updated_at      timestamptz NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX orders_of_customer ON hand.orders (customer_id);

-- The id goes to the channel as its idempotency key: a number of a sequence would come again after a
-- restore.
CREATE TABLE hand.payments (
  payment_id        uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  order_id          text COLLATE "C" NOT NULL,
  idempotency_key   text COLLATE "C" NOT NULL UNIQUE,
  channel           text COLLATE "C" NOT NULL,
  amount            bigint NOT NULL,
  currency          text COLLATE "C" NOT NULL,
  received_amount   bigint,
  received_currency text COLLATE "C",
  status            text COLLATE "C" NOT NULL,
  channel_txn_id    text COLLATE "C",
  failure_code      text COLLATE "C",
  created_at        timestamptz NOT NULL,
  completed_at      timestamptz
) WITH (fillfactor = 90);
CREATE UNIQUE INDEX payments_one_of_order ON hand.payments (order_id) WHERE status <> 'failed';
CREATE UNIQUE INDEX payments_channel_txn ON hand.payments (channel, channel_txn_id)
  WHERE channel_txn_id IS NOT NULL;

CREATE TABLE hand.events (
  event_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at          timestamptz NOT NULL,
  order_id    text COLLATE "C" NOT NULL,
  payment_id  uuid,
  kind        text COLLATE "C" NOT NULL,
  from_status text COLLATE "C",
  to_status   text COLLATE "C",
  version     bigint,
  actor       text COLLATE "C" NOT NULL,
  details     jsonb
);
CREATE INDEX events_order_id ON hand.events (order_id);

-- What is to be done outside. A claim puts run_at off: when it comes, another worker takes the job.
-- A job that a worker did stays, with its outcome.
CREATE TABLE hand.jobs (
  payment_id uuid NOT NULL,
  kind       text COLLATE "C" NOT NULL,
  channel    text COLLATE "C" NOT NULL,
  run_at     timestamptz NOT NULL,
  tries      integer NOT NULL,
  worker     text COLLATE "C",
  token      uuid,
  created_at timestamptz NOT NULL,
  done_at    timestamptz,
  outcome    text COLLATE "C",
  PRIMARY KEY (payment_id, kind)
) WITH (fillfactor = 70);
CREATE INDEX jobs_due ON hand.jobs (run_at) WHERE done_at IS NULL;

CREATE TABLE hand.messages (
  channel     text COLLATE "C" NOT NULL,
  event_id    text COLLATE "C" NOT NULL,
  body        bytea NOT NULL,
  payment_id  uuid,
  result      text COLLATE "C" NOT NULL,
  received_at timestamptz NOT NULL,
  PRIMARY KEY (channel, event_id)
);
CREATE INDEX messages_of_payment ON hand.messages (payment_id);
"""

# The variables: id (of the order), c (the customer), k (the key), t (the channel's transaction), e (the
# message's event), body. What a statement answers is read: \gset.

# --- APP: a statement for each table

APP_CREATE = r"""BEGIN;
INSERT INTO hand.orders (order_id, customer_id, amount, currency, status, version, refunded_amount, created_at, updated_at)
 VALUES (:id, :c, 100, 'EUR', 'unpaid', 1, 0, now(), now());
INSERT INTO hand.events (at, order_id, kind, to_status, version, actor, details)
 VALUES (now(), :id, 'order.created', 'unpaid', 1, 'postgres',
  jsonb_build_object('amount', 100, 'currency', 'EUR'));
COMMIT;
"""

# An attempt, and a job: to ask the channel tomorrow (start), or to charge now (request).
APP_ATTEMPT = r"""BEGIN;
SELECT amount, currency, status, version FROM hand.orders WHERE order_id = :id FOR NO KEY UPDATE \gset o_
INSERT INTO hand.payments (order_id, idempotency_key, channel, amount, currency, status, created_at)
 VALUES (:id, :k, 'card', :o_amount, :o_currency, 'pending', now()) RETURNING payment_id \gset
UPDATE hand.orders SET status = 'paying', version = version + 1, updated_at = now() WHERE order_id = :id;
INSERT INTO hand.events (at, order_id, payment_id, kind, from_status, to_status, version, actor)
 VALUES (now(), :id, :payment_id, 'order.paying', 'unpaid', 'paying', :o_version::bigint + 1, 'postgres');
INSERT INTO hand.jobs (payment_id, kind, channel, run_at, tries, created_at)
 VALUES (:payment_id, {job}, 0, now());
COMMIT;
"""
APP_START = APP_ATTEMPT.replace("{job}", "'query', 'card', now() + interval '1 day'")
APP_REQUEST = APP_ATTEMPT.replace("{job}", "'charge', 'card', now()")

# A success of the payment that is named. One statement locks the order and its payment.
APP_SUCCEED = r"""SELECT o.order_id, o.version, o.status, p.status AS payment_status FROM hand.payments p
 JOIN hand.orders o USING (order_id) WHERE p.payment_id = :payment_id FOR NO KEY UPDATE \gset o_
UPDATE hand.payments SET status = 'succeeded', channel_txn_id = :t, received_amount = 100, received_currency = 'EUR',
 completed_at = now() WHERE payment_id = :payment_id;
UPDATE hand.orders SET status = 'paid', version = version + 1, payment_id = :payment_id, updated_at = now()
 WHERE order_id = :o_order_id;
INSERT INTO hand.events (at, order_id, payment_id, kind, from_status, to_status, version, actor)
 VALUES (now(), :o_order_id, :payment_id, 'payment.succeeded', 'pending', 'succeeded', NULL, 'postgres'),
  (now(), :o_order_id, :payment_id, 'order.paid', 'paying', 'paid', :o_version::bigint + 1, 'postgres');
"""
NO_QUERY = "DELETE FROM hand.jobs WHERE payment_id = :payment_id AND kind = 'query';\n"

APP_REPORT = "BEGIN;\n" + APP_SUCCEED + NO_QUERY + "COMMIT;\n"

STORE_MESSAGE = r"""INSERT INTO hand.messages (channel, event_id, body, payment_id, result, received_at)
 VALUES ('card', :e, :body::bytea, :payment_id, 'applied', now()) ON CONFLICT DO NOTHING"""
APP_MESSAGE = "BEGIN;\n" + STORE_MESSAGE + ";\n" + APP_SUCCEED + NO_QUERY + "COMMIT;\n"
# One that came before is found by its event id, and nothing else is done.
AGAIN = STORE_MESSAGE + ";\n"

DUE = r"""due AS MATERIALIZED (
 SELECT payment_id, kind FROM hand.jobs WHERE done_at IS NULL AND run_at <= now() ORDER BY run_at LIMIT {n}
 FOR UPDATE SKIP LOCKED)"""
CLAIM = r"""UPDATE hand.jobs j SET run_at = now() + interval '1 day', tries = j.tries + 1, worker = 'w', token = gen_random_uuid()
 FROM due, hand.payments p
 WHERE j.payment_id = due.payment_id AND j.kind = due.kind AND p.payment_id = due.payment_id"""
CLAIM_ONE = "\\set claimed 0\nWITH " + DUE.replace("{n}", "1") + "\n" + CLAIM + r"""
 RETURNING 1 AS claimed, j.payment_id, j.kind, j.token, j.tries, p.order_id, p.amount, p.currency \aset
"""

JOB_DONE = r"""UPDATE hand.jobs SET done_at = now(), outcome = 'paid'
 WHERE payment_id = :payment_id AND kind = 'charge' AND token = :token;
"""
APP_COMPLETE = "\\if :claimed\nBEGIN;\n" + APP_SUCCEED + JOB_DONE + "COMMIT;\n\\endif\n"

# --- ONE: a statement for each call

ONE_CREATE = r"""WITH o AS (
 INSERT INTO hand.orders (order_id, customer_id, amount, currency, status, version, refunded_amount, created_at, updated_at)
 VALUES (:id, :c, 100, 'EUR', 'unpaid', 1, 0, now(), now()) RETURNING *)
INSERT INTO hand.events (at, order_id, kind, to_status, version, actor, details)
SELECT created_at, order_id, 'order.created', status, version, 'postgres',
 jsonb_build_object('amount', amount, 'currency', currency) FROM o;
"""

ONE_ATTEMPT = r"""WITH o AS (
 UPDATE hand.orders SET status = 'paying', version = version + 1, updated_at = now()
 WHERE order_id = :id AND status = 'unpaid' RETURNING *),
p AS (INSERT INTO hand.payments (order_id, idempotency_key, channel, amount, currency, status, created_at)
 SELECT order_id, :k, 'card', amount, currency, 'pending', updated_at FROM o RETURNING *),
j AS (INSERT INTO hand.jobs (payment_id, kind, channel, run_at, tries, created_at)
 SELECT payment_id, {job}, 0, created_at FROM p)
INSERT INTO hand.events (at, order_id, payment_id, kind, from_status, to_status, version, actor)
SELECT o.updated_at, o.order_id, p.payment_id, 'order.paying', 'unpaid', o.status, o.version, 'postgres' FROM o, p RETURNING payment_id \gset
"""
ONE_START = ONE_ATTEMPT.replace("{job}", "'query', channel, created_at + interval '1 day'")
ONE_REQUEST = ONE_ATTEMPT.replace("{job}", "'charge', channel, created_at")

# {which}: the payments that succeed, and their transactions.
ONE_SUCCEED = r"""p AS (
 UPDATE hand.payments p SET status = 'succeeded', channel_txn_id = a.txn, received_amount = p.amount,
  received_currency = p.currency, completed_at = now()
 FROM {which} WHERE p.payment_id = a.id AND p.status = 'pending' RETURNING p.*),
o AS (UPDATE hand.orders o SET status = 'paid', version = o.version + 1, payment_id = p.payment_id, updated_at = now()
 FROM p WHERE o.order_id = p.order_id RETURNING o.*)
INSERT INTO hand.events (at, order_id, payment_id, kind, from_status, to_status, version, actor)
SELECT o.updated_at, o.order_id, o.payment_id, k.kind, k.from_status, k.to_status, CASE WHEN k.n = 2 THEN o.version END, 'postgres'
FROM o, (VALUES (1, 'payment.succeeded', 'pending', 'succeeded'),
 (2, 'order.paid', 'paying', 'paid')) k (n, kind, from_status, to_status) ORDER BY k.n;
"""
NAMED = "(VALUES (:payment_id::uuid, :t)) a (id, txn)"
ONE_NO_QUERY = "j AS (DELETE FROM hand.jobs j USING p WHERE j.payment_id = p.payment_id AND j.kind = 'query')"


def one_succeed(before, which, job):
    """ONE_SUCCEED with what comes before it, and what becomes of the job."""
    succeed = ONE_SUCCEED.replace("{which}", which).replace("\nINSERT INTO hand.events", f",\n{job}\nINSERT INTO hand.events")
    return "WITH " + before + succeed


ONE_REPORT = one_succeed("", NAMED, ONE_NO_QUERY)
ONE_MESSAGE = one_succeed(f"m AS ({STORE_MESSAGE} RETURNING payment_id, :t::text AS txn),\n", "m a (id, txn)", ONE_NO_QUERY)
ONE_COMPLETE = ("\\if :claimed\n" + one_succeed(
    "", NAMED, "j AS (UPDATE hand.jobs j SET done_at = now(), outcome = 'paid' FROM p"
    " WHERE j.payment_id = p.payment_id AND j.kind = 'charge' AND j.token = :token::uuid)") + "\\endif\n")

# --- a hundred jobs at once

CLAIM_MANY = "WITH " + DUE.replace("{n}", "100") + ",\nj AS (" + CLAIM + r"""
 RETURNING j.payment_id, j.token, p.order_id)
SELECT array_agg(payment_id) AS ids, array_agg(token) AS tokens, array_agg('t' || order_id) AS txns FROM j \gset
"""
MANY = "unnest(:ids::uuid[], :tokens::uuid[], :txns::text[]) a (id, token, txn)"
APP_COMPLETE_MANY = r"""BEGIN;
SELECT count(*) FROM (SELECT FROM hand.payments p JOIN hand.orders o USING (order_id)
 WHERE p.payment_id = ANY (:ids::uuid[]) ORDER BY o.order_id FOR NO KEY UPDATE) locked;
UPDATE hand.payments p SET status = 'succeeded', channel_txn_id = a.txn, received_amount = p.amount,
 received_currency = p.currency, completed_at = now() FROM {many} WHERE p.payment_id = a.id;
UPDATE hand.orders o SET status = 'paid', version = o.version + 1, payment_id = p.payment_id, updated_at = now()
 FROM hand.payments p WHERE p.payment_id = ANY (:ids::uuid[]) AND o.order_id = p.order_id;
INSERT INTO hand.events (at, order_id, payment_id, kind, from_status, to_status, version, actor)
SELECT now(), p.order_id, p.payment_id, k.kind, k.from_status, k.to_status, CASE WHEN k.n = 2 THEN o.version END, 'postgres'
FROM hand.payments p JOIN hand.orders o USING (order_id), (VALUES (1, 'payment.succeeded', 'pending', 'succeeded'),
 (2, 'order.paid', 'paying', 'paid')) k (n, kind, from_status, to_status) WHERE p.payment_id = ANY (:ids::uuid[]);
UPDATE hand.jobs j SET done_at = now(), outcome = 'paid' FROM {many}
 WHERE j.payment_id = a.id AND j.kind = 'charge' AND j.token = a.token;
COMMIT;
""".replace("{many}", MANY)
ONE_COMPLETE_MANY = one_succeed(
    "", MANY, "j AS (UPDATE hand.jobs j SET done_at = now(), outcome = 'paid' FROM " + MANY +
    " WHERE j.payment_id = a.id AND j.kind = 'charge' AND j.token = a.token)")
