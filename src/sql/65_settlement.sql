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
  loaded_by         text NOT NULL DEFAULT payguard.session_role(),
  loaded_at         timestamptz NOT NULL DEFAULT now(),
  fee               bigint,
  settled_amount    bigint,
  settled_currency  text COLLATE "C",
  payout_id         text COLLATE "C",
  CONSTRAINT settlement_lines_kind CHECK (kind IN ('payment', 'refund', 'chargeback', 'bank_return')),
  CONSTRAINT settlement_lines_channel_status CHECK (channel_status IN ('succeeded', 'failed', 'closed', 'pending')),
  CONSTRAINT settlement_lines_amount CHECK (amount >= 0),
  CONSTRAINT settlement_lines_currency CHECK (currency ~ '^[A-Za-z]{3}$'),
  CONSTRAINT settlement_lines_channel_time CHECK (isfinite(channel_time)),
  -- what evidence would not take is not taken here either
  CONSTRAINT settlement_lines_ids CHECK (octet_length(channel_txn_id) BETWEEN 1 AND 255
    AND octet_length(channel_refund_id) BETWEEN 1 AND 255 AND octet_length(order_id) BETWEEN 1 AND 255
    AND concat(channel_txn_id, channel_refund_id, order_id) !~ $$[\x01-\x1f\x7f]$$),
  CONSTRAINT settlement_lines_id_of_kind CHECK (CASE kind WHEN 'payment' THEN channel_txn_id ELSE channel_refund_id END IS NOT NULL)
);
-- Nor what is no text in this database, which current_setting() may give. Not validated: an update does
-- not fail by a line that is there, and reads none.
ALTER TABLE payguard.settlement_lines ADD CONSTRAINT settlement_lines_text
  CHECK (convert_to(concat(channel, channel_txn_id, channel_refund_id, order_id, payout_id), getdatabaseencoding()) IS NOT NULL) NOT VALID;
ALTER TABLE payguard.settlement_lines ADD CONSTRAINT settlement_lines_payout
  CHECK ((settled_amount IS NULL) = (settled_currency IS NULL) AND settled_currency ~ '^[A-Za-z]{3}$'
    AND octet_length(payout_id) BETWEEN 1 AND 255 AND payout_id !~ $$[\x01-\x1f\x7f]$$) NOT VALID;
ALTER SEQUENCE payguard.settlement_lines_line_id_seq OWNED BY payguard.settlement_lines.line_id;
COMMENT ON TABLE payguard.settlement_lines IS
  'The lines of the channels'' statements. Operators load them, and reconcile() compares them';
COMMENT ON COLUMN payguard.settlement_lines.kind IS 'payment, refund, chargeback or bank_return';
COMMENT ON COLUMN payguard.settlement_lines.channel_txn_id IS
  'The payment''s transaction. Of a refund: the transaction that it gives back';
COMMENT ON COLUMN payguard.settlement_lines.payment_id IS
  'The shop''s own id, if the channel repeats it. The same holds for order_id and refund_id';
COMMENT ON COLUMN payguard.settlement_lines.loaded_by IS
  'Who loaded the line. The database fills it in, as it does line_id and loaded_at';
COMMENT ON COLUMN payguard.settlement_lines.amount IS 'In the currency''s minor unit';
COMMENT ON COLUMN payguard.settlement_lines.currency IS 'An ISO 4217 code in upper or lower case';
COMMENT ON COLUMN payguard.settlement_lines.fee IS
  'The amount that the channel keeps, in the currency of settled_amount. Below 0: it gives that back';
COMMENT ON COLUMN payguard.settlement_lines.settled_amount IS
  'The amount that the line adds to its payout, after the fee. Below 0: it takes that away';
COMMENT ON COLUMN payguard.settlement_lines.settled_currency IS
  'The currency of settled_amount and fee. NULL: that of the line';
COMMENT ON COLUMN payguard.settlement_lines.payout_id IS
  'The channel''s transfer to the merchant''s account. The view payouts adds up its lines';

CREATE VIEW payguard.payouts AS
  SELECT l.channel, l.payout_id, l.settled_currency, count(*) AS lines, sum(l.net + l.fee) AS gross,
         sum(l.fee) AS fees, sum(l.net) AS net, min(l.channel_time) AS first_at, max(l.channel_time) AS last_at
  FROM (
    -- a line that is loaded twice counts once
    SELECT DISTINCT s.channel, s.payout_id, s.kind, s.channel_status, s.channel_txn_id, s.channel_refund_id, s.payment_id,
           s.order_id, s.refund_id, s.amount, upper(s.currency), s.channel_time, upper(coalesce(s.settled_currency, s.currency)) AS settled_currency,
           coalesce(s.fee, 0)::numeric AS fee,
           coalesce(s.settled_amount, CASE WHEN s.channel_status <> 'succeeded' THEN 0 WHEN s.kind = 'payment' THEN s.amount
                                           ELSE -s.amount END - coalesce(s.fee, 0)::numeric) AS net
    FROM payguard.settlement_lines s
    WHERE s.payout_id IS NOT NULL
  ) l
  GROUP BY l.channel, l.payout_id, l.settled_currency;
COMMENT ON VIEW payguard.payouts IS
  'The channels'' transfers to the merchant''s account, added up from the lines of their statements. net is what should have arrived';

-- The differences of one channel's statement, each by its cause: the same one has the same cause.
CREATE FUNCTION payguard.settlement_differences(of_channel text, missing_from timestamptz, missing_until timestamptz)
RETURNS TABLE (finding text, cause text, order_id text, payment_id uuid, refund_id uuid, details jsonb, at timestamptz)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
-- hash joins are linear in the rows, however wrong the planner's estimates are; other joins may be quadratic
SET enable_nestloop = off
SET enable_mergejoin = off
SET jit = off
AS $$
  -- not materialized, so that the planner knows the tables' statistics
  WITH line AS NOT MATERIALIZED (
    SELECT l.kind, l.channel_status, l.channel_txn_id, l.channel_refund_id, l.payment_id, l.order_id,
           l.refund_id, l.amount, upper(l.currency) AS currency, l.channel_time
    FROM payguard.settlement_lines l
    WHERE l.channel = of_channel AND l.channel_status <> 'pending'
  ), payment AS NOT MATERIALIZED (
    SELECT p.payment_id, p.order_id, p.channel_txn_id, p.status, p.received_amount, p.received_currency,
           p.failure_code, coalesce(p.channel_time, p.completed_at) AS at,
           CASE p.failure_code WHEN 'same_charge' THEN payguard.same_charge_as(p.details) END AS same_as
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
    WHERE ours IS NULL AND named_txn IS NULL AND named_status IN ('succeeded', 'surplus', 'returned')
    GROUP BY named
  ), judged AS (
    SELECT CASE
        WHEN l.ours IS NOT NULL THEN CASE
          WHEN l.named_order <> l.ours_order OR l.order_id <> l.ours_order
            OR (l.payment_id <> l.of_txn AND l.named IS NULL) THEN 'txn_reused'
          WHEN l.ours_status = 'failed' THEN 'late_success'
          WHEN l.ours_status NOT IN ('succeeded', 'surplus', 'returned') THEN 'status_mismatch'
          WHEN l.currency <> l.ours_currency THEN 'currency_mismatch'
          WHEN l.amount <> l.ours_amount THEN 'amount_mismatch' END
        WHEN l.named IS NOT NULL THEN CASE
          WHEN l.named_status = 'failed' AND l.named_code = 'same_charge' THEN 'duplicate_success'
          WHEN l.named_status = 'failed' THEN 'late_success'
          WHEN l.named_status NOT IN ('succeeded', 'surplus', 'returned') THEN 'status_mismatch'
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
      AND NOT EXISTS (SELECT FROM payguard.every_refund r
                      WHERE r.payment_id = p.payment_id AND r.reversal_kind = 'failed' AND r.status = 'succeeded')
    UNION ALL
    -- money that went back
    SELECT CASE
        WHEN r.refund_id IS NOT NULL THEN CASE
          WHEN l.channel_status <> 'succeeded' THEN CASE WHEN r.status IN ('succeeded', 'pending', 'unknown') THEN 'refund_mismatch' END
          -- a statement lists what the channel took back, and undid later
          WHEN r.status NOT IN ('succeeded', 'reinstated') OR l.amount <> coalesce(r.returned_amount, r.amount) OR l.currency <> r.currency
            OR (l.channel_txn_id IS NOT NULL AND coalesce(n.payment_id, t.payment_id) IS DISTINCT FROM r.payment_id)
            -- one that was given up, since the channel had told of it as its own, is named all the same
            OR (l.refund_id IS NOT NULL AND l.refund_id <> r.refund_id
                AND NOT (y.status IN ('waived', 'merged') AND y.payment_id = r.payment_id AND r.reversal_kind = 'refund'))
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
    WHERE p.status IN ('succeeded', 'surplus', 'returned') AND p.at >= missing_from AND p.at < missing_until
      -- what was imported was compared elsewhere
      AND NOT EXISTS (SELECT FROM payguard.every_payment i WHERE i.payment_id = p.payment_id AND i.request_kind = 'import')
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
      AND NOT (r.reason IS NOT DISTINCT FROM 'imported' AND r.idempotency_key IS NULL AND EXISTS (
        SELECT FROM payguard.every_payment i WHERE i.payment_id = r.payment_id AND i.request_kind = 'import'))
      AND NOT EXISTS (SELECT FROM line l WHERE l.kind <> 'payment' AND l.channel_refund_id = r.channel_refund_id)
      AND NOT EXISTS (SELECT FROM line l WHERE l.kind <> 'payment' AND l.refund_id = r.refund_id)
      -- a payment that failed after its success has no line of its own for that
      AND NOT EXISTS (SELECT FROM line l JOIN payment p ON p.channel_txn_id = l.channel_txn_id
                      WHERE l.kind = 'payment' AND l.channel_status IN ('failed', 'closed')
                        AND p.payment_id = r.payment_id AND r.reversal_kind = 'failed')
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
  'Part of reconcile(): the differences between a channel''s statement and payguard''s payments and refunds';

CREATE FUNCTION payguard.close_findings(alert_ids bigint[]) RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_close_findings'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.close_findings(bigint[]) IS
  'Part of reconcile(): resolves findings whose difference is gone';

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
    WHERE starts_with(a.kind, 'settlement_') AND a.resolved_at IS NULL AND a.details ->> 'channel' = reconcile.channel
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
  'Compares a channel''s statement (settlement_lines) with payguard''s payments and refunds. Records each difference as an alert, and returns those that nobody has resolved. Resolves those that are gone. Errors: PY405';

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
  'The answer of resolve_finding(). outcome is accepted, refunded, waived or approval_required';

CREATE FUNCTION payguard.resolve_finding(alert_id bigint, action text, note text)
RETURNS payguard.finding_result
AS 'MODULE_PATHNAME', 'payguard_resolve_finding'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.resolve_finding(bigint, text, text) IS
  'An operator decides about a difference that reconcile() found. accept: the line counts as evidence. refund: it counts, and the money goes back. waive: nothing changes. Errors: PY105, PY401, PY402, PY403, PY602';
