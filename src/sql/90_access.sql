-- Who may do what: exact sets of functions, and nothing for PUBLIC (95_private.sql).
-- An access has markers: whoever may execute all of them has the access. They belong to that access
-- alone, and never change. So the grants themselves remember who has what, in dumps too.
CREATE FUNCTION payguard.support_access() RETURNS void
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$ $$;
COMMENT ON FUNCTION payguard.support_access() IS 'Marks the access support. It does nothing';

CREATE FUNCTION payguard.refunds_access() RETURNS void
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$ $$;
COMMENT ON FUNCTION payguard.refunds_access() IS 'Marks the access refunds. It does nothing';

CREATE FUNCTION payguard.admin_access() RETURNS void
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$ $$;
COMMENT ON FUNCTION payguard.admin_access() IS 'Marks the access admin. It does nothing';

CREATE FUNCTION payguard.access_functions() RETURNS TABLE (access text, is_marker boolean, function text)
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
  VALUES
    ('checkout', true,  'payguard.create_order(text,bigint,text,text,timestamptz)'),
    ('checkout', false, 'payguard.new_order_id()'),
    ('checkout', false, 'payguard.update_order(text,bigint,bigint,text,timestamptz)'),
    ('checkout', false, 'payguard.update_order(varchar,bigint,bigint,text,timestamptz,text)'),
    ('checkout', false, 'payguard.cancel_order(text,bigint,text)'),
    ('checkout', false, 'payguard.start_payment(text,text,text,bigint,text,bigint,timestamptz,jsonb)'),
    ('checkout', false, 'payguard.start_payment(varchar,text,text,bigint,text,bigint,timestamptz,jsonb,text)'),
    ('checkout', false, 'payguard.try_start_payment(text,text,text,bigint,text,bigint,timestamptz,jsonb,text)'),
    ('checkout', false, 'payguard.try_request_payment(text,text,text,bigint,text,bigint,timestamptz,jsonb,text)'),
    ('checkout', false, 'payguard.request_payment(text,text,text,bigint,text,bigint,timestamptz,jsonb)'),
    ('checkout', false, 'payguard.request_payment(varchar,text,text,bigint,text,bigint,timestamptz,jsonb,text)'),
    ('checkout', false, 'payguard.capture_payment(uuid)'),
    ('checkout', false, 'payguard.request_payments(payguard.payment_request[])'),
    ('checkout', false, 'payguard.request_approval(text,text)'),
    ('checkout', false, 'payguard.close_payment(uuid)'),
    ('checkout', false, 'payguard.revoke_key(text,text)'),
    ('checkout', false, 'payguard.order_status(text)'),
    ('checkout', false, 'payguard.sync_rows(text,integer)'),
    ('checkout', false, 'payguard.minor_units(numeric,text)'),
    ('checkout', false, 'payguard.major_units(bigint,text)'),
    ('cashier',  true,  'payguard.pay_order(text,text,bigint,text,bigint,text)'),
    ('cashier',  false, 'payguard.try_pay_order(text,text,bigint,text,bigint,text)'),
    ('cashier',  false, 'payguard.pay_orders(payguard.pay_request[])'),
    ('cashier',  false, 'payguard.sync_rows(text,integer)'),
    ('cashier',  false, 'payguard.minor_units(numeric,text)'),
    ('cashier',  false, 'payguard.major_units(bigint,text)'),
    ('channel',  true,  'payguard.report_payment(uuid,text,text,bigint,text,text,text,timestamptz)'),
    ('channel',  false, 'payguard.report_payment(uuid,varchar,text,bigint,text,text,text,timestamptz,timestamptz)'),
    ('channel',  false, 'payguard.record_payment(text,text,text,bigint,text,timestamptz)'),
    ('channel',  false, 'payguard.record_notification(text,bytea,text,uuid,uuid,text,text,bigint,text,timestamptz)'),
    ('channel',  false, 'payguard.record_notification(varchar,bytea,text,uuid,uuid,text,text,bigint,text,timestamptz,timestamptz)'),
    ('channel',  false, 'payguard.record_notification(text,text,text,uuid,uuid,text,text,bigint,text,timestamptz,timestamptz)'),
    ('channel',  false, 'payguard.report_refund(uuid,text,text,bigint,text,text,text)'),
    ('channel',  false, 'payguard.record_reversal(text,text,text,text,bigint,text)'),
    ('channel',  false, 'payguard.record_reversal(varchar,text,text,text,bigint,text,timestamptz)'),
    ('channel',  false, 'payguard.record_reinstatement(text,text,timestamptz)'),
    ('channel',  false, 'payguard.claim_tasks(text,integer,interval,text[],text[])'),
    ('channel',  false, 'payguard.complete_task(bigint,uuid,text,text,bigint,text,text,text)'),
    ('channel',  false, 'payguard.complete_task(bigint,uuid,varchar,text,bigint,text,text,text,timestamptz)'),
    ('channel',  false, 'payguard.complete_tasks(payguard.task_answer[])'),
    ('channel',  false, 'payguard.retry_task(bigint,uuid,text,interval)'),
    ('channel',  false, 'payguard.extend_lease(bigint,uuid,interval)'),
    ('channel',  false, 'payguard.query_payment(uuid)'),
    ('channel',  false, 'payguard.channel_drivers()'),
    ('channel',  false, 'payguard.call_driver(regproc,payguard.task,interval)'),
    ('channel',  false, 'payguard.as_note(text)'),
    ('channel',  false, 'payguard.run_tasks(integer,interval)'),
    ('channel',  false, 'payguard.sync_rows(text,integer)'),
    ('channel',  false, 'payguard.minor_units(numeric,text)'),
    ('channel',  false, 'payguard.major_units(bigint,text)'),
    ('operator', false, 'payguard.order_timeline(text)'),
    ('operator', false, 'payguard.approve_order(text,text,bigint)'),
    ('operator', false, 'payguard.reject_order(text,text,bigint)'),
    ('operator', false, 'payguard.approve_refund(uuid,text)'),
    ('operator', false, 'payguard.reject_refund(uuid,text)'),
    ('operator', false, 'payguard.reconcile(text,timestamptz,timestamptz,interval)'),
    ('operator', false, 'payguard.session_role()'),
    ('operator', false, 'payguard.resolve_finding(bigint,text,text)'),
    ('operator', false, 'payguard.retry_refund(uuid,text)'),
    ('operator', false, 'payguard.waive_refund(uuid,text)'),
    ('operator', false, 'payguard.settle_refund(uuid,text,text)'),
    ('operator', false, 'payguard.settle_refund(uuid,varchar,text,text)'),
    ('operator', false, 'payguard.settle_payment(uuid,text,text,text,bigint,text)'),
    ('operator', true,  'payguard.accept_surplus(uuid,text)'),
    ('operator', false, 'payguard.reopen_order(text,text)'),
    ('operator', true,  'payguard.dismiss_surplus(uuid,uuid,text)'),
    ('operator', false, 'payguard.requeue_task(bigint)'),
    ('operator', false, 'payguard.query_payment(uuid)'),
    ('operator', false, 'payguard.capture_payment(uuid)'),
    ('operator', false, 'payguard.close_payment(uuid)'),
    ('operator', false, 'payguard.expire_orders(integer)'),
    ('operator', false, 'payguard.match_notifications(integer)'),
    ('operator', false, 'payguard.order_status(text)'),
    ('operator', false, 'payguard.maintain(integer)'),
    ('operator', false, 'payguard.run_verify()'),
    ('operator', false, 'payguard.acknowledge_alert(bigint,text)'),
    ('operator', true,  'payguard.resolve_alert(bigint,text)'),
    ('operator', false, 'payguard.drop_consumer(text)'),
    ('operator', false, 'payguard.reset_counters()'),
    ('operator', false, 'payguard.payment_rates(interval,text)'),
    ('operator', false, 'payguard.payment_curve(interval,integer)'),
    ('operator', false, 'payguard.read_counters()'),
    ('operator', false, 'payguard.consumer_lags()'),
    ('operator', false, 'payguard.sync_rows(text,integer)'),
    ('operator', false, 'payguard.case_story(bigint)'),
    ('operator', false, 'payguard.case_told(bigint,text)'),
    ('operator', false, 'payguard.case_actions(bigint)'),
    ('operator', false, 'payguard.allowed_actions(jsonb)'),
    ('operator', false, 'payguard.tell(text,jsonb)'),
    ('operator', false, 'payguard.money(bigint,text)'),
    ('operator', false, 'payguard.major_text(bigint,text)'),
    ('operator', false, 'payguard.find_orders(text)'),
    ('operator', false, 'payguard.accept_surplus(uuid,text,boolean)'),
    ('operator', false, 'payguard.minor_units(numeric,text)'),
    ('operator', false, 'payguard.major_units(bigint,text)'),
    ('support',  true,  'payguard.support_access()'),
    ('support',  false, 'payguard.order_status(text)'),
    ('support',  false, 'payguard.order_timeline(text)'),
    ('support',  false, 'payguard.case_story(bigint)'),
    ('support',  false, 'payguard.case_told(bigint,text)'),
    ('support',  false, 'payguard.case_actions(bigint)'),
    ('support',  false, 'payguard.allowed_actions(jsonb)'),
    ('support',  false, 'payguard.tell(text,jsonb)'),
    ('support',  false, 'payguard.money(bigint,text)'),
    ('support',  false, 'payguard.major_text(bigint,text)'),
    ('support',  false, 'payguard.find_orders(text)'),
    ('support',  false, 'payguard.minor_units(numeric,text)'),
    ('support',  false, 'payguard.major_units(bigint,text)'),
    ('refunds',  true,  'payguard.refunds_access()'),
    ('refunds',  false, 'payguard.refund_order(text,text,bigint,text,jsonb)'),
    ('refunds',  false, 'payguard.refund_order(varchar,text,bigint,text,jsonb,text)'),
    ('refunds',  false, 'payguard.refund_payment(uuid,text,bigint,text,jsonb)'),
    ('refunds',  false, 'payguard.refund_payment(uuid,varchar,bigint,text,jsonb,text)'),
    ('refunds',  false, 'payguard.minor_units(numeric,text)'),
    ('refunds',  false, 'payguard.major_units(bigint,text)'),
    -- and the functions of operator
    ('admin',    true,  'payguard.admin_access()'),
    ('admin',    false, 'payguard.register_channel(text,boolean,text,interval,interval,interval,interval,text,boolean)'),
    ('admin',    false, 'payguard.register_channel(varchar,boolean,text,interval,interval,interval,interval,text,boolean,text,text[],interval)'),
    ('admin',    false, 'payguard.set_policy(text,bigint,boolean,boolean,boolean,interval,text)'),
    ('admin',    false, 'payguard.archive_orders(timestamptz,integer)'),
    ('admin',    false, 'payguard.erase_customer(text)'),
    ('admin',    false, 'payguard.import_order(text,bigint,text,text,text,timestamptz,timestamptz,text,text,bigint,timestamptz,text,timestamptz)'),
    ('admin',    false, 'payguard.reset()'),
    ('consumer', true,  'payguard.read_events(text,integer)'),
    ('consumer', false, 'payguard.commit_events(text,bigint,bigint)'),
    ('consumer', false, 'payguard.minor_units(numeric,text)'),
    ('consumer', false, 'payguard.major_units(bigint,text)'),
    ('auditor',  true,  'payguard.verify()'),
    ('auditor',  false, 'payguard.broken_guards()'),
    ('auditor',  false, 'payguard.state_transitions()'),
    ('auditor',  false, 'payguard.decisions()'),
    ('auditor',  false, 'payguard.order_status(text)'),
    ('auditor',  false, 'payguard.order_timeline(text)'),
    ('auditor',  false, 'payguard.payment_rates(interval,text)'),
    ('auditor',  false, 'payguard.payment_curve(interval,integer)'),
    ('auditor',  false, 'payguard.read_counters()'),
    ('auditor',  false, 'payguard.consumer_lags()'),
    ('auditor',  false, 'payguard.not_in_dumps()'),
    ('auditor',  false, 'payguard.guard_problems()'),
    ('auditor',  false, 'payguard.lost_guards()'),
    ('auditor',  false, 'payguard.guard_bad_rows(regclass)'),
    ('auditor',  false, 'payguard.broken_rows()'),
    ('auditor',  false, 'payguard.guard_triggers()'),
    ('auditor',  false, 'payguard.guard_settings(oid)'),
    ('auditor',  false, 'payguard.case_story(bigint)'),
    ('auditor',  false, 'payguard.case_told(bigint,text)'),
    ('auditor',  false, 'payguard.case_actions(bigint)'),
    ('auditor',  false, 'payguard.allowed_actions(jsonb)'),
    ('auditor',  false, 'payguard.tell(text,jsonb)'),
    ('auditor',  false, 'payguard.money(bigint,text)'),
    ('auditor',  false, 'payguard.major_text(bigint,text)'),
    ('auditor',  false, 'payguard.find_orders(text)'),
    ('auditor',  false, 'payguard.minor_units(numeric,text)'),
    ('auditor',  false, 'payguard.major_units(bigint,text)'),
    ('owner',    false, 'payguard.guard_table(regclass,text,jsonb,text,text[],text[],text[],text[],text,text[],text[],boolean)'),
    ('owner',    false, 'payguard.guard_table(regclass,varchar,jsonb,text,text[],text[],text[],text[],text,text[],text[],boolean,text,text,text[],jsonb)'),
    ('owner',    true,  'payguard.unguard_table(regclass)'),
    ('owner',    false, 'payguard.sync_rows(text,integer)'),
    ('owner',    false, 'payguard.guard_triggers()'),
    ('owner',    false, 'payguard.guard_settings(oid)'),
    ('delegate', true,  'payguard.current_actor()')
$$;
COMMENT ON FUNCTION payguard.access_functions() IS
  'The functions of each access. admin has those of operator as well. apply_access() grants the tables and views that an access may read';

CREATE FUNCTION payguard.role_access(OUT role name, OUT access text) RETURNS SETOF record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  WITH marked AS (
    SELECT r.rolname, f.access
    FROM payguard.access_functions() f
    JOIN pg_proc p ON p.oid = f.function::regprocedure
    CROSS JOIN LATERAL aclexplode(p.proacl) a
    JOIN pg_roles r ON r.oid = a.grantee
    WHERE f.is_marker AND a.privilege_type = 'EXECUTE' AND a.grantee <> p.proowner
    GROUP BY r.rolname, f.access
    HAVING count(DISTINCT p.oid) = (SELECT count(*) FROM payguard.access_functions() m WHERE m.is_marker AND m.access = f.access)
  )
  -- a role with admin is not listed as operator as well
  SELECT m.rolname, m.access FROM marked m
  WHERE m.access <> 'operator' OR (m.rolname, 'admin') NOT IN (SELECT a.rolname, a.access FROM marked a)
$$;
COMMENT ON FUNCTION payguard.role_access() IS
  'The accesses of each role. A role with admin is not listed as operator as well';

CREATE FUNCTION payguard.earlier_operators() RETURNS SETOF name
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT o.role FROM payguard.role_access() o
  WHERE o.access = 'operator' AND NOT EXISTS (
    SELECT FROM unnest('{
      "payguard.register_channel(text,boolean,text,interval,interval,interval,interval,text,boolean)",
      "payguard.set_policy(text,bigint,boolean,boolean,boolean,interval,text)",
      "payguard.refund_order(text,text,bigint,text,jsonb)", "payguard.refund_payment(uuid,text,bigint,text,jsonb)"}'::text[]) f
    WHERE NOT EXISTS (
      SELECT FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) a
      WHERE p.oid = f::regprocedure AND a.grantee = o.role::text::regrole AND a.privilege_type = 'EXECUTE'))
$$;
COMMENT ON FUNCTION payguard.earlier_operators() IS
  'Part of renew_access(): the roles that became operators before 1.2.0, when an operator might do what admin and refunds may do now';

CREATE FUNCTION payguard.apply_access(role name, access text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  f text;
BEGIN
  EXECUTE format('GRANT USAGE ON SCHEMA payguard TO %I', role);
  FOR f IN SELECT a.function FROM payguard.access_functions() a WHERE a.access = apply_access.access
    OR apply_access.access = 'admin' AND a.access = 'operator' LOOP
    EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %I', f::regprocedure, role);
  END LOOP;
  IF access IN ('support', 'operator', 'admin', 'auditor') THEN
    EXECUTE format('GRANT SELECT ON payguard.cases, payguard.past_cases TO %I', role);
  END IF;
  IF access IN ('operator', 'admin', 'auditor') THEN
    EXECUTE format('GRANT SELECT ON payguard.alerts, payguard.dead_tasks, payguard.approvals, payguard.policies, payguard.metrics, payguard.stat_counters, payguard.payouts, payguard.unreadable_messages, payguard.unmatched_messages TO %I', role);
  END IF;
  IF access IN ('consumer', 'auditor') THEN
    EXECUTE format('GRANT SELECT ON payguard.outbox TO %I', role);
  END IF;
  IF access IN ('operator', 'admin') THEN
    -- all but what the database fills in
    EXECUTE format('GRANT SELECT, INSERT (channel, kind, channel_status, channel_txn_id, channel_refund_id, payment_id, '
                   'order_id, refund_id, amount, currency, channel_time, fee, settled_amount, settled_currency, '
                   'payout_id) ON payguard.settlement_lines TO %I', role);
    EXECUTE format('GRANT USAGE ON SEQUENCE payguard.settlement_lines_line_id_seq TO %I', role);
  END IF;
  IF access IN ('owner', 'auditor') THEN
    EXECUTE format('GRANT SELECT ON payguard.guards TO %I', role);
  END IF;
  IF access = 'auditor' THEN
    FOR f IN SELECT payguard.own_tables() LOOP
      EXECUTE format('GRANT SELECT ON payguard.%I TO %I', f, role);
    END LOOP;
    EXECUTE format('GRANT SELECT ON payguard.every_order, payguard.every_payment, payguard.every_refund, '
                   'payguard.every_refund_balance, payguard.every_event, payguard.every_notification, '
                   'payguard.every_approval TO %I', role);
    -- a dump asks for them, too
    FOR f IN SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = 'payguard' AND c.relkind = 'S' LOOP
      EXECUTE format('GRANT SELECT ON SEQUENCE payguard.%I TO %I', f, role);
    END LOOP;
  END IF;
END
$$;
COMMENT ON FUNCTION payguard.apply_access(name, text) IS
  'Part of grant_access(): grants the functions, tables and views of an access. renew_access() calls it, too';

CREATE FUNCTION payguard.check_access(role name, access text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF role IS NULL OR access IS NULL THEN
    RAISE null_value_not_allowed USING
      MESSAGE = CASE WHEN role IS NULL THEN 'role' ELSE 'access' END || ' must not be null',
      DETAIL = 'Nothing has been granted or revoked.', HINT = 'Give a role and an access.';
  END IF;
  IF NOT EXISTS (SELECT FROM payguard.access_functions() a WHERE a.access = check_access.access) THEN
    RAISE invalid_parameter_value USING
      MESSAGE = format('access %s does not exist', to_json(access)),
      DETAIL = 'Nothing has been granted or revoked.',
      HINT = 'There are: ' || (SELECT string_agg(DISTINCT a.access, ', ')
                               FROM payguard.access_functions() a) || '.';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
    RAISE undefined_object USING
      MESSAGE = format('role %s does not exist', to_json(role)),
      DETAIL = 'Nothing has been granted or revoked.', HINT = 'Create the role first.';
  END IF;
END
$$;
COMMENT ON FUNCTION payguard.check_access(name, text) IS
  'Part of grant_access() and revoke_access(): checks the arguments';

CREATE FUNCTION payguard.grant_access(role name, access text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM payguard.check_access(role, access);
  PERFORM payguard.apply_access(role, access);
END
$$;
COMMENT ON FUNCTION payguard.grant_access(name, text) IS
  'Gives a role an access: checkout, cashier, channel, support, refunds, operator, admin, consumer, auditor, owner (of tables to guard) or delegate';

CREATE FUNCTION payguard.revoke_access(role name, access text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  kept text[];
  a text;
BEGIN
  PERFORM payguard.check_access(role, access);
  kept := ARRAY(SELECT r.access FROM payguard.role_access() r
                WHERE r.role = revoke_access.role AND r.access <> revoke_access.access
                  -- an admin is an operator, too
                  AND NOT (revoke_access.access = 'operator' AND r.access = 'admin'));
  EXECUTE format('REVOKE ALL ON ALL ROUTINES IN SCHEMA payguard FROM %I', role);
  EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA payguard FROM %I', role);
  EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA payguard FROM %I', role);
  EXECUTE format('REVOKE ALL ON SCHEMA payguard FROM %I', role);
  FOREACH a IN ARRAY kept LOOP
    PERFORM payguard.apply_access(role, a);
  END LOOP;
END
$$;
COMMENT ON FUNCTION payguard.revoke_access(name, text) IS
  'Takes an access from a role. The role keeps what its other accesses need. Taking operator takes admin as well';

CREATE FUNCTION payguard.reset() RETURNS void
AS 'MODULE_PATHNAME', 'payguard_reset'
LANGUAGE C VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION payguard.reset() IS
  'Empties payguard, for tests of an application. It needs ALTER DATABASE ... SET payguard.allow_reset = on. Sequences go on. Errors: PY903';

CREATE FUNCTION payguard.renew_access() RETURNS bigint
AS 'MODULE_PATHNAME', 'payguard_renew_access'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION payguard.renew_access() IS
  'Grants each role what its accesses consist of now. Roles that became operators before 1.2.0 get admin and refunds. An update calls it; call it after restoring the dump of an older version';
