-- Cases: what a person must look at, told in sentences, with what may be done about it.
CREATE FUNCTION payguard.refusal_of(action text, order_id text, payment_id uuid, other_id uuid, number bigint)
RETURNS text
AS 'MODULE_PATHNAME', 'payguard_refusal_of'
LANGUAGE C STABLE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.refusal_of(text, text, uuid, uuid, bigint) IS
  'Part of cases: why an operator''s call would be refused now. NULL: it would not';

CREATE FUNCTION payguard.major_text(amount bigint, currency text) RETURNS text
AS 'MODULE_PATHNAME', 'payguard_major_text'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION payguard.major_text(bigint, text) IS
  'Part of cases: an amount in major units as text. If ISO 4217 does not know the currency: the amount as it is stored';

CREATE FUNCTION payguard.money(amount bigint, currency text) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$ SELECT jsonb_build_object('amount', amount, 'currency', currency, 'major', payguard.major_text(amount, currency)) $$;
COMMENT ON FUNCTION payguard.money(bigint, text) IS 'Part of cases: an amount as a fact of a story';

CREATE FUNCTION payguard.tell(sentence text, facts jsonb) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  -- every second part stood in braces
  SELECT string_agg(CASE
      WHEN n % 2 = 1 THEN part
      WHEN jsonb_typeof(facts -> part) = 'object' AND facts -> part ? 'major' THEN concat_ws(' ', facts -> part ->> 'major', facts -> part ->> 'currency')
      WHEN jsonb_typeof(facts -> part) = 'object' AND facts -> part ? 'at' THEN to_char((facts -> part ->> 'at')::timestamptz, 'YYYY-MM-DD HH24:MI')
      ELSE coalesce(facts ->> part, '?') END, '' ORDER BY n)
  FROM regexp_split_to_table(sentence, '[{}]') WITH ORDINALITY p (part, n)
$$;
COMMENT ON FUNCTION payguard.tell(text, jsonb) IS
  'Part of cases: fills the facts into a sentence. Money is in major units, times are in the session''s time zone';

-- What is known around an alert: its order, payment and refund, and the payment that pays the order.
CREATE TYPE payguard.case_subject AS (
  alert    payguard.alerts,
  of_order payguard.orders,
  payment  payguard.payments,
  refund   payguard.refunds,
  paying   payguard.payments
);
COMMENT ON TYPE payguard.case_subject IS 'Part of cases: an alert and the rows that it is about';

CREATE FUNCTION payguard.case_subject_of(case_id bigint) RETURNS payguard.case_subject
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  s payguard.case_subject;
  a payguard.alerts;
  o payguard.orders;
  p payguard.payments;
  r payguard.refunds;
  q payguard.payments;
BEGIN
  SELECT * INTO a FROM payguard.alerts x WHERE x.alert_id = case_id;
  SELECT * INTO p FROM payguard.every_payment x WHERE x.payment_id = a.payment_id;
  IF a.refund_id IS NOT NULL THEN
    SELECT * INTO r FROM payguard.every_refund x WHERE x.refund_id = a.refund_id;
  ELSE
    -- of money that its order does not need: the refund that is to be decided about, or was
    SELECT * INTO r FROM payguard.every_refund x
    WHERE x.payment_id = a.payment_id AND x.origin = 'surplus' AND x.status <> 'merged'
    ORDER BY x.status IN ('awaiting_approval', 'pending', 'unknown', 'failed') DESC, x.refund_id DESC LIMIT 1;
  END IF;
  IF p.payment_id IS NULL THEN
    SELECT * INTO p FROM payguard.every_payment x WHERE x.payment_id = r.payment_id;
  END IF;
  SELECT * INTO o FROM payguard.every_order x WHERE x.order_id = coalesce(a.order_id, p.order_id);
  SELECT * INTO q FROM payguard.every_payment x WHERE x.payment_id = o.payment_id;
  s.alert := a; s.of_order := o; s.payment := p; s.refund := r; s.paying := q;
  RETURN s;
END
$$;
COMMENT ON FUNCTION payguard.case_subject_of(bigint) IS 'Part of cases: the rows that an alert is about';

CREATE FUNCTION payguard.case_story(case_id bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  s payguard.case_subject := payguard.case_subject_of(case_id);
  a payguard.alerts := s.alert;
  o payguard.orders := s.of_order;
  p payguard.payments := s.payment;
  r payguard.refunds := s.refund;
  q payguard.payments := s.paying;
  happened text;
  outlook text;
  facts jsonb;
  asked_of_channel bigint;
BEGIN
  IF a.alert_id IS NULL THEN
    RETURN NULL;
  END IF;
  IF a.kind = 'capture_failed' AND p.capture_amount IS NULL THEN
    -- the capture has ended; its event says what it asked for
    asked_of_channel := coalesce((SELECT (e.details ->> 'amount')::bigint FROM payguard.every_event e
      WHERE e.order_id = p.order_id AND e.payment_id = p.payment_id AND e.to_status = 'capturing'
      ORDER BY e.event_id DESC LIMIT 1), p.authorized_amount);
  END IF;
  facts := coalesce(a.details, '{}') || jsonb_strip_nulls(jsonb_build_object(
    'order', coalesce(a.order_id, o.order_id), 'customer', o.customer_id,
    'channel', coalesce(r.channel, p.channel, a.details ->> 'channel', a.cause), 'cause', a.cause,
    'txn', coalesce(a.details ->> 'channel_txn_id', p.channel_txn_id),
    -- a channel's name, and its number of the charge
    'payer', p.channel || coalesce(' (' || p.channel_txn_id || ')', ''),
    'first', q.channel || coalesce(' (' || q.channel_txn_id || ')', ''),
    'since', jsonb_build_object('at', coalesce(r.created_at, p.created_at, a.opened_at)),
    'back_at', CASE WHEN r.completed_at IS NOT NULL THEN jsonb_build_object('at', r.completed_at) END,
    'asked', payguard.money(o.amount, o.currency), 'attempt', payguard.money(coalesce(p.capture_amount, asked_of_channel, p.amount), p.currency),
    'reserved', payguard.money(p.authorized_amount, p.currency),
    'until', CASE WHEN p.capture_before IS NOT NULL THEN jsonb_build_object('at', p.capture_before) END,
    'paid', payguard.money(q.received_amount, q.received_currency), 'paid_by', q.channel,
    'received', payguard.money(p.received_amount, p.received_currency), 'refund', payguard.money(r.amount, r.currency),
    'back', payguard.money(coalesce(r.returned_amount, r.amount), r.currency),
    'line', payguard.money((a.details ->> 'amount')::bigint, a.details ->> 'currency'),
    'known', payguard.money((a.details ->> 'known_amount')::bigint, a.details ->> 'known_currency')));
  outlook := CASE r.status
    WHEN 'awaiting_approval' THEN '{refund} wait: a second person decides whether they go back.'
    WHEN 'pending' THEN '{refund} go back by themselves; there is nothing to do unless that fails.'
    WHEN 'unknown' THEN '{channel} has not said whether {refund} went back; it is being asked.'
    WHEN 'failed' THEN 'Sending {refund} back has failed.'
    WHEN 'succeeded' THEN '{back} went back on {back_at}.'
    WHEN 'waived' THEN '{refund} stay with us.' END;
  CASE a.kind
  WHEN 'surplus_payment' THEN
    happened := CASE
      WHEN q.payment_id <> p.payment_id THEN 'Order {order} was paid twice: by {first} and by {payer}.'
      WHEN o.status = 'cancelled' THEN 'Order {order} is cancelled, and {received} came by {payer} all the same.'
      WHEN o.status = 'expired' THEN 'Order {order} has expired, and {received} came by {payer} after that.'
      ELSE '{received} came by {payer} for order {order}, which does not need them.' END;
  WHEN 'second_charge' THEN
    happened := 'Order {order}: {channel} tells of a second charge ({txn}) of {received}. It may be a second name of the first.';
    outlook := CASE WHEN r.status = 'awaiting_approval' AND (p.received_amount, p.received_currency) = (q.received_amount, q.received_currency) THEN
      'Look in the console of {channel} how often it took the money. If twice, send {refund} back; if once, both payments are one and the same.'
      ELSE outlook END;
  WHEN 'amount_mismatch' THEN
    happened := CASE
      WHEN a.resolved_at IS NOT NULL THEN 'Order {order}: {received} came by {payer}, which was not what it asked for.'
      WHEN p.status = 'succeeded' THEN 'Order {order} is paid, and {channel} has corrected what it took: {received}.'
      WHEN p.received_currency <> o.currency THEN 'Order {order} asks for {asked}, and {received} came by {payer}.'
      ELSE 'Order {order}: {received} of {asked} came by {payer}.' END;
    outlook := CASE WHEN r.status = 'awaiting_approval' THEN 'Decide: accept it, or send it back.' ELSE outlook END;
  WHEN 'overpaid' THEN
    happened := 'Order {order} asks for {asked} and was paid with {received} by {payer}.';
  WHEN 'late_success' THEN
    happened := 'Order {order}: the payment by {payer} had failed and has succeeded after all.';
    outlook := 'The order is paid. Whoever told the customer that it failed should know.';
  WHEN 'attempt_superseded' THEN
    -- the alert's payment is the one that has paid
    happened := 'Order {order} was paid by {payer} while its customer was paying another way.';
    outlook := 'The other attempt is being closed; what comes by it goes back.';
  WHEN 'attempt_alive' THEN
    happened := 'Order {order}: {channel} goes on with a payment of {attempt} that has failed here.';
    outlook := '{channel} is being asked to close it.';
  WHEN 'authorized_less' THEN
    happened := 'Order {order} asks for {asked}, and {channel} has reserved {reserved}.';
    outlook := 'Nothing is taken before the order asks for no more than that.';
  WHEN 'authorization_expiring' THEN
    happened := CASE WHEN p.capture_before > clock_timestamp() THEN 'Order {order}: {reserved} are reserved by {payer} until {until}, and are not taken yet.'
      ELSE 'Order {order}: {reserved} were reserved by {payer} until {until}, and nobody has taken them.' END;
    outlook := CASE WHEN p.capture_before > clock_timestamp() THEN 'Take them when the order is sent, or give them up. After that {channel} lets go of them.'
      ELSE '{channel} may have let go of them.' END;
  WHEN 'capture_failed' THEN
    happened := CASE WHEN p.status NOT IN ('authorized', 'capturing') THEN 'Order {order}: money that was reserved by {payer} could not be taken.'
      WHEN facts -> 'attempt' = facts -> 'reserved' THEN 'Order {order}: {channel} has refused to take the {reserved} that it has reserved.'
      ELSE 'Order {order}: {channel} has not taken the {attempt} that it was asked for, and has {reserved} reserved.' END;
    outlook := CASE WHEN p.status IN ('authorized', 'capturing') AND o.amount > p.authorized_amount THEN 'Nothing is taken before the order asks for no more than that.'
      WHEN p.status IN ('authorized', 'capturing') THEN 'They are reserved still. Have them taken once more, or give them up.'
      WHEN o.status IN ('unpaid', 'paying') THEN 'The order is not paid. If it was sent, ask its customer to pay.'
      ELSE 'Find out whether the order was sent.' END;
  WHEN 'suspected_duplicate' THEN
    happened := 'Order {order} over {attempt} was paid, and its customer had just paid order {duplicate_of} over the same amount.';
    outlook := 'Ask the customer whether both are meant.';
  WHEN 'approval_required' THEN
    happened := CASE
      WHEN a.refund_id IS NOT NULL THEN 'Order {order}: a refund of {refund} by {channel} waits for a second person.'
      WHEN a.details ? 'duplicate_of' THEN 'Order {order} over {asked} seems to repeat order {duplicate_of}, and waits for a second person.'
      ELSE 'Order {order} over {asked} waits for a second person.' END;
    outlook := 'Whoever asked for it does not decide.';
  WHEN 'policy_changed' THEN
    happened := '{changed_by} has changed a policy for {currency}.';
    outlook := 'It says from which amount on a second person decides. Was it agreed?';
  WHEN 'contradiction' THEN
    happened := CASE WHEN p.payment_id IS NULL THEN 'Order {order}: {channel} has said something that cannot be true with what is known.'
      WHEN a.details ? 'channel_status' THEN 'Order {order}: {channel} says "{channel_status}" of the payment by {payer}, which cannot be true with what is known.'
      ELSE 'Order {order}: {channel} has said something of the payment by {payer} that cannot be true with what is known.' END;
    outlook := 'What was known stays. Ask the channel.';
  WHEN 'txn_reused' THEN
    happened := 'Order {order}: {channel} names the transaction {txn}, which is another payment''s.';
    outlook := 'Nothing has changed. Find out which of the two it is.';
  WHEN 'unmatched_notification' THEN
    happened := '{channel} tells of something that nobody here knows.';
    outlook := 'The message is kept. It is applied when what it is about appears.';
  WHEN 'unreadable_evidence' THEN
    happened := '{channel} says something that cannot be read: {code}.';
    outlook := 'Money may have moved. The messages are kept, and nothing of them is applied.';
  WHEN 'archived_evidence' THEN
    happened := '{channel} tells of order {order}, which was archived.';
    outlook := 'The order is back among the others.';
  WHEN 'refund_failed' THEN
    happened := 'Order {order}: {refund} did not go back by {channel}.';
    outlook := 'The customer is still owed them.';
  WHEN 'refund_not_made' THEN
    happened := 'Order {order}: a refund of {refund} by {channel} waits since {since}.';
    outlook := CASE r.status WHEN 'pending' THEN 'It should have gone back by now. The console of {channel} shows whether it did.' ELSE outlook END;
  WHEN 'refund_mismatch' THEN
    happened := CASE
      WHEN a.details ? 'settled_by' THEN 'Order {order}: {channel} says that it sent {back} back, and {settled_by} had settled that refund by hand before.'
      WHEN r.returned_amount <> r.amount THEN 'Order {order}: {channel} gave back {back} instead of {refund}.'
      ELSE 'Order {order}: {channel} says something of a refund of {refund} that does not fit.' END;
    outlook := CASE WHEN a.details ? 'settled_by' THEN 'The customer may have the money twice. Look in the console of {channel}, and where the money was sent by hand.'
      ELSE outlook END;
  WHEN 'refund_exceeds_payment' THEN
    happened := 'Order {order}: more went back by {channel} than came.';
    outlook := 'The rest is the shop''s loss until the channel or the customer returns it.';
  WHEN 'refund_not_approved' THEN
    happened := 'Order {order}: {channel} made a refund of {back} that waited for approval or was given up.';
    outlook := 'The money is gone.';
  WHEN 'chargeback', 'bank_return' THEN
    happened := CASE a.kind WHEN 'chargeback' THEN 'Order {order}: its customer had the bank take {back} back from {payer}.'
      ELSE 'Order {order}: the bank took {back} of the payment by {payer} back.' END;
    outlook := CASE WHEN o.status = 'paid' THEN 'The order still counts as paid. Decide whether its customer pays again.'
      WHEN o.status IN ('unpaid', 'paying') THEN 'The order is open again; its customer has not paid.' END;
  WHEN 'payment_open_too_long' THEN
    happened := 'Order {order}: a payment of {attempt} by {payer} has no outcome since {since}.';
    outlook := 'The order cannot be paid another way until then.';
  WHEN 'dead_task' THEN
    happened := CASE WHEN a.order_id IS NULL THEN 'A task could not be done: {error}.'
      WHEN r.refund_id IS NOT NULL THEN 'Order {order}: {channel} could not be reached to send {refund} back: {error}.'
      ELSE 'Order {order}: {channel} could not be reached ("{kind}"): {error}.' END;
    outlook := CASE WHEN r.refund_id IS NOT NULL THEN
      'It is not tried again by itself. Look in the console of {channel} whether the money went back; if not, have it tried again.'
      ELSE 'It is not tried again by itself.' END;
  WHEN 'success_rate_low' THEN
    happened := 'Payments by {cause} succeed less often than usual: {success_rate}, usually {baseline}.';
  WHEN 'consumer_lag' THEN
    happened := 'The reader {cause} has not taken {events} events.';
  WHEN 'prepared_transaction' THEN
    happened := 'The prepared transaction {cause} has not ended.';
  WHEN 'maintenance_failed' THEN
    happened := 'The duty {duty} of maintain() failed: {problem}';
  WHEN 'verify_failed' THEN
    happened := 'The nightly check has found {violations} records that contradict each other.';
    outlook := 'A database administrator has to look: verify() tells which.';
  WHEN 'out_of_step' THEN
    happened := 'A row of the shop''s own table cannot follow order {order}.';
  WHEN 'settlement_missing_locally' THEN
    happened := 'The statement of {channel} has {line} ({txn}) of which no message told.';
  WHEN 'settlement_missing_at_channel' THEN
    happened := 'The statement of {channel} does not have {known} of order {order}.';
  WHEN 'settlement_amount_mismatch', 'settlement_currency_mismatch' THEN
    happened := 'Order {order}: the statement of {channel} has {line}, its message had {known}.';
  WHEN 'settlement_status_mismatch' THEN
    happened := 'Order {order}: the statement of {channel} says "{channel_status}" of {txn}, which is {known_status} here.';
  WHEN 'settlement_duplicate_success' THEN
    happened := 'Order {order}: the statement of {channel} has a second charge of {line} ({txn}).';
  WHEN 'settlement_late_success' THEN
    happened := 'Order {order}: the statement of {channel} has {line} of a payment that failed.';
  WHEN 'settlement_txn_reused' THEN
    happened := 'The statement of {channel} has {line} ({txn}) for another order than {order}.';
  WHEN 'settlement_refund_mismatch' THEN
    happened := 'Order {order}: the statement of {channel} has another refund ({line}) than is known here.';
  ELSE
    happened := '{order}: ' || translate(a.kind, '_', ' ') || '.';
  END CASE;
  RETURN jsonb_build_object('happened', happened, 'outlook', outlook, 'facts', facts, 'refund_status', r.status,
    'stake', CASE
      WHEN a.kind = 'amount_mismatch' AND p.received_currency = o.currency AND o.amount > p.received_amount
        THEN payguard.money(o.amount - p.received_amount, o.currency)
      WHEN a.kind LIKE 'settlement%' THEN coalesce(facts -> 'line', facts -> 'known')
      WHEN r.refund_id IS NOT NULL THEN facts -> 'back'
      WHEN p.payment_id IS NOT NULL THEN coalesce(facts -> 'received', facts -> 'attempt')
      ELSE facts -> 'asked' END);
END
$$;
COMMENT ON FUNCTION payguard.case_story(bigint) IS
  'Part of cases: what happened and what comes next, as sentences with names in braces; the facts that those names stand for; the money at stake';

CREATE FUNCTION payguard.case_actions(case_id bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  s payguard.case_subject := payguard.case_subject_of(case_id);
  a payguard.alerts := s.alert;
  o payguard.orders := s.of_order;
  p payguard.payments := s.payment;
  r payguard.refunds := s.refund;
  q payguard.payments := s.paying;
  of_finding boolean := starts_with(a.kind, 'settlement_');
  -- whoever asked a second person cannot decide
  asker text := (SELECT x.requested_by FROM payguard.approvals x
                 WHERE x.status = 'open' AND CASE
                   WHEN of_finding THEN x.subject = 'finding' AND x.alert_id = case_id
                   WHEN r.refund_id IS NOT NULL THEN x.subject = 'refund' AND x.refund_id = r.refund_id
                   ELSE x.subject = 'order' AND a.kind = 'approval_required' AND x.order_id = o.order_id END);
  of_refund boolean := r.refund_id IS NOT NULL AND a.kind IN ('surplus_payment', 'overpaid', 'second_charge', 'amount_mismatch',
    'approval_required', 'refund_failed', 'refund_not_made', 'refund_mismatch', 'dead_task');
  is_less boolean := p.received_currency = o.currency AND p.received_amount < o.amount;
  same_as uuid := coalesce(payguard.same_charge_as(p.details), CASE WHEN q.channel = p.channel THEN q.payment_id END);
  -- two names of one charge are of one amount, as far as it is known
  is_same boolean := EXISTS (SELECT FROM payguard.payments x WHERE x.payment_id = same_as
    AND (NOT x.amount_verified OR NOT p.amount_verified
         OR (x.received_amount, x.received_currency) = (p.received_amount, p.received_currency)));
  -- of money that was reserved nobody knows what was taken, where a capture did not ask for it and the order asks for another amount
  is_known boolean := p.capture_amount IS NOT NULL OR p.authorized_amount IS NULL OR (p.authorized_amount >= p.amount AND o.amount = p.amount);
  -- the first word about a finding asks for a second person's
  asks_second boolean := of_finding AND asker IS NULL AND EXISTS (SELECT FROM payguard.policies y
    WHERE y.currency = a.details ->> 'currency' AND y.min_amount <= (a.details ->> 'amount')::bigint
      AND CASE a.details ->> 'kind' WHEN 'payment' THEN y.approve_payment ELSE y.approve_refund END);
  by_refund jsonb := jsonb_build_object('refund_id', r.refund_id, 'note', NULL);
  by_payment jsonb := jsonb_build_object('payment_id', p.payment_id, 'note', NULL);
  by_order jsonb := jsonb_build_object('order_id', o.order_id, 'note', NULL);
  by_case jsonb := jsonb_build_object('alert_id', case_id, 'note', NULL);
  resolves jsonb := jsonb_build_array('payguard.resolve_alert(bigint,text)', by_case);
BEGIN
  IF a.alert_id IS NULL THEN
    RETURN NULL;
  END IF;
  RETURN (
    SELECT coalesce(jsonb_agg(jsonb_build_object('action', c.action, 'label', c.label, 'effect', c.effect, 'input', c.input,
        'asked_by', c.asked_by, 'calls', (
          SELECT jsonb_agg(jsonb_build_object('function', l.call -> 0, 'arguments', l.call -> 1) ORDER BY l.place)
          FROM jsonb_array_elements(c.calls) WITH ORDINALITY l (call, place) WHERE l.call <> 'null')) ORDER BY c.place), '[]')
    FROM (VALUES
      (1, 'take', a.acknowledged_at IS NULL, 'I take it', 'Your name stands beside the case. Nothing happens to money.',
       jsonb_build_array(jsonb_build_array('payguard.acknowledge_alert(bigint,text)', by_case)), '{note}'::text[], NULL),
      (2, 'send_back', of_refund AND payguard.refusal_of('approve_refund', NULL, NULL, r.refund_id, NULL) IS NULL,
       'Send {refund} back by {channel}', 'The money goes to whoever paid it.',
       jsonb_build_array(jsonb_build_array('payguard.approve_refund(uuid,text)', by_refund),
                         CASE a.kind WHEN 'amount_mismatch' THEN resolves END), '{note}', asker),
      (3, 'keep', of_refund AND payguard.refusal_of('reject_refund', NULL, NULL, r.refund_id, NULL) IS NULL,
       'Keep {refund}', CASE WHEN p.status = 'surplus' THEN 'Nothing goes back; {refund} stay with us. They do not pay the order.'
         ELSE 'Nothing goes back; {refund} stay with us.' END,
       jsonb_build_array(jsonb_build_array('payguard.reject_refund(uuid,text)', by_refund)), '{note}', asker),
      (4, 'send_again', of_refund AND payguard.refusal_of('retry_refund', NULL, NULL, r.refund_id, NULL) IS NULL,
       'Send {refund} back by {channel} once more', 'The money goes to whoever paid it.',
       jsonb_build_array(jsonb_build_array('payguard.retry_refund(uuid,text)', by_refund)), '{note}',
       CASE WHEN payguard.refund_asks_second(r.refund_id) THEN r.requested_by END),
      (5, 'was_sent_back', of_refund AND payguard.refusal_of('settle_refund', NULL, NULL, r.refund_id, NULL) IS NULL,
       'It was sent back outside: in the console of {channel}, or by transfer', 'The refund of {refund} counts as made. Nothing is sent by us.',
       jsonb_build_array(jsonb_build_array('payguard.settle_refund(uuid,text,text)', by_refund || '{"channel_status": "succeeded"}'),
                         CASE a.kind WHEN 'refund_mismatch' THEN resolves END), '{note}', NULL),
      (5.5, 'is_sent_back', of_refund AND r.status <> 'awaiting_approval'
         AND payguard.refusal_of('name_refund', NULL, NULL, r.refund_id, NULL) IS NULL,
       'The console of {channel} shows that {refund} went back', 'The refund counts as made, under the number that you give.',
       jsonb_build_array(jsonb_build_array('payguard.settle_refund(uuid,varchar,text,text)', by_refund || jsonb_build_object(
         'channel_status', 'succeeded', 'channel_refund_id', r.channel_refund_id)),
                         CASE a.kind WHEN 'refund_mismatch' THEN resolves END),
       CASE WHEN r.channel_refund_id IS NULL THEN '{channel_refund_id,note}' ELSE '{note}' END::text[], NULL),
      (6, 'was_not_sent_back', a.kind IN ('refund_not_made', 'dead_task') AND r.status IN ('pending', 'unknown')
         AND payguard.refusal_of('name_refund', NULL, NULL, r.refund_id, NULL) IS NULL,
       'It was not sent back, says {channel}', 'The refund counts as failed. {refund} are still owed to the customer.',
       jsonb_build_array(jsonb_build_array('payguard.settle_refund(uuid,text,text)', by_refund || '{"channel_status": "failed"}')), '{note}', NULL),
      (7, 'stop_refund', of_refund AND r.status <> 'awaiting_approval'
         AND payguard.refusal_of('waive_refund', NULL, NULL, r.refund_id, NULL) IS NULL,
       'The customer lets us keep {refund}', 'The refund is stopped; {refund} stay with us.',
       jsonb_build_array(jsonb_build_array('payguard.waive_refund(uuid,text)', by_refund)), '{note}', NULL),
      (8, 'accept', a.kind IN ('surplus_payment', 'second_charge', 'amount_mismatch') AND NOT coalesce(is_less, false)
         AND payguard.refusal_of('accept_surplus', NULL, p.payment_id, NULL, NULL) IS NULL,
       'Let {received} pay order {order}', CASE WHEN p.received_amount > o.amount THEN 'The order counts as paid; what is more than {asked} goes back.'
         ELSE 'The order counts as paid; the money does not go back.' END,
       jsonb_build_array(jsonb_build_array('payguard.accept_surplus(uuid,text)', by_payment)), '{note}', NULL),
      (9, 'accept_less', a.kind = 'amount_mismatch' AND is_less
         AND payguard.refusal_of('accept_less', NULL, p.payment_id, NULL, NULL) IS NULL,
       'Accept {received} as the whole price', 'Order {order} asks for {received} from now on and counts as paid.',
       jsonb_build_array(jsonb_build_array('payguard.accept_surplus(uuid,text,boolean)', by_payment || '{"as_whole_price": true}')),
       '{note}', NULL),
      (10, 'same_charge', a.kind IN ('surplus_payment', 'second_charge', 'amount_mismatch') AND same_as IS NOT NULL AND is_same
         AND payguard.refusal_of('dismiss_surplus', NULL, p.payment_id, same_as, NULL) IS NULL,
       'Both payments are one and the same', 'Nothing goes back: {channel} took the money once and names it twice. Look at both statements first.',
       jsonb_build_array(jsonb_build_array('payguard.dismiss_surplus(uuid,uuid,text)', by_payment || jsonb_build_object('same_as', same_as))),
       '{note}', NULL),
      (10.3, 'capture', a.kind IN ('authorization_expiring', 'capture_failed', 'authorized_less') AND p.status = 'authorized'
         AND payguard.refusal_of('capture_payment', NULL, p.payment_id, NULL, NULL) IS NULL,
       'Take {asked} by {channel} now', 'The customer is charged. He pays {asked} of the {reserved} that are reserved.',
       jsonb_build_array(jsonb_build_array('payguard.capture_payment(uuid)', by_payment - 'note')), '{}', NULL),
      (10.6, 'give_up', a.kind IN ('authorization_expiring', 'capture_failed', 'authorized_less') AND p.status IN ('authorized', 'capturing')
         AND payguard.refusal_of('close_payment', NULL, p.payment_id, NULL, NULL) IS NULL,
       'Give up the {reserved} that are reserved', 'The customer is not charged. The order can be paid another way.',
       jsonb_build_array(jsonb_build_array('payguard.close_payment(uuid)', by_payment - 'note')), '{}', NULL),
      (11, 'ask_channel', a.kind IN ('payment_open_too_long', 'txn_reused', 'attempt_alive', 'dead_task', 'authorization_expiring') AND r.refund_id IS NULL
         AND payguard.refusal_of('query_payment', NULL, p.payment_id, NULL, NULL) IS NULL,
       'Ask {channel} now', 'A worker asks for the outcome. Nothing is charged.',
       jsonb_build_array(jsonb_build_array('payguard.query_payment(uuid)', by_payment - 'note')), '{}', NULL),
      (12, 'was_paid', a.kind IN ('payment_open_too_long', 'dead_task') AND r.refund_id IS NULL
         AND is_known AND payguard.refusal_of('settle_payment', NULL, p.payment_id, NULL, NULL) IS NULL,
       'It was paid, says the console of {channel}', '{attempt} count as received, under the number of the charge that you give.',
       jsonb_build_array(jsonb_build_array('payguard.settle_payment(uuid,text,text,text,bigint,text)', by_payment || jsonb_build_object(
         'channel_status', 'succeeded', 'channel_txn_id', p.channel_txn_id, 'amount', coalesce(p.capture_amount, p.amount), 'currency', p.currency))),
       CASE WHEN p.channel_txn_id IS NULL THEN '{channel_txn_id,note}' ELSE '{note}' END::text[], NULL),
      (13, 'was_closed', a.kind IN ('payment_open_too_long', 'attempt_alive', 'dead_task') AND r.refund_id IS NULL
         AND payguard.refusal_of('settle_payment', NULL, p.payment_id, NULL, NULL) IS NULL,
       'It was not paid, and is closed in the console of {channel}', 'The order can be paid another way. Money that comes all the same pays it or goes back.',
       jsonb_build_array(jsonb_build_array('payguard.settle_payment(uuid,text,text,text,bigint,text)', by_payment || '{"channel_status": "closed"}'),
                         CASE a.kind WHEN 'attempt_alive' THEN resolves END), '{note}', NULL),
      (14, 'allow_order', a.kind = 'approval_required' AND r.refund_id IS NULL
         AND payguard.refusal_of('approve_order', o.order_id, NULL, NULL, NULL) IS NULL,
       'Let order {order} over {asked} be paid', 'The customer can pay it.',
       jsonb_build_array(jsonb_build_array('payguard.approve_order(text,text,bigint)', by_order || jsonb_build_object('expected_version', o.version))),
       '{note}', asker),
      (15, 'forbid_order', a.kind = 'approval_required' AND r.refund_id IS NULL
         AND payguard.refusal_of('reject_order', o.order_id, NULL, NULL, NULL) IS NULL,
       'Do not let order {order} be paid', 'The customer cannot pay it until it is changed.',
       jsonb_build_array(jsonb_build_array('payguard.reject_order(text,text,bigint)', by_order || jsonb_build_object('expected_version', o.version))),
       '{note}', asker),
      (16, 'refund_order', a.kind IN ('late_success', 'suspected_duplicate')
         AND payguard.refusal_of('refund_order', o.order_id, NULL, NULL, NULL) IS NULL,
       'Send the money of order {order} back', 'All that is left of {paid} goes back by {paid_by}. A large amount waits for a second person.',
       jsonb_build_array(jsonb_build_array('payguard.refund_order(varchar,text,bigint,text,jsonb,text)', jsonb_build_object(
         'order_id', o.order_id, 'idempotency_key', 'case ' || case_id, 'reason', NULL)), resolves), '{note}', NULL),
      (17, 'reopen', a.kind IN ('chargeback', 'bank_return')
         AND payguard.refusal_of('reopen_order', o.order_id, NULL, NULL, NULL) IS NULL,
       'Let order {order} be paid again', 'The customer can pay it once more. What is left of the money waits for a second person.',
       jsonb_build_array(jsonb_build_array('payguard.reopen_order(text,text)', by_order)), '{note}', NULL),
      (1.5, 'try_again', a.kind = 'dead_task' AND payguard.refusal_of('requeue_task', NULL, NULL, NULL, a.task_id) IS NULL,
       'Have it tried again now', 'A worker calls {channel} again.',
       jsonb_build_array(jsonb_build_array('payguard.requeue_task(bigint)', jsonb_build_object('task_id', a.task_id))), '{}', NULL),
      (19, 'statement_is_right', of_finding AND payguard.refusal_of('accept', NULL, NULL, NULL, case_id) IS NULL,
       'The statement is right', CASE WHEN asks_second THEN 'Somebody else is asked to say so, too; until then nothing is booked.'
         ELSE 'What it says is booked: money that came pays its order, or goes back where no order needs it.' END,
       jsonb_build_array(jsonb_build_array('payguard.resolve_finding(bigint,text,text)', by_case || '{"action": "accept"}')), '{note}', asker),
      (20, 'statement_is_right_send_back', of_finding AND payguard.refusal_of('refund', NULL, NULL, NULL, case_id) IS NULL,
       'The statement is right, and {line} go back', 'The money is booked and goes to whoever paid it.',
       jsonb_build_array(jsonb_build_array('payguard.resolve_finding(bigint,text,text)', by_case || '{"action": "refund"}')), '{note}', NULL),
      (21, 'leave_difference', of_finding AND payguard.refusal_of('waive', NULL, NULL, NULL, case_id) IS NULL,
       'Leave the difference as it is', 'Nothing is booked. The next statement does not bring it up again.',
       jsonb_build_array(jsonb_build_array('payguard.resolve_finding(bigint,text,text)', by_case || '{"action": "waive"}')), '{note}', NULL),
      (22, 'close', a.kind IN ('late_success', 'attempt_superseded', 'suspected_duplicate', 'policy_changed', 'contradiction', 'txn_reused',
           'unmatched_notification', 'unreadable_evidence', 'archived_evidence', 'refund_mismatch', 'refund_exceeds_payment',
           'refund_not_approved', 'chargeback', 'bank_return', 'capture_failed')
         OR a.kind = 'amount_mismatch' AND (p.status <> 'surplus' OR r.status IN ('succeeded', 'waived') IS NOT FALSE),
       'It is dealt with', 'The case is closed. Nothing happens to money.',
       jsonb_build_array(resolves), '{note}', NULL)
    ) c (place, action, offered, label, effect, calls, input, asked_by)
    WHERE a.resolved_at IS NULL AND c.offered);
END
$$;
COMMENT ON FUNCTION payguard.case_actions(bigint) IS
  'Part of cases: the possible actions, each with its calls and what the person fills in. asked_by: who may not do it, because this person asked';

CREATE FUNCTION payguard.refund_asks_second(refund_id uuid) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  -- as retry_refund() has it: a policy that came later, and nobody has approved it
  SELECT NOT EXISTS (SELECT FROM payguard.approvals x WHERE x.refund_id = r.refund_id AND x.status = 'approved')
    AND EXISTS (SELECT FROM payguard.policies y WHERE y.currency = r.currency AND y.approve_refund)
  FROM payguard.refunds r WHERE r.refund_id = refund_asks_second.refund_id
$$;
COMMENT ON FUNCTION payguard.refund_asks_second(uuid) IS
  'Part of cases: whether a policy may want a second person before a refund is made again';

CREATE FUNCTION payguard.allowed_actions(actions jsonb) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT coalesce(jsonb_agg(x ORDER BY n), '[]')
  FROM jsonb_array_elements(actions) WITH ORDINALITY e (x, n)
  WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(x -> 'calls') c
                    WHERE NOT has_function_privilege(current_user, c ->> 'function', 'EXECUTE'))
$$;
COMMENT ON FUNCTION payguard.allowed_actions(jsonb) IS
  'Part of cases: those of the given actions that the current role may call';

CREATE FUNCTION payguard.case_told(case_id bigint, part text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT payguard.tell(s ->> part, s -> 'facts') FROM payguard.case_story(case_id) s $$;
COMMENT ON FUNCTION payguard.case_told(bigint, text) IS
  'Part of cases: one sentence of a story (happened or outlook) with its facts filled in';

-- Sentences are made only for the rows that a query returns, after its ORDER BY and LIMIT.
CREATE VIEW payguard.cases AS
  SELECT a.alert_id AS case_id, a.severity, a.kind, a.opened_at AS since, a.order_id, a.payment_id, a.refund_id, a.task_id,
         (SELECT o.customer_id FROM payguard.every_order o WHERE o.order_id = a.order_id) AS customer_id,
         (payguard.case_story(a.alert_id) -> 'stake' ->> 'amount')::bigint AS amount,
         payguard.case_story(a.alert_id) -> 'stake' ->> 'currency' AS currency,
         payguard.case_told(a.alert_id, 'happened') AS happened, payguard.case_told(a.alert_id, 'outlook') AS outlook,
         payguard.case_story(a.alert_id) ->> 'refund_status' AS refund_status,
         a.acknowledged_by AS taken_by, a.acknowledged_at AS taken_at, a.acknowledged_note AS taken_note,
         payguard.case_story(a.alert_id) AS story, payguard.allowed_actions(payguard.case_actions(a.alert_id)) AS actions
  FROM payguard.alerts a
  WHERE a.resolved_at IS NULL;
COMMENT ON COLUMN payguard.cases.case_id IS 'The alert_id';
COMMENT ON COLUMN payguard.cases.actions IS
  'What the current role may do now. label and effect: sentences with names of facts in braces. calls: functions and arguments; the person fills in those that are NULL. input: what the person fills in. asked_by: who may not do it, because this person asked';
COMMENT ON VIEW payguard.cases IS
  'What a person must look at: what happened, in a sentence; the money at stake, in minor units; the possible actions';

CREATE VIEW payguard.past_cases AS
  SELECT a.alert_id AS case_id, a.severity, a.kind, a.opened_at AS since, a.order_id, a.payment_id, a.refund_id, a.task_id,
         payguard.case_told(a.alert_id, 'happened') AS happened, payguard.case_told(a.alert_id, 'outlook') AS outlook,
         a.acknowledged_by AS taken_by, a.acknowledged_at AS taken_at, a.acknowledged_note AS taken_note,
         a.resolved_at, a.resolved_by, a.note, payguard.case_story(a.alert_id) AS story
  FROM payguard.alerts a
  WHERE a.resolved_at IS NOT NULL;
COMMENT ON VIEW payguard.past_cases IS 'Closed cases: when, by whom and why';

CREATE FUNCTION payguard.find_orders(of_what text)
RETURNS TABLE (order_id text, customer_id text, amount bigint, currency text, status text, closing_as text, version bigint,
               refunded_amount bigint, created_at timestamptz, expires_at timestamptz, found_by text, payments jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100
SET search_path = pg_catalog, pg_temp
-- a few rows by index; the planner expects many
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  wanted text := btrim(of_what);
  id uuid;
BEGIN
  IF wanted ~* '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$' THEN
    id := wanted::uuid;
  END IF;
  RETURN QUERY
  WITH found (order_id, found_by, place) AS (
    SELECT o.order_id, 'order', 1 FROM payguard.every_order o WHERE o.order_id = wanted
    UNION ALL SELECT p.order_id, 'payment', 2 FROM payguard.every_payment p WHERE p.payment_id = id
    UNION ALL SELECT r.order_id, 'refund', 3 FROM payguard.every_refund r WHERE r.refund_id = id
    UNION ALL SELECT p.order_id, 'key', 4 FROM payguard.every_payment p WHERE p.idempotency_key = wanted
    UNION ALL SELECT r.order_id, 'key', 4 FROM payguard.every_refund r WHERE r.idempotency_key = wanted
    UNION ALL SELECT p.order_id, 'transaction', 5 FROM payguard.channels c
      JOIN payguard.every_payment p ON p.channel = c.name AND p.channel_txn_id = wanted
    UNION ALL SELECT r.order_id, 'transaction', 5 FROM payguard.channels c
      JOIN payguard.every_refund r ON r.channel = c.name AND r.channel_refund_id = wanted
    UNION ALL (SELECT o.order_id, 'customer', 6 FROM payguard.every_order o WHERE o.customer_id = wanted
               ORDER BY o.created_at DESC LIMIT 100)
  ), once AS (
    SELECT DISTINCT ON (f.order_id) f.* FROM found f ORDER BY f.order_id, f.place
  )
  SELECT o.order_id, o.customer_id, o.amount, o.currency, o.status, o.closing_as, o.version, o.refunded_amount, o.created_at, o.expires_at,
         f.found_by, (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
        'payment_id', p.payment_id, 'channel', p.channel, 'channel_txn_id', p.channel_txn_id, 'status', p.status,
        'counts', p.payment_id = o.payment_id, 'asked', payguard.money(p.amount, p.currency),
        'received', payguard.money(p.received_amount, p.received_currency), 'request_kind', p.request_kind,
        'idempotency_key', p.idempotency_key, 'failure_code', p.failure_code, 'failure_message', p.failure_message,
        'created_at', p.created_at, 'completed_at', p.completed_at, 'channel_time', p.channel_time, 'refunds', (
          SELECT coalesce(jsonb_agg(jsonb_build_object(
              'refund_id', r.refund_id, 'channel', r.channel, 'channel_refund_id', r.channel_refund_id, 'status', r.status,
              'origin', r.origin, 'reversal_kind', r.reversal_kind, 'reason', r.reason, 'requested_by', r.requested_by,
              'asked', payguard.money(r.amount, r.currency), 'returned', payguard.money(r.returned_amount, r.currency),
              'failure_code', r.failure_code, 'failure_message', r.failure_message,
              'created_at', r.created_at, 'completed_at', r.completed_at) ORDER BY r.refund_id), '[]')
          FROM payguard.every_refund r WHERE r.payment_id = p.payment_id)) ORDER BY p.created_at, p.payment_id), '[]')
    FROM payguard.every_payment p
    -- an index has those that count, another one the rest
    WHERE p.order_id = o.order_id AND p.status <> ALL ('{failed,superseded,surplus,returned}'::text[])
       OR p.order_id = o.order_id AND p.status = ANY ('{failed,superseded,surplus,returned}'::text[]))
  FROM once f JOIN payguard.every_order o ON o.order_id = f.order_id
  ORDER BY f.place, o.created_at DESC, o.order_id
  LIMIT 100;
END
$$;
COMMENT ON FUNCTION payguard.find_orders(text) IS
  'Finds orders by an id of an order, customer, payment or refund, by an idempotency key, or by a channel''s transaction. Returns 100 orders at most, archived ones too, with their payments and refunds';
