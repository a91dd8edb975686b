\echo Use "CREATE EXTENSION payguard" to load this file. \quit
SET LOCAL search_path = pg_catalog, pg_temp;
-- The schema: made here, so that one planted before is refused.
CREATE SCHEMA payguard;
COMMENT ON SCHEMA payguard IS 'payguard: an order is paid once';

CREATE FUNCTION payguard.state_transitions(OUT machine text, OUT from_status text, OUT to_status text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'payguard_state_transitions'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION payguard.state_transitions() IS
  'The legal moves of each state machine; from_status is NULL where to_status can be the first state';
-- Orders.
CREATE TABLE payguard.orders (
  order_id        text COLLATE "C" PRIMARY KEY,
  customer_id     text COLLATE "C",
  amount          bigint NOT NULL,
  currency        text COLLATE "C" NOT NULL,
  status          text COLLATE "C" NOT NULL,
  closing_as      text COLLATE "C",
  version         bigint NOT NULL,
  payment_id      uuid,
  refunded_amount bigint NOT NULL,
  created_at      timestamptz NOT NULL,
  updated_at      timestamptz NOT NULL,
  expires_at      timestamptz
) WITH (fillfactor = 80,
        autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
        autovacuum_analyze_scale_factor = 0.02, autovacuum_analyze_threshold = 1000);
-- No index may name a column that paying changes: paying is a HOT update.
-- A customer's orders over one amount: for policies that look for duplicates.
CREATE INDEX orders_of_customer ON payguard.orders (customer_id, currency, amount) WHERE customer_id IS NOT NULL;
COMMENT ON TABLE payguard.orders IS 'What is payable; changed by payguard''s functions alone';
COMMENT ON COLUMN payguard.orders.amount IS 'In the currency''s minor unit';
COMMENT ON COLUMN payguard.orders.closing_as IS 'What the order becomes when its attempt ends without money';
COMMENT ON COLUMN payguard.orders.version IS 'Starts at 1 and grows by 1 with each change';
COMMENT ON COLUMN payguard.orders.payment_id IS 'The payment that paid the order';

CREATE TYPE payguard.order_status_result AS (
  order_id          text,
  status            text,
  advice            text,
  message           text,
  can_pay           boolean,
  can_cancel        boolean,
  retry_after       interval,
  resume_payment_id uuid,
  amount            bigint,
  currency          text,
  refunded_amount   bigint,
  version           bigint
);
COMMENT ON TYPE payguard.order_status_result IS
  'What a customer''s page may say and offer; advice is a stable code: pay, resume, wait, paid, refunded, closed, contact_support';

CREATE FUNCTION payguard.new_order_id() RETURNS text
AS 'MODULE_PATHNAME', 'payguard_new_order_id'
LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION payguard.new_order_id() IS
  'A new order id (uuid v7). Call it once per checkout, so that a retry has the same id';

CREATE FUNCTION payguard.slot(order_id text) RETURNS integer
AS 'MODULE_PATHNAME', 'payguard_slot'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION payguard.slot(text) IS
  'The order''s slot, 0-4095: the same on every machine for ever';

CREATE FUNCTION payguard.create_order(order_id text, amount bigint, currency text,
  customer_id text DEFAULT NULL, expires_at timestamptz DEFAULT NULL)
RETURNS payguard.orders
AS 'MODULE_PATHNAME', 'payguard_create_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.create_order(text, bigint, text, text, timestamptz) IS
  'Makes an order; the same call again returns it. amount: minor units. Errors: PY304';

CREATE FUNCTION payguard.update_order(order_id text, expected_version bigint,
  amount bigint DEFAULT NULL, currency text DEFAULT NULL, expires_at timestamptz DEFAULT NULL)
RETURNS payguard.orders
AS 'MODULE_PATHNAME', 'payguard_update_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.update_order(text, bigint, bigint, text, timestamptz) IS
  'Changes an unpaid order; NULL leaves a value as it is. Errors: PY101, PY102, PY103, PY201, PY401';

CREATE FUNCTION payguard.cancel_order(order_id text, expected_version bigint DEFAULT NULL,
  reason text DEFAULT NULL)
RETURNS payguard.orders
AS 'MODULE_PATHNAME', 'payguard_cancel_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.cancel_order(text, bigint, text) IS
  'Cancels an order that is not paid; a cancelled one is returned. Errors: PY101, PY102, PY201, PY401';

CREATE FUNCTION payguard.order_status(order_id text) RETURNS payguard.order_status_result
AS 'MODULE_PATHNAME', 'payguard_order_status'
LANGUAGE C STABLE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.order_status(text) IS
  'What the customer''s page may say and offer; also on a standby. Errors: PY401';
-- Channels.
CREATE TABLE payguard.channels (
  name                     text COLLATE "C" PRIMARY KEY,
  internal                 boolean NOT NULL,
  driver                   text,
  first_query_after        interval NOT NULL,
  max_query_interval       interval NOT NULL,
  alert_after              interval NOT NULL,
  not_found_is_final_after interval NOT NULL,
  late_success             text COLLATE "C" NOT NULL,
  idempotent_charge        boolean NOT NULL,
  created_at               timestamptz NOT NULL,
  updated_at               timestamptz NOT NULL
);
COMMENT ON TABLE payguard.channels IS 'Where money moves; changed by register_channel()';
COMMENT ON COLUMN payguard.channels.internal IS 'The money is in the shop''s own hands: pay_order() may use it';
COMMENT ON COLUMN payguard.channels.driver IS 'The function that run_tasks() calls, by name';
COMMENT ON COLUMN payguard.channels.late_success IS
  'What a success after a failure does: accept, accept_expired (also pays an expired order), refund';
COMMENT ON COLUMN payguard.channels.idempotent_charge IS
  'The channel charges once for one payment_id, however often it is asked';

INSERT INTO payguard.channels VALUES
  ('internal', true, NULL, '30 s', '1 h', '15 min', '1 day', 'accept', true, now(), now());

CREATE FUNCTION payguard.register_channel(name text, internal boolean DEFAULT NULL,
  driver text DEFAULT NULL, first_query_after interval DEFAULT NULL,
  max_query_interval interval DEFAULT NULL, alert_after interval DEFAULT NULL,
  not_found_is_final_after interval DEFAULT NULL, late_success text DEFAULT NULL,
  idempotent_charge boolean DEFAULT NULL)
RETURNS payguard.channels
AS 'MODULE_PATHNAME', 'payguard_register_channel'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.register_channel(text, boolean, text, interval, interval, interval, interval, text, boolean) IS
  'Registers a channel or changes its settings; NULL: the default at first, later unchanged';
-- Payments.
CREATE TABLE payguard.payments (
  payment_id        uuid PRIMARY KEY,
  order_id          text COLLATE "C" NOT NULL,
  idempotency_key   text COLLATE "C",
  channel           text COLLATE "C" NOT NULL,
  amount            bigint NOT NULL,
  currency          text COLLATE "C" NOT NULL,
  received_amount   bigint,
  received_currency text COLLATE "C",
  amount_verified   boolean NOT NULL,
  status            text COLLATE "C" NOT NULL,
  channel_txn_id    text COLLATE "C",
  channel_time      timestamptz,
  failure_code      text COLLATE "C",
  failure_message   text,
  order_version     bigint NOT NULL,
  request_kind      text COLLATE "C" NOT NULL,
  details           jsonb,
  created_at        timestamptz NOT NULL,
  expires_at        timestamptz,
  completed_at      timestamptz
) WITH (fillfactor = 90,
        autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_insert_scale_factor = 0.05,
        autovacuum_analyze_scale_factor = 0.02, autovacuum_analyze_threshold = 1000);
COMMENT ON TABLE payguard.payments IS 'Movements of money from the customer, attempted or real';
COMMENT ON COLUMN payguard.payments.amount IS 'As asked, in the currency''s minor unit';
COMMENT ON COLUMN payguard.payments.received_amount IS 'As the channel reported';
COMMENT ON COLUMN payguard.payments.amount_verified IS 'The channel has named the amount';
COMMENT ON COLUMN payguard.payments.order_version IS 'The order''s version when this payment was made or started';
COMMENT ON COLUMN payguard.payments.request_kind IS 'The kind of call that the key names';

-- A key names one request.
CREATE UNIQUE INDEX payments_idempotency_key ON payguard.payments (idempotency_key);
-- An order has at most one live or successful payment. A state added later blocks by default.
CREATE UNIQUE INDEX payments_that_count ON payguard.payments (order_id)
  WHERE status NOT IN ('failed', 'superseded', 'surplus');
-- The others of an order; paying does not touch it.
CREATE INDEX payments_that_do_not_count ON payguard.payments (order_id)
  WHERE status IN ('failed', 'superseded', 'surplus');
-- A channel's transaction is one payment.
CREATE UNIQUE INDEX payments_channel_txn ON payguard.payments (channel, channel_txn_id)
  WHERE channel_txn_id IS NOT NULL;

CREATE TYPE payguard.payment_result AS (
  outcome        text,
  order_id       text,
  payment_id     uuid,
  order_status   text,
  payment_status text,
  version        bigint,
  amount         bigint,
  currency       text,
  completed_at   timestamptz,
  replayed       boolean,
  message        text
);
COMMENT ON TYPE payguard.payment_result IS
  'What a call about a payment answers; outcome is a stable code, listed in doc/reference.md';

CREATE TYPE payguard.pay_request AS (
  order_id         text,
  idempotency_key  text,
  amount           bigint,
  currency         text,
  expected_version bigint,
  channel          text
);
COMMENT ON TYPE payguard.pay_request IS 'One element of pay_orders(): the arguments of pay_order()';

CREATE FUNCTION payguard.payment_slot(payment_id uuid) RETURNS integer
AS 'MODULE_PATHNAME', 'payguard_payment_slot'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION payguard.payment_slot(uuid) IS 'The slot of the payment''s order';

CREATE FUNCTION payguard.pay_order(order_id text, idempotency_key text, amount bigint DEFAULT NULL,
  currency text DEFAULT NULL, expected_version bigint DEFAULT NULL, channel text DEFAULT 'internal')
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_pay_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.pay_order(text, text, bigint, text, bigint, text) IS
  'Pays an order once; the same call again returns its payment, replayed. Errors: PY101, PY102, PY103, PY104, PY201, PY301, PY302, PY303, PY401, PY405, PY406, PY501, PY502, PY601';

CREATE FUNCTION payguard.try_pay_order(order_id text, idempotency_key text, amount bigint DEFAULT NULL,
  currency text DEFAULT NULL, expected_version bigint DEFAULT NULL, channel text DEFAULT 'internal')
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_try_pay_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.try_pay_order(text, text, bigint, text, bigint, text) IS
  'pay_order(), which returns a business error as its outcome instead of raising it';

CREATE FUNCTION payguard.pay_orders(requests payguard.pay_request[])
RETURNS SETOF payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_pay_orders'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.pay_orders(payguard.pay_request[]) IS
  'Pays a batch in one transaction; answers each element, in the order asked, as try_pay_order() would';

CREATE FUNCTION payguard.revoke_key(order_id text, idempotency_key text)
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_revoke_key'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.revoke_key(text, text) IS
  'Spends an unused key, so that a late call with it is refused; of a used one it returns the payment. Errors: PY301, PY401';
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
                                'amount', n.amount, 'currency', n.currency), NULL
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
  'Everything that happened to an order, in order: changes, messages, alerts; for support. Errors: PY401';
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
-- Refunds.
CREATE TABLE payguard.refunds (
  refund_id         uuid PRIMARY KEY,
  payment_id        uuid NOT NULL,
  order_id          text COLLATE "C" NOT NULL,
  idempotency_key   text COLLATE "C",
  channel           text COLLATE "C" NOT NULL,
  amount            bigint NOT NULL,
  currency          text COLLATE "C" NOT NULL,
  returned_amount   bigint,
  amount_verified   boolean NOT NULL,
  status            text COLLATE "C" NOT NULL,
  origin            text COLLATE "C" NOT NULL,
  reversal_kind     text COLLATE "C",
  reason            text,
  channel_refund_id text COLLATE "C",
  failure_code      text COLLATE "C",
  failure_message   text,
  requested_by      text COLLATE "C" NOT NULL,
  details           jsonb,
  created_at        timestamptz NOT NULL,
  completed_at      timestamptz
);
COMMENT ON TABLE payguard.refunds IS 'Movements of money back to the customer';
COMMENT ON COLUMN payguard.refunds.amount IS 'As asked, in the currency''s minor unit';
COMMENT ON COLUMN payguard.refunds.returned_amount IS 'As the channel reported; as asked where it named no amount';
COMMENT ON COLUMN payguard.refunds.amount_verified IS 'The channel has named the amount that went back';
COMMENT ON COLUMN payguard.refunds.origin IS 'request, surplus, or channel (the channel gave it back on its own)';
COMMENT ON COLUMN payguard.refunds.reversal_kind IS 'Of a channel''s own: refund, chargeback or bank_return';
CREATE UNIQUE INDEX refunds_idempotency_key ON payguard.refunds (idempotency_key)
  WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX refunds_channel_refund ON payguard.refunds (channel, channel_refund_id)
  WHERE channel_refund_id IS NOT NULL;
CREATE INDEX refunds_payment_id ON payguard.refunds (payment_id);

CREATE TABLE payguard.refund_balances (
  payment_id uuid PRIMARY KEY,
  received   bigint NOT NULL,
  refunding  bigint NOT NULL,
  refunded   bigint NOT NULL,
  excess     bigint NOT NULL,
  CONSTRAINT refund_exceeds_payment CHECK (refunding >= 0 AND refunded >= 0 AND excess >= 0
    AND refunding + refunded <= received)
);
COMMENT ON TABLE payguard.refund_balances IS 'The refunds of one payment added up; locked by every refund';
COMMENT ON COLUMN payguard.refund_balances.excess IS 'What a channel gave back beyond what was received';

CREATE TYPE payguard.refund_result AS (
  outcome    text,
  refund_id  uuid,
  payment_id uuid,
  order_id   text,
  status     text,
  amount     bigint,
  currency   text,
  replayed   boolean,
  message    text
);
COMMENT ON TYPE payguard.refund_result IS
  'What a call about a refund answers; outcome is the refund''s status, or recorded';

CREATE FUNCTION payguard.refund_order(order_id text, idempotency_key text, amount bigint DEFAULT NULL,
  reason text DEFAULT NULL, details jsonb DEFAULT NULL)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_refund_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.refund_order(text, text, bigint, text, jsonb) IS
  'Gives money of the order''s payment back; amount NULL: the rest; reason is required. Errors: PY301, PY401, PY402, PY504';

CREATE FUNCTION payguard.refund_payment(payment_id uuid, idempotency_key text, amount bigint DEFAULT NULL,
  reason text DEFAULT NULL, details jsonb DEFAULT NULL)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_refund_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.refund_payment(uuid, text, bigint, text, jsonb) IS
  'Gives money of one payment back, surplus money for example. Errors: PY301, PY402, PY504';

CREATE FUNCTION payguard.report_refund(refund_id uuid, channel_status text,
  channel_refund_id text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL,
  code text DEFAULT NULL, message text DEFAULT NULL)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_report_refund'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.report_refund(uuid, text, text, bigint, text, text, text) IS
  'Evidence: what a channel says of a refund. Never refused';

CREATE FUNCTION payguard.record_reversal(channel text, reversal_id text, channel_txn_id text,
  kind text, amount bigint, currency text)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_record_reversal'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.record_reversal(text, text, text, text, bigint, text) IS
  'Evidence: money that a channel gave back on its own: refund, chargeback or bank_return. Never refused';

CREATE FUNCTION payguard.retry_refund(refund_id uuid, note text) RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_retry_refund'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.retry_refund(uuid, text) IS
  'Makes a failed refund once more. Errors: PY105, PY403, PY504, PY602';

CREATE FUNCTION payguard.waive_refund(refund_id uuid, note text) RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_waive_refund'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.waive_refund(uuid, text) IS
  'An operator decides that a refund that has not begun, or has failed, shall not be made. Errors: PY105, PY403';

CREATE FUNCTION payguard.settle_refund(refund_id uuid, channel_status text, note text)
RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_settle_refund'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.settle_refund(uuid, text, text) IS
  'An operator''s word where the channel cannot be asked: report_refund() with a note. Errors: PY403';
-- Policies: what high amounts and suspected duplicates need.
CREATE TABLE payguard.policies (
  currency         text COLLATE "C",
  min_amount       bigint,
  approve_payment  boolean NOT NULL,
  approve_refund   boolean NOT NULL,
  require_version  boolean NOT NULL,
  duplicate_window interval,
  on_duplicate     text COLLATE "C",
  updated_at       timestamptz NOT NULL,
  PRIMARY KEY (currency, min_amount)
);
COMMENT ON TABLE payguard.policies IS
  'What orders and refunds need from an amount on; all policies at or below the amount hold together; changed by set_policy()';
COMMENT ON COLUMN payguard.policies.min_amount IS 'In the currency''s minor unit';
COMMENT ON COLUMN payguard.policies.require_version IS 'pay_order() and start_payment() need expected_version';
COMMENT ON COLUMN payguard.policies.on_duplicate IS
  'What a second order of a customer over the same amount within duplicate_window meets: flag, hold or refuse';

-- Calls of one customer wait for each other here where a policy looks for duplicates.
CREATE TABLE payguard.customers (
  customer_id text COLLATE "C" PRIMARY KEY,
  order_id    text COLLATE "C" NOT NULL,
  paid_at     timestamptz NOT NULL
) WITH (fillfactor = 70);
COMMENT ON TABLE payguard.customers IS 'Locked by payments under a policy that looks for duplicates';
COMMENT ON COLUMN payguard.customers.order_id IS 'The order that was paid or begun last under such a policy';

-- Second opinions.
CREATE SEQUENCE payguard.approvals_approval_id_seq CACHE 1;
CREATE TABLE payguard.approvals (
  approval_id  bigint PRIMARY KEY DEFAULT nextval('payguard.approvals_approval_id_seq'),
  subject      text COLLATE "C" NOT NULL,
  order_id     text COLLATE "C",
  refund_id    uuid,
  alert_id     bigint,
  amount       bigint NOT NULL,
  currency     text COLLATE "C" NOT NULL,
  status       text COLLATE "C" NOT NULL,
  requested_by text COLLATE "C" NOT NULL,
  requested_at timestamptz NOT NULL,
  decided_by   text COLLATE "C",
  decided_at   timestamptz,
  note         text
);
ALTER SEQUENCE payguard.approvals_approval_id_seq OWNED BY payguard.approvals.approval_id;
COMMENT ON TABLE payguard.approvals IS 'Second opinions that were asked for, bound to an amount and a currency';
COMMENT ON COLUMN payguard.approvals.subject IS 'order, refund or finding (of a reconciliation: alert_id)';
COMMENT ON COLUMN payguard.approvals.status IS 'open, approved, rejected, or void: asked anew, or pointless by now';
COMMENT ON COLUMN payguard.approvals.decided_by IS 'Never who asked';
-- One that counts for each subject.
CREATE UNIQUE INDEX approvals_of_order ON payguard.approvals (order_id) WHERE subject = 'order' AND status <> 'void';
CREATE UNIQUE INDEX approvals_of_refund ON payguard.approvals (refund_id) WHERE subject = 'refund' AND status <> 'void';
CREATE INDEX approvals_order_id ON payguard.approvals (order_id);
CREATE UNIQUE INDEX approvals_of_finding ON payguard.approvals (alert_id) WHERE subject = 'finding' AND status <> 'void';

CREATE FUNCTION payguard.set_policy(currency text, min_amount bigint,
  approve_payment boolean DEFAULT false, approve_refund boolean DEFAULT false,
  require_version boolean DEFAULT false, duplicate_window interval DEFAULT NULL,
  on_duplicate text DEFAULT NULL)
RETURNS payguard.policies
AS 'MODULE_PATHNAME', 'payguard_set_policy'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.set_policy(text, bigint, boolean, boolean, boolean, interval, text) IS
  'What orders and refunds of a currency need from min_amount (minor units) on; one that asks for nothing is removed';

CREATE FUNCTION payguard.approve_order(order_id text, note text, expected_version bigint DEFAULT NULL)
RETURNS payguard.approvals
AS 'MODULE_PATHNAME', 'payguard_approve_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.approve_order(text, text, bigint) IS
  'A second person allows an order to be paid. Errors: PY101, PY102, PY103, PY105, PY201, PY401, PY602';

CREATE FUNCTION payguard.reject_order(order_id text, note text, expected_version bigint DEFAULT NULL)
RETURNS payguard.approvals
AS 'MODULE_PATHNAME', 'payguard_reject_order'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.reject_order(text, text, bigint) IS
  'A second person does not allow an order to be paid, until it is changed. Errors: PY101, PY102, PY103, PY105, PY201, PY401, PY602';

CREATE FUNCTION payguard.approve_refund(refund_id uuid, note text) RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_approve_refund'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.approve_refund(uuid, text) IS
  'A second person lets a refund that awaits approval be made. Errors: PY105, PY403, PY602';

CREATE FUNCTION payguard.reject_refund(refund_id uuid, note text) RETURNS payguard.refund_result
AS 'MODULE_PATHNAME', 'payguard_reject_refund'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.reject_refund(uuid, text) IS
  'A second person decides that a refund that awaits approval is not made: it is waived. Errors: PY105, PY403, PY602';
-- Retention: settled orders move to tables of their own, with everything that belongs to them.
CREATE TABLE payguard.archived_orders (LIKE payguard.orders, PRIMARY KEY (order_id));
CREATE INDEX archived_orders_customer_id ON payguard.archived_orders (customer_id) WHERE customer_id IS NOT NULL;
COMMENT ON TABLE payguard.archived_orders IS
  'Orders that archive_orders() has moved; what happens to one brings it back to orders';

CREATE TABLE payguard.archived_payments (LIKE payguard.payments, PRIMARY KEY (payment_id));
CREATE UNIQUE INDEX archived_payments_idempotency_key ON payguard.archived_payments (idempotency_key);
CREATE UNIQUE INDEX archived_payments_channel_txn ON payguard.archived_payments (channel, channel_txn_id)
  WHERE channel_txn_id IS NOT NULL;
CREATE INDEX archived_payments_order_id ON payguard.archived_payments (order_id);
COMMENT ON TABLE payguard.archived_payments IS 'Payments of archived orders; their keys and transactions stay taken';

CREATE TABLE payguard.archived_refunds (LIKE payguard.refunds, PRIMARY KEY (refund_id));
CREATE UNIQUE INDEX archived_refunds_idempotency_key ON payguard.archived_refunds (idempotency_key)
  WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX archived_refunds_channel_refund ON payguard.archived_refunds (channel, channel_refund_id)
  WHERE channel_refund_id IS NOT NULL;
CREATE INDEX archived_refunds_payment_id ON payguard.archived_refunds (payment_id);
COMMENT ON TABLE payguard.archived_refunds IS 'Refunds of archived orders';

CREATE TABLE payguard.archived_refund_balances (LIKE payguard.refund_balances INCLUDING CONSTRAINTS, PRIMARY KEY (payment_id));
COMMENT ON TABLE payguard.archived_refund_balances IS 'The refunds of archived payments added up';

CREATE TABLE payguard.archived_events (LIKE payguard.events, PRIMARY KEY (event_id));
CREATE INDEX archived_events_order_id ON payguard.archived_events (order_id);
COMMENT ON TABLE payguard.archived_events IS 'Events of archived orders: every consumer has read them';

CREATE TABLE payguard.archived_notifications (LIKE payguard.notifications, PRIMARY KEY (channel, event_id));
CREATE INDEX archived_notifications_order_id ON payguard.archived_notifications (order_id);
COMMENT ON TABLE payguard.archived_notifications IS 'Messages about archived orders';

CREATE TABLE payguard.archived_approvals (LIKE payguard.approvals, PRIMARY KEY (approval_id));
CREATE INDEX archived_approvals_order_id ON payguard.archived_approvals (order_id);
COMMENT ON TABLE payguard.archived_approvals IS 'Second opinions about archived orders and their refunds';

-- How far archive_orders() has looked: at the events' beginning it would meet again and again
-- what is not to be archived yet.
CREATE TABLE payguard.archive_position (
  name     text COLLATE "C" PRIMARY KEY,
  event_id bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE payguard.archive_position IS 'Up to which event archive_orders() has looked for orders; one row';

CREATE VIEW payguard.every_order AS
  SELECT * FROM payguard.orders UNION ALL SELECT * FROM payguard.archived_orders;
COMMENT ON VIEW payguard.every_order IS 'All orders, archived or not';
CREATE VIEW payguard.every_payment AS
  SELECT * FROM payguard.payments UNION ALL SELECT * FROM payguard.archived_payments;
COMMENT ON VIEW payguard.every_payment IS 'All payments, archived or not';
CREATE VIEW payguard.every_refund AS
  SELECT * FROM payguard.refunds UNION ALL SELECT * FROM payguard.archived_refunds;
COMMENT ON VIEW payguard.every_refund IS 'All refunds, archived or not';
CREATE VIEW payguard.every_refund_balance AS
  SELECT * FROM payguard.refund_balances UNION ALL SELECT * FROM payguard.archived_refund_balances;
COMMENT ON VIEW payguard.every_refund_balance IS 'All sums of refunds, archived or not';
CREATE VIEW payguard.every_event AS
  SELECT * FROM payguard.events UNION ALL SELECT * FROM payguard.archived_events;
COMMENT ON VIEW payguard.every_event IS 'All events, archived or not';
CREATE VIEW payguard.every_notification AS
  SELECT * FROM payguard.notifications UNION ALL SELECT * FROM payguard.archived_notifications;
COMMENT ON VIEW payguard.every_notification IS 'All messages, archived or not';
CREATE VIEW payguard.every_approval AS
  SELECT * FROM payguard.approvals UNION ALL SELECT * FROM payguard.archived_approvals;
COMMENT ON VIEW payguard.every_approval IS 'All second opinions, archived or not';

CREATE FUNCTION payguard.archive_orders(before timestamptz, "max" integer DEFAULT 1000) RETURNS integer
AS 'MODULE_PATHNAME', 'payguard_archive_orders'
LANGUAGE C VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off;
COMMENT ON FUNCTION payguard.archive_orders(timestamptz, integer) IS
  'Moves settled orders that nothing has happened to since before, at most max of them, to the archive; returns how many. What their ids and keys answer does not change';

CREATE FUNCTION payguard.erase_customer(customer_id text) RETURNS integer
AS 'MODULE_PATHNAME', 'payguard_erase_customer'
LANGUAGE C VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off;
COMMENT ON FUNCTION payguard.erase_customer(text) IS
  'Removes a customer''s personal data from his orders, archived ones too, and keeps what tells where money went; returns how many orders. Errors: 55000 while an order of his is not settled';

-- A row of somebody else's table keeps its order here: it would lose what it references, or be
-- deleted with it.
CREATE FUNCTION payguard.referenced_orders(order_ids text[], payment_ids uuid[], refund_ids uuid[])
RETURNS SETOF text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  fk record;
  ours text;
BEGIN
  FOR fk IN
    SELECT c.conname, c.conrelid::regclass AS referencing, a.attname AS referencing_column, o.name,
           f.attname AS referenced_column, cardinality(c.conkey) AS columns
    FROM pg_constraint c
    JOIN pg_class r ON r.oid = c.confrelid
    JOIN payguard.own_tables() o (name) ON o.name = r.relname
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
    JOIN pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = c.confkey[1]
    WHERE c.contype = 'f' AND c.conparentid = 0
      AND r.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'payguard')
      AND o.name IN ('orders', 'payments', 'refunds', 'refund_balances', 'events', 'notifications', 'approvals')
  LOOP
    ours := CASE WHEN fk.columns > 1 THEN NULL ELSE fk.name || '.' || fk.referenced_column END;
    IF ours = 'orders.order_id' THEN
      RETURN QUERY EXECUTE format('SELECT r.%I::text FROM %s r WHERE r.%1$I = ANY ($1)',
                                  fk.referencing_column, fk.referencing) USING order_ids;
    ELSIF ours = 'payments.payment_id' THEN
      RETURN QUERY EXECUTE format('SELECT p.order_id FROM %s r JOIN payguard.payments p ON p.payment_id = r.%I WHERE r.%2$I = ANY ($1)',
                                  fk.referencing, fk.referencing_column) USING payment_ids;
    ELSIF ours = 'refunds.refund_id' THEN
      RETURN QUERY EXECUTE format('SELECT p.order_id FROM %s r JOIN payguard.refunds p ON p.refund_id = r.%I WHERE r.%2$I = ANY ($1)',
                                  fk.referencing, fk.referencing_column) USING refund_ids;
    ELSE
      RAISE object_not_in_prerequisite_state USING
        MESSAGE = format('foreign key "%s" of %s references payguard.%s', fk.conname, fk.referencing, fk.name),
        DETAIL = 'Its rows would lose what they reference. Nothing has been written.',
        HINT = 'Reference orders (order_id), payments (payment_id) or refunds (refund_id): such orders are left where they are.';
    END IF;
  END LOOP;
END
$$;
COMMENT ON FUNCTION payguard.referenced_orders(text[], uuid[], uuid[]) IS
  'Part of archive_orders(): which of these orders, payments and refunds foreign keys of other tables reference';
-- Reconciliation with the channels' statements.
CREATE SEQUENCE payguard.settlement_lines_line_id_seq;
CREATE TABLE payguard.settlement_lines (
  line_id           bigint PRIMARY KEY DEFAULT nextval('payguard.settlement_lines_line_id_seq'),
  channel           text COLLATE "C" NOT NULL,
  kind              text COLLATE "C" NOT NULL DEFAULT 'payment',
  channel_status    text COLLATE "C" NOT NULL DEFAULT 'succeeded',
  channel_txn_id    text COLLATE "C",
  channel_refund_id text COLLATE "C",
  payment_id        uuid,
  order_id          text COLLATE "C",
  refund_id         uuid,
  amount            bigint NOT NULL,
  currency          text COLLATE "C" NOT NULL,
  channel_time      timestamptz NOT NULL,
  loaded_by         text NOT NULL DEFAULT session_user,
  loaded_at         timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT settlement_lines_kind CHECK (kind IN ('payment', 'refund', 'chargeback', 'bank_return')),
  CONSTRAINT settlement_lines_channel_status CHECK (channel_status IN ('succeeded', 'failed', 'closed', 'pending')),
  CONSTRAINT settlement_lines_amount CHECK (amount >= 0),
  CONSTRAINT settlement_lines_currency CHECK (currency ~ '^[A-Z]{3}$'),
  CONSTRAINT settlement_lines_channel_time CHECK (isfinite(channel_time)),
  -- what evidence would not take is not taken here either
  CONSTRAINT settlement_lines_ids CHECK (octet_length(channel_txn_id) BETWEEN 1 AND 255
    AND octet_length(channel_refund_id) BETWEEN 1 AND 255 AND octet_length(order_id) BETWEEN 1 AND 255
    AND concat(channel_txn_id, channel_refund_id, order_id) !~ '[\x01-\x1f\x7f]'),
  CONSTRAINT settlement_lines_id_of_kind CHECK (CASE kind WHEN 'payment' THEN channel_txn_id ELSE channel_refund_id END IS NOT NULL)
);
ALTER SEQUENCE payguard.settlement_lines_line_id_seq OWNED BY payguard.settlement_lines.line_id;
COMMENT ON TABLE payguard.settlement_lines IS 'The channels'' statements, loaded by operators; reconcile() compares';
COMMENT ON COLUMN payguard.settlement_lines.kind IS 'payment, refund, chargeback or bank_return';
COMMENT ON COLUMN payguard.settlement_lines.channel_txn_id IS 'The payment''s transaction; of a refund, the one that it gives back';
COMMENT ON COLUMN payguard.settlement_lines.payment_id IS 'The merchant''s reference, where the channel repeats it; so are order_id and refund_id';
COMMENT ON COLUMN payguard.settlement_lines.loaded_by IS 'Filled in by the database, as line_id and loaded_at are';
COMMENT ON COLUMN payguard.settlement_lines.amount IS 'In the currency''s minor unit';

-- The differences of one channel's statement, each by its cause: the same one has the same cause.
CREATE FUNCTION payguard.settlement_differences(of_channel text, missing_from timestamptz, missing_until timestamptz)
RETURNS TABLE (finding text, cause text, order_id text, payment_id uuid, refund_id uuid, details jsonb, at timestamptz)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
-- joins by hash cost what there is, whatever the planner thinks of it; others may cost its square
SET enable_nestloop = off
SET enable_mergejoin = off
SET jit = off
AS $$
  -- not materialized, so that the planner knows the tables' statistics
  WITH line AS NOT MATERIALIZED (
    SELECT l.kind, l.channel_status, l.channel_txn_id, l.channel_refund_id, l.payment_id, l.order_id,
           l.refund_id, l.amount, l.currency, l.channel_time
    FROM payguard.settlement_lines l
    WHERE l.channel = of_channel AND l.channel_status <> 'pending'
  ), payment AS NOT MATERIALIZED (
    SELECT p.payment_id, p.order_id, p.channel_txn_id, p.status, p.received_amount, p.received_currency,
           p.failure_code, coalesce(p.channel_time, p.completed_at) AS at,
           CASE p.failure_code WHEN 'same_charge' THEN (p.details ->> 'second_charge_of')::uuid END AS same_as
    FROM payguard.every_payment p
    WHERE p.channel = of_channel
  ), other_name AS (
    -- a charge that has two names: the payment that counts for each of them
    WITH RECURSIVE name AS (
      SELECT p.payment_id, p.same_as FROM payment p
      WHERE p.status = 'failed' AND p.failure_code = 'same_charge' AND p.same_as IS NOT NULL
      UNION
      SELECT n.payment_id, p.same_as FROM name n JOIN payment p ON p.payment_id = n.same_as
      WHERE p.status = 'failed' AND p.failure_code = 'same_charge' AND p.same_as IS NOT NULL
    )
    SELECT n.payment_id AS name_of, p.* FROM name n JOIN payment p ON p.payment_id = n.same_as
    WHERE p.status <> 'failed' OR p.failure_code <> 'same_charge'
  ), paid_line AS (
    SELECT l.*, t.payment_id AS of_txn, q.payment_id AS named, q.order_id AS named_order,
           q.channel_txn_id AS named_txn, q.status AS named_status, q.failure_code AS named_code,
           q.received_amount AS named_amount, q.received_currency AS named_currency,
           t.order_id AS ours_order, coalesce(n.payment_id, t.payment_id) AS ours,
           coalesce(n.status, t.status) AS ours_status, coalesce(n.received_amount, t.received_amount) AS ours_amount,
           coalesce(n.received_currency, t.received_currency) AS ours_currency
    FROM line l
    LEFT JOIN payment t ON t.channel_txn_id = l.channel_txn_id
    LEFT JOIN other_name n ON n.name_of = t.payment_id
    LEFT JOIN payment q ON q.payment_id = l.payment_id AND t.payment_id IS DISTINCT FROM l.payment_id
    WHERE l.kind = 'payment' AND l.channel_status = 'succeeded'
  ), first_txn AS (
    -- of money whose transaction we do not know: one of them is it
    SELECT named, min(channel_txn_id) AS channel_txn_id FROM paid_line
    WHERE ours IS NULL AND named_txn IS NULL AND named_status IN ('succeeded', 'surplus')
    GROUP BY named
  ), judged AS (
    SELECT CASE
        WHEN l.ours IS NOT NULL THEN CASE
          WHEN l.named_order <> l.ours_order OR l.order_id <> l.ours_order
            OR (l.payment_id <> l.of_txn AND l.named IS NULL) THEN 'txn_reused'
          WHEN l.ours_status = 'failed' THEN 'late_success'
          WHEN l.ours_status NOT IN ('succeeded', 'surplus') THEN 'status_mismatch'
          WHEN l.currency <> l.ours_currency THEN 'currency_mismatch'
          WHEN l.amount <> l.ours_amount THEN 'amount_mismatch' END
        WHEN l.named IS NOT NULL THEN CASE
          WHEN l.named_status = 'failed' AND l.named_code = 'same_charge' THEN 'duplicate_success'
          WHEN l.named_status = 'failed' THEN 'late_success'
          WHEN l.named_status NOT IN ('succeeded', 'surplus') THEN 'status_mismatch'
          WHEN l.named_txn IS NOT NULL OR l.channel_txn_id <> f.channel_txn_id THEN 'duplicate_success'
          WHEN l.currency <> l.named_currency THEN 'currency_mismatch'
          WHEN l.amount <> l.named_amount THEN 'amount_mismatch' END
        WHEN o.status IN ('paid', 'refunded') THEN 'duplicate_success'
        WHEN l.channel_time >= missing_from AND l.channel_time < missing_until THEN 'missing_locally' END AS finding,
      coalesce(l.ours_order, l.named_order, o.order_id) AS known_order, coalesce(l.ours, l.named) AS known_payment,
      NULL::uuid AS known_refund, l.kind, l.channel_status, l.channel_txn_id, l.channel_refund_id, l.payment_id,
      l.order_id, l.refund_id, l.amount, l.currency, l.channel_time,
      coalesce(l.ours_status, l.named_status) AS known_status, coalesce(l.ours_amount, l.named_amount) AS known_amount,
      coalesce(l.ours_currency, l.named_currency) AS known_currency, f.channel_txn_id AS first_txn, NULL::timestamptz AS known_at
    FROM paid_line l
    LEFT JOIN first_txn f ON f.named = l.named
    LEFT JOIN payguard.every_order o ON o.order_id = l.order_id AND l.ours IS NULL AND l.named IS NULL
    UNION ALL
    -- what the channel says was not taken
    SELECT 'status_mismatch', p.order_id, p.payment_id, NULL, l.kind, l.channel_status, l.channel_txn_id,
      l.channel_refund_id, l.payment_id, l.order_id, l.refund_id, l.amount, l.currency, l.channel_time, p.status,
      p.received_amount, p.received_currency, NULL, NULL
    FROM line l
    LEFT JOIN payment t ON t.channel_txn_id = l.channel_txn_id
    LEFT JOIN payment q ON q.payment_id = l.payment_id AND q.channel_txn_id IS NULL
    JOIN payment p ON p.payment_id = coalesce(t.payment_id, q.payment_id)
    WHERE l.kind = 'payment' AND l.channel_status IN ('failed', 'closed') AND p.status <> 'failed'
      AND NOT EXISTS (SELECT FROM line s
                      WHERE s.kind = 'payment' AND s.channel_status = 'succeeded' AND s.channel_txn_id = l.channel_txn_id)
    UNION ALL
    -- money that went back
    SELECT CASE
        WHEN r.refund_id IS NOT NULL THEN CASE
          WHEN l.channel_status <> 'succeeded' THEN CASE WHEN r.status IN ('succeeded', 'pending', 'unknown') THEN 'refund_mismatch' END
          WHEN r.status <> 'succeeded' OR l.amount <> r.returned_amount OR l.currency <> r.currency
            OR (l.channel_txn_id IS NOT NULL AND coalesce(n.payment_id, t.payment_id) IS DISTINCT FROM r.payment_id)
            OR (l.refund_id IS NOT NULL AND l.refund_id <> r.refund_id)
            OR (r.channel_refund_id IS NOT NULL AND l.channel_refund_id <> r.channel_refund_id) THEN 'refund_mismatch' END
        WHEN l.channel_status = 'succeeded' AND l.channel_time >= missing_from AND l.channel_time < missing_until
          THEN 'missing_locally' END,
      r.order_id, r.payment_id, r.refund_id, l.kind, l.channel_status, l.channel_txn_id, l.channel_refund_id, l.payment_id,
      l.order_id, l.refund_id, l.amount, l.currency, l.channel_time, r.status, r.returned_amount, r.currency, NULL, NULL
    FROM line l
    LEFT JOIN payguard.every_refund x ON x.channel = of_channel AND x.channel_refund_id = l.channel_refund_id
    LEFT JOIN payguard.every_refund y ON y.refund_id = l.refund_id AND y.channel = of_channel
    LEFT JOIN payguard.every_refund r ON r.refund_id = coalesce(x.refund_id, y.refund_id)
    LEFT JOIN payment t ON t.channel_txn_id = l.channel_txn_id
    LEFT JOIN other_name n ON n.name_of = t.payment_id
    WHERE l.kind <> 'payment'
    UNION ALL
    -- what the statement does not have
    SELECT 'missing_at_channel', p.order_id, p.payment_id, NULL, 'payment', NULL, p.channel_txn_id, NULL, NULL, NULL, NULL,
      NULL, NULL, NULL, p.status, p.received_amount, p.received_currency, NULL, p.at
    FROM payment p
    WHERE p.status IN ('succeeded', 'surplus') AND p.at >= missing_from AND p.at < missing_until
      AND NOT EXISTS (SELECT FROM line l WHERE l.kind = 'payment' AND l.channel_txn_id = p.channel_txn_id)
      AND NOT EXISTS (SELECT FROM line l WHERE l.kind = 'payment' AND l.payment_id = p.payment_id AND p.channel_txn_id IS NULL)
      AND NOT EXISTS (SELECT FROM other_name n JOIN payment t ON t.payment_id = n.name_of
                      JOIN line l ON l.kind = 'payment' AND l.channel_txn_id = t.channel_txn_id
                      WHERE n.payment_id = p.payment_id)
    UNION ALL
    SELECT 'missing_at_channel', r.order_id, r.payment_id, r.refund_id, coalesce(r.reversal_kind, 'refund'), NULL, NULL,
      r.channel_refund_id, NULL, NULL, NULL, NULL, NULL, NULL, r.status, r.returned_amount, r.currency, NULL, r.completed_at
    FROM payguard.every_refund r
    WHERE r.channel = of_channel AND r.status = 'succeeded' AND r.completed_at >= missing_from AND r.completed_at < missing_until
      AND NOT EXISTS (SELECT FROM line l WHERE l.kind <> 'payment' AND l.channel_refund_id = r.channel_refund_id)
      AND NOT EXISTS (SELECT FROM line l WHERE l.kind <> 'payment' AND l.refund_id = r.refund_id)
  )
  SELECT j.finding,
         concat_ws(' ', of_channel, j.kind, coalesce(j.channel_refund_id, j.channel_txn_id, j.known_payment::text),
                   CASE WHEN j.finding = 'missing_at_channel' THEN coalesce(j.known_refund, j.known_payment)::text
                        ELSE concat_ws(' ', j.payment_id, j.order_id, j.refund_id, j.channel_status, j.amount, j.currency) END),
         j.known_order, j.known_payment, j.known_refund,
         jsonb_strip_nulls(jsonb_build_object('finding', j.finding, 'channel', of_channel, 'kind', j.kind,
           'channel_status', j.channel_status, 'channel_txn_id', j.channel_txn_id, 'channel_refund_id', j.channel_refund_id,
           'payment_id', j.payment_id, 'order_id', j.order_id, 'refund_id', j.refund_id, 'amount', j.amount,
           'currency', j.currency, 'channel_time', j.channel_time, 'known_status', j.known_status,
           'known_amount', j.known_amount, 'known_currency', j.known_currency, 'known_at', j.known_at,
           'first_txn', j.first_txn)),
         coalesce(j.channel_time, j.known_at)
  FROM judged j
  WHERE j.finding IS NOT NULL
$$;
COMMENT ON FUNCTION payguard.settlement_differences(text, timestamptz, timestamptz) IS
  'The differences between a channel''s statement and the payments and refunds; a part of reconcile()';

CREATE FUNCTION payguard.close_findings(alert_ids bigint[]) RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_close_findings'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.close_findings(bigint[]) IS 'Part of reconcile(): resolves findings whose difference is gone';

CREATE FUNCTION payguard.reconcile(channel text, period_start timestamptz DEFAULT '-infinity',
  period_end timestamptz DEFAULT now(), grace interval DEFAULT '1 day')
RETURNS TABLE (alert_id bigint, finding text, order_id text, payment_id uuid, refund_id uuid, details jsonb,
               opened_at timestamptz, is_new boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  missing text := CASE WHEN reconcile.channel IS NULL THEN 'channel' WHEN reconcile.period_start IS NULL THEN 'period_start'
                       WHEN reconcile.period_end IS NULL THEN 'period_end' WHEN reconcile.grace IS NULL THEN 'grace' END;
  bad text;
  -- What came in the grace at the period's end is left to the next period: so that begins as much earlier.
  missing_from timestamptz := reconcile.period_start - reconcile.grace;
  missing_until timestamptz := reconcile.period_end - reconcile.grace;
  first_open timestamptz;
  last_open timestamptz;
BEGIN
  IF missing IS NOT NULL THEN
    RAISE null_value_not_allowed USING MESSAGE = missing || ' must not be null',
      DETAIL = 'Nothing has been written.', HINT = format('Give a value for %s.', missing);
  END IF;
  bad := CASE WHEN reconcile.period_end <= reconcile.period_start THEN 'period_end' WHEN reconcile.grace < '0 s' THEN 'grace' END;
  IF bad IS NOT NULL THEN
    RAISE invalid_parameter_value USING MESSAGE = 'invalid value for ' || bad,
      DETAIL = CASE bad WHEN 'grace' THEN 'It is negative.' ELSE 'It is not after period_start.' END || ' Nothing has been written.',
      HINT = CASE bad WHEN 'grace' THEN 'Give an interval of 0 or more.' ELSE 'Give a period that begins before it ends.' END;
  END IF;
  IF NOT EXISTS (SELECT FROM payguard.channels c WHERE c.name = reconcile.channel) THEN
    RAISE EXCEPTION USING ERRCODE = 'PY405', MESSAGE = format('channel "%s" does not exist', reconcile.channel),
      DETAIL = 'Nothing has been written.', HINT = 'Register it with payguard.register_channel(), or correct its name.',
      SCHEMA = 'payguard', TABLE = 'channels', COLUMN = 'name', CONSTRAINT = 'channel_not_found';
  END IF;
  -- what was missing in another period is looked at again, since it may have come
  SELECT min(m.at), max(m.at) INTO first_open, last_open
  FROM payguard.alerts a
  CROSS JOIN LATERAL (SELECT coalesce(a.details ->> 'channel_time', a.details ->> 'known_at')::timestamptz) m (at)
  WHERE a.kind IN ('settlement_missing_locally', 'settlement_missing_at_channel') AND a.resolved_at IS NULL
    AND a.details ->> 'channel' = reconcile.channel;
  RETURN QUERY
  WITH every AS MATERIALIZED (
    -- a line that was loaded twice is one
    SELECT DISTINCT ON (d.finding, d.cause) d.*, i.in_period
    FROM payguard.settlement_differences(reconcile.channel, least(missing_from, first_open),
                                         greatest(missing_until, last_open + interval '1 us')) d
    CROSS JOIN LATERAL (SELECT d.finding NOT LIKE 'missing%' OR (d.at >= missing_from AND d.at < missing_until)) i (in_period)
    ORDER BY d.finding, d.cause, i.in_period DESC
  ), gone AS MATERIALIZED (
    SELECT payguard.close_findings(coalesce(array_agg(a.alert_id ORDER BY a.alert_id), '{}')) AS n
    FROM payguard.alerts a
    WHERE a.kind LIKE 'settlement\_%' AND a.resolved_at IS NULL AND a.details ->> 'channel' = reconcile.channel
      AND NOT EXISTS (SELECT FROM every d WHERE 'settlement_' || d.finding = a.kind AND d.cause = a.cause)
  ), difference AS (
    SELECT d.* FROM every d WHERE d.in_period
  ), known AS (
    -- what was gone and is back is a new finding
    SELECT a.*, d.finding
    FROM difference d JOIN payguard.alerts a ON a.kind = 'settlement_' || d.finding AND a.cause = d.cause
    WHERE a.resolved_at IS NULL OR a.resolved_by <> 'reconcile'
  ), recorded AS (
    INSERT INTO payguard.alerts (kind, severity, cause, order_id, payment_id, refund_id, details, opened_at)
    SELECT 'settlement_' || d.finding, 'critical', d.cause, d.order_id, d.payment_id, d.refund_id, d.details, clock_timestamp()
    FROM difference d
    WHERE NOT EXISTS (SELECT FROM known k WHERE k.finding = d.finding AND k.cause = d.cause)
    ON CONFLICT (kind, cause) WHERE resolved_at IS NULL DO NOTHING
    RETURNING *
  )
  SELECT r.alert_id, r.details ->> 'finding', r.order_id, r.payment_id, r.refund_id, r.details, r.opened_at, true FROM recorded r
  UNION ALL
  SELECT k.alert_id, k.finding, k.order_id, k.payment_id, k.refund_id, k.details, k.opened_at, false FROM known k
  WHERE k.resolved_at IS NULL AND (SELECT g.n FROM gone g) >= 0
  ORDER BY 1;
END
$$;
COMMENT ON FUNCTION payguard.reconcile(text, timestamptz, timestamptz, interval) IS
  'Compares a channel''s statement (settlement_lines) with what is known; records and returns each difference that nobody has resolved, and closes those that are gone. Errors: PY405';

CREATE TYPE payguard.finding_result AS (
  outcome    text,
  alert_id   bigint,
  finding    text,
  order_id   text,
  payment_id uuid,
  refund_id  uuid,
  message    text
);
COMMENT ON TYPE payguard.finding_result IS
  'What resolve_finding() answers; outcome is accepted, refunded, waived or approval_required';

CREATE FUNCTION payguard.resolve_finding(alert_id bigint, action text, note text)
RETURNS payguard.finding_result
AS 'MODULE_PATHNAME', 'payguard_resolve_finding'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.resolve_finding(bigint, text, text) IS
  'An operator decides about a difference that reconcile() found: accept (the statement''s line is evidence), refund, waive. Errors: PY105, PY401, PY402, PY403, PY602';
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
COMMENT ON TABLE payguard.tasks IS 'Outside work that is due: charge, query, close, refund, query_refund';
COMMENT ON COLUMN payguard.tasks.tries IS 'How often a worker has claimed it';
COMMENT ON COLUMN payguard.tasks.sent IS 'A worker may have told the channel of it';
COMMENT ON COLUMN payguard.tasks.again IS 'An earlier task may have told the channel of the same';
COMMENT ON COLUMN payguard.tasks.dead_at IS 'Since when it is out of tries and waits for a person';
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
COMMENT ON COLUMN payguard.leases.run_at IS 'When the task was due: one that has become due again since is not ended by the answer';

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
COMMENT ON TABLE payguard.finished_tasks IS 'Tasks that were claimed and are gone, kept for a day at least';

CREATE VIEW payguard.dead_tasks AS
  SELECT * FROM payguard.tasks WHERE dead_at IS NOT NULL;
COMMENT ON VIEW payguard.dead_tasks IS 'Tasks that are out of tries: an operator ends them with requeue_task() or by an outcome';

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
  details           jsonb
);
COMMENT ON TYPE payguard.task IS 'A claimed task, with all that the channel needs';

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
COMMENT ON TYPE payguard.task_answer IS 'One element of complete_tasks(): the arguments of complete_task()';

CREATE FUNCTION payguard.request_payment(order_id text, idempotency_key text, channel text,
  amount bigint DEFAULT NULL, currency text DEFAULT NULL, expected_version bigint DEFAULT NULL,
  expires_at timestamptz DEFAULT NULL, details jsonb DEFAULT NULL)
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_request_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.request_payment(text, text, text, bigint, text, bigint, timestamptz, jsonb) IS
  'start_payment(), and a charge task: a worker will call the channel';

CREATE FUNCTION payguard.claim_tasks(worker text, max_tasks integer DEFAULT 10,
  lease interval DEFAULT '30 s', kinds text[] DEFAULT NULL, channels text[] DEFAULT NULL)
RETURNS SETOF payguard.task
AS 'MODULE_PATHNAME', 'payguard_claim_tasks'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.claim_tasks(text, integer, interval, text[], text[]) IS
  'Due tasks for a worker, held until their lease is over; one of each order at a time';

CREATE FUNCTION payguard.expire_leases("max" integer DEFAULT 1000) RETURNS integer
AS 'MODULE_PATHNAME', 'payguard_expire_leases'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.expire_leases(integer) IS
  'Part of maintain(): takes away leases whose time is over, as a claim does';

CREATE FUNCTION payguard.complete_task(task_id bigint, lease_token uuid, channel_status text,
  channel_txn_id text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL,
  code text DEFAULT NULL, message text DEFAULT NULL)
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_complete_task'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.complete_task(bigint, uuid, text, text, bigint, text, text, text) IS
  'The channel''s answer to a task: applied as evidence, and the task acknowledged, in one. Never refused';

CREATE FUNCTION payguard.complete_tasks(answers payguard.task_answer[])
RETURNS SETOF payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_complete_tasks'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.complete_tasks(payguard.task_answer[]) IS 'complete_task() for a batch, in one transaction';

CREATE FUNCTION payguard.retry_task(task_id bigint, lease_token uuid, error text, delay interval DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_retry_task'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.retry_task(bigint, uuid, text, interval) IS
  'For a worker that is certain that nothing reached the channel. Errors: PY404, PY701';

CREATE FUNCTION payguard.extend_lease(task_id bigint, lease_token uuid, lease interval) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'payguard_extend_lease'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.extend_lease(bigint, uuid, interval) IS
  'Holds a task longer, counted from now; returns until when. Errors: PY404, PY701';

CREATE FUNCTION payguard.requeue_task(task_id bigint) RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_requeue_task'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.requeue_task(bigint) IS 'An operator has a task tried again, now. Errors: PY404';

CREATE FUNCTION payguard.query_payment(payment_id uuid) RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_query_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.query_payment(uuid) IS 'Has the channel asked about an open payment, now. Errors: PY402';

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
COMMENT ON TABLE payguard.alerts IS 'What a person must look at; one open alert per kind and cause';
COMMENT ON COLUMN payguard.alerts.severity IS 'info, warning or critical';
COMMENT ON COLUMN payguard.alerts.note IS 'Why it was resolved';
CREATE UNIQUE INDEX alerts_open ON payguard.alerts (kind, cause) WHERE resolved_at IS NULL;
CREATE INDEX alerts_order_id ON payguard.alerts (order_id);
CREATE INDEX alerts_to_notify ON payguard.alerts (alert_id) WHERE notified_at IS NULL;

CREATE FUNCTION payguard.acknowledge_alert(alert_id bigint, note text) RETURNS payguard.alerts
AS 'MODULE_PATHNAME', 'payguard_acknowledge_alert'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.acknowledge_alert(bigint, text) IS
  'A person looks into an alert, which stays open';

CREATE FUNCTION payguard.resolve_alert(alert_id bigint, note text) RETURNS payguard.alerts
AS 'MODULE_PATHNAME', 'payguard_resolve_alert'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.resolve_alert(bigint, text) IS
  'A person has dealt with an alert. What still holds is raised again by maintain()';
-- Drivers: channels that are called from inside the database.
CREATE TYPE payguard.channel_reply AS (
  channel_status text,
  channel_txn_id text,
  amount         bigint,
  currency       text,
  code           text,
  message        text
);
COMMENT ON TYPE payguard.channel_reply IS
  'What a driver answers: driver(payguard.task) returns payguard.channel_reply';

CREATE FUNCTION payguard.call_driver(driver regproc, task payguard.task, timeout interval)
RETURNS payguard.channel_reply
AS 'MODULE_PATHNAME', 'payguard_call_driver'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION payguard.call_driver(regproc, payguard.task, interval) IS
  'Part of run_tasks(): calls a driver, with the caller''s rights, and cancels it when the time is over';

CREATE FUNCTION payguard.channel_drivers(OUT channel text, OUT driver text) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT name, driver FROM payguard.channels WHERE driver IS NOT NULL
$$;
COMMENT ON FUNCTION payguard.channel_drivers() IS 'The channels that run_tasks() serves';

-- It commits, so it can have no SET clause: everything is qualified.
CREATE PROCEDURE payguard.run_tasks(max_tasks integer DEFAULT 100, timeout interval DEFAULT '10 s')
LANGUAGE plpgsql
AS $$
DECLARE
  task payguard.task;
  reply payguard.channel_reply;
  driver pg_catalog.regproc;
  problem text;
BEGIN
  IF max_tasks IS NULL OR timeout IS NULL THEN
    RAISE null_value_not_allowed USING
      MESSAGE = pg_catalog.format('%s must not be null', CASE WHEN max_tasks IS NULL THEN 'max_tasks' ELSE 'timeout' END),
      DETAIL = 'Nothing has been done.', HINT = 'Leave it out for the default.';
  END IF;
  IF max_tasks OPERATOR(pg_catalog.<) 1 OR timeout OPERATOR(pg_catalog.<=) '0'::pg_catalog.interval THEN
    RAISE invalid_parameter_value USING
      MESSAGE = pg_catalog.format('invalid value for %s', CASE WHEN max_tasks OPERATOR(pg_catalog.<) 1 THEN 'max_tasks' ELSE 'timeout' END),
      DETAIL = 'Nothing has been done.', HINT = 'Give at least one task and a time longer than nothing.';
  END IF;
  FOR i IN 1 .. max_tasks LOOP
    -- the lease outlives the driver's time
    SELECT c.* INTO task
    FROM payguard.claim_tasks('run_tasks', 1, timeout OPERATOR(pg_catalog.+) '10 s'::pg_catalog.interval,
      channels := ARRAY(SELECT d.channel FROM payguard.channel_drivers() d)) c;
    EXIT WHEN task.task_id IS NULL;
    COMMIT;

    reply := NULL;
    problem := NULL;
    BEGIN
      SELECT d.driver::pg_catalog.regproc INTO STRICT driver
      FROM payguard.channel_drivers() d WHERE d.channel OPERATOR(pg_catalog.=) task.channel;
    EXCEPTION WHEN OTHERS THEN
      driver := NULL;
      problem := SQLERRM;
    END;
    IF driver IS NULL THEN
      -- it is gone: nothing was sent
      PERFORM payguard.retry_task(task.task_id, task.lease_token, pg_catalog.left(problem, 1000));
      COMMIT;
      CONTINUE;
    END IF;
    BEGIN
      reply := payguard.call_driver(driver, task, timeout);
    EXCEPTION WHEN assert_failure OR OTHERS THEN
      -- but not query_canceled: somebody else's cancellation is not ours to swallow
      problem := SQLERRM;
    END;
    IF problem IS NULL AND reply.channel_status IS NULL THEN
      problem := 'the driver gave no answer';
    END IF;

    IF problem IS NULL THEN
      BEGIN
        PERFORM payguard.complete_task(task.task_id, task.lease_token, reply.channel_status,
          reply.channel_txn_id, reply.amount, reply.currency, reply.code, reply.message);
      EXCEPTION WHEN null_value_not_allowed OR invalid_parameter_value OR numeric_value_out_of_range THEN
        problem := SQLERRM;
      END;
    END IF;
    IF problem IS NOT NULL THEN
      PERFORM payguard.complete_task(task.task_id, task.lease_token, 'unknown', code := 'driver',
        message := pg_catalog.left(pg_catalog.regexp_replace(
          CASE WHEN pg_catalog.length(problem) OPERATOR(pg_catalog.>) 0 THEN problem ELSE 'the driver raised an error that has no message' END, '[\x01-\x1f\x7f-\x9f]', ' ', 'g'), 1000));
    END IF;
    COMMIT;
  END LOOP;
END
$$;
COMMENT ON PROCEDURE payguard.run_tasks(integer, interval) IS
  'Runs due tasks of the channels that have drivers; commits after each. A driver that raises, hangs or returns NULL leaves the outcome unknown';
-- Counters: replays and refusals, in shared memory.
CREATE FUNCTION payguard.read_counters(OUT counter text, OUT reason text, OUT value bigint,
  OUT since timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'payguard_read_counters'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION payguard.read_counters() IS 'The counters of this database; the view stat_counters shows them';

CREATE FUNCTION payguard.reset_counters() RETURNS void
AS 'MODULE_PATHNAME', 'payguard_reset_counters'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION payguard.reset_counters() IS 'Has this database''s counters begin at 0 again';

CREATE VIEW payguard.stat_counters AS
  SELECT counter, reason, value, since FROM payguard.read_counters();
COMMENT ON VIEW payguard.stat_counters IS
  'How many calls were replayed or refused since the server''s start or the last reset_counters(). Empty unless shared_preload_libraries in postgresql.conf names payguard; that needs a restart';
COMMENT ON COLUMN payguard.stat_counters.counter IS 'replays or refusals';
COMMENT ON COLUMN payguard.stat_counters.reason IS 'Of refusals: the CONSTRAINT name of the error';

CREATE TABLE payguard.counter_samples (
  sampled_at timestamptz NOT NULL,
  counter    text COLLATE "C" NOT NULL,
  reason     text COLLATE "C" NOT NULL,
  value      bigint NOT NULL,
  since      timestamptz NOT NULL,
  PRIMARY KEY (sampled_at, counter, reason)
);
COMMENT ON TABLE payguard.counter_samples IS
  'The counters over time: maintain() writes them down once in five minutes, and keeps 35 days';
COMMENT ON COLUMN payguard.counter_samples.reason IS 'Empty for replays';
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
  committed_at      timestamptz
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE payguard.consumers IS 'Where readers of the events stand; changed by read_events() and commit_events()';
COMMENT ON COLUMN payguard.consumers.low_event IS 'The window has the events behind this one ...';
COMMENT ON COLUMN payguard.consumers.high_event IS '... up to this one, but for those of open_xids';
COMMENT ON COLUMN payguard.consumers.last_event IS 'How far the reader has got in the window';
COMMENT ON COLUMN payguard.consumers.late_xids IS 'Transactions that were open in the window before: their earlier events belong to this one';
COMMENT ON COLUMN payguard.consumers.open_xids IS 'Transactions that were open when the window was opened';
COMMENT ON COLUMN payguard.consumers.open_floors IS 'For each of them: its events are behind this one';

CREATE FUNCTION payguard.read_events(consumer text, "max" integer DEFAULT 1000)
RETURNS TABLE (window_id bigint, event_id bigint, at timestamptz, order_id text, payment_id uuid,
               refund_id uuid, kind text, from_status text, to_status text, version bigint,
               actor text, details jsonb)
AS 'MODULE_PATHNAME', 'payguard_read_events'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.read_events(text, integer) IS
  'The next events for a consumer, which its first call registers: each once or more, none left out, those of an order in the order of its versions';

CREATE FUNCTION payguard.commit_events(consumer text, window_id bigint, event_id bigint)
RETURNS boolean
AS 'MODULE_PATHNAME', 'payguard_commit_events'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.commit_events(text, bigint, bigint) IS
  'A consumer is done with the events up to this one, as read_events() gave them. false: it was further already';

CREATE FUNCTION payguard.drop_consumer(consumer text) RETURNS boolean
AS 'MODULE_PATHNAME', 'payguard_drop_consumer'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.drop_consumer(text) IS
  'Forgets a consumer that reads no more; false: there was none';

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
COMMENT ON VIEW payguard.outbox IS
  'The events under the column names of Debezium''s outbox event router';
-- Watching: what maintain() does, and what there is to see.
CREATE FUNCTION payguard.first_id_at(at timestamptz) RETURNS uuid
AS 'MODULE_PATHNAME', 'payguard_first_id_at'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION payguard.first_id_at(timestamptz) IS
  'The lowest payment_id or refund_id of that time: both ascend with time, so that an index finds a period';

CREATE FUNCTION payguard.bucket_of(at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT date_bin('5 min', at, '2000-01-01 00:00:00+00')
$$;
COMMENT ON FUNCTION payguard.bucket_of(timestamptz) IS 'The five minutes that a time is in';

CREATE TABLE payguard.totals (
  bucket   timestamptz NOT NULL,
  subject  text COLLATE "C" NOT NULL,
  channel  text COLLATE "C" NOT NULL,
  currency text COLLATE "C" NOT NULL,
  status   text COLLATE "C" NOT NULL,
  n        bigint NOT NULL,
  PRIMARY KEY (bucket, subject, channel, currency, status)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE payguard.totals IS
  'How often orders, payments and refunds entered a state: maintain() adds each event once';
COMMENT ON COLUMN payguard.totals.bucket IS 'Five minutes, kept for 35 days; -infinity: since ever';
COMMENT ON COLUMN payguard.totals.subject IS 'orders, payments, refunds; events, whose status is their kind. A payment that was begun has entered started';

CREATE TABLE payguard.maintenance (
  duty    text COLLATE "C" PRIMARY KEY,
  ran_at  timestamptz NOT NULL,
  problem text
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE payguard.maintenance IS 'When maintain() did what for the last time';
COMMENT ON COLUMN payguard.maintenance.ran_at IS 'When it was done for the last time, or, if it never was, first tried';
COMMENT ON COLUMN payguard.maintenance.problem IS 'The error that ended it since then, or what it had to leave out; NULL: none';

CREATE FUNCTION payguard.consumer_lags(OUT consumer text, OUT events bigint, OUT age interval)
RETURNS SETOF record
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT c.consumer,
         greatest(coalesce((SELECT e.event_id FROM payguard.events e ORDER BY e.event_id DESC LIMIT 1), 0)
                  - greatest(c.last_event, c.low_event), 0),
         coalesce(clock_timestamp() - (
           SELECT e.at FROM payguard.events e WHERE e.event_id > greatest(c.last_event, c.low_event)
           ORDER BY e.event_id LIMIT 1), '0 s')
  FROM payguard.consumers c
$$;
COMMENT ON FUNCTION payguard.consumer_lags() IS
  'How many events each consumer has not committed, at most, and how old the first of them is';

CREATE FUNCTION payguard.low_success_rates(OUT channel text, OUT success_rate numeric,
  OUT baseline numeric, OUT ended bigint)
RETURNS SETOF record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
  -- lower than chance explains: three standard deviations, and five points, below the day before
  SELECT r.channel, round(r.good / r.ended, 4), round(r.good_before / r.before, 4), r.ended::bigint
  FROM (SELECT t.channel,
               sum(t.n) FILTER (WHERE recent.is) AS ended,
               coalesce(sum(t.n) FILTER (WHERE recent.is AND t.status = 'succeeded'), 0) AS good,
               sum(t.n) FILTER (WHERE NOT recent.is) AS before,
               coalesce(sum(t.n) FILTER (WHERE NOT recent.is AND t.status = 'succeeded'), 0) AS good_before
        FROM payguard.totals t
        CROSS JOIN LATERAL (SELECT t.bucket >= payguard.bucket_of(clock_timestamp() - interval '1 h')) recent ("is")
        WHERE t.bucket >= payguard.bucket_of(clock_timestamp() - interval '25 h')
          AND t.subject = 'payments' AND t.status IN ('succeeded', 'failed')
        GROUP BY t.channel) r
  WHERE r.ended >= 20 AND r.before >= 20
    AND r.good / r.ended < r.good_before / r.before - 0.05
    AND r.good / r.ended < r.good_before / r.before
        - 3 * sqrt(r.good_before / r.before * (1 - r.good_before / r.before) / r.ended)
$$;
COMMENT ON FUNCTION payguard.low_success_rates() IS
  'Channels whose payments of the last hour succeed less often than those of the 24 hours before';

CREATE FUNCTION payguard.raise_alerts("max" integer) RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_raise_alerts'
LANGUAGE C VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off;
COMMENT ON FUNCTION payguard.raise_alerts(integer) IS 'Part of maintain(): opens alerts for what is due';

CREATE FUNCTION payguard.close_alerts("max" integer) RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_close_alerts'
LANGUAGE C VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off;
COMMENT ON FUNCTION payguard.close_alerts(integer) IS 'Part of maintain(): resolves alerts whose cause is gone';

CREATE FUNCTION payguard.notify_alerts("max" integer) RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_notify_alerts'
LANGUAGE C VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off;
COMMENT ON FUNCTION payguard.notify_alerts(integer) IS 'Part of maintain(): sends NOTIFY payguard_alerts for new alerts';

CREATE FUNCTION payguard.count_events("max" integer) RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_count_events'
LANGUAGE C VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off;
COMMENT ON FUNCTION payguard.count_events(integer) IS 'Part of maintain(): adds new events to the totals';

CREATE FUNCTION payguard.sample_counters("max" integer) RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_sample_counters'
LANGUAGE C VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off;
COMMENT ON FUNCTION payguard.sample_counters(integer) IS 'Part of maintain(): writes the counters down';

CREATE FUNCTION payguard.forget_old("max" integer) RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_forget_old'
LANGUAGE C VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off;
COMMENT ON FUNCTION payguard.forget_old(integer) IS 'Part of maintain(): removes samples, buckets and notes of finished tasks that are old';

CREATE FUNCTION payguard.note_duty(duty text, problem text) RETURNS void
AS 'MODULE_PATHNAME', 'payguard_note_duty'
LANGUAGE C VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off;
COMMENT ON FUNCTION payguard.note_duty(text, text) IS 'Part of maintain(): notes what became of a duty';

CREATE FUNCTION payguard.maintain("max" integer DEFAULT 1000)
RETURNS TABLE (duty text, done bigint, problem text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
  IF "max" IS NULL OR "max" < 1 OR current_setting('transaction_read_only')::boolean THEN
    PERFORM payguard.count_events("max"); -- says what is wrong
  END IF;
  -- what takes long comes before what locks orders; alerts come last, to know what the others did
  FOREACH duty IN ARRAY '{count_events,sample_counters,forget_old,expire_orders,expire_leases,
    match_notifications,raise_alerts,close_alerts,notify_alerts}'::text[]
  LOOP
    done := NULL;
    problem := NULL;
    BEGIN
      EXECUTE format('SELECT payguard.%I($1)', duty) INTO done USING "max";
    EXCEPTION
      WHEN OTHERS THEN
        -- one duty that fails must not stop the others
        problem := SQLERRM;
        RAISE WARNING 'payguard: % failed: %', duty, problem;
    END;
    PERFORM payguard.note_duty(duty, problem);
    -- also what a duty has left out, and could not do
    SELECT m.problem INTO problem FROM payguard.maintenance m WHERE m.duty = maintain.duty;
    RETURN NEXT;
  END LOOP;
END
$$;
COMMENT ON FUNCTION payguard.maintain(integer) IS
  'What has to be done from time to time, once a minute for example: each duty, what it did, and the error that ended it, or what it had to leave out. Idempotent; may run several times at once';

CREATE FUNCTION payguard.payment_rates(period interval DEFAULT '1 hour', split_by text DEFAULT 'channel')
RETURNS TABLE (split text, started bigint, succeeded bigint, failed bigint, duplicates bigint,
               blocked bigint, success_rate numeric, failure_rate numeric, duplicate_rate numeric,
               baseline_success_rate numeric, baseline_failure_rate numeric,
               baseline_duplicate_rate numeric)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  now_is timestamptz := clock_timestamp();
BEGIN
  IF period IS NULL OR split_by IS NULL THEN
    RAISE null_value_not_allowed USING
      MESSAGE = CASE WHEN period IS NULL THEN 'period' ELSE 'split_by' END || ' must not be null',
      DETAIL = 'Nothing has been counted.', HINT = 'Leave it out for the default.';
  END IF;
  IF period < '5 min' OR period > '17 days' THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'invalid value for period',
      DETAIL = 'Totals are kept by five minutes, for 35 days, and the period before is looked at too.',
      HINT = 'Give 5 minutes to 17 days.';
  END IF;
  IF split_by NOT IN ('channel', 'currency', 'all') THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'invalid value for split_by', DETAIL = format('It is %s.', to_json(split_by)),
      HINT = 'Use channel, currency or all.';
  END IF;
  RETURN QUERY
    WITH counted AS (
      SELECT CASE split_by WHEN 'channel' THEN t.channel WHEN 'currency' THEN t.currency ELSE 'all' END AS split,
             t.bucket >= payguard.bucket_of(now_is - period) AS recent, t.status, t.n
      FROM payguard.totals t
      WHERE t.bucket >= payguard.bucket_of(now_is - 2 * period) AND t.subject = 'payments'
    ), summed AS (
      SELECT c.split,
             coalesce(sum(c.n) FILTER (WHERE c.recent AND c.status = 'started'), 0) AS started,
             coalesce(sum(c.n) FILTER (WHERE c.recent AND c.status = 'succeeded'), 0) AS good,
             coalesce(sum(c.n) FILTER (WHERE c.recent AND c.status = 'failed'), 0) AS bad,
             coalesce(sum(c.n) FILTER (WHERE c.recent AND c.status = 'surplus'), 0) AS twice,
             coalesce(sum(c.n) FILTER (WHERE NOT c.recent AND c.status = 'succeeded'), 0) AS good_before,
             coalesce(sum(c.n) FILTER (WHERE NOT c.recent AND c.status = 'failed'), 0) AS bad_before,
             coalesce(sum(c.n) FILTER (WHERE NOT c.recent AND c.status = 'surplus'), 0) AS twice_before
      FROM counted c GROUP BY c.split
    ), increments AS (
      SELECT s.sampled_at,
             -- since a reset they count from 0; what was before the first sample was before the period
             s.value - CASE WHEN lag(s.since) OVER w = s.since THEN lag(s.value) OVER w
                            WHEN s.since >= payguard.bucket_of(now_is - period) THEN 0 ELSE s.value END AS n
      FROM payguard.counter_samples s
      WHERE s.sampled_at >= payguard.bucket_of(now_is - period) - interval '1 h'
        AND (s.counter = 'replays'
             OR s.reason IN ('order_already_paid', 'payment_in_progress', 'suspected_duplicate'))
      WINDOW w AS (PARTITION BY s.counter, s.reason ORDER BY s.sampled_at)
    )
    SELECT s.split, s.started::bigint, s.good::bigint, s.bad::bigint, s.twice::bigint,
           CASE WHEN split_by = 'all' THEN (
             SELECT sum(i.n)::bigint FROM increments i
             WHERE i.sampled_at > payguard.bucket_of(now_is - period)) END,
           round(s.good / nullif(s.good + s.bad, 0), 4), round(s.bad / nullif(s.good + s.bad, 0), 4),
           round(s.twice / nullif(s.good + s.twice, 0), 4),
           round(s.good_before / nullif(s.good_before + s.bad_before, 0), 4),
           round(s.bad_before / nullif(s.good_before + s.bad_before, 0), 4),
           round(s.twice_before / nullif(s.good_before + s.twice_before, 0), 4)
    FROM summed s ORDER BY s.split;
END
$$;
COMMENT ON FUNCTION payguard.payment_rates(interval, text) IS
  'Of the payments that ended in the period: how many succeeded, failed, or were surplus; beside the period before. blocked (split by all): calls that were replayed or refused because the order was paid or being paid';

CREATE VIEW payguard.metrics AS
  SELECT 'payguard_' || t.subject || '_total' AS name,
         CASE t.subject
           WHEN 'events' THEN jsonb_build_object('kind', t.status)
           WHEN 'orders' THEN jsonb_build_object('status', t.status)
           ELSE jsonb_build_object('channel', t.channel, 'currency', t.currency, 'status', t.status)
         END AS labels,
         t.n::double precision AS value
  FROM payguard.totals t WHERE t.bucket = '-infinity'
  UNION ALL
  SELECT 'payguard_' || c.counter || '_total',
         CASE WHEN c.reason IS NULL THEN '{}' ELSE jsonb_build_object('reason', c.reason) END, c.value
  FROM payguard.stat_counters c
  UNION ALL
  SELECT 'payguard_alerts_open', jsonb_build_object('kind', a.kind, 'severity', a.severity), count(*)
  FROM payguard.alerts a WHERE a.resolved_at IS NULL GROUP BY a.kind, a.severity
  UNION ALL
  SELECT 'payguard_tasks', jsonb_build_object('kind', t.kind, 'channel', t.channel, 'state',
           CASE WHEN t.dead_at IS NOT NULL THEN 'dead' WHEN t.run_at <= clock_timestamp() THEN 'due' ELSE 'waiting' END),
         count(*)
  FROM payguard.tasks t
  GROUP BY t.kind, t.channel,
           CASE WHEN t.dead_at IS NOT NULL THEN 'dead' WHEN t.run_at <= clock_timestamp() THEN 'due' ELSE 'waiting' END
  UNION ALL
  SELECT 'payguard_task_oldest_due_seconds', '{}',
         coalesce((SELECT greatest(extract(epoch FROM clock_timestamp() - t.run_at), 0)
                   FROM payguard.tasks t WHERE t.dead_at IS NULL ORDER BY t.run_at LIMIT 1), 0)
  UNION ALL
  SELECT 'payguard_payment_oldest_open_seconds', '{}',
         coalesce((SELECT extract(epoch FROM clock_timestamp() - p.created_at)
                   FROM payguard.tasks t JOIN payguard.payments p ON p.payment_id = t.payment_id
                   WHERE t.refund_id IS NULL AND p.status IN ('pending', 'unknown', 'closing', 'superseded')
                   ORDER BY t.payment_id LIMIT 1), 0)
  UNION ALL
  SELECT 'payguard_orders_overdue', '{}', count(*)
  FROM payguard.deadlines d WHERE d.expires_at <= clock_timestamp()
  UNION ALL
  SELECT 'payguard_notifications_unmatched', '{}', count(*)
  FROM payguard.notifications n WHERE n.result = 'unmatched'
  UNION ALL
  SELECT 'payguard_consumer_lag_events', jsonb_build_object('consumer', l.consumer), l.events
  FROM payguard.consumer_lags() l
  UNION ALL
  SELECT 'payguard_consumer_lag_seconds', jsonb_build_object('consumer', l.consumer), extract(epoch FROM l.age)
  FROM payguard.consumer_lags() l
  UNION ALL
  SELECT 'payguard_prepared_transaction_oldest_seconds', '{}',
         coalesce(max(extract(epoch FROM clock_timestamp() - x.prepared)), 0)
  FROM pg_prepared_xacts x
  UNION ALL
  SELECT 'payguard_maintenance_age_seconds', jsonb_build_object('duty', m.duty),
         extract(epoch FROM clock_timestamp() - m.ran_at)
  FROM payguard.maintenance m;
COMMENT ON VIEW payguard.metrics IS
  'What a monitoring system collects, under Prometheus'' names; totals are those of the last maintain()';
-- Protection of payguard's own tables.
CREATE FUNCTION payguard.deny_direct_write() RETURNS trigger
AS 'MODULE_PATHNAME', 'payguard_deny_direct_write'
LANGUAGE C;
COMMENT ON FUNCTION payguard.deny_direct_write() IS
  'Trigger: refuses every UPDATE, DELETE and TRUNCATE but payguard''s own';

-- One line a table. Every table of payguard stands here.
CREATE FUNCTION payguard.own_tables() RETURNS SETOF text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
  VALUES ('orders'), ('channels'), ('payments'), ('events'), ('notifications'), ('deadlines'),
    ('refunds'), ('refund_balances'), ('tasks'), ('leases'),
    ('finished_tasks'), ('alerts'), ('policies'), ('customers'), ('approvals'),
     ('settlement_lines'), ('counter_samples'), ('consumers'), ('totals'), ('maintenance'),
    ('archived_orders'), ('archived_payments'), ('archived_refunds'), ('archived_refund_balances'),
    ('archived_events'), ('archived_notifications'), ('archived_approvals'), ('archive_position')
$$;
COMMENT ON FUNCTION payguard.own_tables() IS 'The names of payguard''s tables';

DO $$
DECLARE
  name text;
BEGIN
  FOR name IN SELECT payguard.own_tables() LOOP
    EXECUTE pg_catalog.format(
      'CREATE TRIGGER payguard_protect BEFORE UPDATE OR DELETE OR TRUNCATE ON payguard.%I '
      'FOR EACH STATEMENT EXECUTE FUNCTION payguard.deny_direct_write()', name);
    EXECUTE pg_catalog.format(
      'ALTER TABLE payguard.%I ENABLE ALWAYS TRIGGER payguard_protect', name);
    -- a dump holds every row but those that this script makes
    PERFORM pg_catalog.pg_extension_config_dump(
      pg_catalog.format('payguard.%I', name),
      CASE name WHEN 'channels' THEN 'WHERE name <> ''internal''' ELSE '' END);
  END LOOP;
END
$$;
SELECT pg_catalog.pg_extension_config_dump('payguard.events_event_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('payguard.tasks_task_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('payguard.alerts_alert_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('payguard.approvals_approval_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('payguard.settlement_lines_line_id_seq', '');

-- Their columns, as this script made them: broken_guards() compares. An upgrade that adds a
-- column makes the function anew.
CREATE FUNCTION payguard.current_columns(OUT name text, OUT columns text) RETURNS SETOF record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT c.relname, string_agg(concat(a.attname, ' ', t.typname, CASE WHEN a.attnotnull THEN ' not null' END),
                               ', ' ORDER BY a.attnum)
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid
  WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'payguard')
    AND c.relname IN (SELECT payguard.own_tables())
    AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
  GROUP BY c.relname
$$;
COMMENT ON FUNCTION payguard.current_columns() IS 'The columns that payguard''s tables have';

DO $do$
BEGIN
  EXECUTE pg_catalog.format(
    'CREATE FUNCTION payguard.own_columns(OUT name text, OUT columns text) RETURNS SETOF record '
    'LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ VALUES %s $$',
    (SELECT pg_catalog.string_agg(pg_catalog.format('(%L, %L)', c.name, c.columns), ', ' ORDER BY c.name)
     FROM payguard.current_columns() c));
END
$do$;
COMMENT ON FUNCTION payguard.own_columns() IS 'The columns that payguard''s tables were made with';

CREATE FUNCTION payguard.guard_problems(OUT guard text, OUT problem text) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'payguard_guard_problems'
LANGUAGE C STABLE;
COMMENT ON FUNCTION payguard.guard_problems() IS
  'What is wrong with the guards on the application''s tables; the rows are not read';

CREATE FUNCTION payguard.broken_guards() RETURNS TABLE (guard text, problem text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET quote_all_identifiers = off -- the definitions of indexes are compared as text
SET standard_conforming_strings = on
AS $$
  WITH own AS (
    SELECT t.name, c.oid, c.relforcerowsecurity, c.relhasrules
    FROM payguard.own_tables() t (name)
    LEFT JOIN pg_class c ON c.relname = t.name AND c.relkind = 'r'
      AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'payguard')
  ), unique_index (name, definition) AS (
    VALUES
      ('orders_pkey', 'CREATE UNIQUE INDEX orders_pkey ON payguard.orders USING btree (order_id)'),
      ('payments_pkey', 'CREATE UNIQUE INDEX payments_pkey ON payguard.payments USING btree (payment_id)'),
      ('payments_idempotency_key', 'CREATE UNIQUE INDEX payments_idempotency_key ON payguard.payments USING btree (idempotency_key)'),
      ('payments_that_count', 'CREATE UNIQUE INDEX payments_that_count ON payguard.payments USING btree (order_id) WHERE (status <> ALL (ARRAY[''failed''::text, ''superseded''::text, ''surplus''::text]))'),
      ('payments_channel_txn', 'CREATE UNIQUE INDEX payments_channel_txn ON payguard.payments USING btree (channel, channel_txn_id) WHERE (channel_txn_id IS NOT NULL)'),
      ('refunds_pkey', 'CREATE UNIQUE INDEX refunds_pkey ON payguard.refunds USING btree (refund_id)'),
      ('refunds_idempotency_key', 'CREATE UNIQUE INDEX refunds_idempotency_key ON payguard.refunds USING btree (idempotency_key) WHERE (idempotency_key IS NOT NULL)'),
      ('refunds_channel_refund', 'CREATE UNIQUE INDEX refunds_channel_refund ON payguard.refunds USING btree (channel, channel_refund_id) WHERE (channel_refund_id IS NOT NULL)'),
      ('refund_balances_pkey', 'CREATE UNIQUE INDEX refund_balances_pkey ON payguard.refund_balances USING btree (payment_id)'),
      ('notifications_pkey', 'CREATE UNIQUE INDEX notifications_pkey ON payguard.notifications USING btree (channel, event_id)'),
      ('tasks_of_payment', 'CREATE UNIQUE INDEX tasks_of_payment ON payguard.tasks USING btree (payment_id, kind) WHERE (refund_id IS NULL)'),
      ('tasks_of_refund', 'CREATE UNIQUE INDEX tasks_of_refund ON payguard.tasks USING btree (refund_id, kind) WHERE (refund_id IS NOT NULL)'),
      ('consumers_pkey', 'CREATE UNIQUE INDEX consumers_pkey ON payguard.consumers USING btree (consumer)'),
      ('totals_pkey', 'CREATE UNIQUE INDEX totals_pkey ON payguard.totals USING btree (bucket, subject, channel, currency, status)'),
      ('maintenance_pkey', 'CREATE UNIQUE INDEX maintenance_pkey ON payguard.maintenance USING btree (duty)'),
      ('policies_pkey', 'CREATE UNIQUE INDEX policies_pkey ON payguard.policies USING btree (currency, min_amount)'),
      ('customers_pkey', 'CREATE UNIQUE INDEX customers_pkey ON payguard.customers USING btree (customer_id)'),
      ('approvals_of_order', 'CREATE UNIQUE INDEX approvals_of_order ON payguard.approvals USING btree (order_id) WHERE ((subject = ''order''::text) AND (status <> ''void''::text))'),
      ('approvals_of_refund', 'CREATE UNIQUE INDEX approvals_of_refund ON payguard.approvals USING btree (refund_id) WHERE ((subject = ''refund''::text) AND (status <> ''void''::text))'),
      ('approvals_of_finding', 'CREATE UNIQUE INDEX approvals_of_finding ON payguard.approvals USING btree (alert_id) WHERE ((subject = ''finding''::text) AND (status <> ''void''::text))'),
      ('archived_orders_pkey', 'CREATE UNIQUE INDEX archived_orders_pkey ON payguard.archived_orders USING btree (order_id)'),
      ('archived_payments_pkey', 'CREATE UNIQUE INDEX archived_payments_pkey ON payguard.archived_payments USING btree (payment_id)'),
      ('archived_payments_idempotency_key', 'CREATE UNIQUE INDEX archived_payments_idempotency_key ON payguard.archived_payments USING btree (idempotency_key)'),
      ('archived_payments_channel_txn', 'CREATE UNIQUE INDEX archived_payments_channel_txn ON payguard.archived_payments USING btree (channel, channel_txn_id) WHERE (channel_txn_id IS NOT NULL)'),
      ('archived_refunds_pkey', 'CREATE UNIQUE INDEX archived_refunds_pkey ON payguard.archived_refunds USING btree (refund_id)'),
      ('archived_refunds_idempotency_key', 'CREATE UNIQUE INDEX archived_refunds_idempotency_key ON payguard.archived_refunds USING btree (idempotency_key) WHERE (idempotency_key IS NOT NULL)'),
      ('archived_refunds_channel_refund', 'CREATE UNIQUE INDEX archived_refunds_channel_refund ON payguard.archived_refunds USING btree (channel, channel_refund_id) WHERE (channel_refund_id IS NOT NULL)'),
      ('archived_notifications_pkey', 'CREATE UNIQUE INDEX archived_notifications_pkey ON payguard.archived_notifications USING btree (channel, event_id)'),
      ('alerts_open', 'CREATE UNIQUE INDEX alerts_open ON payguard.alerts USING btree (kind, cause) WHERE (resolved_at IS NULL)')
  )
  SELECT g.guard, g.problem FROM payguard.guard_problems() g
  UNION ALL
  SELECT 'table ' || name, 'is missing' FROM own WHERE oid IS NULL
  UNION ALL
  SELECT 'table ' || name, 'forces row security' FROM own WHERE relforcerowsecurity
  UNION ALL
  SELECT 'table ' || name, 'has a rule'
  FROM own WHERE EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = own.oid)
  UNION ALL
  SELECT 'table ' || name, 'takes part in inheritance'
  FROM own WHERE EXISTS (SELECT FROM pg_inherits i WHERE own.oid IN (i.inhrelid, i.inhparent))
  UNION ALL
  SELECT 'table ' || own.name, 'has other columns'
  FROM own JOIN payguard.own_columns() k ON k.name = own.name
  LEFT JOIN payguard.current_columns() c ON c.name = own.name
  WHERE own.oid IS NOT NULL AND c.columns IS DISTINCT FROM k.columns
  UNION ALL
  SELECT DISTINCT 'table ' || own.name,
         'lets ' || CASE a.grantee WHEN 0 THEN 'everybody' ELSE pg_get_userbyid(a.grantee)::text END
         || ' ' || a.privilege_type
  FROM own JOIN pg_class c ON c.oid = own.oid
  CROSS JOIN LATERAL (
    SELECT x.* FROM aclexplode(c.relacl) x
    UNION ALL SELECT x.* FROM pg_attribute t, aclexplode(t.attacl) x WHERE t.attrelid = c.oid) a
  WHERE a.grantee <> c.relowner
    AND a.privilege_type IN ('UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER')
  UNION ALL
  SELECT 'table ' || name, 'has no trigger payguard_protect that always fires'
  FROM own
  WHERE oid IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = own.oid AND t.tgname = 'payguard_protect' AND t.tgenabled = 'A'
      AND t.tgtype = (2 | 8 | 16 | 32)  -- BEFORE, DELETE, UPDATE, TRUNCATE; no ROW
      AND t.tgqual IS NULL AND t.tgattr = ''
      AND p.prosrc = 'payguard_deny_direct_write' AND p.probin = '$libdir/payguard')
  UNION ALL
  SELECT 'index ' || u.name, 'is missing, invalid or another one'
  FROM unique_index u
  WHERE NOT EXISTS (
    SELECT FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
    WHERE c.relname = u.name
      AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'payguard')
      AND i.indisvalid AND i.indisready AND i.indislive AND i.indisunique
      AND pg_get_indexdef(c.oid) = u.definition)
  UNION ALL
  SELECT 'constraint refund_exceeds_payment', 'is missing'
  WHERE NOT EXISTS (
    SELECT FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
    WHERE k.conname = 'refund_exceeds_payment' AND k.convalidated
      AND c.relname = 'refund_balances'
      AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'payguard'))
  UNION ALL
  SELECT 'event trigger ' || e.name, 'is missing, does not always fire, or calls another function'
  FROM (VALUES ('payguard_ddl_start', 'payguard_check_ddl_start'),
               ('payguard_ddl_end', 'payguard_check_ddl_end')) e (name, source)
  WHERE NOT EXISTS (
    SELECT FROM pg_event_trigger t JOIN pg_proc p ON p.oid = t.evtfoid
    WHERE t.evtname = e.name AND t.evtenabled = 'A'
      AND p.prosrc = e.source AND p.probin = '$libdir/payguard')
  UNION ALL
  SELECT 'function payguard.' || f.name || '()', 'is missing or another one'
  FROM (VALUES ('deny_direct_write'), ('check_ddl_start'), ('check_ddl_end'), ('guard'), ('guard_truncate')) f (name)
  WHERE NOT EXISTS (
    SELECT FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
    WHERE p.proname = f.name AND p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'payguard')
      AND l.lanname = 'c' AND p.prosrc = 'payguard_' || f.name AND p.probin = '$libdir/payguard')
  UNION ALL
  SELECT 'schema payguard', 'holds ' || c.relname || ', which is not the extension''s'
  FROM pg_class c
  WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'payguard')
    AND c.relkind NOT IN ('i', 'I') AND NOT EXISTS (
      SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
      WHERE d.refclassid = 'pg_extension'::regclass AND d.classid = 'pg_class'::regclass
        AND d.objid = c.oid AND d.deptype = 'e' AND x.extname = 'payguard')
    -- a composite type is a member by its type
    AND NOT (c.relkind = 'c' AND EXISTS (
      SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
      WHERE d.refclassid = 'pg_extension'::regclass AND d.classid = 'pg_type'::regclass
        AND d.objid = c.reltype AND d.deptype = 'e' AND x.extname = 'payguard'))
  UNION ALL
  SELECT 'schema payguard', 'holds ' || p.oid::regprocedure::text || ', which is not the extension''s'
  FROM pg_proc p
  WHERE p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'payguard') AND NOT EXISTS (
    SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
    WHERE d.refclassid = 'pg_extension'::regclass AND d.classid = 'pg_proc'::regclass
      AND d.objid = p.oid AND d.deptype = 'e' AND x.extname = 'payguard')
  UNION ALL
  SELECT 'function ' || p.oid::regprocedure::text, 'is not the one of the extension'
  FROM pg_proc p
  JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
  JOIN pg_extension x ON d.refclassid = 'pg_extension'::regclass AND x.oid = d.refobjid
  WHERE x.extname = 'payguard' AND (
    p.pronamespace <> (SELECT oid FROM pg_namespace WHERE nspname = 'payguard')
    OR p.proowner <> x.extowner
    OR (p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'c')
        AND (p.probin <> '$libdir/payguard' OR p.prosrc !~ ('^payguard_' || p.proname || '(_[0-9_]+)?$'))))
$$;
COMMENT ON FUNCTION payguard.broken_guards() IS
  'What protects payguard''s tables and guarded ones and is missing, disabled or replaced; part of verify()';

CREATE FUNCTION payguard.check_ddl_start() RETURNS event_trigger
AS 'MODULE_PATHNAME', 'payguard_check_ddl_start'
LANGUAGE C;
COMMENT ON FUNCTION payguard.check_ddl_start() IS
  'Event trigger: refuses DDL on payguard''s objects';

CREATE FUNCTION payguard.check_ddl_end() RETURNS event_trigger
AS 'MODULE_PATHNAME', 'payguard_check_ddl_end'
LANGUAGE C;
COMMENT ON FUNCTION payguard.check_ddl_end() IS
  'Event trigger: refuses DDL that has broken one of payguard''s guards';

-- The tags are narrow: without the library file each of these commands would fail.
CREATE EVENT TRIGGER payguard_ddl_start ON ddl_command_start
  WHEN TAG IN ('ALTER TABLE', 'ALTER INDEX', 'ALTER TYPE', 'ALTER TRIGGER', 'ALTER SCHEMA',
               'ALTER SEQUENCE', 'ALTER FUNCTION', 'ALTER PROCEDURE', 'ALTER ROUTINE',
               'ALTER AGGREGATE', 'ALTER RULE', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW',
               'ALTER FOREIGN TABLE', 'ALTER EXTENSION', 'CREATE FUNCTION', 'CREATE PROCEDURE',
               'CREATE AGGREGATE', 'CREATE RULE', 'CREATE SCHEMA', 'CREATE TABLE',
               'CREATE TABLE AS', 'SELECT INTO', 'CREATE FOREIGN TABLE', 'CREATE VIEW',
               'CREATE MATERIALIZED VIEW', 'CREATE TRIGGER', 'DROP INDEX', 'DROP TRIGGER',
               'DROP TABLE', 'DROP TYPE', 'DROP DOMAIN', 'DROP EXTENSION', 'DROP LANGUAGE',
               'DROP SCHEMA', 'DROP OWNED')
  EXECUTE FUNCTION payguard.check_ddl_start();
CREATE EVENT TRIGGER payguard_ddl_end ON ddl_command_end
  WHEN TAG IN ('ALTER TABLE', 'ALTER INDEX', 'ALTER TRIGGER', 'ALTER RULE', 'ALTER VIEW',
               'ALTER MATERIALIZED VIEW', 'ALTER FOREIGN TABLE', 'ALTER EXTENSION', 'ALTER TYPE',
               'ALTER SCHEMA', 'CREATE RULE', 'CREATE SCHEMA', 'CREATE TABLE',
               'CREATE FOREIGN TABLE', 'CREATE TRIGGER', 'DROP INDEX', 'DROP TRIGGER',
               'DROP TABLE', 'DROP TYPE', 'DROP DOMAIN', 'DROP EXTENSION', 'DROP LANGUAGE',
               'DROP SCHEMA', 'DROP OWNED')
  EXECUTE FUNCTION payguard.check_ddl_end();
ALTER EVENT TRIGGER payguard_ddl_start ENABLE ALWAYS;
ALTER EVENT TRIGGER payguard_ddl_end ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER payguard_ddl_start IS 'Refuses DDL on payguard''s objects';
COMMENT ON EVENT TRIGGER payguard_ddl_end IS 'Refuses DDL that has broken one of payguard''s guards';
-- Guards on the application's own tables.
CREATE FUNCTION payguard.guard() RETURNS trigger
AS 'MODULE_PATHNAME', 'payguard_guard'
LANGUAGE C;
COMMENT ON FUNCTION payguard.guard() IS
  'Trigger: refuses a change of a row that breaks the guard that guard_table() put on its table';

CREATE FUNCTION payguard.guard_truncate() RETURNS trigger
AS 'MODULE_PATHNAME', 'payguard_guard_truncate'
LANGUAGE C;
COMMENT ON FUNCTION payguard.guard_truncate() IS 'Trigger: refuses TRUNCATE of a guarded table';

CREATE FUNCTION payguard.guard_table(
  table_name regclass, status_column text, transitions jsonb, version_column text DEFAULT NULL,
  initial text[] DEFAULT NULL, immutable_columns text[] DEFAULT NULL, once text[] DEFAULT NULL,
  allow_delete text[] DEFAULT '{}', order_id_column text DEFAULT NULL,
  paid_states text[] DEFAULT NULL, success_states text[] DEFAULT NULL, not_valid boolean DEFAULT false)
RETURNS TABLE (statement text)
AS 'MODULE_PATHNAME', 'payguard_guard_table'
LANGUAGE C;
COMMENT ON FUNCTION payguard.guard_table(regclass, text, jsonb, text, text[], text[], text[], text[], text, text[], text[], boolean) IS
  'Guards a table of the caller''s: rows follow the transitions, whoever writes; returns the statements that are left to do. Errors: 22004, 22023, 23505, 23514, 42501, 42710, 42809, 0A000';

CREATE FUNCTION payguard.unguard_table(table_name regclass) RETURNS boolean
AS 'MODULE_PATHNAME', 'payguard_unguard_table'
LANGUAGE C;
COMMENT ON FUNCTION payguard.unguard_table(regclass) IS
  'Takes the guard off a table of the caller''s; the index of once stays. Errors: 22004, 42501, 42809';

CREATE FUNCTION payguard.guard_settings(trigger_oid oid) RETURNS jsonb
AS 'MODULE_PATHNAME', 'payguard_guard_settings'
LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION payguard.guard_settings(oid) IS 'The settings of a guard''s trigger; NULL for another one';

CREATE FUNCTION payguard.guard_bad_rows(table_name regclass) RETURNS text
AS 'MODULE_PATHNAME', 'payguard_guard_bad_rows'
LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION payguard.guard_bad_rows(regclass) IS
  'What is wrong with the rows of one guarded table, which is read; NULL: nothing';

CREATE FUNCTION payguard.guard_triggers() RETURNS TABLE (trigger_oid oid, table_oid oid, parent_oid oid)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT t.oid, t.tgrelid, t.tgparentid
  FROM pg_depend d JOIN pg_trigger t ON t.oid = d.objid
  WHERE d.classid = 'pg_trigger'::regclass AND d.refclassid = 'pg_proc'::regclass
    AND d.refobjid = 'payguard.guard()'::regprocedure AND t.tgfoid = d.refobjid
$$;
COMMENT ON FUNCTION payguard.guard_triggers() IS 'The triggers of all guards, those of partitions too';

CREATE VIEW payguard.guards AS
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS table_name,
       s.settings OPERATOR(pg_catalog.->>) 'status_column' AS status_column,
       s.settings OPERATOR(pg_catalog.->) 'transitions' AS transitions,
       s.settings OPERATOR(pg_catalog.->>) 'version_column' AS version_column,
       s.settings OPERATOR(pg_catalog.->) 'initial' AS initial,
       s.settings OPERATOR(pg_catalog.->) 'immutable_columns' AS immutable_columns,
       s.settings OPERATOR(pg_catalog.->) 'once' AS once,
       s.settings OPERATOR(pg_catalog.->) 'allow_delete' AS allow_delete,
       s.settings OPERATOR(pg_catalog.->>) 'order_id_column' AS order_id_column,
       s.settings OPERATOR(pg_catalog.->) 'paid_states' AS paid_states,
       s.settings OPERATOR(pg_catalog.->) 'success_states' AS success_states,
       (s.settings OPERATOR(pg_catalog.->>) 'valid')::pg_catalog.bool AS valid
FROM payguard.guard_triggers() t
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.table_oid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
CROSS JOIN LATERAL (SELECT payguard.guard_settings(t.trigger_oid) AS settings) s
WHERE t.parent_oid OPERATOR(pg_catalog.=) 0::pg_catalog.oid;
COMMENT ON VIEW payguard.guards IS 'The guarded tables; partitions go with their partitioned table';

-- Tables that were guarded and are not, by name: nobody unguarded or dropped them. And columns
-- that bear the name of a guarded one that was renamed.
CREATE FUNCTION payguard.lost_guards() RETURNS TABLE (guard text, problem text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
  WITH RECURSIVE told AS (
    SELECT e.event_id, e.kind, e.details, e.details->>'schema' AS schema, e.details->>'table' AS name
    FROM payguard.events e WHERE e.kind IN ('guard.added', 'guard.renamed', 'guard.removed')
  ), latest AS (
    SELECT DISTINCT ON (schema, name) * FROM told ORDER BY schema, name, event_id DESC
  ), expected AS (
    SELECT l.schema, l.name, c.oid, EXISTS (
             SELECT FROM payguard.guard_triggers() t WHERE t.table_oid = c.oid) AS guarded
    FROM latest l
    JOIN pg_namespace n ON n.nspname = l.schema
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = l.name AND c.relkind IN ('r', 'p', 'f')
    WHERE l.kind <> 'guard.removed'
  ), history (oid, schema, name, event_id, kind, details) AS (
    -- what was told of each guarded table, under the names that it had before too
    SELECT x.oid, t.schema, t.name, t.event_id, t.kind, t.details
    FROM expected x JOIN told t ON t.schema = x.schema AND t.name = x.name WHERE x.guarded
    UNION
    SELECT h.oid, t.schema, t.name, t.event_id, t.kind, t.details
    FROM history h JOIN told t
      ON t.schema = h.details->>'was_schema' AND t.name = h.details->>'was_table' AND t.event_id < h.event_id
  )
  SELECT format('table %I.%I', schema, name), 'had a guard, which is gone'
  FROM expected WHERE NOT guarded
  UNION ALL
  SELECT DISTINCT format('table %I.%I', x.schema, x.name),
         format('has another column %I, which its guard does not know', a.attname)
  FROM expected x JOIN history h ON h.oid = x.oid
  JOIN pg_attribute a ON a.attrelid = x.oid AND a.attname = h.details->>'was_column' AND NOT a.attisdropped
  WHERE h.event_id > (SELECT max(b.event_id) FROM history b WHERE b.oid = h.oid AND b.kind = 'guard.added')
    -- unless the guarded column got its name back
    AND NOT EXISTS (SELECT FROM history r WHERE r.oid = h.oid AND r.event_id > h.event_id
                    AND r.details->>'column' = h.details->>'was_column')
$$;
COMMENT ON FUNCTION payguard.lost_guards() IS 'Guards that are gone although nobody took them off; part of verify()';
-- verify(): one row for each violation of a promise.
CREATE FUNCTION payguard.verify() RETURNS TABLE (invariant text, object text, problem text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET standard_conforming_strings = on
SET jit = off -- compiling this one statement takes longer than running it
AS $$
  -- joined, not looked up for each order: that would be quadratic
  WITH counted AS (
    SELECT order_id, count(*) AS payments, bool_or(status = 'succeeded') AS succeeded,
           bool_or(status <> 'succeeded') AS live
    FROM payguard.every_payment
    WHERE status NOT IN ('failed', 'superseded', 'surplus')
    GROUP BY order_id
  ), versioned AS (
    SELECT e.order_id, e.event_id, e.version, e.from_status, e.to_status,
           lag(e.to_status) OVER w AS previous_status,
           lag(e.version) OVER w AS previous_version,
           lead(e.version) OVER w IS NULL AS is_last
    FROM payguard.every_event e
    WHERE e.version IS NOT NULL
    WINDOW w AS (PARTITION BY e.order_id ORDER BY e.event_id)
  ), moves AS (
    SELECT * FROM payguard.state_transitions()
  )
  -- I1: an order has at most one live or successful payment
  SELECT 'I1', 'order ' || order_id, payments || ' payments are live or succeeded'
  FROM counted WHERE payments > 1
  -- I2: a key names one request
  UNION ALL
  SELECT 'I2', 'key ' || idempotency_key, count(*) || ' payments have it'
  FROM payguard.every_payment WHERE idempotency_key IS NOT NULL
  GROUP BY idempotency_key HAVING count(*) > 1
  -- I3: money that did not pay its order goes back, or somebody decided that it does not
  UNION ALL
  SELECT 'I3', 'payment ' || p.payment_id,
         'received ' || p.received_amount || ' as surplus, of which ' || coalesce(r.total, 0)
         || ' has a refund'
  FROM payguard.every_payment p
  LEFT JOIN LATERAL (
    SELECT sum(CASE WHEN r.status = 'succeeded' THEN r.returned_amount ELSE r.amount END) AS total
    FROM payguard.every_refund r WHERE r.payment_id = p.payment_id) r ON true
  WHERE p.status = 'surplus' AND coalesce(r.total, 0) < p.received_amount
  UNION ALL
  SELECT 'I3', 'payment ' || p.payment_id, 'is ' || p.status || ', but received ' || p.received_amount
  FROM payguard.every_payment p
  WHERE p.status NOT IN ('succeeded', 'surplus') AND p.received_amount > 0
  UNION ALL
  SELECT 'I3', 'payment ' || named.payment_id, 'was dismissed as a second name of a charge that brought no money'
  FROM (
    WITH RECURSIVE names AS (
      SELECT payment_id, (details ->> 'second_charge_of')::uuid AS same_as
      FROM payguard.payments WHERE status = 'failed' AND failure_code = 'same_charge'
      UNION
      SELECT names.payment_id, (p.details ->> 'second_charge_of')::uuid
      FROM names JOIN payguard.payments p ON p.payment_id = names.same_as
      WHERE p.status = 'failed' AND p.failure_code = 'same_charge'
    )
    SELECT names.payment_id, bool_or(p.status IN ('succeeded', 'surplus')) AS has_money
    FROM names LEFT JOIN payguard.payments p ON p.payment_id = names.same_as GROUP BY names.payment_id
  ) named
  WHERE has_money IS NOT TRUE
  UNION ALL
  SELECT 'I3', 'notification ' || n.channel || ' ' || n.event_id, 'reports money and was never alerted'
  FROM payguard.every_notification n
  WHERE n.result = 'unmatched' AND NOT EXISTS (
    SELECT FROM payguard.alerts a WHERE a.kind = 'unmatched_notification' AND a.cause = n.event_id)
  -- I4: an open attempt is asked about until the channel answers
  UNION ALL
  SELECT 'I4', 'payment ' || p.payment_id, 'is ' || p.status || ' and nothing is due to ask about it'
  FROM payguard.every_payment p
  WHERE p.status IN ('pending', 'unknown', 'closing', 'superseded') AND NOT EXISTS (
    SELECT FROM payguard.tasks t WHERE t.payment_id = p.payment_id AND t.refund_id IS NULL)
  UNION ALL
  SELECT 'I4', 'refund ' || r.refund_id, 'is ' || r.status || ' and nothing is due for it'
  FROM payguard.every_refund r
  WHERE r.status IN ('pending', 'unknown') AND NOT EXISTS (
    SELECT FROM payguard.tasks t WHERE t.refund_id = r.refund_id)
  -- I6: the balance is what its refunds add up to
  UNION ALL
  SELECT 'I6', 'payment ' || p.payment_id,
         'its balance says ' || coalesce(b.refunding::text, 'nothing') || ' refunding, '
         || coalesce((b.refunded::numeric + b.excess)::text, 'nothing') || ' back; its refunds '
         || r.refunding || ' and ' || r.returned
  FROM (SELECT payment_id,
               coalesce(sum(amount) FILTER (WHERE status IN ('awaiting_approval', 'pending', 'unknown')), 0) AS refunding,
               coalesce(sum(returned_amount) FILTER (WHERE status = 'succeeded'), 0) AS returned
        FROM payguard.every_refund GROUP BY payment_id) r
  JOIN payguard.every_payment p USING (payment_id)
  LEFT JOIN payguard.every_refund_balance b USING (payment_id)
  WHERE (r.refunding, r.returned) IS DISTINCT FROM (b.refunding, b.refunded::numeric + b.excess)
  UNION ALL
  SELECT 'I6', 'payment ' || p.payment_id,
         'its balance says ' || b.received || ' received, the payment ' || coalesce(p.received_amount, 0)
  FROM payguard.every_refund_balance b JOIN payguard.every_payment p USING (payment_id)
  -- what goes back already is not taken away by a correction of what was received
  WHERE b.received <> greatest(p.received_amount, 0, b.refunding::numeric + b.refunded)
  UNION ALL
  SELECT 'I6', 'payment ' || payment_id, 'more goes back than was received'
  FROM payguard.every_refund_balance WHERE refunding::numeric + refunded > received
  UNION ALL
  SELECT 'I6', 'order ' || o.order_id,
         'says ' || o.refunded_amount || ' refunded, its refunds ' || coalesce(r.returned, 0)
  FROM payguard.every_order o
  LEFT JOIN LATERAL (
    SELECT sum(r.returned_amount) AS returned FROM payguard.every_refund r
    WHERE r.payment_id = o.payment_id AND r.status = 'succeeded'
      AND coalesce(r.reversal_kind, 'refund') = 'refund') r ON true
  WHERE o.refunded_amount <> coalesce(r.returned, 0)
  -- I9: what could not be applied is alerted
  UNION ALL
  SELECT 'I9', 'notification ' || n.channel || ' ' || n.event_id, 'contradicts and was never alerted'
  FROM payguard.every_notification n
  WHERE n.result = 'contradicting' AND NOT EXISTS (
    SELECT FROM payguard.alerts a
    -- the alert may be about the charge that the message's payment is a second name of
    WHERE a.order_id = n.order_id OR a.cause = n.event_id)
  -- I5: versions ascend by one, the status follows the graph
  UNION ALL
  SELECT 'I5', 'order ' || order_id,
         'version ' || version || ' follows version ' || coalesce(previous_version::text, 'none')
  FROM versioned WHERE version <> coalesce(previous_version, 0)::numeric + 1
  UNION ALL
  SELECT 'I5', 'order ' || order_id,
         'event ' || event_id || ' is from ' || coalesce(from_status, 'nothing') || ', but the order was '
         || coalesce(previous_status, 'nothing')
  FROM versioned WHERE from_status IS DISTINCT FROM previous_status
  UNION ALL
  SELECT 'I5', 'order ' || order_id,
         'event ' || event_id || ' goes from ' || coalesce(from_status, 'nothing') || ' to '
         || coalesce(to_status, 'nothing')
  FROM versioned v
  WHERE from_status IS DISTINCT FROM to_status AND NOT EXISTS (
    SELECT FROM moves m
    WHERE m.machine = 'order' AND m.from_status IS NOT DISTINCT FROM v.from_status
      AND m.to_status = v.to_status)
  -- I7: the history tells what the rows say
  UNION ALL
  SELECT 'I7', 'order ' || o.order_id,
         'is ' || o.status || ' at version ' || o.version || ', its last event says '
         || coalesce(v.to_status || ' at version ' || v.version, 'nothing')
  FROM payguard.every_order o LEFT JOIN versioned v ON v.order_id = o.order_id AND v.is_last
  WHERE (o.status, o.version) IS DISTINCT FROM (v.to_status, v.version)
  UNION ALL
  SELECT 'I7', 'event ' || e.event_id, 'its order ' || e.order_id || ' does not exist'
  FROM payguard.every_event e
  WHERE e.order_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM payguard.every_order o WHERE o.order_id = e.order_id)
  UNION ALL
  SELECT 'I7', 'event ' || e.last, 'its id is beyond those that the sequence has given'
  FROM payguard.events_event_id_seq s, (SELECT max(event_id) AS last FROM payguard.every_event) e
  WHERE e.last > s.last_value
    -- logical replication does not carry sequences: a subscriber's is set when it takes over
    AND NOT EXISTS (SELECT FROM pg_subscription_rel WHERE srrelid = 'payguard.events'::regclass)
  UNION ALL
  SELECT 'I7', 'payment ' || p.payment_id, 'no event names it'
  FROM payguard.every_payment p
  WHERE NOT EXISTS (SELECT FROM payguard.every_event e
                    WHERE e.order_id = p.order_id AND e.payment_id = p.payment_id)
  UNION ALL
  SELECT 'I7', 'refund ' || r.refund_id, 'no event names it'
  FROM payguard.every_refund r
  WHERE NOT EXISTS (SELECT FROM payguard.every_event e
                    WHERE e.order_id = r.order_id AND e.refund_id = r.refund_id)
  -- I10: rows that no function could have made, and guards that are gone
  UNION ALL
  SELECT 'I10', 'order ' || o.order_id, p.problem
  FROM payguard.every_order o
  LEFT JOIN payguard.every_payment c ON c.payment_id = o.payment_id
  LEFT JOIN counted n ON n.order_id = o.order_id
  CROSS JOIN LATERAL (
    SELECT 'its status ' || o.status || ' is unknown'
    WHERE NOT EXISTS (SELECT FROM moves m WHERE m.machine = 'order' AND m.to_status = o.status)
    UNION ALL SELECT 'its amount is negative' WHERE o.amount < 0
    UNION ALL SELECT 'its currency is malformed' WHERE o.currency !~ '^[A-Z]{3}$'
    UNION ALL SELECT 'its version is below 1' WHERE o.version < 1
    UNION ALL SELECT 'its id is malformed'
      WHERE octet_length(o.order_id) NOT BETWEEN 1 AND 255 OR o.order_id ~ '[\x01-\x1f\x7f]'
        -- C1 controls, in the encodings that have them
        OR (getdatabaseencoding() ~ '^(UTF8|LATIN)' AND o.order_id ~ '[\x80-\x9f]')
    UNION ALL SELECT 'it is ' || o.status || ' without a payment that succeeded'
      WHERE o.status IN ('paid', 'refunded')
        AND (c.status IS DISTINCT FROM 'succeeded' OR c.order_id <> o.order_id)
    UNION ALL SELECT 'it is ' || o.status || ' and names a payment'
      WHERE o.status NOT IN ('paid', 'refunded') AND o.payment_id IS NOT NULL
    UNION ALL SELECT 'it is ' || o.status || ', but a payment succeeded'
      WHERE o.status NOT IN ('paid', 'refunded') AND n.succeeded
    UNION ALL SELECT 'it is paying without a live payment'
      WHERE o.status = 'paying' AND n.live IS NOT TRUE
    UNION ALL SELECT 'it is ' || o.status || ' with a live payment'
      WHERE o.status <> 'paying' AND n.live
    UNION ALL SELECT 'it is ' || o.status || ' and closing'
      WHERE o.closing_as IS NOT NULL
        AND (o.status <> 'paying' OR o.closing_as NOT IN ('cancelled', 'expired'))
  ) p (problem)
  UNION ALL
  SELECT 'I10', 'payment ' || p.payment_id, x.problem
  FROM payguard.every_payment p
  LEFT JOIN payguard.every_order o ON o.order_id = p.order_id
  CROSS JOIN LATERAL (
    SELECT 'its status ' || p.status || ' is unknown'
    WHERE NOT EXISTS (SELECT FROM moves m WHERE m.machine = 'payment' AND m.to_status = p.status)
    UNION ALL SELECT 'its order ' || p.order_id || ' does not exist' WHERE o.order_id IS NULL
    UNION ALL SELECT 'its amount is negative' WHERE p.amount < 0 OR p.received_amount < 0
    UNION ALL SELECT 'its id does not hold the slot of its order'
      WHERE substr(p.payment_id::text, 15, 1) <> '7'
         -- slot() raises for an id that is malformed, which is its order's problem
         OR payguard.payment_slot(p.payment_id)
            <> CASE WHEN octet_length(p.order_id) BETWEEN 1 AND 255
                      AND p.order_id !~ '[\x01-\x1f\x7f]'
                      AND (getdatabaseencoding() !~ '^(UTF8|LATIN)' OR p.order_id !~ '[\x80-\x9f]')
                    THEN payguard.slot(p.order_id) ELSE payguard.payment_slot(p.payment_id) END
    UNION ALL SELECT 'its channel ' || p.channel || ' does not exist'
      WHERE NOT EXISTS (SELECT FROM payguard.channels c WHERE c.name = p.channel)
    UNION ALL SELECT 'it is ' || p.status || ' without a time of completion'
      WHERE p.status IN ('failed', 'succeeded', 'surplus') AND p.completed_at IS NULL
    UNION ALL SELECT 'it succeeded without an amount received'
      WHERE p.status = 'succeeded' AND p.received_amount IS NULL
    UNION ALL SELECT 'it succeeded, but its order names another payment'
      WHERE p.status = 'succeeded' AND o.payment_id IS DISTINCT FROM p.payment_id
  ) x (problem)
  UNION ALL
  SELECT 'I10', 'refund ' || r.refund_id, x.problem
  FROM payguard.every_refund r
  CROSS JOIN LATERAL (
    SELECT 'its status ' || r.status || ' is unknown'
    WHERE NOT EXISTS (SELECT FROM moves m WHERE m.machine = 'refund' AND m.to_status = r.status)
    UNION ALL SELECT 'its payment does not exist, or is another order''s'
      WHERE NOT EXISTS (SELECT FROM payguard.every_payment p
                        WHERE p.payment_id = r.payment_id AND p.order_id = r.order_id)
    UNION ALL SELECT 'it succeeded without an amount' WHERE r.status = 'succeeded' AND r.returned_amount IS NULL
  ) x (problem)
  UNION ALL
  SELECT 'I10', 'approval ' || a.approval_id, x.problem
  FROM payguard.every_approval a
  CROSS JOIN LATERAL (
    SELECT 'its status ' || a.status || ' is unknown'
    WHERE a.status NOT IN ('open', 'approved', 'rejected', 'void')
    UNION ALL SELECT 'it was decided by who asked' WHERE a.decided_by = a.requested_by
    UNION ALL SELECT 'it is ' || a.status || ', but nobody decided'
      WHERE a.status IN ('approved', 'rejected') AND a.decided_by IS NULL
    UNION ALL SELECT 'its order is ' || o.status || ', and it is open'
      FROM payguard.every_order o
      WHERE a.subject = 'order' AND a.status = 'open' AND o.order_id = a.order_id
        AND o.status NOT IN ('unpaid', 'paying')
    UNION ALL SELECT 'it is approved, and its refund awaits approval'
      FROM payguard.every_refund r
      WHERE a.subject = 'refund' AND a.status = 'approved' AND r.refund_id = a.refund_id
        AND r.status = 'awaiting_approval'
  ) x (problem)
  UNION ALL
  SELECT 'I10', 'refund ' || r.refund_id, 'it awaits approval, and nobody was asked'
  FROM payguard.every_refund r
  WHERE r.status = 'awaiting_approval' AND NOT EXISTS (
    SELECT FROM payguard.every_approval a
    WHERE a.subject = 'refund' AND a.refund_id = r.refund_id AND a.status = 'open')
  -- the archive: an order and all of its is there, or nothing
  UNION ALL
  SELECT 'I2', 'order ' || order_id, 'is in the archive and out of it'
  FROM payguard.orders JOIN payguard.archived_orders USING (order_id)
  UNION ALL
  SELECT 'I10', 'order ' || a.order_id, 'is archived, and it is ' || a.status
  FROM payguard.archived_orders a WHERE a.status NOT IN ('paid', 'refunded', 'cancelled', 'expired')
  UNION ALL
  SELECT 'I10', p.object, 'is not where its order is'
  FROM (
    SELECT 'payment ' || payment_id, order_id, false FROM payguard.payments
    UNION ALL SELECT 'payment ' || payment_id, order_id, true FROM payguard.archived_payments
    UNION ALL SELECT 'refund ' || refund_id, order_id, false FROM payguard.refunds
    UNION ALL SELECT 'refund ' || refund_id, order_id, true FROM payguard.archived_refunds
    UNION ALL SELECT 'event ' || event_id, order_id, false FROM payguard.events
    UNION ALL SELECT 'event ' || event_id, order_id, true FROM payguard.archived_events WHERE kind <> 'order.archived'
    UNION ALL SELECT 'notification ' || channel || ' ' || event_id, order_id, true FROM payguard.archived_notifications
    UNION ALL SELECT 'approval ' || approval_id, order_id, true FROM payguard.archived_approvals
  ) p (object, order_id, archived)
  WHERE NOT p.archived AND EXISTS (SELECT FROM payguard.archived_orders o WHERE o.order_id = p.order_id)
    OR p.archived AND EXISTS (SELECT FROM payguard.orders o WHERE o.order_id = p.order_id)
  UNION ALL
  SELECT 'I10', guard, problem FROM payguard.broken_guards()
  UNION ALL
  SELECT 'I10', guard, problem FROM payguard.lost_guards()
  UNION ALL
  SELECT 'I10', format('table %s', t.table_oid::regclass), 'has ' || payguard.guard_bad_rows(t.table_oid)
  FROM payguard.guard_triggers() t
  WHERE payguard.guard_bad_rows(t.table_oid) IS NOT NULL
$$;
COMMENT ON FUNCTION payguard.verify() IS
  'One row for each violation of payguard''s promises; none on a sound database';
-- Who may do what: exact sets of functions, and nothing for PUBLIC (95_private.sql).
-- The first function of an access is its marker: who may execute it has the access. It
-- belongs to that access alone. So the grants themselves remember who has what.
CREATE FUNCTION payguard.access_functions() RETURNS TABLE (access text, is_marker boolean, function text)
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
  VALUES
    ('checkout', true,  'payguard.create_order(text,bigint,text,text,timestamptz)'),
    ('checkout', false, 'payguard.new_order_id()'),
    ('checkout', false, 'payguard.update_order(text,bigint,bigint,text,timestamptz)'),
    ('checkout', false, 'payguard.cancel_order(text,bigint,text)'),
    ('checkout', false, 'payguard.start_payment(text,text,text,bigint,text,bigint,timestamptz,jsonb)'),
    ('checkout', false, 'payguard.request_payment(text,text,text,bigint,text,bigint,timestamptz,jsonb)'),
    ('checkout', false, 'payguard.close_payment(uuid)'),
    ('checkout', false, 'payguard.revoke_key(text,text)'),
    ('checkout', false, 'payguard.order_status(text)'),
    ('cashier',  true,  'payguard.pay_order(text,text,bigint,text,bigint,text)'),
    ('cashier',  false, 'payguard.try_pay_order(text,text,bigint,text,bigint,text)'),
    ('cashier',  false, 'payguard.pay_orders(payguard.pay_request[])'),
    ('channel',  true,  'payguard.report_payment(uuid,text,text,bigint,text,text,text,timestamptz)'),
    ('channel',  false, 'payguard.record_payment(text,text,text,bigint,text,timestamptz)'),
    ('channel',  false, 'payguard.record_notification(text,bytea,text,uuid,uuid,text,text,bigint,text,timestamptz)'),
    ('channel',  false, 'payguard.report_refund(uuid,text,text,bigint,text,text,text)'),
    ('channel',  false, 'payguard.record_reversal(text,text,text,text,bigint,text)'),
    ('channel',  false, 'payguard.claim_tasks(text,integer,interval,text[],text[])'),
    ('channel',  false, 'payguard.complete_task(bigint,uuid,text,text,bigint,text,text,text)'),
    ('channel',  false, 'payguard.complete_tasks(payguard.task_answer[])'),
    ('channel',  false, 'payguard.retry_task(bigint,uuid,text,interval)'),
    ('channel',  false, 'payguard.extend_lease(bigint,uuid,interval)'),
    ('channel',  false, 'payguard.query_payment(uuid)'),
    ('channel',  false, 'payguard.channel_drivers()'),
    ('channel',  false, 'payguard.call_driver(regproc,payguard.task,interval)'),
    ('channel',  false, 'payguard.run_tasks(integer,interval)'),
    ('operator', true,  'payguard.register_channel(text,boolean,text,interval,interval,interval,interval,text,boolean)'),
    ('operator', false, 'payguard.set_policy(text,bigint,boolean,boolean,boolean,interval,text)'),
    ('operator', false, 'payguard.order_timeline(text)'),
    ('operator', false, 'payguard.approve_order(text,text,bigint)'),
    ('operator', false, 'payguard.reject_order(text,text,bigint)'),
    ('operator', false, 'payguard.approve_refund(uuid,text)'),
    ('operator', false, 'payguard.reject_refund(uuid,text)'),
    ('operator', false, 'payguard.reconcile(text,timestamptz,timestamptz,interval)'),
    ('operator', false, 'payguard.resolve_finding(bigint,text,text)'),
    ('operator', false, 'payguard.refund_order(text,text,bigint,text,jsonb)'),
    ('operator', false, 'payguard.refund_payment(uuid,text,bigint,text,jsonb)'),
    ('operator', false, 'payguard.retry_refund(uuid,text)'),
    ('operator', false, 'payguard.waive_refund(uuid,text)'),
    ('operator', false, 'payguard.settle_refund(uuid,text,text)'),
    ('operator', false, 'payguard.settle_payment(uuid,text,text,text,bigint,text)'),
    ('operator', false, 'payguard.accept_surplus(uuid,text)'),
    ('operator', false, 'payguard.dismiss_surplus(uuid,uuid,text)'),
    ('operator', false, 'payguard.requeue_task(bigint)'),
    ('operator', false, 'payguard.query_payment(uuid)'),
    ('operator', false, 'payguard.expire_orders(integer)'),
    ('operator', false, 'payguard.match_notifications(integer)'),
    ('operator', false, 'payguard.order_status(text)'),
    ('operator', false, 'payguard.maintain(integer)'),
    ('operator', false, 'payguard.acknowledge_alert(bigint,text)'),
    ('operator', false, 'payguard.resolve_alert(bigint,text)'),
    ('operator', false, 'payguard.drop_consumer(text)'),
    ('operator', false, 'payguard.archive_orders(timestamptz,integer)'),
    ('operator', false, 'payguard.erase_customer(text)'),
    ('operator', false, 'payguard.reset_counters()'),
    ('operator', false, 'payguard.payment_rates(interval,text)'),
    ('operator', false, 'payguard.read_counters()'),
    ('operator', false, 'payguard.consumer_lags()'),
    ('consumer', true,  'payguard.read_events(text,integer)'),
    ('consumer', false, 'payguard.commit_events(text,bigint,bigint)'),
    ('auditor',  true,  'payguard.verify()'),
    ('auditor',  false, 'payguard.broken_guards()'),
    ('auditor',  false, 'payguard.state_transitions()'),
    ('auditor',  false, 'payguard.decisions()'),
    ('auditor',  false, 'payguard.order_status(text)'),
    ('auditor',  false, 'payguard.order_timeline(text)'),
    ('auditor',  false, 'payguard.payment_rates(interval,text)'),
    ('auditor',  false, 'payguard.read_counters()'),
    ('auditor',  false, 'payguard.consumer_lags()'),
    ('auditor',  false, 'payguard.guard_problems()'),
    ('auditor',  false, 'payguard.lost_guards()'),
    ('auditor',  false, 'payguard.guard_bad_rows(regclass)'),
    ('auditor',  false, 'payguard.guard_triggers()'),
    ('auditor',  false, 'payguard.guard_settings(oid)'),
    ('owner',    true,  'payguard.guard_table(regclass,text,jsonb,text,text[],text[],text[],text[],text,text[],text[],boolean)'),
    ('owner',    false, 'payguard.unguard_table(regclass)'),
    ('owner',    false, 'payguard.guard_triggers()'),
    ('owner',    false, 'payguard.guard_settings(oid)'),
    ('delegate', true,  'payguard.current_actor()')
$$;
COMMENT ON FUNCTION payguard.access_functions() IS
  'The functions of each access; an operator may also read alerts, dead_tasks, approvals, policies, metrics and settlement_lines, into which he may load statements, a consumer the outbox, an owner guards, an auditor all tables';

CREATE FUNCTION payguard.role_access(OUT role name, OUT access text) RETURNS SETOF record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT r.rolname, f.access
  FROM payguard.access_functions() f
  JOIN pg_proc p ON p.oid = f.function::regprocedure
  CROSS JOIN LATERAL aclexplode(p.proacl) a
  JOIN pg_roles r ON r.oid = a.grantee
  WHERE f.is_marker AND a.privilege_type = 'EXECUTE' AND a.grantee <> p.proowner
$$;
COMMENT ON FUNCTION payguard.role_access() IS 'Which role has been granted which access';

CREATE FUNCTION payguard.apply_access(role name, access text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  f text;
BEGIN
  EXECUTE format('GRANT USAGE ON SCHEMA payguard TO %I', role);
  FOR f IN SELECT a.function FROM payguard.access_functions() a WHERE a.access = apply_access.access LOOP
    EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %I', f::regprocedure, role);
  END LOOP;
  IF access IN ('operator', 'auditor') THEN
    EXECUTE format('GRANT SELECT ON payguard.alerts, payguard.dead_tasks, payguard.approvals, payguard.policies, payguard.metrics, payguard.stat_counters TO %I', role);
  END IF;
  IF access IN ('consumer', 'auditor') THEN
    EXECUTE format('GRANT SELECT ON payguard.outbox TO %I', role);
  END IF;
  IF access = 'operator' THEN
    -- all but what the database fills in
    EXECUTE format('GRANT SELECT, INSERT (channel, kind, channel_status, channel_txn_id, channel_refund_id, payment_id, '
                   'order_id, refund_id, amount, currency, channel_time) ON payguard.settlement_lines TO %I', role);
    EXECUTE format('GRANT USAGE ON SEQUENCE payguard.settlement_lines_line_id_seq TO %I', role);
  END IF;
  IF access IN ('owner', 'auditor') THEN
    EXECUTE format('GRANT SELECT ON payguard.guards TO %I', role);
  END IF;
  IF access = 'auditor' THEN
    FOR f IN SELECT payguard.own_tables() LOOP
      EXECUTE format('GRANT SELECT ON payguard.%I TO %I', f, role);
    END LOOP;
    EXECUTE format('GRANT SELECT ON payguard.every_order, payguard.every_payment, payguard.every_refund, '
                   'payguard.every_refund_balance, payguard.every_event, payguard.every_notification, '
                   'payguard.every_approval TO %I', role);
  END IF;
END
$$;
COMMENT ON FUNCTION payguard.apply_access(name, text) IS
  'Grants what belongs to an access; an upgrade calls it for what role_access() remembers';

CREATE FUNCTION payguard.check_access(role name, access text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF role IS NULL OR access IS NULL THEN
    RAISE null_value_not_allowed USING
      MESSAGE = CASE WHEN role IS NULL THEN 'role' ELSE 'access' END || ' must not be null',
      DETAIL = 'Nothing has been granted or revoked.', HINT = 'Give a role and an access.';
  END IF;
  IF NOT EXISTS (SELECT FROM payguard.access_functions() a WHERE a.access = check_access.access) THEN
    RAISE invalid_parameter_value USING
      MESSAGE = format('access %s does not exist', to_json(access)),
      DETAIL = 'Nothing has been granted or revoked.',
      HINT = 'There are: ' || (SELECT string_agg(DISTINCT a.access, ', ')
                               FROM payguard.access_functions() a) || '.';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
    RAISE undefined_object USING
      MESSAGE = format('role %s does not exist', to_json(role)),
      DETAIL = 'Nothing has been granted or revoked.', HINT = 'Create the role first.';
  END IF;
END
$$;
COMMENT ON FUNCTION payguard.check_access(name, text) IS 'The argument checks of grant_access() and revoke_access()';

CREATE FUNCTION payguard.grant_access(role name, access text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM payguard.check_access(role, access);
  PERFORM payguard.apply_access(role, access);
END
$$;
COMMENT ON FUNCTION payguard.grant_access(name, text) IS
  'Gives a role an access: checkout, cashier, channel, operator, consumer, auditor, owner (of tables to guard) or delegate';

CREATE FUNCTION payguard.revoke_access(role name, access text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  kept text[];
  a text;
BEGIN
  PERFORM payguard.check_access(role, access);
  kept := ARRAY(SELECT r.access FROM payguard.role_access() r
                WHERE r.role = revoke_access.role AND r.access <> revoke_access.access);
  EXECUTE format('REVOKE ALL ON ALL ROUTINES IN SCHEMA payguard FROM %I', role);
  EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA payguard FROM %I', role);
  EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA payguard FROM %I', role);
  EXECUTE format('REVOKE ALL ON SCHEMA payguard FROM %I', role);
  FOREACH a IN ARRAY kept LOOP
    PERFORM payguard.apply_access(role, a);
  END LOOP;
END
$$;
COMMENT ON FUNCTION payguard.revoke_access(name, text) IS
  'Takes an access from a role, which keeps what its other accesses need';

CREATE FUNCTION payguard.renew_access() RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_renew_access'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION payguard.renew_access() IS
  'Grants each role what its accesses consist of now: called by an update, and after restoring the dump of an older version';
-- What has been made is the owner's alone: nothing of it is PUBLIC's, or theirs to whom ALTER
-- DEFAULT PRIVILEGES gives something. This goes on record as the initial privileges of each object,
-- so that an update, which runs this too, leaves alone what was made before.
DO $$
DECLARE
  made record;
BEGIN
  FOR made IN
    SELECT o.name, pg_catalog.string_agg(DISTINCT ', ' || pg_catalog.quote_ident(r.rolname), '') AS others
    FROM (
      SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, c.relacl, c.relowner,
             pg_catalog.format('%s %s', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::pg_catalog.regclass)
      FROM pg_catalog.pg_class c
      WHERE c.relnamespace = 'payguard'::pg_catalog.regnamespace AND c.relkind IN ('r', 'v', 'S')
      UNION ALL
      SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, p.proacl, p.proowner,
             pg_catalog.format('ROUTINE %s', p.oid::pg_catalog.regprocedure)
      FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'payguard'::pg_catalog.regnamespace
      UNION ALL
      SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, t.typacl, t.typowner,
             pg_catalog.format('TYPE %s', t.oid::pg_catalog.regtype)
      FROM pg_catalog.pg_type t JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
      WHERE t.typnamespace = 'payguard'::pg_catalog.regnamespace AND c.relkind = 'c'
      UNION ALL
      SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass, n.oid, n.nspacl, n.nspowner, 'SCHEMA payguard'
      FROM pg_catalog.pg_namespace n WHERE n.nspname = 'payguard'
    ) o (class, id, acl, owner, name)
    LEFT JOIN LATERAL pg_catalog.aclexplode(o.acl) a ON a.grantee <> o.owner
    LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_init_privs i
                      WHERE i.classoid = o.class AND i.objoid = o.id AND i.objsubid = 0)
    GROUP BY o.class, o.id, o.name
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM PUBLIC%s', made.name, made.others);
    IF made.name LIKE 'TYPE %' THEN
      EXECUTE pg_catalog.format('GRANT USAGE ON %s TO PUBLIC', made.name);
    ELSIF made.name IN ('ROUTINE payguard.guard()', 'ROUTINE payguard.guard_truncate()') THEN
      -- Whoever adds a partition to a guarded table makes its triggers. They can only refuse, and
      -- an event trigger leaves putting them on by hand to superusers.
      EXECUTE pg_catalog.format('GRANT EXECUTE ON %s TO PUBLIC', made.name);
    END IF;
  END LOOP;
END
$$;
