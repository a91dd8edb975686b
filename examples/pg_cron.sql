-- payguard.maintain() and the tasks of drivers every minute, by pg_cron (Debian: postgresql-15-cron).
--
-- postgresql.conf, and a restart:
--   shared_preload_libraries = 'pg_cron, payguard'
--   cron.database_name = 'shop'          -- where this file is run: the database with payguard
--   cron.use_background_workers = on     -- else pg_cron connects as a client, and pg_hba.conf decides
--
-- Run as a superuser in that database.
CREATE EXTENSION IF NOT EXISTS pg_cron;

-- A role of its own: it can watch, and nothing else but what operators can.
CREATE ROLE payguard_maintenance LOGIN;
SELECT payguard.grant_access('payguard_maintenance', 'operator');

-- What falls due expires, stuck payments are alerted, totals are added up. A call that takes longer
-- than a minute is not started again by pg_cron before it ends; two at once would do no harm.
SELECT cron.schedule('payguard maintain', '* * * * *', 'SELECT count(*) FROM payguard.maintain()');
UPDATE cron.job SET username = 'payguard_maintenance' WHERE jobname = 'payguard maintain';

-- The tasks of channels that have a driver (register_channel(..., driver => ...)): charges, what became of those that are
-- unknown, refunds. Where a worker does them, leave this out. The role needs EXECUTE on the drivers, too.
CREATE ROLE payguard_tasks LOGIN;
SELECT payguard.grant_access('payguard_tasks', 'channel');
SELECT cron.schedule('payguard tasks', '* * * * *', 'CALL payguard.run_tasks()');
UPDATE cron.job SET username = 'payguard_tasks' WHERE jobname = 'payguard tasks';

-- Every night at 3: whatever is broken opens an alert.
SELECT cron.schedule('payguard verify', '0 3 * * *', 'SELECT payguard.run_verify()');
UPDATE cron.job SET username = 'payguard_maintenance' WHERE jobname = 'payguard verify';

-- pg_cron keeps what it did for ever.
SELECT cron.schedule('forget cron runs', '30 3 * * *',
  $$DELETE FROM cron.job_run_details WHERE end_time < now() - interval '7 days'$$);
