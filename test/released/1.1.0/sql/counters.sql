-- Without shared_preload_libraries payguard works, and counts nothing.
SELECT current_setting('shared_preload_libraries') ~ 'payguard' AS preloaded;
SELECT (payguard.create_order('counters', 1, 'EUR')).version;
SELECT outcome, replayed FROM payguard.pay_order('counters', 'counters');
SELECT outcome, replayed FROM payguard.pay_order('counters', 'counters');
SELECT outcome FROM payguard.try_pay_order('counters', 'counters-2');
SELECT * FROM payguard.stat_counters;
SELECT payguard.reset_counters();
SELECT count(*) FROM payguard.metrics WHERE name ~ '(replays|refusals)';
-- how to enable it
SELECT obj_description('payguard.stat_counters'::regclass) ~ 'shared_preload_libraries' AS told;
