-- A charge that was sent, and is to be sent again, is never taken for one that was not sent.
\set VERBOSITY sqlstate
SELECT name FROM payguard.register_channel('again', not_found_is_final_after := '1 day');

-- the worker's answer is lost, and the channel does not know the payment yet
CREATE FUNCTION lost_charge(number text) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
  task record;
  payment uuid;
BEGIN
  PERFORM payguard.create_order(number, 100, 'EUR');
  payment := (payguard.request_payment(number, number || '-key', 'again')).payment_id;
  SELECT * INTO STRICT task FROM payguard.claim_tasks('worker', kinds := '{charge}', channels := '{again}');
  PERFORM payguard.complete_task(task.task_id, task.lease_token, 'unknown');
  PERFORM payguard.query_payment(payment);
  SELECT * INTO STRICT task FROM payguard.claim_tasks('worker', kinds := '{query}', channels := '{again}');
  PERFORM payguard.complete_task(task.task_id, task.lease_token, 'not_found');
  RETURN payment;
END $$;

-- cancelled: the attempt is closed at the channel first
SELECT lost_charge('again-1') AS payment_id \gset
SELECT kind, tries, sent, again FROM payguard.tasks WHERE order_id = 'again-1' AND kind = 'charge';
SELECT status, closing_as FROM payguard.cancel_order('again-1');
SELECT status, failure_code FROM payguard.payments WHERE order_id = 'again-1';
SELECT kind FROM payguard.tasks WHERE order_id = 'again-1' ORDER BY kind;
SELECT outcome, order_status FROM payguard.report_payment(:'payment_id', 'succeeded', 'again-txn-1', 100, 'EUR');

-- cancelled while a worker has it: he did not send it again, and whether it was made before is not known
SELECT lost_charge('again-held') AS payment_id \gset
SELECT task_id, lease_token FROM payguard.claim_tasks('worker', kinds := '{charge}', channels := '{again}') \gset
SELECT status, closing_as FROM payguard.cancel_order('again-held');
SELECT payguard.retry_task(:task_id, :'lease_token', 'no route') = :task_id AS retried;
SELECT status, failure_code FROM payguard.payments WHERE order_id = 'again-held';
SELECT kind FROM payguard.tasks WHERE order_id = 'again-held' ORDER BY kind;
SELECT outcome, order_status FROM payguard.report_payment(:'payment_id', 'succeeded', 'again-txn-held', 100, 'EUR');

-- the worker is certain of all his tries, but not of the first charge
SELECT lost_charge('again-2') AS payment_id \gset
DO $$
DECLARE
  task record;
BEGIN
  FOR try IN 1 .. 100 LOOP
    SELECT * INTO task FROM payguard.claim_tasks('worker', kinds := '{charge}', channels := '{again}');
    EXIT WHEN NOT FOUND;
    PERFORM payguard.retry_task(task.task_id, task.lease_token, 'no route', '1 microsecond');
    PERFORM pg_sleep(0.001);
  END LOOP;
END $$;
SELECT kind, tries > 1 AS tried, dead_at IS NOT NULL AS dead FROM payguard.tasks WHERE order_id = 'again-2' AND kind IN ('charge', 'query') ORDER BY kind;
SELECT status, failure_code FROM payguard.payments WHERE order_id = 'again-2';
SELECT * FROM payguard.try_pay_order('again-2', 'again-2-other') \gset
SELECT :'outcome' AS outcome;

-- cancelled while a worker holds the charge: it is not sent after that
SELECT order_id FROM payguard.create_order('again-3', 100, 'EUR');
SELECT outcome FROM payguard.request_payment('again-3', 'again-3-key', 'again');
SELECT task_id, lease_token FROM payguard.claim_tasks('worker', kinds := '{charge}', channels := '{again}') WHERE order_id = 'again-3' \gset
SELECT status, closing_as FROM payguard.cancel_order('again-3');
SELECT payguard.retry_task(:task_id, :'lease_token', 'no route') = :task_id AS retried;
SELECT kind FROM payguard.tasks WHERE order_id = 'again-3';
SELECT status FROM payguard.orders WHERE order_id = 'again-3';
SELECT status, failure_code FROM payguard.payments WHERE order_id = 'again-3';
SELECT * FROM payguard.verify();
