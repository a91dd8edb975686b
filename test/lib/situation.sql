\set ECHO none
-- Shared by the tests of evidence in sql/: orders and payments in every situation, made by the
-- public functions alone, and what has become of them. Ids and times are not shown.
SET client_min_messages = warning;
SELECT count(payguard.register_channel(name, late_success := late, first_query_after := '1 min', reopen_on := kinds)) AS channels
FROM (VALUES ('card', 'accept', '{bank_return}'::text[]), ('bank', 'accept', '{bank_return}'), ('card_accept_expired', 'accept_expired', '{bank_return}'),
             ('card_refund', 'refund', '{bank_return}'), ('card_failed', 'accept', '{failed,bank_return}')) c (name, late, kinds);
-- give_deadline(id): gives an unpaid order a deadline, which is near, but not over before it is given.
CREATE FUNCTION pg_temp.give_deadline(id text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  patience interval := '5 ms';
BEGIN
  LOOP
    BEGIN
      PERFORM payguard.update_order(id, (SELECT version FROM payguard.orders WHERE order_id = id), expires_at := clock_timestamp() + patience);
      RETURN;
    EXCEPTION WHEN invalid_parameter_value THEN
      patience := patience * 4;
    END;
  END LOOP;
END
$$;
-- past(id): waits until an order's deadline is over, and expires it.
CREATE FUNCTION pg_temp.past(id text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_sleep(extract(epoch FROM expires_at - clock_timestamp()) + 0.001) FROM payguard.orders WHERE order_id = id;
  PERFORM payguard.expire_orders();
END
$$;
-- start(id, name): an attempt, whose key is the order's id and the name.
CREATE FUNCTION pg_temp.start(id text, name text, channel text DEFAULT 'card') RETURNS uuid LANGUAGE sql AS $$
  SELECT payment_id FROM payguard.start_payment(id, id || '/' || name, channel)
$$;
-- give_word(payment, status): settle_payment(), for its effect: an operator has asked the channel since.
CREATE FUNCTION pg_temp.give_word(payment uuid, status text, txn text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
  SELECT outcome || CASE WHEN replayed THEN ' again' ELSE '' END FROM payguard.settle_payment(payment, status, 'asked', txn)
$$;
-- say(payment, ...): report_payment(), for its effect.
CREATE FUNCTION pg_temp.say(payment uuid, status text, txn text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL)
RETURNS text LANGUAGE sql AS $$
  SELECT outcome || CASE WHEN replayed THEN ' again' ELSE '' END FROM payguard.report_payment(payment, status, txn, amount, currency)
$$;
-- id(order, name): the payment that was started under that name.
CREATE FUNCTION pg_temp.id(id text, name text) RETURNS uuid LANGUAGE sql STABLE AS $$
  SELECT payment_id FROM payguard.payments WHERE idempotency_key = id || '/' || name
$$;
-- make(id, situation, channel, txn): an order of 1000 EUR and its attempt "this", in a situation
-- by name; txn: the transaction that "this" is known by, or NULL. Returns the attempt.
CREATE FUNCTION pg_temp.make(id text, situation text, channel text DEFAULT 'card', txn text DEFAULT NULL)
RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
  this uuid; other uuid; state text := split_part(situation, ', ', 1); of_order text := split_part(situation, ', ', 2);
  patience interval := '25 ms';
BEGIN
  LOOP
    -- where the machine is slow and the deadline over too early: once more, with more time
    BEGIN
      PERFORM payguard.create_order(id, 1000, 'EUR', expires_at := CASE WHEN of_order = 'to be expired' THEN clock_timestamp() + patience END);
      IF state <> 'superseded' THEN this := pg_temp.start(id, 'this', channel); END IF;
      EXIT;
    EXCEPTION WHEN SQLSTATE 'PY102' OR invalid_parameter_value THEN
      patience := patience * 4;
    END;
  END LOOP;
  IF state = 'superseded' THEN
    other := pg_temp.start(id, 'other', channel);
    PERFORM pg_temp.say(other, 'failed');
    this := pg_temp.start(id, 'this', channel);
    IF txn IS NOT NULL THEN PERFORM pg_temp.say(this, 'pending', txn); END IF;
    PERFORM pg_temp.say(other, 'succeeded', id || '/other', 1000, 'EUR');
    RETURN this;
  END IF;
  IF txn IS NOT NULL AND state NOT IN ('succeeded', 'surplus', 'returned') THEN PERFORM pg_temp.say(this, 'pending', txn); END IF;
  CASE state
    WHEN 'pending' THEN NULL;
    WHEN 'unknown' THEN PERFORM pg_temp.say(this, 'unknown');
    WHEN 'processing' THEN PERFORM pg_temp.say(this, 'processing');
    WHEN 'authorized' THEN PERFORM pg_temp.say(this, 'authorized');
    WHEN 'capturing' THEN
      PERFORM pg_temp.say(this, 'authorized');
      PERFORM payguard.capture_payment(this);
    WHEN 'revived' THEN
      PERFORM pg_temp.say(this, 'failed');
      PERFORM payguard.settle_payment(this, 'pending', 'the channel goes on with it');
    WHEN 'returned' THEN
      PERFORM pg_temp.say(this, 'succeeded', txn, 1000, 'EUR');
      PERFORM payguard.record_reversal(channel, id || '/back', txn, 'bank_return', 1000, 'EUR');
    WHEN 'closing' THEN
      CASE of_order
        WHEN 'to be cancelled' THEN PERFORM payguard.cancel_order(id);
        WHEN 'to be expired' THEN PERFORM pg_temp.past(id);
        ELSE PERFORM payguard.close_payment(this);
      END CASE;
    WHEN 'succeeded' THEN
      IF of_order = 'not verified' THEN PERFORM pg_temp.say(this, 'succeeded', txn);
      ELSE PERFORM pg_temp.say(this, 'succeeded', txn, 1000, 'EUR'); END IF;
    ELSE PERFORM pg_temp.say(this, 'failed');
  END CASE;
  CASE of_order
    WHEN 'paying by another' THEN PERFORM pg_temp.start(id, 'other', 'bank');
    WHEN 'another to be cancelled' THEN
      PERFORM pg_temp.start(id, 'other', 'bank');
      PERFORM payguard.cancel_order(id);
    WHEN 'cancelled' THEN PERFORM payguard.cancel_order(id);
    WHEN 'expired' THEN PERFORM pg_temp.give_deadline(id), pg_temp.past(id);
    WHEN 'paid', 'refunded' THEN
      IF state IN ('failed', 'surplus', 'returned') THEN
        PERFORM pg_temp.say(pg_temp.start(id, 'other', 'bank'), 'succeeded', id || '/other', 1000, 'EUR');
      END IF;
      IF of_order = 'refunded' THEN
        PERFORM payguard.report_refund(refund_id, 'succeeded') FROM payguard.refund_order(id, id || '/refund', reason := 'returned');
      END IF;
    ELSE NULL;
  END CASE;
  IF state = 'surplus' THEN PERFORM pg_temp.say(this, 'succeeded', txn, CASE of_order WHEN 'unpaid' THEN 999 ELSE 1000 END, 'EUR'); END IF;
  RETURN this;
END
$$;
-- What there is of an order: its payments, refunds, tasks and open alerts, by the names of the
-- payments: this, other, or new where no call of ours began it.
CREATE FUNCTION pg_temp.named(payment uuid) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT coalesce(split_part(idempotency_key, '/', 2), 'new') FROM payguard.payments WHERE payment_id = payment
$$;
CREATE FUNCTION pg_temp.payments_of(id text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT string_agg(concat_ws(' ', pg_temp.named(payment_id), status, received_amount, received_currency,
                              CASE WHEN received_amount IS NOT NULL AND NOT amount_verified THEN '?' END), ', '
                    ORDER BY pg_temp.named(payment_id), created_at, payment_id)
  FROM payguard.payments WHERE order_id = id
$$;
CREATE FUNCTION pg_temp.refunds_of(id text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT string_agg(concat_ws(' ', pg_temp.named(payment_id), r.status, r.amount, nullif(r.returned_amount, r.amount), nullif(r.origin, 'surplus')), ', '
                    ORDER BY pg_temp.named(payment_id), r.created_at, r.refund_id)
  FROM payguard.refunds r WHERE order_id = id
$$;
CREATE FUNCTION pg_temp.tasks_of(id text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT string_agg(kind || ' ' || pg_temp.named(payment_id), ', ' ORDER BY kind, pg_temp.named(payment_id), task_id)
  FROM payguard.tasks WHERE order_id = id
$$;
CREATE FUNCTION pg_temp.alerts_of(id text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT string_agg(kind || CASE severity WHEN 'critical' THEN '!' ELSE '' END || coalesce(' ' || pg_temp.named(payment_id), ''), ', '
                    ORDER BY kind, pg_temp.named(payment_id), alert_id)
  FROM payguard.alerts WHERE order_id = id AND resolved_at IS NULL
$$;
CREATE FUNCTION pg_temp.order_of(id text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT concat_ws(' ', status, CASE WHEN closing_as IS NOT NULL THEN '(to be ' || closing_as || ')' END,
                   CASE WHEN payment_id IS NOT NULL THEN 'by ' || pg_temp.named(payment_id) END,
                   CASE WHEN refunded_amount > 0 THEN 'back ' || refunded_amount END)
  FROM payguard.orders WHERE order_id = id
$$;
CREATE FUNCTION pg_temp.all_of(id text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT concat_ws(' | ', pg_temp.order_of(id), pg_temp.payments_of(id), pg_temp.refunds_of(id),
                   'tasks: ' || pg_temp.tasks_of(id), 'alerts: ' || pg_temp.alerts_of(id))
$$;
-- answer(statement): what it answers, or the SQLSTATE and message of its error.
CREATE FUNCTION pg_temp.answer(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  result text; code text; name text; detail text;
BEGIN
  EXECUTE statement INTO result;
  RETURN coalesce(result, 'done');
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, name = CONSTRAINT_NAME, result = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
  RETURN regexp_replace(regexp_replace(concat_ws(' | ', concat_ws(' ', code, nullif(name, '')), result, nullif(detail, '')),
    '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', '<id>', 'g'),
    '(\w{3} \w{3} \d\d \d\d:\d\d:\d\d(\.\d+)? \d{4} \w+|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?[+-]\d\d(:\d\d)?)', '<time>', 'g');
END
$$;
-- written(): two calls that return the same: nothing was written between them.
CREATE FUNCTION pg_temp.written() RETURNS text LANGUAGE sql AS $$
  SELECT md5(concat((SELECT string_agg(x::text, '|' ORDER BY order_id) FROM payguard.orders x),
                    (SELECT string_agg(x::text, '|' ORDER BY payment_id) FROM payguard.payments x),
                    (SELECT string_agg(x::text, '|' ORDER BY refund_id) FROM payguard.refunds x),
                    (SELECT string_agg(x::text, '|' ORDER BY payment_id) FROM payguard.refund_balances x),
                    (SELECT string_agg(x::text, '|' ORDER BY task_id) FROM payguard.tasks x),
                    (SELECT string_agg(x::text, '|' ORDER BY alert_id) FROM payguard.alerts x),
                    (SELECT string_agg(x::text, '|' ORDER BY channel, event_id) FROM payguard.notifications x),
                    (SELECT string_agg(x::text, '|' ORDER BY order_id) FROM payguard.deadlines x),
                    (SELECT string_agg(x::text, '|' ORDER BY name) FROM payguard.channels x),
                    (SELECT string_agg(x::text, '|' ORDER BY event_id) FROM payguard.events x)))
$$;
\set VERBOSITY terse
\set ECHO all
