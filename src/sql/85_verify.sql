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
    WHERE status NOT IN ('failed', 'superseded', 'surplus', 'returned')
    GROUP BY order_id
  ), versioned AS (
    SELECT e.order_id, e.event_id, e.kind, e.version, e.from_status, e.to_status,
           lag(e.to_status) OVER w AS previous_status,
           lag(e.version) OVER w AS previous_version,
           lead(e.version) OVER w IS NULL AS is_last
    FROM payguard.every_event e
    WHERE e.version IS NOT NULL
    WINDOW w AS (PARTITION BY e.order_id ORDER BY e.event_id)
  ), moves AS (
    SELECT * FROM payguard.state_transitions()
  ), priced AS (
    -- what each order asks for, as it was told last; compared as text, which no value breaks
    SELECT order_id,
           (array_agg(details ->> 'amount' ORDER BY event_id DESC) FILTER (WHERE details ? 'amount'))[1] AS amount,
           (array_agg(details ->> 'currency' ORDER BY event_id DESC) FILTER (WHERE details ? 'currency'))[1] AS currency
    FROM payguard.every_event WHERE kind IN ('order.created', 'order.imported', 'order.updated')
    GROUP BY order_id
  ), corrected AS (
    -- what the channel, or an operator, said later of money that was here already
    SELECT payment_id,
           (array_agg(details ->> 'amount' ORDER BY event_id DESC) FILTER (WHERE details ? 'amount'))[1] AS amount,
           (array_agg(details ->> 'currency' ORDER BY event_id DESC) FILTER (WHERE details ? 'currency'))[1] AS currency
    FROM payguard.every_event
    WHERE kind = 'payment.updated' AND from_status IN ('succeeded', 'surplus')
    GROUP BY payment_id
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
    FROM payguard.every_refund r
    WHERE r.payment_id = p.payment_id AND r.status NOT IN ('reinstated', 'merged')
      AND NOT (r.status = 'failed' AND r.origin = 'channel')) r ON true
  WHERE p.status = 'surplus' AND coalesce(r.total, 0) < p.received_amount
  UNION ALL
  SELECT 'I3', 'payment ' || p.payment_id, 'is ' || p.status || ', but received ' || p.received_amount
  FROM payguard.every_payment p
  WHERE p.status NOT IN ('succeeded', 'surplus', 'returned') AND p.received_amount > 0
  -- I3: what is more than an order asks for goes back, and what was taken back is not here
  UNION ALL
  SELECT 'I3', 'payment ' || p.payment_id,
         CASE p.status WHEN 'returned' THEN 'is returned, and ' || coalesce(r.back, 0) || ' of ' || p.received_amount || ' went back'
         ELSE 'paid ' || o.amount || ' with ' || p.received_amount || ', of which ' || coalesce(r.total, 0) || ' has a refund' END
  FROM payguard.every_payment p
  JOIN payguard.every_order o ON o.order_id = p.order_id
  LEFT JOIN LATERAL (
    SELECT sum(CASE WHEN r.status = 'succeeded' THEN r.returned_amount ELSE r.amount END) AS total,
           sum(r.returned_amount) FILTER (WHERE r.status = 'succeeded') AS back
    FROM payguard.every_refund r
    WHERE r.payment_id = p.payment_id AND r.status NOT IN ('reinstated', 'merged')) r ON true
  WHERE p.status = 'returned' AND coalesce(r.back, 0) < p.received_amount
     OR p.status = 'succeeded' AND p.received_amount > o.amount AND p.received_currency = o.currency
        AND coalesce(r.total, 0) < p.received_amount - o.amount
  UNION ALL
  SELECT 'I3', 'payment ' || named.payment_id, 'was dismissed as a second name of a charge that brought no money'
  FROM (
    WITH RECURSIVE names AS (
      SELECT payment_id, payguard.same_charge_as(details) AS same_as
      FROM payguard.payments WHERE status = 'failed' AND failure_code = 'same_charge'
      UNION
      SELECT names.payment_id, payguard.same_charge_as(p.details)
      FROM names JOIN payguard.payments p ON p.payment_id = names.same_as
      WHERE p.status = 'failed' AND p.failure_code = 'same_charge'
    )
    SELECT names.payment_id, bool_or(p.status IN ('succeeded', 'surplus', 'returned')) AS has_money
    FROM names LEFT JOIN payguard.payments p ON p.payment_id = names.same_as GROUP BY names.payment_id
  ) named
  WHERE has_money IS NOT TRUE
  UNION ALL
  SELECT 'I3', 'notification ' || n.channel || ' ' || n.event_id, 'reports money and was never alerted'
  FROM payguard.every_notification n
  WHERE n.result = 'unmatched' AND NOT EXISTS (
    SELECT FROM payguard.alerts a WHERE a.kind = 'unmatched_notification' AND a.cause = n.event_id)
  -- I3: what pays an order is what it asks for, unless the channel has corrected itself since
  UNION ALL
  SELECT 'I3', 'order ' || o.order_id,
         CASE WHEN c.payment_id IS NULL THEN 'asks for ' || o.amount || ' ' || o.currency || ', and the payment that paid it brought '
         ELSE 'was paid with ' || concat_ws(' ', coalesce(c.amount, o.amount::text), coalesce(c.currency, o.currency))
              || ', say the events of its payment, which says ' END
         || concat_ws(' ', coalesce(p.received_amount::text, 'nothing'), p.received_currency)
  FROM payguard.every_order o
  JOIN payguard.every_payment p ON p.payment_id = o.payment_id AND p.order_id = o.order_id
  LEFT JOIN corrected c ON c.payment_id = p.payment_id
  WHERE o.status IN ('paid', 'refunded') AND p.status = 'succeeded'
    AND (p.received_amount::text, p.received_currency)
        IS DISTINCT FROM (coalesce(c.amount, o.amount::text), coalesce(c.currency, o.currency))
    -- what it brought beyond that is looked at above
    AND (c.amount IS NULL AND p.received_amount > o.amount AND p.received_currency = o.currency) IS NOT TRUE
  -- I4: an open attempt is asked about until the channel answers
  UNION ALL
  SELECT 'I4', 'payment ' || p.payment_id, 'is ' || p.status || ' and nothing is due to ask about it'
  FROM payguard.every_payment p
  WHERE p.status IN ('pending', 'processing', 'authorized', 'capturing', 'unknown', 'closing', 'superseded') AND NOT EXISTS (
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
    WHERE r.payment_id = o.payment_id AND r.status = 'succeeded' AND r.origin <> 'surplus'
      AND coalesce(r.reversal_kind, 'refund') = 'refund') r ON true
  WHERE o.refunded_amount <> coalesce(r.returned, 0)
  -- I11: of what a channel has reserved it is asked for no more than that
  UNION ALL
  SELECT 'I11', 'payment ' || p.payment_id,
         'asks for ' || p.capture_amount || ' of ' || coalesce(p.authorized_amount::text, 'nothing') || ' that is reserved'
  FROM payguard.every_payment p
  WHERE p.capture_amount > coalesce(p.authorized_amount, 0)
  UNION ALL
  SELECT 'I11', 'payment ' || p.payment_id, 'is ' || p.status || CASE p.status
         WHEN 'authorized' THEN ', and nobody says how much is reserved' ELSE ', and nobody says how much of it' END
  FROM payguard.every_payment p
  WHERE p.status = 'authorized' AND p.authorized_amount IS NULL
     OR p.status = 'capturing' AND (p.capture_amount IS NULL OR p.capture_id IS NULL)
  -- I9: what could not be applied is alerted
  UNION ALL
  SELECT 'I9', 'notification ' || n.channel || ' ' || n.event_id, 'contradicts and was never alerted'
  FROM payguard.every_notification n
  WHERE n.result = 'contradicting' AND NOT EXISTS (
    SELECT FROM payguard.alerts a
    -- the alert may be about the charge that the message's payment is a second name of
    WHERE a.order_id = n.order_id OR a.cause = n.event_id)
  UNION ALL
  SELECT 'I9', 'notification ' || n.channel || ' ' || n.event_id, 'cannot be read and was never alerted'
  FROM payguard.unreadable_messages n
  WHERE NOT EXISTS (
    SELECT FROM payguard.alerts a WHERE a.kind = 'unreadable_evidence' AND a.cause = n.channel || ' ' || n.code)
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
  -- what was imported began as it had ended elsewhere
  WHERE from_status IS DISTINCT FROM to_status AND NOT (kind = 'order.imported' AND from_status IS NULL) AND NOT EXISTS (
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
  SELECT 'I7', 'order ' || o.order_id,
         'asks for ' || o.amount || ' ' || o.currency || ', its events say '
         || concat_ws(' ', coalesce(p.amount, 'nothing'), p.currency)
  FROM payguard.every_order o LEFT JOIN priced p ON p.order_id = o.order_id
  WHERE (o.amount::text, o.currency) IS DISTINCT FROM (p.amount, p.currency)
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
      WHERE p.status IN ('failed', 'succeeded', 'surplus', 'returned') AND p.completed_at IS NULL
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
    UNION ALL SELECT 'its refund is ' || r.status || ', and it is open'
      FROM payguard.every_refund r
      WHERE a.subject = 'refund' AND a.status = 'open' AND r.refund_id = a.refund_id AND r.status <> 'awaiting_approval'
    UNION ALL SELECT 'its finding is resolved, and it is open'
      FROM payguard.alerts l
      WHERE a.subject = 'finding' AND a.status = 'open' AND l.alert_id = a.alert_id AND l.resolved_at IS NOT NULL
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
  SELECT 'I10', guard, problem FROM payguard.broken_rows()
$$;
COMMENT ON FUNCTION payguard.verify() IS
  'Returns a row for each violation of payguard''s promises. There are none on a sound database';

CREATE FUNCTION payguard.run_verify() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  n bigint;
  first jsonb;
BEGIN
  SELECT count(*), jsonb_agg(to_jsonb(v) - 'place') FILTER (WHERE v.place <= 20) INTO n, first
  FROM (SELECT x.*, row_number() OVER (ORDER BY x.invariant, x.object, x.problem) AS place FROM payguard.verify() x) v;
  PERFORM payguard.note_duty('verify', NULL);
  IF n > 0 THEN
    PERFORM payguard.resolve_alert(a.alert_id, 'verify() has found something else since.')
    FROM payguard.alerts a WHERE a.kind = 'verify_failed' AND a.resolved_at IS NULL AND a.details -> 'first' <> first;
    INSERT INTO payguard.alerts (kind, severity, cause, details, opened_at)
    VALUES ('verify_failed', 'critical', 'verify', jsonb_build_object('violations', n, 'first', first), clock_timestamp())
    ON CONFLICT (kind, cause) WHERE resolved_at IS NULL DO NOTHING;
  ELSE
    PERFORM payguard.resolve_alert(a.alert_id, 'verify() finds nothing any more.')
    FROM payguard.alerts a WHERE a.kind = 'verify_failed' AND a.resolved_at IS NULL;
  END IF;
  RETURN n;
END
$$;
COMMENT ON FUNCTION payguard.run_verify() IS
  'Runs verify() for a scheduler, every night for example, and returns the number of violations. An alert holds the first of them, and ends when there are none';
