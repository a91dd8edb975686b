-- What the store keeps: plans, which are made again in their place, and the locks of indexes.
SET client_min_messages = warning;
CREATE FUNCTION regress_scans() RETURNS bigint LANGUAGE sql AS $$
  SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relid = 'payguard.policies'::regclass
$$;
-- a plan is made for a full table, whatever the session's settings are; so it is when it is made again
BEGIN;
SELECT min_amount FROM payguard.set_policy('EUR', 1000000000, require_version := true);
SELECT status FROM payguard.create_order('store-1', 100, 'EUR');
SELECT regress_scans() AS before \gset
SELECT outcome FROM payguard.pay_order('store-1', 'store-1');
SELECT regress_scans() - :before AS scans;
ANALYZE payguard.policies;
SELECT status FROM payguard.create_order('store-2', 100, 'EUR');
SELECT regress_scans() AS before \gset
SELECT outcome FROM payguard.pay_order('store-2', 'store-2');
SELECT regress_scans() - :before AS scans;
SELECT count(*) > 0 AS some, regress_scans() - :before AS scans FROM payguard.policies;
SHOW enable_seqscan;
-- indexes stay locked until the transaction ends: the next row needs them again
SELECT c.relname FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
WHERE l.pid = pg_backend_pid() AND l.mode = 'RowExclusiveLock' AND c.relkind = 'i' AND c.relname ~ '^(payments|events)_' ORDER BY 1;
ROLLBACK;
-- while a statement with a saved plan runs, a user's trigger makes the plan bad, and runs the same statement
BEGIN;
SELECT status FROM payguard.create_order('store-3', 100, 'EUR');
SELECT count(payguard.register_channel('store', alert_after := '1 ms', first_query_after := '1 h'));
SELECT outcome FROM payguard.start_payment('store-3', 'store-3', 'store');
SELECT pg_sleep(0.01);
CREATE FUNCTION regress_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF pg_trigger_depth() = 1 THEN
    ANALYZE payguard.payments;
    ANALYZE payguard.channels;
    PERFORM payguard.raise_alerts(1000);
    RAISE WARNING 'raised beside it: %', payguard.raise_alerts(1000);
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER regress_again AFTER INSERT ON payguard.alerts FOR EACH ROW WHEN (NEW.order_id = 'store-3') EXECUTE FUNCTION regress_again();
SELECT payguard.raise_alerts(1000) > 0 AS raised;
SELECT payguard.raise_alerts(1000) AS again;
SELECT kind FROM payguard.alerts WHERE order_id = 'store-3';
SELECT * FROM payguard.verify();
ROLLBACK;
DROP FUNCTION regress_scans();
