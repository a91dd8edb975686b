-- Calls go on meanwhile: whoever holds one of these tables is waited for here, and nowhere else.
LOCK TABLE payguard.settlement_lines IN ACCESS EXCLUSIVE MODE;
ALTER TABLE payguard.settlement_lines ADD COLUMN fee bigint, ADD COLUMN settled_amount bigint,
  ADD COLUMN settled_currency text COLLATE "C", ADD COLUMN payout_id text COLLATE "C";
-- The rates have more columns.
DROP FUNCTION payguard.payment_rates(interval, text);
--@ functions
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
COMMENT ON COLUMN payguard.notifications.result IS 'applied, duplicate, unmatched, contradicting or unreadable';
COMMENT ON COLUMN payguard.notifications.code IS 'Of a report; where it cannot be read, the function and the argument that cannot';
COMMENT ON COLUMN payguard.notifications.message IS 'Of a report; where it cannot be read, why, and what record_notification() was given';
-- What they said is not so.
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
