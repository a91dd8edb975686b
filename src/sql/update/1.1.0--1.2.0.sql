--@ functions
-- What is no text in this database is not stored.
ALTER TABLE payguard.settlement_lines ALTER COLUMN loaded_by SET DEFAULT payguard.session_role();
ALTER TABLE payguard.settlement_lines ADD CONSTRAINT settlement_lines_text
  CHECK (convert_to(concat(channel, channel_txn_id, channel_refund_id, order_id), getdatabaseencoding()) IS NOT NULL) NOT VALID;
--@ part 95_private
-- Each role gains what its accesses have gained.
SELECT payguard.renew_access();
