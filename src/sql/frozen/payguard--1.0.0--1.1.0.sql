\echo Use "ALTER EXTENSION payguard UPDATE" to load this file. \quit
SET LOCAL search_path = pg_catalog, pg_temp;
COMMENT ON COLUMN payguard.maintenance.ran_at IS 'When it was done for the last time, or, if it never was, first tried';
COMMENT ON COLUMN payguard.maintenance.problem IS 'The error that ended it since then, or what it had to leave out; NULL: none';
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
CREATE INDEX approvals_order_id ON payguard.approvals (order_id);
CREATE OR REPLACE FUNCTION payguard.order_timeline(order_id text)
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

CREATE OR REPLACE FUNCTION payguard.settlement_differences(of_channel text, missing_from timestamptz, missing_until timestamptz)
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

CREATE OR REPLACE FUNCTION payguard.maintain("max" integer DEFAULT 1000)
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

CREATE OR REPLACE FUNCTION payguard.own_tables() RETURNS SETOF text
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

CREATE OR REPLACE FUNCTION payguard.broken_guards() RETURNS TABLE (guard text, problem text)
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

CREATE OR REPLACE FUNCTION payguard.verify() RETURNS TABLE (invariant text, object text, problem text)
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

CREATE OR REPLACE FUNCTION payguard.access_functions() RETURNS TABLE (access text, is_marker boolean, function text)
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

CREATE OR REPLACE FUNCTION payguard.apply_access(role name, access text) RETURNS void
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

CREATE FUNCTION payguard.renew_access() RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_renew_access'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION payguard.renew_access() IS
  'Grants each role what its accesses consist of now: called by an update, and after restoring the dump of an older version';

-- The archive's tables are protected and dumped as the others are.
DO $do$
DECLARE
  name text;
BEGIN
  FOR name IN SELECT payguard.own_tables() EXCEPT SELECT k.name FROM payguard.own_columns() k LOOP
    EXECUTE pg_catalog.format(
      'CREATE TRIGGER payguard_protect BEFORE UPDATE OR DELETE OR TRUNCATE ON payguard.%I '
      'FOR EACH STATEMENT EXECUTE FUNCTION payguard.deny_direct_write()', name);
    EXECUTE pg_catalog.format('ALTER TABLE payguard.%I ENABLE ALWAYS TRIGGER payguard_protect', name);
    PERFORM pg_catalog.pg_extension_config_dump(pg_catalog.format('payguard.%I', name), '');
  END LOOP;
  EXECUTE pg_catalog.format(
    'CREATE OR REPLACE FUNCTION payguard.own_columns(OUT name text, OUT columns text) RETURNS SETOF record '
    'LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ VALUES %s $$',
    (SELECT pg_catalog.string_agg(pg_catalog.format('(%L, %L)', c.name, c.columns), ', ' ORDER BY c.name)
     FROM payguard.current_columns() c));
END
$do$;
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
-- Each role gains what its accesses have gained.
SELECT payguard.renew_access();
