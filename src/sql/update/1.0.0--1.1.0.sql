-- An access gains functions with a version, and the roles that have it gain them too.
--@ create renew_access

--@ part 95_private
SELECT payguard.renew_access();
