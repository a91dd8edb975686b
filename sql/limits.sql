-- An array that a caller gives has at most 100,000 elements: 22023 beyond, before anything is read or written.
SELECT * FROM payguard.pay_orders(array_fill(NULL::payguard.pay_request, ARRAY[100001])); -- fails
SELECT * FROM payguard.complete_tasks(array_fill(NULL::payguard.task_answer, ARRAY[100001])); -- fails
SELECT * FROM payguard.claim_tasks('limits', kinds := array_fill('query'::text, ARRAY[100001])); -- fails
SELECT * FROM payguard.claim_tasks('limits', channels := array_fill('card'::text, ARRAY[100001])); -- fails
-- as many as that are read
SELECT * FROM payguard.pay_orders(array_fill(NULL::payguard.pay_request, ARRAY[100000])); -- fails
SELECT count(*) FROM payguard.claim_tasks('limits', channels := array_fill('limits'::text, ARRAY[100000]));
-- a finding's number is no version
SELECT payguard.resolve_finding(0, 'waive', 'none'); -- fails
SELECT payguard.resolve_finding(NULL, 'waive', 'none'); -- fails
