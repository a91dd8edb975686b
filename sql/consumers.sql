-- A consumer gets every event once it can be seen, until it commits; positions are its own.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_reader;
SELECT payguard.grant_access('regress_reader', 'consumer');
-- all_done(consumer): it reads and commits all that there is; returns how many windows that were
CREATE FUNCTION pg_temp.all_done(consumer text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  n bigint := 0; last record;
BEGIN
  LOOP
    SELECT window_id, event_id INTO last FROM payguard.read_events(consumer) WITH ORDINALITY ORDER BY ordinality DESC LIMIT 1;
    EXIT WHEN NOT FOUND;
    PERFORM payguard.commit_events(consumer, last.window_id, last.event_id);
    n := n + 1;
  END LOOP;
  RETURN n;
END
$$;
SELECT (payguard.create_order('consumers-0', 500, 'EUR')).version;
SELECT pg_temp.all_done('regress') > 0 AS read_what_there_was;
SELECT count(*) FROM payguard.read_events('regress');
SELECT count(payguard.create_order('consumers-' || n, 500, 'EUR')) FROM generate_series(1, 2) n;
SELECT outcome FROM payguard.pay_order('consumers-1', 'consumers-1');
-- the same ones until they are committed
SET SESSION AUTHORIZATION regress_reader;
SELECT order_id, kind, from_status, to_status, version, details FROM payguard.read_events('regress', 2);
SELECT order_id, kind, from_status, to_status, version, details FROM payguard.read_events('regress', 2);
SELECT window_id, event_id FROM payguard.read_events('regress', 2) WITH ORDINALITY ORDER BY ordinality DESC LIMIT 1 \gset
SELECT payguard.commit_events('regress', :window_id, :event_id), payguard.commit_events('regress', :window_id, :event_id) AS again;
SELECT order_id, kind, version FROM payguard.read_events('regress', 2);
-- what comes now waits for the next window; that of the window is still given
RESET SESSION AUTHORIZATION;
SELECT outcome FROM payguard.pay_order('consumers-2', 'consumers-2');
SET SESSION AUTHORIZATION regress_reader;
SELECT order_id, kind, version FROM payguard.read_events('regress');
SELECT pg_temp.all_done('regress') AS windows;
SELECT count(*) FROM payguard.read_events('regress');
-- a commit that comes late, of a former window, changes nothing
SELECT payguard.commit_events('regress', :window_id, :event_id);
-- the outbox is the same under other names
SELECT aggregatetype, aggregateid, type, payload - '{actor,payment_id}'::text[] AS payload, payload ? 'payment_id' AS of_payment FROM payguard.outbox WHERE aggregateid LIKE 'consumers-%' ORDER BY id;
RESET SESSION AUTHORIZATION;
-- events of the reader's own transaction, before and after it has read
BEGIN;
SELECT outcome FROM payguard.refund_order('consumers-1', 'consumers-1/refund', reason := 'the test');
SELECT count(*) FROM payguard.read_events('regress');
SELECT outcome FROM payguard.refund_order('consumers-2', 'consumers-2/refund', reason := 'the test');
COMMIT;
SELECT order_id, kind, version FROM payguard.read_events('regress');
SELECT pg_temp.all_done('regress') AS windows;
-- a rolled back reader has not read, a rolled back writer was never there
BEGIN;
SELECT (payguard.create_order('consumers-3', 500, 'EUR')).version;
SELECT pg_temp.all_done('regress') AS windows;
ROLLBACK;
SELECT count(*) FROM payguard.read_events('regress');
SELECT events, age FROM payguard.consumer_lags() WHERE consumer = 'regress';
-- malformed, and what was never read
SELECT pg_temp.written() AS before \gset
SELECT call, pg_temp.answer('SELECT payguard.' || call) AS answer FROM unnest(ARRAY[
  'read_events(NULL)', 'read_events('''')', 'read_events(''regress'', 0)', 'read_events(''regress'', NULL)',
  'commit_events(NULL, 1, 1)', 'commit_events(''regress'', NULL, 1)', 'commit_events(''regress'', 1, NULL)', 'commit_events(''nobody'', 1, 1)',
  'commit_events(''regress'', 1000000, 1)', 'read_events(''payguard.totals'')', 'commit_events(''payguard.totals'', 1, 1)', 'drop_consumer(''payguard.totals'')', 'drop_consumer(NULL)', 'drop_consumer('''')']) call;
SELECT pg_temp.answer('SELECT payguard.commit_events(consumer, window_id, high_event + 1) FROM payguard.consumers WHERE consumer = ''regress''');
SELECT pg_temp.written() = :'before' AS nothing_written;
-- gone
SELECT payguard.drop_consumer('regress'), payguard.drop_consumer('regress') AS again;
SELECT count(*) FROM payguard.verify();
SELECT payguard.revoke_access('regress_reader', 'consumer');
DROP ROLE regress_reader;
