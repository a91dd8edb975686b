-- maintain() opens alerts for what is stuck and closes them when it no longer is; people acknowledge and resolve.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_watcher;
SELECT payguard.grant_access('regress_watcher', 'operator');
SELECT (payguard.register_channel('watched', alert_after := '1 ms', first_query_after := '1 h')).alert_after;
SELECT (payguard.register_channel('patient', alert_after := '1 h', first_query_after := '1 h')).alert_after;
CREATE VIEW pg_temp.mine AS
  SELECT a.kind, a.severity, a.order_id, a.details - 'since' AS details, a.cause = coalesce(a.refund_id, a.payment_id)::text AS of_it,
         a.acknowledged_by, a.acknowledged_note, a.resolved_by, a.note, a.notified_at IS NOT NULL AS notified
  FROM payguard.alerts a WHERE a.order_id LIKE 'alerts-%' ORDER BY a.order_id, a.alert_id;
CREATE FUNCTION pg_temp.maintain() RETURNS TABLE (duty text, problem text) LANGUAGE sql AS
  $$ SELECT pg_sleep(0.005); SELECT duty, problem FROM payguard.maintain(); $$;
-- two attempts are too old for the one channel, not for the other
SELECT count(payguard.create_order('alerts-' || n, 500, 'EUR')) FROM generate_series(1, 5) n;
SELECT outcome FROM payguard.start_payment('alerts-1', 'alerts-1', 'watched');
SELECT outcome FROM payguard.start_payment('alerts-2', 'alerts-2', 'watched');
SELECT count(payguard.report_payment(payment_id, 'unknown')) FROM payguard.payments WHERE order_id = 'alerts-2';
SELECT outcome FROM payguard.start_payment('alerts-3', 'alerts-3', 'patient');
SET SESSION AUTHORIZATION regress_watcher;
SELECT * FROM pg_temp.maintain();
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.mine;
-- once more: nothing new
SELECT count(*) FROM payguard.alerts \gset before_
SELECT count(*) FROM pg_temp.maintain() WHERE problem IS NULL;
SELECT count(*) - :before_count AS new FROM payguard.alerts;
-- bounded: as many of a kind as asked for
SELECT duty, done FROM payguard.maintain(1) WHERE duty = 'raise_alerts';
-- a person looks into it, and says so
SET SESSION AUTHORIZATION regress_watcher;
SELECT alert_id FROM payguard.alerts WHERE order_id = 'alerts-1' \gset
SELECT kind, acknowledged_by, acknowledged_note, resolved_at FROM payguard.acknowledge_alert(:alert_id, 'I have asked the bank');
SELECT kind, acknowledged_by, acknowledged_note, resolved_at FROM payguard.acknowledge_alert(:alert_id, 'me too');
-- it gets worse: so does its alert, and whoever listens is told again
SELECT outcome FROM payguard.settle_payment((SELECT payment_id FROM payguard.alerts WHERE alert_id = :alert_id), 'unknown', 'the bank does not know');
SELECT notified_at AS told_at FROM payguard.alerts WHERE alert_id = :alert_id \gset
SELECT count(*) FROM pg_temp.maintain() WHERE problem IS NULL;
SELECT severity, details - 'since' AS details, acknowledged_by, notified_at > :'told_at' AS told_again FROM payguard.alerts WHERE alert_id = :alert_id;
SELECT count(*) FROM pg_temp.maintain() WHERE problem IS NULL;
SELECT count(*) FROM payguard.alerts WHERE order_id = 'alerts-1';
-- what ends ends its alert; what does not is raised again when it is resolved all the same
SELECT outcome FROM payguard.settle_payment((SELECT payment_id FROM payguard.alerts WHERE alert_id = :alert_id), 'failed', 'the bank says no');
SELECT kind, resolved_by, note FROM payguard.resolve_alert((SELECT alert_id FROM payguard.alerts WHERE order_id = 'alerts-2'), 'nothing to see');
SELECT kind, resolved_by, note FROM payguard.resolve_alert((SELECT alert_id FROM payguard.alerts WHERE order_id = 'alerts-2'), 'once more');
SELECT count(*) FROM pg_temp.maintain() WHERE problem IS NULL;
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.mine;
SELECT kind, actor, details - 'since' AS details FROM payguard.order_timeline('alerts-1') WHERE kind LIKE 'alert%';
-- money that nobody needs: its alert ends when it has gone back
SELECT outcome FROM payguard.pay_order('alerts-4', 'alerts-4');
SELECT outcome FROM payguard.record_payment('alerts-4', 'watched', 'alerts-4', 500, 'EUR');
SELECT count(*) FROM pg_temp.maintain() WHERE problem IS NULL;
SELECT kind, severity, details, of_it, note FROM pg_temp.mine WHERE order_id = 'alerts-4';
SELECT outcome FROM payguard.settle_refund((SELECT refund_id FROM payguard.refunds WHERE order_id = 'alerts-4'), 'succeeded', 'the bank has it');
SELECT count(*) FROM pg_temp.maintain() WHERE problem IS NULL;
SELECT kind, resolved_by, note FROM pg_temp.mine WHERE order_id = 'alerts-4';
-- a second charge, which a person sends back
SELECT (payguard.create_order('alerts-6', 500, 'EUR')).status;
SELECT outcome FROM payguard.start_payment('alerts-6', 'alerts-6', 'patient');
SELECT (payguard.report_payment(p.payment_id, 'succeeded', txn, 500, 'EUR')).outcome FROM payguard.payments p, unnest('{alerts-6,alerts-6b}'::text[]) txn WHERE p.order_id = 'alerts-6';
SET SESSION AUTHORIZATION regress_watcher;
SELECT refund_id FROM payguard.order_timeline('alerts-6') WHERE refund_id IS NOT NULL LIMIT 1 \gset
SELECT outcome FROM payguard.approve_refund(:'refund_id', 'charged twice, says the channel');
SELECT count(*) FROM pg_temp.maintain() WHERE problem IS NULL;
SELECT count(*) FROM payguard.alerts WHERE order_id = 'alerts-6' AND kind = 'second_charge' AND resolved_at IS NULL;
SELECT outcome FROM payguard.settle_refund(:'refund_id', 'succeeded', 'the bank has it');
SELECT count(*) FROM pg_temp.maintain() WHERE problem IS NULL;
RESET SESSION AUTHORIZATION;
SELECT kind, resolved_by, note FROM pg_temp.mine WHERE order_id = 'alerts-6';
-- one duty that fails does not stop the others, and is alerted
CREATE FUNCTION public.regress_fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE invalid_parameter_value USING MESSAGE = 'no such luck'; END $$;
CREATE TRIGGER regress_fail BEFORE INSERT ON payguard.totals EXECUTE FUNCTION public.regress_fail();
ALTER TABLE payguard.totals ENABLE ALWAYS TRIGGER regress_fail;
SELECT outcome FROM payguard.pay_order('alerts-5', 'alerts-5');
\set VERBOSITY terse
SELECT ran_at AS done_at FROM payguard.maintenance WHERE duty = 'count_events' \gset
SELECT * FROM pg_temp.maintain() WHERE problem IS NOT NULL;
-- when it was done is not when it was tried: its age is a metric
SELECT duty, ran_at = :'done_at' AS as_before, problem FROM payguard.maintenance WHERE duty = 'count_events' OR ran_at = :'done_at';
SELECT kind, severity, cause, details FROM payguard.alerts WHERE kind = 'maintenance_failed' AND resolved_at IS NULL;
DROP TRIGGER regress_fail ON payguard.totals;
DROP FUNCTION public.regress_fail;
SELECT count(*) FROM pg_temp.maintain() WHERE problem IS NULL;
SELECT resolved_by, note FROM payguard.alerts WHERE kind = 'maintenance_failed';
-- what was counted meanwhile is not lost
SELECT name, labels FROM payguard.metrics WHERE name = 'payguard_alerts_open' AND labels ->> 'kind' = 'payment_open_too_long';
SELECT payguard.count_events(1000) >= 0 AS counted;
SELECT sum(n) = (SELECT count(*) FROM payguard.events) AS every_event_is_counted FROM payguard.totals WHERE subject = 'events' AND bucket = '-infinity';
-- the nightly check leaves what it finds
CREATE FUNCTION pg_temp.by_hand(new_version bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('payguard.allow_unsafe_ddl', 'on', true);
  ALTER TABLE payguard.orders DISABLE TRIGGER payguard_protect;
  UPDATE payguard.orders SET version = new_version WHERE order_id = 'alerts-6';
  ALTER TABLE payguard.orders ENABLE ALWAYS TRIGGER payguard_protect;
END
$$;
SELECT version AS was FROM payguard.orders WHERE order_id = 'alerts-6' \gset
SELECT payguard.run_verify();
SELECT value FROM payguard.metrics WHERE name = 'payguard_verify_violations';
SELECT pg_temp.by_hand(77);
SELECT payguard.run_verify() > 0 AS found, payguard.run_verify() > 0 AS again;
SELECT count(*), min(severity) AS severity, min(details -> 'first' ->> 0) LIKE '%alerts-6%' AS named FROM payguard.alerts WHERE kind = 'verify_failed' AND resolved_at IS NULL;
SELECT value > 0 AS told FROM payguard.metrics WHERE name = 'payguard_verify_violations';
SELECT count(*) FROM payguard.maintenance WHERE duty = 'verify' AND problem IS NULL;
SELECT pg_temp.by_hand(:was);
SELECT payguard.run_verify();
SELECT resolved_at IS NOT NULL AS resolved, note FROM payguard.alerts WHERE kind = 'verify_failed';
-- it writes
BEGIN READ ONLY;
SELECT pg_temp.answer('SELECT count(*) FROM payguard.maintain()');
ROLLBACK;
-- malformed
SELECT pg_temp.written() AS before \gset
SELECT call, pg_temp.answer('SELECT count(*) FROM payguard.' || call) AS answer FROM unnest(ARRAY[
  'maintain(0)', 'maintain(-1)', 'maintain(NULL)', 'acknowledge_alert(NULL, ''x'')', 'acknowledge_alert(0, ''x'')', 'acknowledge_alert(1, NULL)',
  'resolve_alert(NULL, ''x'')', 'resolve_alert(-1, ''x'')', 'resolve_alert(1, '''')', 'payment_rates(NULL)', 'payment_rates(''1 min'')', 'payment_rates(''1 year'')',
  'payment_rates(''1 h'', NULL)', 'payment_rates(''1 h'', ''customer'')', 'first_id_at(NULL)', 'first_id_at(''infinity'')', 'first_id_at(''1969-01-01'')']) call;
SELECT pg_temp.written() = :'before' AS nothing_written;
SELECT count(payguard.settle_payment(payment_id, 'failed', 'end of the test')) FROM payguard.payments WHERE order_id IN ('alerts-2', 'alerts-3');
SELECT count(*) FROM pg_temp.maintain() WHERE problem IS NULL;
SELECT count(*) FROM pg_temp.mine WHERE resolved_by IS NULL;
SELECT payguard.revoke_access('regress_watcher', 'operator');
DROP ROLE regress_watcher;
