--@ functions
--@ part 95_private
-- Each role gains what its accesses have gained.
SELECT payguard.renew_access();
