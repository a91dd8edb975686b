-- Calls go on meanwhile. A call may hold one of these tables and wait for another, so nothing is held while this waits
-- for long: shorter, for all tables together, than it takes PostgreSQL to look for a deadlock.
DO $do$
DECLARE
  patience text := current_setting('lock_timeout');
BEGIN
  PERFORM set_config('lock_timeout', (SELECT greatest(setting::int / 10, 1)::text FROM pg_settings WHERE name = 'deadlock_timeout'), true);
  LOOP
    BEGIN
      LOCK TABLE payguard.orders, payguard.archived_orders, payguard.channels, payguard.payments, payguard.archived_payments,
        payguard.refunds, payguard.archived_refunds, payguard.settlement_lines, payguard.consumers,
        payguard.notifications, payguard.archived_notifications IN ACCESS EXCLUSIVE MODE;
      EXIT;
    EXCEPTION WHEN lock_not_available THEN
      IF patience <> '0' AND clock_timestamp() > transaction_timestamp() + patience::interval THEN
        RAISE;
      END IF;
      PERFORM pg_sleep(0.05 + random() * 0.1);
    END;
  END LOOP;
  PERFORM set_config('lock_timeout', patience, true);
END
$do$;
ALTER TABLE payguard.orders ADD COLUMN returned_payment_id uuid;
ALTER TABLE payguard.archived_orders ADD COLUMN returned_payment_id uuid;
ALTER TABLE payguard.refunds ADD COLUMN channel_time timestamptz, ADD COLUMN reinstated_time timestamptz;
ALTER TABLE payguard.archived_refunds ADD COLUMN channel_time timestamptz, ADD COLUMN reinstated_time timestamptz;
ALTER TABLE payguard.channels ADD COLUMN surplus text COLLATE "C", ADD COLUMN reopen_on text[] COLLATE "C",
  ADD COLUMN processing_alert_after interval;
ALTER TABLE payguard.settlement_lines ADD COLUMN fee bigint, ADD COLUMN settled_amount bigint,
  ADD COLUMN settled_currency text COLLATE "C", ADD COLUMN payout_id text COLLATE "C";
ALTER TABLE payguard.consumers ADD COLUMN waiting text[] COLLATE "C";
ALTER TABLE payguard.payments ADD COLUMN capture text COLLATE "C", ADD COLUMN authorized_amount bigint,
  ADD COLUMN capture_amount bigint, ADD COLUMN capture_id uuid, ADD COLUMN capture_before timestamptz;
ALTER TABLE payguard.archived_payments ADD COLUMN capture text COLLATE "C", ADD COLUMN authorized_amount bigint,
  ADD COLUMN capture_amount bigint, ADD COLUMN capture_id uuid, ADD COLUMN capture_before timestamptz;
ALTER TABLE payguard.notifications ADD COLUMN capture_before timestamptz;
ALTER TABLE payguard.archived_notifications ADD COLUMN capture_before timestamptz;
ALTER TYPE payguard.task ADD ATTRIBUTE capture text, ADD ATTRIBUTE capture_id uuid;
CREATE OR REPLACE VIEW payguard.every_order AS
  SELECT * FROM payguard.orders UNION ALL SELECT * FROM payguard.archived_orders;
CREATE OR REPLACE VIEW payguard.every_refund AS
  SELECT * FROM payguard.refunds UNION ALL SELECT * FROM payguard.archived_refunds;
CREATE OR REPLACE VIEW payguard.every_payment AS
  SELECT * FROM payguard.payments UNION ALL SELECT * FROM payguard.archived_payments;
CREATE OR REPLACE VIEW payguard.every_notification AS
  SELECT * FROM payguard.notifications UNION ALL SELECT * FROM payguard.archived_notifications;
COMMENT ON COLUMN payguard.payments.capture IS 'As asked: automatic, or manual (by capture_payment()); NULL: as the channel does';
COMMENT ON COLUMN payguard.payments.authorized_amount IS 'What the channel has reserved';
COMMENT ON COLUMN payguard.payments.capture_amount IS 'What the channel was asked to take of what it has reserved';
COMMENT ON COLUMN payguard.payments.capture_id IS 'The channel''s idempotency key of that request';
COMMENT ON COLUMN payguard.payments.capture_before IS 'Until when the channel holds what it has reserved, as it says';
COMMENT ON TABLE payguard.tasks IS 'Outside work that is due: charge, capture, query, close, refund, query_refund';
COMMENT ON TYPE payguard.task_answer IS 'One element of complete_tasks(): the arguments of complete_task(), but for capture_before';
COMMENT ON COLUMN payguard.orders.returned_payment_id IS 'The last payment that had paid the order and whose money the channel has taken back';
COMMENT ON COLUMN payguard.consumers.waiting IS 'Of a guard that follows: orders whose rows sync_rows() tries again';
COMMENT ON COLUMN payguard.refunds.reversal_kind IS 'Of a channel''s own: refund, chargeback, bank_return, or failed (a payment that had succeeded)';
COMMENT ON COLUMN payguard.refunds.channel_time IS 'Of a channel''s own: when, as the channel has it';
COMMENT ON COLUMN payguard.refunds.reinstated_time IS 'When the channel undid it, as the channel has it';
COMMENT ON COLUMN payguard.channels.surplus IS
  'Money that an order does not need goes back by itself (refund, or NULL), or waits for a person (review)';
COMMENT ON COLUMN payguard.channels.reopen_on IS
  'The kinds of reversals after which an order is to be paid again by itself: bank_return, chargeback, failed';
COMMENT ON COLUMN payguard.channels.processing_alert_after IS
  'How long the channel may process a payment before an alert is opened; NULL: as alert_after';
-- A payment that was returned does not count.
DROP INDEX payguard.payments_that_count, payguard.payments_that_do_not_count;
CREATE UNIQUE INDEX payments_that_count ON payguard.payments (order_id)
  WHERE status NOT IN ('failed', 'superseded', 'surplus', 'returned');
CREATE INDEX payments_that_do_not_count ON payguard.payments (order_id)
  WHERE status IN ('failed', 'superseded', 'surplus', 'returned');
-- They have other results.
DROP FUNCTION payguard.decisions(), payguard.payment_rates(interval, text);
-- One element of request_payments().
CREATE TYPE payguard.payment_request AS (order_id text, idempotency_key text, channel text, amount bigint, currency text,
  expected_version bigint, expires_at timestamptz, details jsonb, capture text);
COMMENT ON TYPE payguard.payment_request IS 'One element of request_payments(): the arguments of request_payment()';
CREATE TYPE payguard.case_subject AS (alert payguard.alerts, of_order payguard.orders, payment payguard.payments,
  refund payguard.refunds, paying payguard.payments);
COMMENT ON TYPE payguard.case_subject IS 'Part of cases: an alert and the rows that it is about';
--@ functions
-- What the shops that are there get without asking for it.
ALTER TABLE payguard.channels DISABLE TRIGGER payguard_protect;
UPDATE payguard.channels SET surplus = 'refund', reopen_on = '{bank_return}', processing_alert_after = '10 days';
ALTER TABLE payguard.channels ENABLE ALWAYS TRIGGER payguard_protect;
-- A copy of the channel internal gives way to the one that is here.
CREATE TRIGGER payguard_keep_own BEFORE INSERT ON payguard.channels
  FOR EACH ROW WHEN (NEW.name = 'internal') EXECUTE FUNCTION payguard.keep_own_channel();
ALTER TABLE payguard.channels ENABLE REPLICA TRIGGER payguard_keep_own;
-- What is no text in this database is not stored.
ALTER TABLE payguard.settlement_lines ALTER COLUMN loaded_by SET DEFAULT payguard.session_role();
ALTER TABLE payguard.settlement_lines ADD CONSTRAINT settlement_lines_text
  CHECK (convert_to(concat(channel, channel_txn_id, channel_refund_id, order_id, payout_id), getdatabaseencoding()) IS NOT NULL) NOT VALID;
ALTER TABLE payguard.settlement_lines ADD CONSTRAINT settlement_lines_payout
  CHECK ((settled_amount IS NULL) = (settled_currency IS NULL) AND settled_currency ~ '^[A-Za-z]{3}$'
    AND octet_length(payout_id) BETWEEN 1 AND 255 AND payout_id !~ $$[\x01-\x1f\x7f]$$) NOT VALID;
-- Currencies are taken in any case.
ALTER TABLE payguard.settlement_lines DROP CONSTRAINT settlement_lines_currency,
  ADD CONSTRAINT settlement_lines_currency CHECK (currency ~ '^[A-Za-z]{3}$');
COMMENT ON COLUMN payguard.settlement_lines.currency IS 'An ISO 4217 code, in any case';
COMMENT ON COLUMN payguard.settlement_lines.fee IS 'What the channel keeps, in the currency of settled_amount; below 0: what it gives back';
COMMENT ON COLUMN payguard.settlement_lines.settled_amount IS 'What the line adds to its payout, after the fee; below 0: what it takes away';
COMMENT ON COLUMN payguard.settlement_lines.settled_currency IS 'Of settled_amount and fee; NULL: the line''s own';
COMMENT ON COLUMN payguard.settlement_lines.payout_id IS 'The channel''s transfer to the merchant''s account; the view payouts adds its lines up';
COMMENT ON COLUMN payguard.totals.subject IS 'orders, payments, refunds; events, whose status is their kind; surplus, whose status is why (since 1.2.0). A payment that was begun has entered started';
COMMENT ON COLUMN payguard.payments.request_kind IS 'The kind of call that made it: pay, start, request, revoke, record, import';
COMMENT ON COLUMN payguard.approvals.note IS 'Of who asked; once it is decided, of who decided';
COMMENT ON COLUMN payguard.notifications.result IS 'applied, duplicate, unmatched, contradicting or unreadable';
COMMENT ON COLUMN payguard.notifications.code IS 'Of a report; where it cannot be read, the function and the argument that cannot';
COMMENT ON COLUMN payguard.notifications.message IS 'Of a report; where it cannot be read, why, and what record_notification() was given';
-- What they said is not so.
COMMENT ON TYPE payguard.order_status_result IS
  'What a customer''s page may say and offer; advice is a stable code: pay, resume, wait, authorized, request_approval, duplicate, paid, refunded, closed, contact_support';
COMMENT ON COLUMN payguard.tasks.tries IS 'How often a worker has claimed it; requeue_task() begins anew, at 1';
COMMENT ON TABLE payguard.finished_tasks IS 'Tasks that were claimed and are gone, kept for a week at least';
-- The columns that the tables have from now on.
DO $do$
BEGIN
  EXECUTE pg_catalog.format(
    'CREATE OR REPLACE FUNCTION payguard.own_columns(OUT name text, OUT columns text) RETURNS SETOF record '
    'LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ VALUES %s $$',
    (SELECT pg_catalog.string_agg(pg_catalog.format('(%L, %L)', c.name, c.columns), ', ' ORDER BY c.name)
     FROM payguard.current_columns() c));
END
$do$;
-- They see more commands.
DROP EVENT TRIGGER payguard_ddl_start;
DROP EVENT TRIGGER payguard_ddl_end;
--@ part 81_ddl
--@ part 95_private
-- Each role gains what its accesses have gained.
SELECT payguard.renew_access();
