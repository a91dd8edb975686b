-- A success that leaves the amount out is asked about until the channel answers.
CREATE ROLE regress_amount;
SELECT count(payguard.grant_access('regress_amount', a)) FROM unnest('{checkout,channel,admin,refunds,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_amount;
SELECT name FROM payguard.register_channel('amount-left-out', first_query_after => '1 us', max_query_interval => '2 us');
CREATE FUNCTION pg_temp.answer(status text, amount bigint, currency text, OUT kind text, OUT outcome text, OUT asked_again boolean)
LANGUAGE plpgsql AS $$
DECLARE
  task payguard.task;
BEGIN
  PERFORM pg_sleep(0.001);
  SELECT t.* INTO task FROM payguard.claim_tasks('w', channels => '{amount-left-out}') t;
  kind := task.kind;
  outcome := (payguard.complete_task(task.task_id, task.lease_token, status, NULL, amount, currency)).outcome;
  asked_again := EXISTS (SELECT FROM payguard.tasks t WHERE t.task_id = task.task_id);
END $$;

SELECT (payguard.create_order('amount-1', 500, 'EUR')).status;
SELECT payment_id AS p1 FROM payguard.start_payment('amount-1', 'amount-1', 'amount-left-out') \gset
SELECT outcome FROM payguard.report_payment(:'p1', 'succeeded', 'amount-t1');
-- no answer, three times
SELECT * FROM pg_temp.answer('unknown', NULL, NULL);
SELECT * FROM pg_temp.answer('not_found', NULL, NULL);
SELECT * FROM pg_temp.answer('pending', NULL, NULL);
SELECT status, amount_verified FROM payguard.payments WHERE order_id = 'amount-1';
-- an answer
SELECT * FROM pg_temp.answer('succeeded', 500, 'EUR');
SELECT status, amount_verified FROM payguard.payments WHERE order_id = 'amount-1';

-- a channel that does not name amounts is not asked for ever
SELECT (payguard.create_order('amount-2', 500, 'EUR')).status;
SELECT payment_id AS p2 FROM payguard.start_payment('amount-2', 'amount-2', 'amount-left-out') \gset
SELECT outcome FROM payguard.report_payment(:'p2', 'succeeded', 'amount-t2');
SELECT * FROM pg_temp.answer('succeeded', NULL, NULL);
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_amount;
DROP ROLE regress_amount;
