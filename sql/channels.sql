-- Channels: registered with defaults, changed one setting at a time.
\getenv srcdir PG_ABS_SRCDIR
CREATE ROLE regress_channels;
SELECT count(payguard.grant_access('regress_channels', a)) FROM unnest('{checkout,cashier,channel,admin,refunds,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_channels;
\set situation :srcdir /test/lib/situation.sql
\i :situation
SELECT name, internal, driver, first_query_after, max_query_interval, alert_after, not_found_is_final_after, late_success, idempotent_charge FROM payguard.register_channel('channel-1');
SELECT name, internal, driver, first_query_after, max_query_interval, alert_after, not_found_is_final_after, late_success, idempotent_charge
FROM payguard.register_channel('channel-2', true, 'pg_catalog.pg_backend_pid', '5 s', '10 min', '1 min', '2 hours', 'refund', false);
-- NULL leaves a setting as it is
SELECT name, internal, driver, first_query_after, max_query_interval, alert_after, not_found_is_final_after, late_success, idempotent_charge FROM payguard.register_channel('channel-2');
SELECT first_query_after, late_success FROM payguard.register_channel('channel-1', late_success := 'accept_expired');
SELECT first_query_after, late_success FROM payguard.register_channel('channel-1', first_query_after := '0 s');
SELECT internal, idempotent_charge FROM payguard.register_channel('channel-1', internal := false, idempotent_charge := false);
SELECT max_query_interval, alert_after, not_found_is_final_after, driver FROM payguard.register_channel('channel-1', NULL, 'pg_catalog.pg_backend_pid', NULL, '2 h', '3 h', '4 d');
SELECT count(*), min(details::text) FROM payguard.events WHERE kind = 'channel.registered' AND details ->> 'channel' = 'channel-1';
-- what cannot be
SELECT pg_temp.written() AS before \gset
SELECT what, pg_temp.answer(call) FROM (VALUES
  ('internal stays what it was', $$SELECT payguard.register_channel('channel-1', internal := true)$$),
  ('the other way', $$SELECT payguard.register_channel('channel-2', internal := false)$$),
  ('built in', $$SELECT payguard.register_channel('internal')$$),
  ('no name', $$SELECT payguard.register_channel(NULL)$$), ('empty name', $$SELECT payguard.register_channel('')$$),
  ('negative', $$SELECT payguard.register_channel('channel-3', alert_after := '-1 s')$$),
  ('late_success', $$SELECT payguard.register_channel('channel-3', late_success := 'reject')$$),
  ('driver', $$SELECT payguard.register_channel('channel-3', driver := 'public.no_such_driver')$$)) c (what, call);
SELECT pg_temp.written() = :'before' AS nothing_written;
-- paying in one step is for internal channels, whatever the others
SELECT (payguard.create_order('channel-' || n, 5, 'EUR')).version FROM generate_series(1, 2) n;
SELECT pg_temp.answer($$SELECT outcome FROM payguard.pay_order('channel-1', 'channel-1', channel := 'channel-1')$$);
SELECT outcome FROM payguard.pay_order('channel-2', 'channel-2', channel := 'channel-2');
-- a change holds from the next decision on, also for what is open
SELECT pg_temp.make('channel-4', 'failed, expired', 'channel-1') IS NOT NULL AS made;
SELECT pg_temp.say(pg_temp.id('channel-4', 'this'), 'succeeded', 'channel-4', 1000, 'EUR');
SELECT (payguard.register_channel('channel-1', late_success := 'refund')).late_success;
SELECT pg_temp.say(pg_temp.make('channel-5', 'failed, unpaid', 'channel-1'), 'succeeded', 'channel-5', 1000, 'EUR');
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_channels;
DROP ROLE regress_channels;
