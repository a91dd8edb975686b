-- Rows of guarded tables follow what happens to their orders: sync_rows() moves them.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_follow;
CREATE ROLE regress_follow_clerk;
SELECT payguard.grant_access('regress_follow', 'owner');
SELECT payguard.grant_access('regress_follow_clerk', 'operator');
CREATE SCHEMA regress_follow AUTHORIZATION regress_follow;
SELECT payguard.register_channel('follows', late_success := 'accept_expired') IS NOT NULL AS channel;
SET ROLE regress_follow;
SET search_path = regress_follow;
CREATE TABLE shop (id int PRIMARY KEY, order_id text, status text NOT NULL DEFAULT 'new', version int NOT NULL DEFAULT 1, note text);
\set graph '{"new": ["paid", "cancelled"], "paid": ["shipped", "refunded", "new"], "shipped": ["refunded"], "cancelled": ["paid"]}'
\set follow '{"paid": "paid", "refunded": "refunded", "cancelled": "cancelled", "expired": "cancelled", "unpaid": "new"}'
-- what guard_table() does not take
CREATE TABLE heirs (order_id text, status text);
CREATE INDEX ON heirs (order_id);
CREATE TABLE heir () INHERITS (heirs);
SELECT arguments, pg_temp.answer(format('SELECT count(*) FROM payguard.guard_table(%s)', replace(arguments, '*', format('''shop'', ''status'', %L, initial := ''{new}''', :'graph'))))
FROM (VALUES ($$*, amount_column := 'id', currency_column := 'note'$$), ($$*, amount_column := 'id', order_id_column := 'order_id', paid_states := '{paid}'$$), ($$*, currency_column := 'note', order_id_column := 'order_id', paid_states := '{paid}'$$),
  ($$*, amount_column := 'id', currency_column := 'note', order_id_column := 'order_id', closed_states := '{cancelled}'$$), ($$*, amount_column := 'note', currency_column := 'note', order_id_column := 'order_id', paid_states := '{paid}'$$),
  ($$*, amount_column := 'id', currency_column := 'id', order_id_column := 'order_id', paid_states := '{paid}'$$), ($$*, amount_column := 'none', currency_column := 'note', order_id_column := 'order_id', paid_states := '{paid}'$$),
  ($$*, amount_column := 'id', currency_column := 'none', order_id_column := 'order_id', paid_states := '{paid}'$$), ($$*, amount_column := '', currency_column := 'note', order_id_column := 'order_id', paid_states := '{paid}'$$),
  ($$*, closed_states := '{cancelled}'$$), ($$*, closed_states := '{none}', order_id_column := 'order_id'$$), ($$*, closed_states := '{NULL}', order_id_column := 'order_id'$$), ($$*, closed_states := array_fill('paid'::text, '{100001}'), order_id_column := 'order_id'$$), ($$*, closed_states := '{cancelled,paid}', paid_states := '{paid}', order_id_column := 'order_id'$$),
  ($$*, order_id_column := 'order_id'$$), ($$*, follow := '{"paid": "paid"}'$$), ($$*, follow := '{}', order_id_column := 'order_id'$$), ($$*, follow := '[]', order_id_column := 'order_id'$$), ($$*, follow := '"paid"', order_id_column := 'order_id'$$),
  ($$*, follow := 'null', order_id_column := 'order_id'$$), ($$*, follow := '{"payed": "paid"}', order_id_column := 'order_id'$$), ($$*, follow := '{"pai": "paid"}', order_id_column := 'order_id'$$), ($$*, follow := '{"": "paid"}', order_id_column := 'order_id'$$), ($$*, follow := '{"paid": "payed"}', order_id_column := 'order_id'$$),
  ($$*, follow := '{"paid": 1}', order_id_column := 'order_id'$$), ($$*, follow := '{"paid": ["paid"]}', order_id_column := 'order_id'$$), ($$*, follow := '{"paid": {"paid": "paid"}}', order_id_column := 'order_id'$$), ($$*, follow := '{"paid": null}', order_id_column := 'order_id'$$),
  ($$*, follow := '{"paid": "paid"}', order_id_column := 'order_id'$$), ($$*, follow := '{"paid": "paid"}', order_id_column := 'order_id', not_valid := true$$), ($$'heirs', 'status', '{"new": ["paid"]}', follow := '{"paid": "paid"}', order_id_column := 'order_id'$$)) c (arguments);
-- an index that is not of all rows, does not begin with the column, or compares otherwise, is not enough
SELECT index, split_part(pg_temp.answer('CREATE INDEX i ON shop ' || index), ' | ', 1), split_part(pg_temp.answer(format('SELECT count(*) FROM payguard.guard_table(%L, %L, %L, initial := %L, order_id_column := %L, follow := %L)', 'shop', 'status', :'graph', '{new}', 'order_id', '{"paid": "paid"}')), ' | ', 1), payguard.unguard_table('shop'), pg_temp.answer('DROP INDEX i')
FROM unnest(ARRAY['(order_id) WHERE status = ''new''', '(id, order_id)', '(lower(order_id))', 'USING brin (order_id)', '(order_id COLLATE "POSIX")', 'USING hash (order_id)', '(order_id text_pattern_ops)', '(order_id, id)']) index;
SELECT pg_temp.answer('SELECT payguard.sync_rows(max := NULL)'), pg_temp.answer('SELECT payguard.sync_rows(max := 0)'), pg_temp.answer($$SELECT payguard.sync_rows('')$$), pg_temp.answer($$SELECT payguard.sync_rows('follow-none')$$);
BEGIN READ ONLY;
SELECT pg_temp.answer('SELECT payguard.sync_rows()');
ROLLBACK;
-- guarded; what happens from now on is followed
CREATE UNIQUE INDEX shop_order ON shop (order_id);
SELECT count(*) FROM payguard.guard_table('shop', 'status', :'graph', 'version', initial := '{new}', order_id_column := 'order_id', paid_states := '{paid,shipped}', closed_states := '{cancelled,refunded}', follow := :'follow', allow_delete := '{new}');
SELECT table_name, paid_states, closed_states, follow, regexp_replace(consumer, '\d+', 'N') AS consumer FROM payguard.guards WHERE table_name LIKE 'regress_follow%';
RESET ROLE;
\set ECHO none
-- rows(): how many sync_rows() moves, and what the rows are then
CREATE FUNCTION pg_temp.rows(like_this text, VARIADIC of text[] DEFAULT '{}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  moved bigint := 0; answer text;
BEGIN
  IF cardinality(of) = 0 THEN
    moved := payguard.sync_rows();
  ELSE
    SELECT sum(payguard.sync_rows(o)) INTO moved FROM unnest(of) o;
  END IF;
  SELECT string_agg(format('%s %s %s', right(order_id, 1), status, version), ', ' ORDER BY order_id) INTO answer FROM regress_follow.shop WHERE order_id LIKE like_this || '%';
  RETURN format('%s: %s', moved, answer);
END
$$;
-- attempt(id): an attempt that the channel is to charge
CREATE FUNCTION pg_temp.attempt(id text, n text DEFAULT '1') RETURNS uuid LANGUAGE sql AS $$
  SELECT payment_id FROM payguard.start_payment(id, id || '/' || n, 'follows')
$$;
-- alerts(): the open alerts about rows
CREATE FUNCTION pg_temp.alerts() RETURNS TABLE (order_id text, severity text, details jsonb) LANGUAGE sql AS $$
  SELECT a.order_id, a.severity, a.details FROM payguard.alerts a WHERE a.kind = 'out_of_step' AND a.resolved_at IS NULL ORDER BY a.alert_id
$$;
\set ECHO all
SELECT payguard.sync_rows() AS nothing;
SELECT count(payguard.create_order('follow-' || n, 100, 'EUR', expires_at := CASE WHEN n = 6 THEN clock_timestamp() + interval '1 s' END)) FROM generate_series(1, 9) n;
INSERT INTO regress_follow.shop SELECT n, 'follow-' || n FROM generate_series(1, 9) n;
SELECT pg_temp.rows('follow');
-- paid at once, by a channel, late; refunded; cancelled; expired; nothing yet; no row
SELECT outcome FROM payguard.pay_order('follow-1', 'follow-1');
SELECT r.outcome FROM payguard.report_payment(pg_temp.attempt('follow-2'), 'succeeded', 'follow-2') r;
SELECT r.outcome FROM (SELECT pg_temp.attempt('follow-3') AS id) p, payguard.report_payment(p.id, 'failed') f, payguard.report_payment(p.id, 'succeeded', 'follow-3') r;
SELECT (payguard.pay_order('follow-4', 'follow-4')).outcome, (payguard.cancel_order('follow-5')).status;
SELECT pg_temp.attempt('follow-7') IS NOT NULL AS started;
SELECT pg_sleep(1.1);
SELECT payguard.expire_orders() > 0 AS expired;
SELECT pg_temp.rows('follow');
SELECT (payguard.refund_order('follow-4', 'follow-4', 40, 'a part')).status;
SELECT pg_temp.rows('follow');
SELECT (payguard.refund_order('follow-4', 'follow-4 rest', reason := 'the rest')).status;
SELECT outcome FROM payguard.record_reversal('follows', 'follow-2/back', 'follow-2', 'bank_return', 100, 'EUR');
SELECT outcome FROM payguard.record_payment('follow-6', 'follows', 'follow-6', 100, 'EUR');
SELECT pg_temp.rows('follow');
-- an order that was paid and given back between two calls, or cancelled after its money was taken back
SELECT (payguard.pay_order('follow-8', 'follow-8')).outcome, (payguard.refund_order('follow-8', 'follow-8', reason := 'all')).status, (payguard.cancel_order('follow-2')).status;
SELECT pg_temp.rows('follow');
SELECT * FROM payguard.verify();
-- the row has gone on: it is not pulled back; neither by what an order was before
UPDATE regress_follow.shop SET status = 'shipped', version = version + 1 WHERE order_id IN ('follow-1', 'follow-3');
SELECT pg_temp.rows('follow', 'follow-1', 'follow-3');
SELECT outcome FROM payguard.record_reversal('follows', 'follow-3/back', 'follow-3', 'bank_return', 100, 'EUR');
SELECT pg_temp.rows('follow');
SELECT * FROM pg_temp.alerts();
-- one order, in the transaction in which it is paid
BEGIN;
SELECT outcome FROM payguard.pay_order('follow-9', 'follow-9');
SELECT pg_temp.rows('follow-9');
SELECT pg_temp.rows('follow-9', 'follow-9');
COMMIT;
SELECT pg_temp.rows('follow-9');
-- what fails: an alert, which others do not wait for, and which ends when the row is in step
SET ROLE regress_follow;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.note = 'suppress' THEN
    RETURN NULL;
  ELSIF NEW.note = 'other' THEN
    NEW.status := OLD.status;
  ELSIF NEW.note = 'version' THEN
    NEW.version := NEW.version + 1;
  ELSIF NEW.note IS NOT NULL AND NEW.status <> OLD.status THEN
    RAISE EXCEPTION 'the warehouse is closed' USING ERRCODE = NEW.note, DETAIL = 'Come again.';
  END IF;
  RETURN NEW;
END
$$;
CREATE TRIGGER refuse BEFORE UPDATE ON shop FOR EACH ROW EXECUTE FUNCTION refuse();
INSERT INTO shop VALUES (20, 'fail-1', 'new', 1, 'P0001'), (21, 'fail-2', 'new', 1, 'suppress'), (22, 'fail-3', 'new', 1, 'other'), (23, 'fail-4', 'new', 1, 'version'), (24, 'fail-5', 'new', 1, '40001'), (25, 'fail-6', 'new', 1, NULL), (26, 'fail-7', 'new', 1, '55P03');
RESET ROLE;
SELECT count(payguard.create_order('fail-' || n, 100, 'EUR')), count(payguard.pay_order('fail-' || n, 'fail-' || n)) FROM generate_series(1, 7) n;
SELECT pg_temp.rows('fail');
SELECT * FROM pg_temp.alerts();
SELECT pg_temp.rows('fail'), pg_temp.rows('fail', 'fail-1');
SELECT count(*), count(DISTINCT cause) FROM payguard.alerts WHERE kind = 'out_of_step';
SELECT cardinality(waiting) FROM payguard.consumers WHERE consumer LIKE 'payguard.rows.%';
-- a person has dealt with it: it is raised again as long as it holds
SELECT count(payguard.resolve_alert(alert_id, 'somebody looks')) FROM payguard.alerts WHERE kind = 'out_of_step' AND order_id = 'fail-1' AND resolved_at IS NULL;
SELECT pg_temp.rows('fail-1');
SELECT order_id FROM pg_temp.alerts();
UPDATE regress_follow.shop SET note = NULL, version = version + 1 WHERE order_id LIKE 'fail%';
SELECT pg_temp.rows('fail');
SELECT order_id FROM pg_temp.alerts();
SELECT DISTINCT note FROM payguard.alerts WHERE kind = 'out_of_step' AND resolved_by IS NOT NULL AND order_id LIKE 'fail%' ORDER BY 1;
SELECT cardinality(waiting) FROM payguard.consumers WHERE consumer LIKE 'payguard.rows.%';
-- a row that is in no state, or for which there is no way
SET ROLE regress_follow;
CREATE TABLE ways (order_id text PRIMARY KEY, status text);
INSERT INTO ways VALUES ('way-1', 'lost'), ('way-2', NULL), ('way-3', 'stuck'), ('way-4', 'done');
SELECT count(*) FROM payguard.guard_table('ways', 'status', '{"new": ["paid"], "paid": ["done"], "stuck": ["new"]}', order_id_column := 'order_id', follow := '{"paid": "paid"}', not_valid := true);
RESET ROLE;
SELECT count(payguard.create_order('way-' || n, 100, 'EUR')), count(payguard.pay_order('way-' || n, 'way-' || n)) FROM generate_series(1, 4) n;
SELECT payguard.sync_rows('way-4'), payguard.sync_rows();
SELECT order_id, details - 'table' AS details FROM pg_temp.alerts();
UPDATE regress_follow.ways SET status = 'new' WHERE order_id = 'way-3';
SELECT payguard.sync_rows();
SELECT order_id, status FROM regress_follow.ways ORDER BY 1;
SELECT order_id FROM pg_temp.alerts();
SELECT payguard.unguard_table('regress_follow.ways');
SELECT payguard.sync_rows();
SELECT order_id FROM pg_temp.alerts();
-- as the table's owner, restricted, with the table's schema in the search_path, whoever calls
SET ROLE regress_follow;
CREATE TABLE told (who text, path text, note text);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO told VALUES (current_user, current_setting('search_path'), pg_temp.answer('SET SESSION ROLE postgres'));
  RETURN NULL;
EXCEPTION WHEN invalid_schema_name OR undefined_function THEN
  INSERT INTO told VALUES (current_user, current_setting('search_path'), NULL);
  RETURN NULL;
END
$$;
CREATE TRIGGER tell AFTER UPDATE ON shop FOR EACH ROW EXECUTE FUNCTION tell();
INSERT INTO shop VALUES (30, 'told-1'), (31, 'told-2'), (32, 'told-3');
RESET ROLE;
SELECT count(payguard.create_order('told-' || n, 100, 'EUR')), count(payguard.pay_order('told-' || n, 'told-' || n)) FROM generate_series(1, 3) n;
SET ROLE regress_follow_clerk;
SET search_path = pg_catalog;
SELECT payguard.sync_rows('told-1');
SELECT count(*) FROM payguard.maintain() WHERE duty = 'sync_rows' AND done = 2 AND problem IS NULL;
SHOW search_path;
SELECT current_user;
RESET ROLE;
RESET search_path;
SELECT DISTINCT who, path, split_part(note, ' | ', 2) AS note FROM regress_follow.told;
SET ROLE regress_follow;
SET search_path = regress_follow;
DROP TRIGGER tell ON shop;
-- a deferred trigger would run later, as somebody else
CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON shop DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION later();
INSERT INTO shop VALUES (33, 'told-4');
RESET ROLE;
SELECT count(payguard.create_order('told-4', 100, 'EUR')), count(payguard.pay_order('told-4', 'told-4'));
SELECT pg_temp.rows('told-4');
SELECT order_id, details ->> 'problem' AS problem FROM pg_temp.alerts();
DROP TRIGGER later ON regress_follow.shop;
SELECT pg_temp.rows('told-4');
-- row security that would hide rows is no silence
ALTER TABLE regress_follow.shop ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
INSERT INTO regress_follow.shop VALUES (34, 'told-5');
SELECT count(payguard.create_order('told-5', 100, 'EUR')), count(payguard.pay_order('told-5', 'told-5'));
SELECT pg_temp.rows('told-5');
SELECT order_id, details ->> 'problem' AS problem FROM pg_temp.alerts();
ALTER TABLE regress_follow.shop DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
SELECT pg_temp.rows('told-5');
SELECT count(*) FROM pg_temp.alerts();
-- DDL: the index stays; names are followed, and the position stays with the guard
SET ROLE regress_follow;
SELECT statement, split_part(pg_temp.answer(statement), ' | ', 3) AS answer FROM (VALUES ('DROP INDEX shop_order'), ('ALTER TABLE shop RENAME order_id TO "Order"'), ('ALTER TABLE shop RENAME TO "Shop"'), ('ALTER INDEX shop_order RENAME TO shop_o')) s (statement);
DROP INDEX CONCURRENTLY shop_o;
CREATE INDEX ON "Shop" ("Order");
DROP INDEX CONCURRENTLY shop_o;
INSERT INTO "Shop" VALUES (40, 'ddl-1');
RESET ROLE;
SELECT count(payguard.create_order('ddl-1', 100, 'EUR')), count(payguard.pay_order('ddl-1', 'ddl-1'));
SELECT payguard.sync_rows();
SELECT status FROM regress_follow."Shop" WHERE id = 40;
ALTER TABLE regress_follow."Shop" RENAME TO shop;
ALTER TABLE regress_follow.shop RENAME "Order" TO order_id;
-- another guard in one transaction goes on where the first one was; one that is gone leaves nothing
INSERT INTO regress_follow.shop VALUES (41, 'ddl-2');
SELECT count(payguard.create_order('ddl-2', 100, 'EUR')), count(payguard.pay_order('ddl-2', 'ddl-2'));
UPDATE regress_follow.shop SET note = 'P0001', version = version + 1 WHERE order_id = 'ddl-2';
SELECT pg_temp.rows('ddl');
SELECT order_id FROM pg_temp.alerts();
BEGIN;
SELECT payguard.unguard_table('regress_follow.shop');
SELECT count(*) FROM payguard.guard_table('regress_follow.shop', 'status', '{"new": ["paid", "cancelled"], "paid": ["shipped", "refunded", "new"], "shipped": ["refunded"], "cancelled": ["paid"], "gone": ["paid"]}', 'version', initial := '{new}',
  order_id_column := 'order_id', paid_states := '{paid,shipped}', closed_states := '{cancelled,refunded}', follow := '{"paid": "paid", "cancelled": "cancelled"}');
COMMIT;
UPDATE regress_follow.shop SET note = NULL, version = version + 1 WHERE order_id = 'ddl-2';
SELECT pg_temp.rows('ddl');
SELECT count(*) FROM pg_temp.alerts();
UPDATE regress_follow.shop SET note = 'P0001', version = version + 1 WHERE order_id = 'follow-7';
SELECT r.outcome FROM payguard.payments p, payguard.report_payment(p.payment_id, 'failed') r WHERE p.order_id = 'follow-7';
SELECT (payguard.cancel_order('follow-7')).status;
SELECT pg_temp.rows('follow-7');
SELECT order_id FROM pg_temp.alerts();
SELECT payguard.unguard_table('regress_follow.shop');
SELECT payguard.sync_rows();
SELECT count(*) FROM pg_temp.alerts();
SELECT note FROM payguard.alerts WHERE kind = 'out_of_step' ORDER BY alert_id DESC LIMIT 1;
SELECT count(*) FROM payguard.consumers WHERE consumer LIKE 'payguard.rows.%';
-- other types of ids and statuses, several rows of one order, partitions, heirs
SET ROLE regress_follow;
CREATE TYPE states AS ENUM ('new', 'paid', 'gone');
CREATE DOMAIN state AS states;
CREATE DOMAIN number AS bigint CHECK (VALUE < 1000000);
CREATE TABLE numbers (order_id number, status state DEFAULT 'new', version smallint);
CREATE INDEX ON numbers (order_id);
CREATE TABLE uuids (order_id uuid, status varchar(10) DEFAULT 'new');
CREATE INDEX ON uuids USING hash (order_id);
CREATE TABLE parts (order_id text, day int, status text DEFAULT 'new', version bigint DEFAULT 0, PRIMARY KEY (order_id, day)) PARTITION BY RANGE (day);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (1) TO (2);
CREATE TABLE parts_2 (day int, version bigint, gone int, order_id text NOT NULL, status text);
ALTER TABLE parts_2 DROP COLUMN gone, ALTER day SET NOT NULL;
ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES FROM (2) TO (3);
CREATE INDEX ON heir (order_id);
SELECT count(*) FROM unnest('{numbers,uuids,parts,heirs}'::regclass[]) t, payguard.guard_table(t, 'status', '{"new": ["paid"], "paid": ["gone"]}', order_id_column := 'order_id', paid_states := '{paid,gone}', follow := '{"paid": "paid"}',
  version_column := CASE WHEN t IN ('numbers'::regclass, 'parts'::regclass) THEN 'version' END);
INSERT INTO numbers VALUES (990017), (990018), (NULL);
INSERT INTO uuids VALUES ('00000000-0000-0000-0000-00000000000a'), ('00000000-0000-0000-0000-00000000000b');
INSERT INTO parts VALUES ('follow-part', 1), ('follow-part', 2), ('follow-part2', 2);
INSERT INTO heirs VALUES ('follow-heir', 'new');
INSERT INTO heir VALUES ('follow-heir', 'new');
RESET ROLE;
SELECT count(payguard.create_order(id, 100, 'EUR')), count(payguard.pay_order(id, id)) FROM unnest('{990017,0990018,00000000-0000-0000-0000-00000000000a,00000000-0000-0000-0000-00000000000B,follow-part,follow-heir,99001799001799001799}'::text[]) id;
SELECT payguard.sync_rows();
SELECT r.tableoid::regclass, r.order_id, r.status, r.version FROM (SELECT tableoid, order_id::text, status::text, version FROM regress_follow.numbers UNION ALL SELECT tableoid, order_id::text, status, NULL FROM regress_follow.uuids
  UNION ALL SELECT tableoid, order_id, status, version FROM regress_follow.parts UNION ALL SELECT tableoid, order_id, status, NULL FROM regress_follow.heirs) r ORDER BY 2, tableoid::regclass::text COLLATE "C";
SELECT count(*) FROM pg_temp.alerts();
SELECT * FROM payguard.verify();
-- how many at a time: none is forgotten
INSERT INTO regress_follow.uuids SELECT ('00000000-0000-0000-0001-' || lpad(n::text, 12, '0'))::uuid FROM generate_series(1, 25) n;
SELECT count(payguard.create_order(order_id::text, 100, 'EUR')), count(payguard.pay_order(order_id::text, order_id::text)) FROM regress_follow.uuids WHERE order_id::text LIKE '%-0001-%';
SELECT payguard.sync_rows(max := 10), payguard.sync_rows(max := 10), payguard.sync_rows(max := 10), payguard.sync_rows(max := 10);
SET payguard.allow_unsafe_ddl = on;
DROP SCHEMA regress_follow CASCADE;
RESET payguard.allow_unsafe_ddl;
SELECT payguard.sync_rows();
SELECT count(*) FROM payguard.consumers WHERE consumer LIKE 'payguard.rows.%';
SELECT payguard.revoke_access('regress_follow', 'owner'), payguard.revoke_access('regress_follow_clerk', 'operator');
DROP ROLE regress_follow, regress_follow_clerk;
SELECT * FROM payguard.verify();
