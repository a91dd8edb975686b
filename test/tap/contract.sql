-- The API as a contract: a change of anything here breaks somebody's program.
\set ECHO none
\set QUIET on
SET client_min_messages = warning;
BEGIN;
CREATE TEMP TABLE contract (function text, returns text, volatility text, definer boolean);
INSERT INTO contract VALUES
  ('new_order_id()', 'text', 'v', false),
  ('slot(order_id text)', 'integer', 'i', false),
  ('payment_slot(payment_id uuid)', 'integer', 'i', false),
  ('state_transitions(OUT machine text, OUT from_status text, OUT to_status text)', 'SETOF record', 'i', false),
  ('create_order(order_id text, amount bigint, currency text, customer_id text DEFAULT NULL::text, expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone)', 'payguard.orders', 'v', true),
  ('update_order(order_id character varying, expected_version bigint, amount bigint DEFAULT NULL::bigint, currency text DEFAULT NULL::text, expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone, customer_id text DEFAULT NULL::text)', 'payguard.orders', 'v', true),
  ('import_order(order_id text, amount bigint, currency text, status text, customer_id text DEFAULT NULL::text, created_at timestamp with time zone DEFAULT NULL::timestamp with time zone, paid_at timestamp with time zone DEFAULT NULL::timestamp with time zone, channel text DEFAULT NULL::text, channel_txn_id text DEFAULT NULL::text, refunded_amount bigint DEFAULT NULL::bigint, refunded_at timestamp with time zone DEFAULT NULL::timestamp with time zone, channel_refund_id text DEFAULT NULL::text, closed_at timestamp with time zone DEFAULT NULL::timestamp with time zone)', 'payguard.orders', 'v', true),
  ('request_payments(requests payguard.payment_request[])', 'SETOF payguard.payment_result', 'v', true),
  ('request_approval(order_id text, note text)', 'payguard.approvals', 'v', true),
  ('reset()', 'void', 'v', true),
  ('cancel_order(order_id text, expected_version bigint DEFAULT NULL::bigint, reason text DEFAULT NULL::text)', 'payguard.orders', 'v', true),
  ('order_status(order_id text)', 'payguard.order_status_result', 's', true),
  ('order_timeline(order_id text)', 'TABLE(at timestamp with time zone, kind text, from_status text, to_status text, version bigint, payment_id uuid, refund_id uuid, actor text, details jsonb)', 's', true),
  ('pay_order(order_id text, idempotency_key text, amount bigint DEFAULT NULL::bigint, currency text DEFAULT NULL::text, expected_version bigint DEFAULT NULL::bigint, channel text DEFAULT ''internal''::text)', 'payguard.payment_result', 'v', true),
  ('try_pay_order(order_id text, idempotency_key text, amount bigint DEFAULT NULL::bigint, currency text DEFAULT NULL::text, expected_version bigint DEFAULT NULL::bigint, channel text DEFAULT ''internal''::text)', 'payguard.payment_result', 'v', true),
  ('pay_orders(requests payguard.pay_request[])', 'SETOF payguard.payment_result', 'v', true),
  ('capture_payment(payment_id uuid)', 'payguard.payment_result', 'v', true),
  ('revoke_key(order_id text, idempotency_key text)', 'payguard.payment_result', 'v', true),
  ('register_channel(name character varying, internal boolean DEFAULT NULL::boolean, driver text DEFAULT NULL::text, first_query_after interval DEFAULT NULL::interval, max_query_interval interval DEFAULT NULL::interval, alert_after interval DEFAULT NULL::interval, not_found_is_final_after interval DEFAULT NULL::interval, late_success text DEFAULT NULL::text, idempotent_charge boolean DEFAULT NULL::boolean, surplus text DEFAULT NULL::text, reopen_on text[] DEFAULT NULL::text[], processing_alert_after interval DEFAULT NULL::interval)', 'payguard.channels', 'v', true),
  ('reopen_order(order_id text, note text)', 'payguard.orders', 'v', true),
  ('record_reinstatement(channel text, reversal_id text, channel_time timestamp with time zone DEFAULT NULL::timestamp with time zone)', 'payguard.refund_result', 'v', true),
  ('request_payment(order_id character varying, idempotency_key text, channel text, amount bigint DEFAULT NULL::bigint, currency text DEFAULT NULL::text, expected_version bigint DEFAULT NULL::bigint, expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone, details jsonb DEFAULT NULL::jsonb, capture text DEFAULT NULL::text)', 'payguard.payment_result', 'v', true),
  ('try_start_payment(order_id text, idempotency_key text, channel text, amount bigint DEFAULT NULL::bigint, currency text DEFAULT NULL::text, expected_version bigint DEFAULT NULL::bigint, expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone, details jsonb DEFAULT NULL::jsonb, capture text DEFAULT NULL::text)', 'payguard.payment_result', 'v', true),
  ('try_request_payment(order_id text, idempotency_key text, channel text, amount bigint DEFAULT NULL::bigint, currency text DEFAULT NULL::text, expected_version bigint DEFAULT NULL::bigint, expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone, details jsonb DEFAULT NULL::jsonb, capture text DEFAULT NULL::text)', 'payguard.payment_result', 'v', true),
  ('claim_tasks(worker text, max_tasks integer DEFAULT 10, lease interval DEFAULT ''00:00:30''::interval, kinds text[] DEFAULT NULL::text[], channels text[] DEFAULT NULL::text[])', 'SETOF payguard.task', 'v', true),
  ('complete_task(task_id bigint, lease_token uuid, channel_status character varying, channel_txn_id text DEFAULT NULL::text, amount bigint DEFAULT NULL::bigint, currency text DEFAULT NULL::text, code text DEFAULT NULL::text, message text DEFAULT NULL::text, capture_before timestamp with time zone DEFAULT NULL::timestamp with time zone)', 'payguard.payment_result', 'v', true),
  ('complete_tasks(answers payguard.task_answer[])', 'SETOF payguard.payment_result', 'v', true),
  ('retry_task(task_id bigint, lease_token uuid, error text, delay interval DEFAULT NULL::interval)', 'bigint', 'v', true),
  ('extend_lease(task_id bigint, lease_token uuid, lease interval)', 'timestamp with time zone', 'v', true),
  ('requeue_task(task_id bigint)', 'bigint', 'v', true),
  ('query_payment(payment_id uuid)', 'payguard.payment_result', 'v', true),
  ('channel_drivers(OUT channel text, OUT driver text)', 'SETOF record', 's', true),
  ('call_driver(driver regproc, task payguard.task, timeout interval)', 'payguard.channel_reply', 'v', false),
  ('run_tasks(IN max_tasks integer DEFAULT 100, IN timeout interval DEFAULT ''00:00:10''::interval)', NULL, 'v', false),
  ('sync_rows(order_id text DEFAULT NULL::text, max integer DEFAULT 1000)', 'bigint', 'v', true),
  ('maintain(max integer DEFAULT 1000)', 'TABLE(duty text, done bigint, problem text)', 'v', true),
  ('acknowledge_alert(alert_id bigint, note text)', 'payguard.alerts', 'v', true),
  ('resolve_alert(alert_id bigint, note text)', 'payguard.alerts', 'v', true),
  ('reset_counters()', 'void', 'v', false),
  ('payment_rates(period interval DEFAULT ''01:00:00''::interval, split_by text DEFAULT ''channel''::text)', 'TABLE(split text, started bigint, succeeded bigint, failed bigint, duplicates bigint, blocked bigint, success_rate numeric, failure_rate numeric, duplicate_rate numeric, baseline_success_rate numeric, baseline_failure_rate numeric, baseline_duplicate_rate numeric, mismatched bigint, late bigint, held bigint)', 's', true),
  ('archive_orders(before timestamp with time zone, max integer DEFAULT 1000)', 'integer', 'v', true),
  ('erase_customer(customer_id text)', 'integer', 'v', true),
  ('read_events(consumer text, max integer DEFAULT 1000)', 'TABLE(window_id bigint, event_id bigint, at timestamp with time zone, order_id text, payment_id uuid, refund_id uuid, kind text, from_status text, to_status text, version bigint, actor text, details jsonb)', 'v', true),
  ('commit_events(consumer text, window_id bigint, event_id bigint)', 'boolean', 'v', true),
  ('drop_consumer(consumer text)', 'boolean', 'v', true),
  ('set_policy(currency text, min_amount bigint, approve_payment boolean DEFAULT false, approve_refund boolean DEFAULT false, require_version boolean DEFAULT false, duplicate_window interval DEFAULT NULL::interval, on_duplicate text DEFAULT NULL::text)', 'payguard.policies', 'v', true),
  ('approve_order(order_id text, note text, expected_version bigint DEFAULT NULL::bigint)', 'payguard.approvals', 'v', true),
  ('reject_order(order_id text, note text, expected_version bigint DEFAULT NULL::bigint)', 'payguard.approvals', 'v', true),
  ('approve_refund(refund_id uuid, note text)', 'payguard.refund_result', 'v', true),
  ('reject_refund(refund_id uuid, note text)', 'payguard.refund_result', 'v', true),
  ('reconcile(channel text, period_start timestamp with time zone DEFAULT ''-infinity''::timestamp with time zone, period_end timestamp with time zone DEFAULT now(), grace interval DEFAULT ''1 day''::interval)', 'TABLE(alert_id bigint, finding text, order_id text, payment_id uuid, refund_id uuid, details jsonb, opened_at timestamp with time zone, is_new boolean)', 'v', true),
  ('resolve_finding(alert_id bigint, action text, note text)', 'payguard.finding_result', 'v', true),
  ('verify()', 'TABLE(invariant text, object text, problem text)', 's', true),
  ('broken_guards()', 'TABLE(guard text, problem text)', 's', true),
  ('current_actor()', 'text', 's', false),
  ('grant_access(role name, access text)', 'void', 'v', false),
  ('revoke_access(role name, access text)', 'void', 'v', false),
  ('role_access(OUT role name, OUT access text)', 'SETOF record', 's', false),
  ('renew_access()', 'bigint', 'v', false),
  ('access_functions()', 'TABLE(access text, is_marker boolean, function text)', 'i', false);
CREATE TEMP TABLE type_columns (type text, columns text);
INSERT INTO type_columns VALUES
  ('payment_result', 'outcome text, order_id text, payment_id uuid, order_status text, payment_status text, version bigint, amount bigint, currency text, completed_at timestamp with time zone, replayed boolean, message text'),
  ('pay_request', 'order_id text, idempotency_key text, amount bigint, currency text, expected_version bigint, channel text'),
  ('task', 'task_id bigint, lease_token uuid, leased_until timestamp with time zone, kind text, tries bigint, order_id text, payment_id uuid, refund_id uuid, channel text, amount bigint, currency text, channel_txn_id text, channel_refund_id text, expires_at timestamp with time zone, details jsonb, capture text, capture_id uuid'),
  ('task_answer', 'task_id bigint, lease_token uuid, channel_status text, channel_txn_id text, amount bigint, currency text, code text, message text'),
  ('channel_reply', 'channel_status text, channel_txn_id text, amount bigint, currency text, code text, message text'),
  ('order_status_result', 'order_id text, status text, advice text, message text, can_pay boolean, can_cancel boolean, retry_after interval, resume_payment_id uuid, amount bigint, currency text, refunded_amount bigint, version bigint'),
  ('metrics', 'name text, labels jsonb, value double precision'),
  ('stat_counters', 'counter text, reason text, value bigint, since timestamp with time zone'),
  ('outbox', 'id bigint, aggregatetype text, aggregateid text, type text, payload jsonb, timestamp timestamp with time zone'),
  ('policies', 'currency text, min_amount bigint, approve_payment boolean, approve_refund boolean, require_version boolean, duplicate_window interval, on_duplicate text, updated_at timestamp with time zone'),
  ('approvals', 'approval_id bigint, subject text, order_id text, refund_id uuid, alert_id bigint, amount bigint, currency text, status text, requested_by text, requested_at timestamp with time zone, decided_by text, decided_at timestamp with time zone, note text'),
  ('settlement_lines', 'line_id bigint, channel text, kind text, channel_status text, channel_txn_id text, channel_refund_id text, payment_id uuid, order_id text, refund_id uuid, amount bigint, currency text, channel_time timestamp with time zone, loaded_by text, loaded_at timestamp with time zone, fee bigint, settled_amount bigint, settled_currency text, payout_id text'),
  ('payouts', 'channel text, payout_id text, settled_currency text, lines bigint, gross numeric, fees numeric, net numeric, first_at timestamp with time zone, last_at timestamp with time zone'),
  ('unreadable_messages', 'channel text, code text, received_at timestamp with time zone, event_id text, order_id text, payment_id uuid, refund_id uuid, message text, body bytea'),
  ('unmatched_messages', 'channel text, received_at timestamp with time zone, event_id text, order_id text, payment_id uuid, refund_id uuid, channel_status text, channel_txn_id text, amount bigint, currency text, body bytea'),
  ('cases', 'case_id bigint, severity text, kind text, since timestamp with time zone, order_id text, payment_id uuid, refund_id uuid, task_id bigint, customer_id text, amount bigint, currency text, happened text, outlook text, refund_status text, taken_by text, taken_at timestamp with time zone, taken_note text, story jsonb, actions jsonb'),
  ('finding_result', 'outcome text, alert_id bigint, finding text, order_id text, payment_id uuid, refund_id uuid, message text'),
  ('orders', 'order_id text, customer_id text, amount bigint, currency text, status text, closing_as text, version bigint, payment_id uuid, refunded_amount bigint, created_at timestamp with time zone, updated_at timestamp with time zone, expires_at timestamp with time zone, returned_payment_id uuid');
SELECT no_plan();
-- signatures
SELECT is(p.returns, c.returns, c.function || ' returns') FROM contract c LEFT JOIN (
  SELECT p.proname || '(' || pg_get_function_arguments(p.oid) || ')' AS function, pg_get_function_result(p.oid) AS returns
  FROM pg_proc p WHERE p.pronamespace = 'payguard'::regnamespace) p USING (function);
SELECT is((SELECT p.provolatile::text || CASE WHEN p.prosecdef THEN ' definer' ELSE '' END FROM pg_proc p
           WHERE p.pronamespace = 'payguard'::regnamespace AND p.proname || '(' || pg_get_function_arguments(p.oid) || ')' = c.function),
          c.volatility || CASE WHEN c.definer THEN ' definer' ELSE '' END, c.function || ': volatility and rights') FROM contract c;
-- every function has a comment, and nothing of it is open to the public
SELECT ok(length(obj_description(p.oid, 'pg_proc')) > 10, p.oid::regprocedure || ' has a comment')
FROM pg_proc p WHERE p.pronamespace = 'payguard'::regnamespace ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT ok(NOT EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0), p.oid::regprocedure || ' is not for PUBLIC')
FROM pg_proc p WHERE p.pronamespace = 'payguard'::regnamespace
  AND p.proname <> ALL ('{guard,guard_truncate}') -- whoever adds a partition to a guarded table makes its triggers
ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT ok(p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'c') OR p.proconfig @> '{"search_path=pg_catalog, pg_temp"}', p.oid::regprocedure || ' pins its search_path')
FROM pg_proc p WHERE p.pronamespace = 'payguard'::regnamespace AND p.prokind = 'f' -- a procedure that commits cannot
ORDER BY p.oid::regprocedure::text COLLATE "C";
-- what is archived has the columns that it had; the views have them too
SELECT is((SELECT string_agg(concat(a.attname, ' ', format_type(a.atttypid, a.atttypmod), ' ', a.attnotnull, ' ', a.attcollation), ', ' ORDER BY a.attnum) FROM pg_attribute a
           WHERE a.attrelid = ('payguard.archived_' || t)::regclass AND a.attnum > 0 AND NOT a.attisdropped),
          (SELECT string_agg(concat(a.attname, ' ', format_type(a.atttypid, a.atttypmod), ' ', a.attnotnull, ' ', a.attcollation), ', ' ORDER BY a.attnum) FROM pg_attribute a
           WHERE a.attrelid = ('payguard.' || t)::regclass AND a.attnum > 0 AND NOT a.attisdropped), 'columns of archived ' || t)
FROM unnest('{orders,payments,refunds,refund_balances,events,notifications,approvals}'::text[]) t;
SELECT is((SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = ('payguard.every_' || rtrim(t, 's'))::regclass AND a.attnum > 0),
          (SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = ('payguard.' || t)::regclass AND a.attnum > 0 AND NOT a.attisdropped), 'columns of every one of ' || t)
FROM unnest('{orders,payments,refunds,refund_balances,events,notifications,approvals}'::text[]) t;
-- types and tables
SELECT is((SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum) FROM pg_attribute a
           WHERE a.attrelid = ('payguard.' || t.type)::regclass AND a.attnum > 0 AND NOT a.attisdropped), t.columns, 'columns of ' || t.type) FROM type_columns t;
SELECT ok(obj_description(c.oid, 'pg_class') IS NOT NULL, c.oid::regclass || ' has a comment')
FROM pg_class c WHERE c.relnamespace = 'payguard'::regnamespace AND c.relkind IN ('r', 'v') ORDER BY c.relname;
SELECT ok(obj_description(t.oid, 'pg_type') IS NOT NULL, t.typname || ' has a comment')
FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid WHERE t.typnamespace = 'payguard'::regnamespace AND c.relkind = 'c' ORDER BY t.typname;
SELECT is(obj_description('payguard'::regnamespace, 'pg_namespace') IS NOT NULL, true, 'the schema has a comment');
SELECT ok(NOT EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.conrelid = c.oid), c.relname || ' has no foreign key') FROM pg_class c
WHERE c.relnamespace = 'payguard'::regnamespace AND c.relkind = 'r' ORDER BY c.relname;
SELECT is_empty($$SELECT attrelid::regclass, attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
  WHERE c.relnamespace = 'payguard'::regnamespace AND c.relkind = 'r' AND t.typname LIKE 'reg%' AND attnum > 0$$, 'no column is of a reg* type');
SELECT ok(EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'payguard_protect' AND t.tgenabled = 'A'), c.relname || ' is protected') FROM pg_class c
WHERE c.relnamespace = 'payguard'::regnamespace AND c.relkind = 'r' ORDER BY c.relname;
-- the extension
SELECT is((SELECT extrelocatable FROM pg_extension WHERE extname = 'payguard'), false, 'not relocatable');
SELECT is((SELECT bool_or(trusted) FROM pg_available_extension_versions WHERE name = 'payguard'), false, 'not trusted');
SELECT is_empty($$SELECT * FROM payguard.verify()$$, 'a new database is sound');
-- the order machine, as it is documented
SELECT set_eq($$SELECT from_status, to_status FROM payguard.state_transitions() WHERE machine = 'order'$$,
  $$VALUES (NULL, 'unpaid'), ('unpaid', 'paying'), ('unpaid', 'paid'), ('paying', 'unpaid'), ('paying', 'paid'), ('paid', 'refunded'), ('refunded', 'paid'), ('paid', 'unpaid'), ('refunded', 'unpaid'),
    ('unpaid', 'cancelled'), ('unpaid', 'expired'), ('paying', 'cancelled'), ('paying', 'expired'), ('expired', 'paid'), ('cancelled', 'paid')$$, 'moves of an order');
SELECT set_eq($$SELECT to_status FROM payguard.state_transitions() WHERE machine = 'payment' AND from_status = 'succeeded'$$, ARRAY['returned', 'surplus'],
  'money that came is taken back, or is not needed any more; its attempt is over');
SELECT set_eq($$SELECT to_status FROM payguard.state_transitions() WHERE machine = 'refund' AND from_status = 'waived'$$, ARRAY['succeeded'],
  'a waived refund changes only where the channel made it all the same');
SELECT * FROM finish();
ROLLBACK;
