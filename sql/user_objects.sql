-- What users put on payguard's tables works as on any other table: triggers of every kind, indexes, columns.
SET client_min_messages = warning;
CREATE TABLE regress_seen (n serial, what text);
CREATE FUNCTION regress_see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO regress_seen (what) VALUES (concat_ws(' ', TG_WHEN, TG_OP, TG_LEVEL, TG_TABLE_NAME));
  RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;
CREATE FUNCTION regress_see_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO regress_seen (what) SELECT concat_ws(' ', TG_OP, o.status, 'to', n.status) FROM o JOIN n USING (order_id);
  RETURN NULL;
END
$$;
CREATE FUNCTION regress_see_new() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO regress_seen (what) SELECT concat_ws(' ', TG_OP, TG_TABLE_NAME, count(*)) FROM n;
  RETURN NULL;
END
$$;
CREATE FUNCTION regress_pay(id text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  PERFORM payguard.create_order(id, 1, 'EUR');
  TRUNCATE regress_seen;
  PERFORM payguard.pay_order(id, id);
  SET CONSTRAINTS ALL IMMEDIATE;
  RETURN (SELECT string_agg(what, ', ' ORDER BY n) FROM regress_seen);
END
$$;
SELECT regress_pay('ut-none');
-- AFTER ROW, UPDATE OF, deferred
CREATE TRIGGER t_after AFTER INSERT OR UPDATE OF status ON payguard.orders FOR EACH ROW EXECUTE FUNCTION regress_see();
CREATE TRIGGER t_other AFTER UPDATE OF amount ON payguard.orders FOR EACH ROW EXECUTE FUNCTION regress_see();
CREATE CONSTRAINT TRIGGER t_late AFTER INSERT ON payguard.payments DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION regress_see();
SELECT regress_pay('ut-after');
-- statement triggers, transition tables
CREATE TRIGGER t_statement BEFORE UPDATE ON payguard.orders FOR EACH STATEMENT EXECUTE FUNCTION regress_see();
CREATE TRIGGER z_statement AFTER UPDATE ON payguard.orders FOR EACH STATEMENT EXECUTE FUNCTION regress_see();
CREATE TRIGGER t_rows AFTER UPDATE ON payguard.orders REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION regress_see_rows();
CREATE TRIGGER t_statement BEFORE INSERT ON payguard.events FOR EACH STATEMENT EXECUTE FUNCTION regress_see();
CREATE TRIGGER t_rows AFTER INSERT ON payguard.events REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION regress_see_new();
SELECT regress_pay('ut-statement');
DROP TRIGGER t_statement ON payguard.orders;
DROP TRIGGER z_statement ON payguard.orders;
DROP TRIGGER t_rows ON payguard.orders;
DROP TRIGGER t_statement ON payguard.events;
DROP TRIGGER t_rows ON payguard.events;
DROP TRIGGER t_late ON payguard.payments;
DROP TRIGGER t_after ON payguard.orders;
DROP TRIGGER t_other ON payguard.orders;
-- BEFORE ROW
CREATE TRIGGER t_before BEFORE INSERT ON payguard.payments FOR EACH ROW EXECUTE FUNCTION regress_see();
CREATE TRIGGER t_before BEFORE UPDATE ON payguard.orders FOR EACH ROW EXECUTE FUNCTION regress_see();
SELECT regress_pay('ut-before');
DROP TRIGGER t_before ON payguard.payments;
DROP TRIGGER t_before ON payguard.orders;
CREATE TRIGGER t_before BEFORE DELETE ON payguard.tasks FOR EACH ROW EXECUTE FUNCTION regress_see();
SELECT payguard.register_channel('ut-card') \g /dev/null
SELECT payguard.create_order('ut-task', 1, 'EUR') \g /dev/null
SELECT payment_id FROM payguard.request_payment('ut-task', 'ut-task', 'ut-card') \gset
TRUNCATE regress_seen;
SELECT task_id, lease_token FROM payguard.claim_tasks('ut', 1, channels := '{ut-card}') \gset
SELECT outcome FROM payguard.complete_task(:task_id, :'lease_token', 'succeeded', 'ut-ch', 1, 'EUR');
SELECT DISTINCT what FROM regress_seen; -- a claim removes late charges of other orders, too
DROP TRIGGER t_before ON payguard.tasks;
-- one that changes a field, one that suppresses, one that writes the row itself
CREATE FUNCTION regress_meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_ARGV[0] = 'change' THEN
    NEW.updated_at = '2000-01-01';
  ELSIF TG_ARGV[0] = 'suppress' THEN
    RETURN NULL;
  ELSIF TG_ARGV[0] = 'write' THEN
    UPDATE payguard.orders SET amount = 2 WHERE order_id = NEW.order_id;
  END IF;
  RETURN NEW;
END
$$;
SELECT payguard.create_order('ut-meddle', 1, 'EUR') \g /dev/null
CREATE TRIGGER t BEFORE UPDATE ON payguard.orders FOR EACH ROW EXECUTE FUNCTION regress_meddle('change');
SELECT payguard.pay_order('ut-meddle', 'ut-meddle'); -- fails
DROP TRIGGER t ON payguard.orders;
CREATE TRIGGER t BEFORE UPDATE ON payguard.orders FOR EACH ROW EXECUTE FUNCTION regress_meddle('suppress');
SELECT payguard.pay_order('ut-meddle', 'ut-meddle'); -- fails
DROP TRIGGER t ON payguard.orders;
-- neither before nor inside of a statement of ours does a direct write get through
CREATE TRIGGER a BEFORE UPDATE ON payguard.orders FOR EACH ROW EXECUTE FUNCTION regress_meddle('write');
\set VERBOSITY sqlstate
SELECT payguard.pay_order('ut-meddle', 'ut-meddle'); -- fails
DROP TRIGGER a ON payguard.orders;
CREATE FUNCTION regress_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF pg_trigger_depth() = 1 THEN
    UPDATE payguard.maintenance SET problem = 'meddled';
  END IF;
  RETURN NULL;
END
$$;
SELECT count(*) > 0 FROM payguard.maintain();
CREATE TRIGGER a BEFORE UPDATE ON payguard.maintenance FOR EACH STATEMENT EXECUTE FUNCTION regress_write();
SELECT count(*) FROM payguard.maintain(); -- fails
DROP TRIGGER a ON payguard.maintenance;
SELECT count(*) FROM payguard.maintenance WHERE problem = 'meddled';
-- a direct write inside of a call that has written nothing yet
CREATE TRIGGER a BEFORE INSERT ON payguard.orders FOR EACH STATEMENT EXECUTE FUNCTION regress_write();
SELECT payguard.create_order('ut-nested', 1, 'EUR'); -- fails
DROP TRIGGER a ON payguard.orders;
\set VERBOSITY default
-- a WHEN that comes back to payguard while rows are being written, and changes what is known of the table
CREATE FUNCTION regress_nosy(id text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE 'GRANT SELECT ON payguard.leases TO pg_monitor';
  EXECUTE 'REVOKE SELECT ON payguard.leases FROM pg_monitor';
  PERFORM count(*) FROM payguard.claim_tasks('inner', 1, channels := '{nobody}');
  RETURN true;
END
$$;
SELECT count(payguard.create_order('ut-when' || i, 1, 'EUR')) FROM generate_series(1, 20) i;
SELECT count(payguard.request_payment('ut-when' || i, 'ut-when' || i, 'ut-card')) FROM generate_series(1, 20) i;
TRUNCATE regress_seen;
CREATE TRIGGER z AFTER INSERT ON payguard.leases FOR EACH ROW WHEN (regress_nosy(NEW.order_id)) EXECUTE FUNCTION regress_see();
SELECT count(*) FROM payguard.claim_tasks('outer', 20, channels := '{ut-card}');
SELECT what, count(*) FROM regress_seen GROUP BY what;
DROP TRIGGER z ON payguard.leases;
-- indexes: on an expression, partial, GIN
CREATE INDEX regress_details ON payguard.events USING gin (details);
CREATE INDEX regress_lower ON payguard.orders (lower(customer_id));
CREATE INDEX regress_open ON payguard.orders (created_at) WHERE status = 'unpaid';
CREATE FUNCTION regress_odd(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT length($1) % 2 = 1';
CREATE INDEX regress_foreign ON payguard.payments (created_at) WHERE regress_odd(order_id);
SELECT regress_pay('ut-index');
DROP INDEX payguard.regress_details, payguard.regress_lower, payguard.regress_open, payguard.regress_foreign;
-- a unique index that refuses more than a key of ours does: nobody is told that something is there, or was done, that is not
CREATE COLLATION regress_any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE UNIQUE INDEX regress_any_case ON payguard.notifications (channel COLLATE regress_any_case, event_id COLLATE regress_any_case);
CREATE UNIQUE INDEX regress_order ON payguard.orders (order_id COLLATE regress_any_case);
CREATE UNIQUE INDEX regress_cause ON payguard.alerts (kind, cause) WHERE cause LIKE 'ut-%'; -- whatever else was alerted
SELECT outcome FROM payguard.record_notification('ut-card', '{}', 'ut-message');
SELECT outcome FROM payguard.record_notification('ut-card', '{}', 'ut-message');
\set VERBOSITY sqlstate
SELECT outcome FROM payguard.record_notification('ut-card', '{}', 'UT-Message'); -- fails
SELECT payguard.create_order('UT-Index', 1, 'EUR'); -- fails
SELECT count(payguard.resolve_alert(alert_id, 'seen')) FROM payguard.alerts WHERE kind = 'unmatched_notification' AND cause = 'ut-message';
SELECT outcome FROM payguard.record_notification('ut-other', '{}', 'ut-message'); -- fails
\set VERBOSITY default
DROP INDEX payguard.regress_any_case, payguard.regress_order, payguard.regress_cause;
DROP COLLATION regress_any_case;
-- columns, with a default, a sequence, an expression; CHECKs: a superuser has to allow them
SET payguard.allow_unsafe_ddl = on;
CREATE SEQUENCE regress_sequence START 100000;
ALTER TABLE payguard.events ADD COLUMN regress_number bigint DEFAULT nextval('regress_sequence');
ALTER TABLE payguard.orders ADD COLUMN regress_note text DEFAULT upper('note');
ALTER TABLE payguard.orders ADD COLUMN regress_twice bigint GENERATED ALWAYS AS (least(amount, 100) * 2) STORED;
ALTER TABLE payguard.payments ADD CONSTRAINT regress_check CHECK (amount <> 987654);
RESET payguard.allow_unsafe_ddl;
SELECT regress_pay('ut-column');
SELECT regress_note, regress_twice, status FROM payguard.orders WHERE order_id = 'ut-column';
SELECT regress_number >= 100000 AS from_its_own, event_id < 100000 AS from_ours FROM payguard.events WHERE order_id = 'ut-column' ORDER BY event_id;
SELECT (payguard.create_order('ut-check', 987654, 'EUR')).version;
\set VERBOSITY sqlstate
SELECT payguard.pay_order('ut-check', 'ut-check'); -- fails
\set VERBOSITY default
SELECT status FROM payguard.orders WHERE order_id = 'ut-check';
SET payguard.allow_unsafe_ddl = on;
ALTER TABLE payguard.events DROP COLUMN regress_number;
ALTER TABLE payguard.orders DROP COLUMN regress_note, DROP COLUMN regress_twice;
ALTER TABLE payguard.payments DROP CONSTRAINT regress_check;
RESET payguard.allow_unsafe_ddl;
SELECT regress_pay('ut-dropped');
-- row security that is not forced, as its owner and superusers do not see it
SET payguard.allow_unsafe_ddl = on;
ALTER TABLE payguard.orders ENABLE ROW LEVEL SECURITY;
SELECT regress_pay('ut-security');
ALTER TABLE payguard.orders DISABLE ROW LEVEL SECURITY;
-- rules are refused, since nothing would be written as it is meant
CREATE RULE regress_rule AS ON INSERT TO payguard.orders DO INSTEAD NOTHING;
SELECT payguard.create_order('ut-rule', 1, 'EUR'); -- fails
DROP RULE regress_rule ON payguard.orders;
-- a key whose index is not what it was
DROP INDEX payguard.payments_idempotency_key;
SELECT payguard.pay_order('ut-meddle', 'ut-meddle'); -- fails
CREATE INDEX payments_idempotency_key ON payguard.payments (idempotency_key);
SELECT payguard.pay_order('ut-meddle', 'ut-meddle'); -- fails
DROP INDEX payguard.payments_idempotency_key;
CREATE UNIQUE INDEX payments_idempotency_key ON payguard.payments (idempotency_key);
RESET payguard.allow_unsafe_ddl;
-- the index of messages that wait is only a short cut: without it, or with another of its name, they are found as well
SELECT (payguard.register_channel('ut-card')).name;
CREATE FUNCTION regress_wait(number text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  PERFORM payguard.create_order('ut-wait-' || number, 100, 'EUR');
  PERFORM payguard.record_notification('ut-card', '{}'::bytea, 'ut-wait-' || number, NULL, NULL, 'failed', 'ut-txn-' || number);
  PERFORM payguard.record_payment('ut-wait-' || number, 'ut-card', 'ut-txn-' || number, 100, 'EUR');
  RETURN (SELECT result FROM payguard.notifications WHERE event_id = 'ut-wait-' || number);
END
$$;
SELECT regress_wait('1');
DROP INDEX payguard.notifications_unmatched;
SELECT regress_wait('2');
CREATE INDEX notifications_unmatched ON payguard.notifications (channel_txn_id, channel) WHERE result = 'unmatched';
SELECT regress_wait('3');
DROP INDEX payguard.notifications_unmatched;
CREATE INDEX notifications_unmatched ON payguard.notifications (channel, channel_txn_id) WHERE result = 'unmatched';
SELECT regress_wait('4');
DROP FUNCTION regress_wait(text);
SELECT regress_pay('ut-end');
-- the setting of versions before is accepted, by whom it was, and ignored
SET payguard.store = spi;
SELECT regress_pay('ut-setting');
RESET payguard.store;
-- settings for planning are not seen by users' triggers
CREATE FUNCTION regress_settings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.regress_seen (what) SELECT string_agg(current_setting(s), ' ')
  FROM unnest('{enable_seqscan,enable_hashjoin,enable_mergejoin,enable_material,enable_sort,jit}'::text[]) s;
  RETURN NULL;
END
$$;
TRUNCATE regress_seen;
CREATE TRIGGER a AFTER UPDATE ON payguard.maintenance FOR EACH STATEMENT EXECUTE FUNCTION regress_settings();
SET jit = on;
\c -
SET jit = on;
SELECT count(*) > 0 FROM payguard.maintain();
SELECT DISTINCT what FROM regress_seen;
SELECT name, setting FROM pg_settings WHERE name ~ '^enable_(seqscan|sort)$' ORDER BY name;
DROP TRIGGER a ON payguard.maintenance;
SELECT count(*) FROM payguard.orders WHERE order_id LIKE 'ut-%' AND status = 'paid';
SELECT * FROM payguard.verify();
DROP FUNCTION regress_pay(text);
DROP FUNCTION regress_see();
DROP FUNCTION regress_see_rows();
DROP FUNCTION regress_see_new();
DROP FUNCTION regress_meddle();
DROP FUNCTION regress_write();
DROP FUNCTION regress_nosy(text);
DROP FUNCTION regress_odd(text);
DROP FUNCTION regress_settings();
DROP SEQUENCE regress_sequence;
DROP TABLE regress_seen;
