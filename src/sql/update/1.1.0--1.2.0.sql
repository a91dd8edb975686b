-- What comments say, in plainer words. Their locks stop no call, so they are taken before the tables are.
COMMENT ON TABLE payguard.orders IS 'What customers owe. Only payguard''s functions change it';
COMMENT ON COLUMN payguard.orders.closing_as IS
  'cancelled or expired: the state that the order takes when its live attempt ends without money';
COMMENT ON COLUMN payguard.orders.version IS '1 at first, and 1 more with each change';
COMMENT ON TABLE payguard.deadlines IS 'When orders expire. expire_orders() deletes a row when its time has come';
COMMENT ON TABLE payguard.channels IS 'The ways that money comes and goes. register_channel() changes it';
COMMENT ON COLUMN payguard.channels.internal IS 'The money is in the shop''s own hands. pay_order() may use the channel';
COMMENT ON COLUMN payguard.channels.driver IS 'The name of the function that run_tasks() calls';
COMMENT ON COLUMN payguard.channels.late_success IS
  'What happens when a success follows a failure: accept, accept_expired (it also pays an expired order) or refund';
COMMENT ON COLUMN payguard.channels.idempotent_charge IS
  'The channel charges one payment_id once, however often it is asked';
COMMENT ON TABLE payguard.payments IS 'Movements of money from customers, and attempts at them';
COMMENT ON COLUMN payguard.payments.amount IS 'The amount that was asked, in the currency''s minor unit';
COMMENT ON COLUMN payguard.payments.received_amount IS 'The amount that came, as the channel reported it';
COMMENT ON COLUMN payguard.payments.order_version IS 'The order''s version when this payment was made or begun';
COMMENT ON TYPE payguard.payment_result IS
  'The answer of a call about a payment. outcome is a stable code, such as paid, pending or failed';
COMMENT ON TABLE payguard.events IS
  'One row for each change of an order, payment or refund, written in the transaction of the change';
COMMENT ON COLUMN payguard.events.version IS 'The order''s new version, if the order changed';
COMMENT ON COLUMN payguard.events.actor IS 'The session''s user, or the person for whom a delegate acted';
COMMENT ON TABLE payguard.notifications IS 'Messages from channels, stored as they came';
COMMENT ON COLUMN payguard.notifications.event_id IS 'The channel''s own id of the message, or the SHA-256 of the body';
COMMENT ON COLUMN payguard.notifications.reversal_kind IS
  'The kind of reversal, set by record_reversal(). channel_txn_id is then the transaction that was reversed';
COMMENT ON TYPE payguard.notification_result IS
  'What was done with a message. Answer the channel with 200, whatever this says';
COMMENT ON TABLE payguard.refunds IS 'Movements of money back to customers, asked for here or made by a channel';
COMMENT ON COLUMN payguard.refunds.amount IS 'The amount that was asked, in the currency''s minor unit';
COMMENT ON COLUMN payguard.refunds.returned_amount IS
  'The amount that went back, as the channel reported it. If the channel named none, the amount that was asked';
COMMENT ON COLUMN payguard.refunds.origin IS
  'request: somebody asked for it; surplus: opened for surplus money; channel: a reversal';
COMMENT ON TABLE payguard.refund_balances IS 'The refunds of one payment, added up. Every refund locks its row';
COMMENT ON COLUMN payguard.refund_balances.excess IS 'The amount that a channel gave back beyond what was received';
COMMENT ON TYPE payguard.refund_result IS
  'The answer of a call about a refund. outcome is the refund''s status, or recorded';
COMMENT ON TABLE payguard.policies IS
  'What orders and refunds need from an amount on. All policies at or below an amount hold together. set_policy() changes it';
COMMENT ON COLUMN payguard.policies.min_amount IS 'The policy holds from this amount on, in the currency''s minor unit';
COMMENT ON COLUMN payguard.policies.require_version IS
  'Whoever calls pay_order() or start_payment() must give expected_version';
COMMENT ON COLUMN payguard.policies.on_duplicate IS
  'What happens to a second order of a customer over the same amount within duplicate_window: flag (it is paid, with an alert), hold (it needs an approval) or refuse';
COMMENT ON TABLE payguard.customers IS
  'One row for each customer whom a policy about duplicates has looked at. Payments lock it';
COMMENT ON COLUMN payguard.customers.order_id IS 'The order that was last paid or begun under such a policy';
COMMENT ON TABLE payguard.approvals IS 'Second opinions that were asked for. Each holds for one amount and currency';
COMMENT ON COLUMN payguard.approvals.subject IS
  'order, refund or finding (a difference that reconcile() found: alert_id)';
COMMENT ON COLUMN payguard.approvals.status IS
  'open, approved, rejected or void (it was asked anew, or is not needed any more)';
COMMENT ON COLUMN payguard.approvals.decided_by IS 'The person who decided. It is never the person who asked';
COMMENT ON TABLE payguard.archived_orders IS
  'Orders that archive_orders() has moved here. A report or a refund brings an order back';
COMMENT ON TABLE payguard.archived_payments IS 'Payments of archived orders. Their keys and transactions stay taken';
COMMENT ON TABLE payguard.archived_refund_balances IS 'The refunds of each archived payment, added up';
COMMENT ON TABLE payguard.archived_events IS 'Events of archived orders. Every consumer has read them';
COMMENT ON TABLE payguard.archive_position IS 'The event up to which archive_orders() has looked for orders. One row';
COMMENT ON TABLE payguard.settlement_lines IS
  'The lines of the channels'' statements. Operators load them, and reconcile() compares them';
COMMENT ON COLUMN payguard.settlement_lines.channel_txn_id IS
  'The payment''s transaction. Of a refund: the transaction that it gives back';
COMMENT ON COLUMN payguard.settlement_lines.payment_id IS
  'The shop''s own id, if the channel repeats it. The same holds for order_id and refund_id';
COMMENT ON COLUMN payguard.settlement_lines.loaded_by IS
  'Who loaded the line. The database fills it in, as it does line_id and loaded_at';
COMMENT ON TYPE payguard.finding_result IS
  'The answer of resolve_finding(). outcome is accepted, refunded, waived or approval_required';
COMMENT ON TABLE payguard.alerts IS 'What a person must look at. One alert is open for each kind and cause';
COMMENT ON COLUMN payguard.alerts.severity IS 'warning or critical';
COMMENT ON COLUMN payguard.alerts.note IS 'Why the alert was resolved';
COMMENT ON COLUMN payguard.tasks.sent IS 'A worker may have told the channel of the task';
COMMENT ON COLUMN payguard.tasks.again IS 'An earlier task may have told the channel of the same request';
COMMENT ON COLUMN payguard.tasks.dead_at IS 'Since when the task is out of tries and waits for a person';
COMMENT ON COLUMN payguard.leases.run_at IS
  'When the task was due at its claim. If the task has become due again since, the answer does not end it';
COMMENT ON TYPE payguard.task IS 'A claimed task with everything that the channel needs';
COMMENT ON TYPE payguard.channel_reply IS
  'What a driver returns. Its signature is driver(payguard.task) RETURNS payguard.channel_reply';
COMMENT ON COLUMN payguard.stat_counters.reason IS
  'Why calls were refused: the CONSTRAINT name of the error. NULL for replays';
COMMENT ON TABLE payguard.counter_samples IS
  'The counters over time. maintain() writes a sample every five minutes and keeps 35 days';
COMMENT ON COLUMN payguard.counter_samples.reason IS 'The CONSTRAINT name of the error. Empty for replays';
COMMENT ON TABLE payguard.consumers IS
  'How far each reader of events has got. read_events() and commit_events() change it';
COMMENT ON COLUMN payguard.consumers.low_event IS 'The window begins after this event';
COMMENT ON COLUMN payguard.consumers.high_event IS 'The window ends with this event. Events of open_xids are not in it';
COMMENT ON COLUMN payguard.consumers.late_xids IS
  'Transactions that were open in the window before. Their earlier events belong to this one';
COMMENT ON COLUMN payguard.consumers.open_xids IS
  'Transactions that were open when the window was opened. Their events belong to a later one';
COMMENT ON COLUMN payguard.consumers.open_floors IS 'For each of open_xids: its events come after this event';
COMMENT ON TABLE payguard.totals IS
  'How often orders, payments and refunds entered a state. maintain() counts each event once';
COMMENT ON COLUMN payguard.totals.bucket IS
  'The beginning of five minutes, kept for 35 days. -infinity: the sum since the beginning';
COMMENT ON TABLE payguard.maintenance IS 'When maintain() last did each duty';
COMMENT ON COLUMN payguard.maintenance.ran_at IS 'When the duty was last done. If it never was: when it was first tried';
COMMENT ON COLUMN payguard.maintenance.problem IS
  'The error that has ended the duty since then, or what it left out. NULL: none';
COMMENT ON FUNCTION payguard.own_columns() IS 'The columns that payguard''s tables should have';
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
COMMENT ON COLUMN payguard.payments.capture IS
  'What the shop asked for: automatic, or manual (capture_payment() takes the money). NULL: the channel decides';
COMMENT ON COLUMN payguard.payments.authorized_amount IS 'The amount that the channel has reserved';
COMMENT ON COLUMN payguard.payments.capture_amount IS 'The part of the reserved money that the channel was asked to take';
COMMENT ON COLUMN payguard.payments.capture_id IS 'The idempotency key of that capture, for the channel';
COMMENT ON COLUMN payguard.payments.capture_before IS
  'Until when the channel holds the reserved money, as the channel says';
COMMENT ON TABLE payguard.tasks IS
  'Work outside that is due or will be: charge, capture, query, close, refund, query_refund';
COMMENT ON TYPE payguard.task_answer IS
  'One element of complete_tasks(): the arguments of complete_task() without capture_before';
COMMENT ON COLUMN payguard.orders.returned_payment_id IS
  'The last payment that had paid the order and whose money the channel has taken back';
COMMENT ON COLUMN payguard.consumers.waiting IS
  'Of a guarded table that follows: the orders whose rows sync_rows() tries again';
COMMENT ON COLUMN payguard.refunds.reversal_kind IS
  'The kind of a reversal: refund, chargeback, bank_return, or failed (a payment that had succeeded)';
COMMENT ON COLUMN payguard.refunds.channel_time IS 'When the reversal happened, by the channel''s clock';
COMMENT ON COLUMN payguard.refunds.reinstated_time IS 'When the channel undid the reversal, by the channel''s clock';
COMMENT ON COLUMN payguard.channels.surplus IS
  'Whether surplus money is refunded at once (refund, or NULL) or waits for a person (review)';
COMMENT ON COLUMN payguard.channels.reopen_on IS
  'The kinds of reversals that make an order unpaid again without a person: bank_return, chargeback, failed';
COMMENT ON COLUMN payguard.channels.processing_alert_after IS
  'How long the channel may process a payment before an alert is opened. NULL: the same as alert_after';
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
COMMENT ON COLUMN payguard.settlement_lines.currency IS 'An ISO 4217 code in upper or lower case';
COMMENT ON COLUMN payguard.settlement_lines.fee IS
  'The amount that the channel keeps, in the currency of settled_amount. Below 0: it gives that back';
COMMENT ON COLUMN payguard.settlement_lines.settled_amount IS
  'The amount that the line adds to its payout, after the fee. Below 0: it takes that away';
COMMENT ON COLUMN payguard.settlement_lines.settled_currency IS
  'The currency of settled_amount and fee. NULL: that of the line';
COMMENT ON COLUMN payguard.settlement_lines.payout_id IS
  'The channel''s transfer to the merchant''s account. The view payouts adds up its lines';
COMMENT ON COLUMN payguard.totals.subject IS
  'orders, payments or refunds; events (status is their kind); surplus (status is the reason, since 1.2.0). A payment that has begun counts as started';
COMMENT ON COLUMN payguard.payments.request_kind IS
  'The call that made the payment: pay, start, request, revoke, record, import';
COMMENT ON COLUMN payguard.approvals.note IS
  'The note of the person who asked. After the decision: that of the person who decided';
COMMENT ON COLUMN payguard.notifications.result IS 'applied, duplicate, unmatched, contradicting or unreadable';
COMMENT ON COLUMN payguard.notifications.code IS
  'The channel''s code. If the message is unreadable: the function and the argument that could not be read';
COMMENT ON COLUMN payguard.notifications.message IS
  'The channel''s words. If the message is unreadable: why, and the values of the call';
-- What they said is not so.
COMMENT ON TYPE payguard.order_status_result IS
  'What a customer''s page may show and offer. advice is a stable code: pay, resume, wait, authorized, request_approval, duplicate, paid, refunded, closed, contact_support';
COMMENT ON COLUMN payguard.tasks.tries IS
  'How often a worker has claimed the task. After requeue_task() the count begins again at 1';
COMMENT ON TABLE payguard.finished_tasks IS 'Tasks that were claimed and have ended, kept for a week at least';
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
