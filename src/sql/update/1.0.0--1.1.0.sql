COMMENT ON COLUMN payguard.maintenance.ran_at IS 'When it was done for the last time, or, if it never was, first tried';
COMMENT ON COLUMN payguard.maintenance.problem IS 'The error that ended it since then; NULL: none';
--@ functions
--@ part 95_private
-- Each role gains what its accesses have gained.
SELECT payguard.renew_access();
