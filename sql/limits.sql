-- An array that a caller gives has at most 100,000 elements: 22023 beyond, before anything is read or written.
SELECT * FROM payguard.pay_orders(array_fill(NULL::payguard.pay_request, ARRAY[100001])); -- fails
SELECT * FROM payguard.complete_tasks(array_fill(NULL::payguard.task_answer, ARRAY[100001])); -- fails
SELECT * FROM payguard.claim_tasks('limits', kinds := array_fill('query'::text, ARRAY[100001])); -- fails
SELECT * FROM payguard.claim_tasks('limits', channels := array_fill('card'::text, ARRAY[100001])); -- fails
CREATE TABLE regress_limits (id int, status text);
\set guard '''regress_limits'', ''status'', ''{"a": ["b"]}'''
\set too_many 'array_fill(''a''::text, ARRAY[100001])'
SELECT * FROM payguard.guard_table(:guard, initial := :too_many); -- fails
SELECT * FROM payguard.guard_table(:guard, allow_delete := :too_many); -- fails
SELECT * FROM payguard.guard_table(:guard, immutable_columns := :too_many); -- fails
SELECT * FROM payguard.guard_table(:guard, paid_states := :too_many); -- fails
SELECT * FROM payguard.guard_table(:guard, success_states := :too_many); -- fails
SELECT * FROM payguard.guard_table(:guard, once := :too_many); -- fails
DROP TABLE regress_limits;
-- these are all; referenced_orders() and close_findings() are called by payguard itself
SELECT p.proname, n.name
FROM pg_proc p CROSS JOIN unnest(p.proargnames[1:p.pronargs], p.proargtypes::oid[]) n (name, type) JOIN pg_type y ON y.oid = n.type
WHERE p.pronamespace = 'payguard'::regnamespace AND y.typcategory = 'A' ORDER BY 1, 2;
-- as many as that are read
SELECT * FROM payguard.pay_orders(array_fill(NULL::payguard.pay_request, ARRAY[100000])); -- fails
SELECT count(*) FROM payguard.claim_tasks('limits', channels := array_fill('limits'::text, ARRAY[100000]));
-- a finding's number is no version
SELECT payguard.resolve_finding(0, 'waive', 'none'); -- fails
SELECT payguard.resolve_finding(NULL, 'waive', 'none'); -- fails
