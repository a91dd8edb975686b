--@ functions
-- A copy of the channel internal gives way to the one that is here.
CREATE TRIGGER payguard_keep_own BEFORE INSERT ON payguard.channels
  FOR EACH ROW WHEN (NEW.name = 'internal') EXECUTE FUNCTION payguard.keep_own_channel();
ALTER TABLE payguard.channels ENABLE REPLICA TRIGGER payguard_keep_own;
-- What is no text in this database is not stored.
ALTER TABLE payguard.settlement_lines ALTER COLUMN loaded_by SET DEFAULT payguard.session_role();
ALTER TABLE payguard.settlement_lines ADD CONSTRAINT settlement_lines_text
  CHECK (convert_to(concat(channel, channel_txn_id, channel_refund_id, order_id), getdatabaseencoding()) IS NOT NULL) NOT VALID;
-- What they said is not so.
COMMENT ON COLUMN payguard.tasks.tries IS 'How often a worker has claimed it; requeue_task() begins anew, at 1';
COMMENT ON TABLE payguard.finished_tasks IS 'Tasks that were claimed and are gone, kept for a week at least';
-- They see more commands.
DROP EVENT TRIGGER payguard_ddl_start;
DROP EVENT TRIGGER payguard_ddl_end;
--@ part 81_ddl
--@ part 95_private
-- Each role gains what its accesses have gained.
SELECT payguard.renew_access();
