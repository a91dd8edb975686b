-- What a claim finds: one task of an order, what is due behind many that are held, and for each choice
-- of kinds and channels its own.

\set VERBOSITY terse
BEGIN;
SELECT count(payguard.register_channel(name, first_query_after := '1 hour')) FROM unnest(ARRAY['head', 'held', 'kinds']) name;

-- ask(id, channel): an order that a worker shall charge.
CREATE FUNCTION pg_temp.ask(id text, channel text) RETURNS text BEGIN ATOMIC
  SELECT outcome FROM payguard.create_order(id, 100, 'EUR') o CROSS JOIN LATERAL payguard.request_payment(o.order_id, id, channel);
END;

-- two tasks of one order are due: one claim takes the first, and nobody the other while that is held
SELECT pg_temp.ask('head-1', 'head'), pg_temp.ask('head-2', 'head');
SELECT r.outcome FROM payguard.payments p CROSS JOIN LATERAL payguard.query_payment(p.payment_id) r WHERE p.order_id = 'head-1';
SELECT order_id, kind, run_at <= clock_timestamp() AS due FROM payguard.tasks WHERE channel = 'head' ORDER BY task_id;
CREATE TEMP TABLE taken AS SELECT * FROM payguard.claim_tasks('w', channels := '{head}');
SELECT order_id, kind FROM taken ORDER BY task_id;
SELECT order_id, kind FROM payguard.claim_tasks('v', channels := '{head}');
SELECT r.outcome FROM taken CROSS JOIN LATERAL payguard.complete_task(task_id, lease_token, 'unknown') r WHERE taken.order_id = 'head-1';
SELECT order_id, kind FROM payguard.claim_tasks('v', channels := '{head,nowhere}');

-- more are held than a claim looks at together: what is due behind them is found
SELECT count(pg_temp.ask('held-' || n, 'held')) FROM generate_series(1, 1100) n;
SELECT count(*) FROM payguard.claim_tasks('w', 1000, channels := '{held}');
SELECT count(*) FROM payguard.claim_tasks('w', 100, channels := '{held}');
SELECT pg_temp.ask('held-last', 'held');
SELECT order_id FROM payguard.claim_tasks('v', 1, channels := '{held,nowhere}');
SELECT order_id FROM payguard.claim_tasks('v', 1, channels := '{nowhere,held}');

-- a claim for one kind does not pass over what another kind left
SELECT pg_temp.ask('kinds-1', 'kinds'), pg_temp.ask('kinds-2', 'kinds');
SELECT r.outcome FROM payguard.payments p CROSS JOIN LATERAL payguard.query_payment(p.payment_id) r WHERE p.order_id = 'kinds-1';
SELECT order_id, kind FROM payguard.claim_tasks('w', 1, kinds := '{query}', channels := '{kinds}');
SELECT order_id, kind FROM payguard.claim_tasks('w', 5, kinds := '{charge}', channels := '{kinds}');
SELECT order_id, kind FROM payguard.claim_tasks('w', 5, channels := '{kinds}');
SELECT pg_temp.ask('kinds-3', 'kinds');
SELECT order_id, kind FROM payguard.claim_tasks('w', 5, kinds := '{query}', channels := '{kinds}');
SELECT order_id, kind FROM payguard.claim_tasks('w', 5, kinds := '{charge}', channels := '{kinds}');
SELECT * FROM payguard.verify();

-- an index that is not valid lacks rows: one that looks like the one that claims walk along is not used
CREATE INDEX regress_due ON payguard.tasks (run_at, task_id);
UPDATE pg_index SET indisvalid = false, indisready = false WHERE indexrelid = 'payguard.regress_due'::regclass;
SELECT pg_temp.ask('kinds-4', 'kinds');
SELECT order_id, kind FROM payguard.claim_tasks('w', channels := '{kinds}');
-- nor is the index of a key, where nothing stands in for it
SELECT task_id AS t, lease_token AS k FROM payguard.tasks JOIN payguard.leases USING (task_id) WHERE tasks.order_id = 'kinds-4' \gset
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'payguard.tasks_pkey'::regclass;
SELECT outcome FROM payguard.complete_task(:t, :'k', 'failed'); -- fails
ROLLBACK;
