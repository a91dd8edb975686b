-- Retention: settled orders move to tables of their own, with everything that belongs to them.
CREATE TABLE payguard.archived_orders (LIKE payguard.orders, PRIMARY KEY (order_id));
CREATE INDEX archived_orders_customer_id ON payguard.archived_orders (customer_id) WHERE customer_id IS NOT NULL;
COMMENT ON TABLE payguard.archived_orders IS
  'Orders that archive_orders() has moved here. A report or a refund brings an order back';

CREATE TABLE payguard.archived_payments (LIKE payguard.payments, PRIMARY KEY (payment_id));
CREATE UNIQUE INDEX archived_payments_idempotency_key ON payguard.archived_payments (idempotency_key);
CREATE UNIQUE INDEX archived_payments_channel_txn ON payguard.archived_payments (channel, channel_txn_id)
  WHERE channel_txn_id IS NOT NULL;
CREATE INDEX archived_payments_order_id ON payguard.archived_payments (order_id);
COMMENT ON TABLE payguard.archived_payments IS 'Payments of archived orders. Their keys and transactions stay taken';

CREATE TABLE payguard.archived_refunds (LIKE payguard.refunds, PRIMARY KEY (refund_id));
CREATE UNIQUE INDEX archived_refunds_idempotency_key ON payguard.archived_refunds (idempotency_key)
  WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX archived_refunds_channel_refund ON payguard.archived_refunds (channel, channel_refund_id)
  WHERE channel_refund_id IS NOT NULL;
CREATE INDEX archived_refunds_payment_id ON payguard.archived_refunds (payment_id);
COMMENT ON TABLE payguard.archived_refunds IS 'Refunds of archived orders';

CREATE TABLE payguard.archived_refund_balances (LIKE payguard.refund_balances INCLUDING CONSTRAINTS, PRIMARY KEY (payment_id));
COMMENT ON TABLE payguard.archived_refund_balances IS 'The refunds of each archived payment, added up';

CREATE TABLE payguard.archived_events (LIKE payguard.events, PRIMARY KEY (event_id));
CREATE INDEX archived_events_order_id ON payguard.archived_events (order_id);
COMMENT ON TABLE payguard.archived_events IS 'Events of archived orders. Every consumer has read them';

CREATE TABLE payguard.archived_notifications (LIKE payguard.notifications, PRIMARY KEY (channel, event_id));
CREATE INDEX archived_notifications_order_id ON payguard.archived_notifications (order_id);
COMMENT ON TABLE payguard.archived_notifications IS 'Messages about archived orders';

CREATE TABLE payguard.archived_approvals (LIKE payguard.approvals, PRIMARY KEY (approval_id));
CREATE INDEX archived_approvals_order_id ON payguard.archived_approvals (order_id);
COMMENT ON TABLE payguard.archived_approvals IS 'Second opinions about archived orders and their refunds';

-- How far archive_orders() has looked. If it began at the first event each time, it would meet the orders that
-- cannot be archived yet again and again.
CREATE TABLE payguard.archive_position (
  name     text COLLATE "C" PRIMARY KEY,
  event_id bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE payguard.archive_position IS 'The event up to which archive_orders() has looked for orders. One row';

CREATE VIEW payguard.every_order AS
  SELECT * FROM payguard.orders UNION ALL SELECT * FROM payguard.archived_orders;
COMMENT ON VIEW payguard.every_order IS 'All orders, archived ones too';
CREATE VIEW payguard.every_payment AS
  SELECT * FROM payguard.payments UNION ALL SELECT * FROM payguard.archived_payments;
COMMENT ON VIEW payguard.every_payment IS 'All payments, archived ones too';
CREATE VIEW payguard.every_refund AS
  SELECT * FROM payguard.refunds UNION ALL SELECT * FROM payguard.archived_refunds;
COMMENT ON VIEW payguard.every_refund IS 'All refunds, archived ones too';
CREATE VIEW payguard.every_refund_balance AS
  SELECT * FROM payguard.refund_balances UNION ALL SELECT * FROM payguard.archived_refund_balances;
COMMENT ON VIEW payguard.every_refund_balance IS 'All sums of refunds, archived ones too';
CREATE VIEW payguard.every_event AS
  SELECT * FROM payguard.events UNION ALL SELECT * FROM payguard.archived_events;
COMMENT ON VIEW payguard.every_event IS 'All events, archived ones too';
CREATE VIEW payguard.every_notification AS
  SELECT * FROM payguard.notifications UNION ALL SELECT * FROM payguard.archived_notifications;
COMMENT ON VIEW payguard.every_notification IS 'All messages, archived ones too';
CREATE VIEW payguard.unreadable_messages AS
  SELECT n.channel, n.code, n.received_at, n.event_id, n.order_id, n.payment_id, n.refund_id, n.message, n.body
  FROM payguard.every_notification n WHERE n.result = 'unreadable';
COMMENT ON VIEW payguard.unreadable_messages IS
  'Evidence that cannot be read, as it came. It is kept, and nothing of it is applied. code names the function and the argument, message says why';
CREATE VIEW payguard.unmatched_messages AS
  SELECT n.channel, n.received_at, n.event_id, n.order_id, n.payment_id, n.refund_id, n.channel_status, n.channel_txn_id,
         n.amount, n.currency, n.body
  FROM payguard.notifications n WHERE n.result = 'unmatched';
COMMENT ON VIEW payguard.unmatched_messages IS
  'Messages that match nothing, or that their handler could not read, as they came';
CREATE VIEW payguard.every_approval AS
  SELECT * FROM payguard.approvals UNION ALL SELECT * FROM payguard.archived_approvals;
COMMENT ON VIEW payguard.every_approval IS 'All second opinions, archived ones too';

CREATE FUNCTION payguard.archive_orders(before timestamptz, "max" integer DEFAULT 1000) RETURNS integer
AS 'MODULE_PATHNAME', 'payguard_archive_orders'
LANGUAGE C VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off;
COMMENT ON FUNCTION payguard.archive_orders(timestamptz, integer) IS
  'Moves settled orders without any event since before to the archive, max at most. Returns the number of orders. Calls about an archived order are answered as before';

CREATE FUNCTION payguard.erase_customer(customer_id text) RETURNS integer
AS 'MODULE_PATHNAME', 'payguard_erase_customer'
LANGUAGE C VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off;
COMMENT ON FUNCTION payguard.erase_customer(text) IS
  'Removes a customer''s personal data from all of the customer''s orders, archived ones too. Ids, amounts, currencies, times and states stay. Returns the number of orders. Errors: 55000 while an order of the customer is not settled';

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
        HINT = 'Reference orders (order_id), payments (payment_id) or refunds (refund_id). Orders with such references are not archived.';
    END IF;
  END LOOP;
END
$$;
COMMENT ON FUNCTION payguard.referenced_orders(text[], uuid[], uuid[]) IS
  'Part of archive_orders(): which of these orders, payments and refunds are referenced by foreign keys of other tables';
