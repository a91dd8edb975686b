-- What payguard is measured beside: the same tables without it, and code that uses them.
CREATE SCHEMA bench;
CREATE TABLE bench.orders (LIKE payguard.orders INCLUDING ALL) WITH (fillfactor = 80);
CREATE TABLE bench.payments (LIKE payguard.payments INCLUDING ALL) WITH (fillfactor = 90);
CREATE TABLE bench.events (LIKE payguard.events INCLUDING ALL);
CREATE SEQUENCE bench.events_event_id_seq CACHE 1;
ALTER TABLE bench.events ALTER event_id SET DEFAULT nextval('bench.events_event_id_seq');

-- L1 and APP keep what an application usually keeps: payments with a unique key, no history.
CREATE TABLE bench.lean_orders (LIKE payguard.orders INCLUDING ALL) WITH (fillfactor = 80);
CREATE TABLE bench.lean_payments (
  payment_id      uuid NOT NULL DEFAULT gen_random_uuid(),
  order_id        text COLLATE "C" NOT NULL,
  idempotency_key text COLLATE "C" PRIMARY KEY,
  amount          bigint NOT NULL,
  currency        text COLLATE "C" NOT NULL,
  created_at      timestamptz NOT NULL
);

-- PL: pay_order() as it would be written in PL/pgSQL, with the same answers.
CREATE TYPE bench.answer AS (
  outcome text, order_id text, payment_id uuid, order_status text, payment_status text,
  version bigint, amount bigint, currency text, completed_at timestamptz, replayed boolean,
  message text);

CREATE FUNCTION bench.known(call_order text, call_amount bigint, call_currency text, p bench.payments)
RETURNS bench.answer LANGUAGE plpgsql AS $$
BEGIN
  IF p.order_id <> call_order OR call_amount <> p.amount OR call_currency <> p.currency
     OR p.channel <> 'internal' OR p.request_kind <> 'pay' THEN
    RAISE EXCEPTION 'idempotency key "%" was used for another request', p.idempotency_key;
  END IF;
  IF p.status = 'failed' THEN
    RAISE EXCEPTION 'the payment with idempotency key "%" failed', p.idempotency_key;
  END IF;
  RETURN ('paid', p.order_id, p.payment_id, 'paid', p.status, p.order_version, p.amount, p.currency,
          p.completed_at, true, 'The order is paid.')::bench.answer;
END
$$;

CREATE FUNCTION bench.check_payable(o bench.orders, call_version bigint, call_amount bigint,
                                    call_currency text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF o.order_id IS NULL THEN
    RAISE EXCEPTION 'the order does not exist';
  ELSIF o.status <> 'unpaid' OR o.expires_at <= clock_timestamp() THEN
    RAISE EXCEPTION 'order "%" is %', o.order_id, o.status;
  ELSIF o.version <> call_version THEN
    RAISE EXCEPTION 'order "%" has changed', o.order_id;
  ELSIF o.amount <> call_amount OR o.currency <> call_currency THEN
    RAISE EXCEPTION 'order "%" asks for another amount', o.order_id;
  END IF;
END
$$;

CREATE FUNCTION bench.pay_order(call_order text, call_key text, call_amount bigint DEFAULT NULL,
  call_currency text DEFAULT NULL, call_version bigint DEFAULT NULL)
RETURNS bench.answer LANGUAGE plpgsql AS $$
DECLARE
  p bench.payments;
  o bench.orders;
  now timestamptz;
BEGIN
  SELECT * INTO p FROM bench.payments WHERE idempotency_key = call_key;
  IF FOUND THEN
    RETURN bench.known(call_order, call_amount, call_currency, p);
  END IF;
  SELECT * INTO o FROM bench.orders WHERE order_id = call_order;
  PERFORM bench.check_payable(o, call_version, call_amount, call_currency);

  SELECT * INTO o FROM bench.orders WHERE order_id = call_order FOR NO KEY UPDATE;
  SELECT * INTO p FROM bench.payments WHERE idempotency_key = call_key;
  IF FOUND THEN
    RETURN bench.known(call_order, call_amount, call_currency, p);
  END IF;
  PERFORM bench.check_payable(o, call_version, call_amount, call_currency);
  now := clock_timestamp();
  INSERT INTO bench.payments (payment_id, order_id, idempotency_key, channel, amount, currency,
      received_amount, received_currency, amount_verified, status, order_version, request_kind,
      created_at, completed_at)
    VALUES (gen_random_uuid(), o.order_id, call_key, 'internal', o.amount, o.currency, o.amount,
      o.currency, true, 'succeeded', o.version + 1, 'pay', now, now)
    ON CONFLICT (idempotency_key) DO NOTHING
    RETURNING * INTO p;
  IF NOT FOUND THEN
    SELECT * INTO p FROM bench.payments WHERE idempotency_key = call_key;
    RETURN bench.known(call_order, call_amount, call_currency, p);
  END IF;
  UPDATE bench.orders SET status = 'paid', version = version + 1, payment_id = p.payment_id,
      updated_at = now WHERE order_id = call_order;
  INSERT INTO bench.events (at, order_id, payment_id, kind, from_status, to_status, version, actor)
    VALUES (now, o.order_id, p.payment_id, 'order.paid', 'unpaid', 'paid', o.version + 1, session_user);
  RETURN ('paid', o.order_id, p.payment_id, 'paid', p.status, o.version + 1, p.amount, p.currency,
          now, false, 'The order is paid.')::bench.answer;
END
$$;

-- Code that locks before it looks: what most payment code does.
CREATE FUNCTION bench.pay_lock_first(call_order text, call_key text)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  o bench.orders;
  p bench.payments;
BEGIN
  SELECT * INTO o FROM bench.orders WHERE order_id = call_order FOR NO KEY UPDATE;
  SELECT * INTO p FROM bench.payments WHERE idempotency_key = call_key;
  IF FOUND THEN
    RETURN 'replayed';
  END IF;
  IF o.status <> 'unpaid' THEN
    RETURN 'order_already_paid';
  END IF;
  INSERT INTO bench.payments (payment_id, order_id, idempotency_key, channel, amount, currency,
      received_amount, received_currency, amount_verified, status, order_version, request_kind,
      created_at, completed_at)
    VALUES (gen_random_uuid(), o.order_id, call_key, 'internal', o.amount, o.currency, o.amount,
      o.currency, true, 'succeeded', o.version + 1, 'pay', now(), now());
  UPDATE bench.orders SET status = 'paid', version = version + 1, updated_at = now()
    WHERE order_id = call_order;
  RETURN 'paid';
END
$$;
