-- Prints, from the catalog of a shard, the SQL that offers payguard's functions and tables at the
-- router under the same names. Run it with: psql -XAtq -f generate.sql SHARD | psql ROUTER
--
-- What routes a call is the name of an argument; the few functions without such a one are listed
-- below. A function that neither fits is printed as an error, so that nothing is left out unseen.
\set ON_ERROR_STOP on
SET search_path = pg_catalog;

CREATE TEMP TABLE route (function text PRIMARY KEY, kind text);
INSERT INTO route VALUES
  -- computed by the router itself
  ('new_order_id', 'own'), ('slot', 'own'), ('payment_slot', 'own'),
  -- every shard has to be asked, or told
  ('register_channel', 'all'), ('set_policy', 'all'), ('expire_orders', 'all'), ('match_notifications', 'all'),
  ('maintain', 'all'), ('verify', 'all'), ('run_verify', 'all'), ('find_orders', 'all'), ('broken_guards', 'all'), ('payment_rates', 'all'), ('payment_curve', 'all'),
  ('reset_counters', 'all'), ('grant_access', 'all'), ('revoke_access', 'all'),
  -- the same everywhere
  ('state_transitions', 'any'), ('decisions', 'any'), ('current_actor', 'any'), ('role_access', 'any'), ('minor_units', 'any'), ('major_units', 'any'),
  ('money', 'any'), ('major_text', 'any'), ('tell', 'any'), ('allowed_actions', 'any'),
  -- where the money is known: by its payment or refund, else by its transaction or reversal
  ('record_notification', 'lookup'), ('record_reversal', 'lookup'), ('record_reinstatement', 'lookup'),
  -- batches are split
  ('pay_orders', 'split'), ('request_payments', 'split'), ('complete_tasks', 'split'),
  -- so many from one shard after the other
  ('claim_tasks', 'gather');
-- Not at the router: these work beside the data, or on one database's roles and tables.
INSERT INTO route SELECT f, 'none' FROM unnest('{run_tasks,call_driver,channel_drivers,as_note,session_role,not_in_dumps,
  guard_table,unguard_table,sync_rows,guard_triggers,guard_settings,guard_bad_rows,broken_rows,guard_problems,lost_guards,
  case_story,case_told,case_actions,read_events,commit_events,drop_consumer,consumer_lags,read_counters,
  reconcile,archive_orders,erase_customer,support_access,refunds_access,admin_access,reset}'::text[]) f;

CREATE TEMP VIEW api AS
SELECT p.oid, p.proname AS name, p.proretset, p.provolatile, t.typtype,
  pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result,
  (SELECT string_agg(quote_ident(n.name) || ' ' || format_type(n.type, NULL), ', ' ORDER BY n.i)
   FROM ROWS FROM (unnest(p.proargnames[1:p.pronargs]), unnest(p.proargtypes)) WITH ORDINALITY n (name, type, i)) AS inputs,
  (SELECT string_agg(quote_ident(n), ', ' ORDER BY i) FROM unnest(p.proargnames[1:p.pronargs]) WITH ORDINALITY u (n, i)) AS names,
  coalesce(p.proargnames[1:p.pronargs], '{}') AS argument,
  format_type(p.proargtypes[0], NULL) AS first_type
FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype
WHERE p.oid IN (SELECT a.function::regprocedure FROM payguard.access_functions() a) OR
  p.oid IN ('payguard.grant_access'::regproc, 'payguard.revoke_access'::regproc, 'payguard.role_access'::regproc);

CREATE TEMP VIEW routed AS
SELECT a.*, coalesce(r.kind, CASE
    WHEN 'order_id' = ANY (argument) OR 'payment_id' = ANY (argument) OR 'refund_id' = ANY (argument) OR
      argument && '{task_id,alert_id,approval_id}' THEN 'one' END) AS kind,
  CASE WHEN 'payment_id' = ANY (argument) THEN 'payguard_router.shard_of_id(payment_id)'
       WHEN 'order_id' = ANY (argument) THEN 'payguard_router.shard_of_order(order_id)'
       WHEN 'refund_id' = ANY (argument) THEN 'payguard_router.shard_of_id(refund_id)'
       WHEN 'task_id' = ANY (argument) THEN 'payguard_router.shard_of_number(task_id)'
       WHEN 'alert_id' = ANY (argument) THEN 'payguard_router.shard_of_number(alert_id)'
       WHEN 'approval_id' = ANY (argument) THEN 'payguard_router.shard_of_number(approval_id)' END AS shard
FROM api a LEFT JOIN route r ON r.function = a.name;

\echo '\\set ON_ERROR_STOP on'
\echo 'SET check_function_bodies = off;'

SELECT format('DO $do$ BEGIN RAISE EXCEPTION ''no route for %I(%s)''; END $do$;', name, arguments) FROM routed WHERE kind IS NULL;

-- Types.
SELECT format('CREATE TYPE payguard.%I AS (%s);', c.relname,
  (SELECT string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum)
   FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped))
FROM pg_class c WHERE c.relnamespace = 'payguard'::regnamespace AND c.relkind = 'c' AND c.relname <> 'case_subject' ORDER BY c.oid;

-- Tables and views, to look at: all shards' rows. What is configuration is the same everywhere:
-- the first shard's is shown.
SELECT format($f$CREATE FUNCTION payguard_router.%I() RETURNS TABLE (%s) LANGUAGE plproxy AS $$
CLUSTER 'payguard'; RUN ON %s; SELECT %s FROM payguard.%I; $$;
CREATE VIEW payguard.%I AS SELECT * FROM payguard_router.%I();
GRANT SELECT ON payguard.%I TO PUBLIC;$f$,
  'read_' || c.relname, a.columns, CASE WHEN c.relname IN ('channels', 'policies') THEN '0' ELSE 'ALL' END, a.names,
  c.relname, c.relname, 'read_' || c.relname, c.relname)
FROM pg_class c, LATERAL (
  SELECT string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum) AS columns,
    string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS names
  FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) a
WHERE c.relnamespace = 'payguard'::regnamespace AND c.relkind IN ('r', 'v') AND c.relname <> 'guards' ORDER BY c.oid;

-- Calls that one shard answers.
SELECT format($f$CREATE FUNCTION payguard.%I(%s) RETURNS %s LANGUAGE plproxy AS $$
CLUSTER 'payguard'; RUN ON %s; $$;$f$, name, arguments, result, CASE kind WHEN 'any' THEN 'ANY' ELSE shard END)
FROM routed WHERE kind IN ('one', 'any') ORDER BY oid;

-- Calls that each shard answers: rows are put together, numbers added; of a setting's row each shard
-- returns its own, and one is shown.
SELECT format($f$CREATE FUNCTION payguard_router.%I(%s) RETURNS SETOF %s LANGUAGE plproxy AS $$
CLUSTER 'payguard'; RUN ON ALL; SELECT %s FROM payguard.%I(%s)%s; $$;
CREATE FUNCTION payguard.%I(%s) RETURNS %s LANGUAGE plpgsql AS $$ BEGIN %s payguard_router.%I(%s) r%s; END $$;$f$,
  name, inputs, result, CASE typtype WHEN 'c' THEN '*' ELSE 'r' END, name, names, CASE typtype WHEN 'c' THEN '' ELSE ' r' END,
  name, arguments, result,
  CASE WHEN typtype = 'c' THEN 'RETURN r FROM' WHEN result = 'void' THEN 'PERFORM FROM' ELSE 'RETURN sum(r) FROM' END, name, names,
  CASE typtype WHEN 'c' THEN ' LIMIT 1' ELSE '' END)
FROM routed WHERE kind = 'all' AND NOT proretset ORDER BY oid;
SELECT format($f$CREATE FUNCTION payguard.%I(%s) RETURNS %s LANGUAGE plproxy AS $$
CLUSTER 'payguard'; RUN ON ALL; $$;$f$, name, arguments, result)
FROM routed WHERE kind = 'all' AND proretset ORDER BY oid;

-- Messages from channels. The lookup is made with the rights of the owner, who is to be mapped to an auditor.
\echo 'CREATE FUNCTION payguard_router.known_at(channel text, channel_txn_id text) RETURNS SETOF text LANGUAGE plproxy SECURITY DEFINER AS $$ CLUSTER ''payguard''; RUN ON ALL; SELECT p.payment_id::text FROM payguard.payments p WHERE p.channel = $1 AND p.channel_txn_id = $2; $$;'
\echo 'CREATE FUNCTION payguard_router.reversal_known_at(channel text, reversal_id text) RETURNS SETOF text LANGUAGE plproxy SECURITY DEFINER AS $$ CLUSTER ''payguard''; RUN ON ALL; SELECT r.refund_id::text FROM payguard.refunds r WHERE r.channel = $1 AND r.channel_refund_id = $2; $$;'
SELECT format($f$CREATE FUNCTION payguard_router.%I(shard integer, %s) RETURNS %s LANGUAGE plproxy AS $$
CLUSTER 'payguard'; RUN ON shard; SELECT * FROM payguard.%I(%s); $$;
CREATE FUNCTION payguard.%I(%s) RETURNS %s LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
  known text := %s::text;
BEGIN
  IF known IS NULL AND %s IS NOT NULL THEN
    SELECT k INTO known FROM payguard_router.%I(channel, %s) k LIMIT 1;
  END IF;
  RETURN payguard_router.%I(CASE WHEN known IS NOT NULL THEN payguard_router.shard_of_id(known::uuid)
                                 ELSE payguard_router.shard_of_order(md5(%s)) END, %s);
END $$;$f$, name, inputs, result, name, names, name, arguments, result,
  CASE name WHEN 'record_notification' THEN 'coalesce(payment_id, refund_id)' ELSE 'NULL' END,
  l.id, l.lookup, l.id, name, CASE
    -- a message is its event, and without an id its bytes, as the shard will keep them: both forms of one body go to one shard
    WHEN name = 'record_notification' AND inputs LIKE '%body text%' THEN
    $x$concat(channel, coalesce(event_id, encode(CASE WHEN body ~ '^\\x([0-9A-Fa-f]{2})*$' THEN decode(substr(body, 3), 'hex')
                                                      ELSE convert_to(body, 'UTF8') END, 'hex')))$x$
    WHEN name = 'record_notification' THEN $x$concat(channel, coalesce(event_id, encode(body, 'hex')))$x$
    ELSE 'concat(channel, reversal_id)' END, names)
FROM routed, LATERAL (
  SELECT CASE name WHEN 'record_reinstatement' THEN 'reversal_id' ELSE 'channel_txn_id' END AS id,
    CASE name WHEN 'record_reinstatement' THEN 'reversal_known_at' ELSE 'known_at' END AS lookup) l
WHERE kind = 'lookup' ORDER BY oid;

-- Batches: each element goes to its shard with its position, by which the results are put in order again.
SELECT format($f$CREATE FUNCTION payguard_router.%I(element %s) RETURNS integer LANGUAGE sql STABLE AS
$$ SELECT %s $$;
CREATE FUNCTION payguard_router.%I(elements %s, positions bigint[]) RETURNS TABLE ("position" bigint, %s) LANGUAGE plproxy AS $$
CLUSTER 'payguard'; SPLIT elements, positions; RUN ON payguard_router.%I(elements);
SELECT p AS "position", %s FROM ROWS FROM (payguard.%I(elements::%s), unnest(positions::bigint[])) AS r (%s, p); $$;
CREATE FUNCTION payguard.%I(%s) RETURNS %s LANGUAGE plpgsql AS $$
BEGIN
  IF cardinality($1) > 0 THEN
    RETURN QUERY SELECT %s FROM payguard_router.%I($1, (SELECT array_agg(i) FROM generate_series(1, cardinality($1)) i)) r ORDER BY r."position";
  ELSE
    RETURN QUERY SELECT * FROM payguard_router.%I(0, $1);
  END IF;
END $$;$f$,
  'shard_of_' || name, left(first_type, -2),
  CASE WHEN name IN ('pay_orders', 'request_payments') THEN 'payguard_router.shard_of_order(($1).order_id)' ELSE 'payguard_router.shard_of_number(($1).task_id)' END,
  name, first_type, c.columns, 'shard_of_' || name, c.names, name, first_type, c.names,
  name, arguments, result, c.named, name, name)
FROM routed r, LATERAL (
  SELECT string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum) AS columns,
    string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS names, string_agg('r.' || quote_ident(attname), ', ' ORDER BY attnum) AS named
  FROM pg_attribute WHERE attrelid = (SELECT t.typrelid FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype WHERE p.oid = r.oid) AND attnum > 0) c
WHERE kind = 'split' ORDER BY oid;
SELECT format($f$CREATE FUNCTION payguard_router.%I(shard integer, %s) RETURNS %s LANGUAGE plproxy AS $$
CLUSTER 'payguard'; RUN ON shard; SELECT * FROM payguard.%I(%s); $$;$f$, name, inputs, result, name, names)
FROM routed WHERE kind IN ('split', 'gather') ORDER BY oid;

-- Tasks: from one shard after the other, beginning anywhere, until there are enough.
SELECT format($f$CREATE FUNCTION payguard.%I(%s) RETURNS %s LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
  shard integer; wanted integer := max_tasks; found integer;
BEGIN
  FOR shard IN SELECT s FROM payguard_router.shards() s ORDER BY random() LOOP
    RETURN QUERY SELECT * FROM payguard_router.%I(shard, %s);
    GET DIAGNOSTICS found = ROW_COUNT;
    wanted := wanted - found;
    EXIT WHEN wanted <= 0;
  END LOOP;
END $$;$f$, name, arguments, result, name, replace(names, 'max_tasks', 'wanted'))
FROM routed WHERE kind = 'gather' ORDER BY oid;
