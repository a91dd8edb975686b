-- A guarded table of the application: each change of a row follows the guard's rules, in every
-- type that a status or a version may have, under every name.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_guard;
SELECT payguard.grant_access('regress_guard', 'owner');
CREATE SCHEMA regress_guard AUTHORIZATION regress_guard;
SELECT (payguard.create_order('guard-' || n, 1, 'EUR')).version FROM generate_series(1, 4) n;
SELECT outcome FROM generate_series(1, 3) n, payguard.pay_order('guard-' || n, 'guard-' || n);
GRANT USAGE ON SCHEMA regress_guard TO PUBLIC;
SET ROLE regress_guard;
SET search_path = regress_guard;
CREATE TABLE orders (id int PRIMARY KEY, order_id text, status text NOT NULL DEFAULT 'unpaid', version int NOT NULL DEFAULT 0,
                     amount numeric NOT NULL DEFAULT 1, note text);
INSERT INTO orders SELECT n, 'guard-' || n FROM generate_series(1, 4) n;
SELECT * FROM payguard.guard_table('orders', 'status',
  '{"unpaid": ["paid", "cancelled"], "paid": ["refunded"], "cancelled": ["unpaid"]}', version_column := 'version',
  initial := '{unpaid}', immutable_columns := '{id,amount}', once := '{order_id}', allow_delete := '{cancelled}',
  order_id_column := 'order_id', paid_states := '{paid}', success_states := '{paid,refunded}');
SELECT * FROM payguard.guards \gx
-- each rule, and what it answers
SELECT what, pg_temp.answer(statement) FROM (VALUES
  ('legal', $$UPDATE orders SET status = 'paid', version = version + 1 WHERE id = 1$$),
  ('the same status', $$UPDATE orders SET note = 'x', version = version + 1 WHERE id = 1$$),
  ('no way back', $$UPDATE orders SET status = 'unpaid', version = version + 1 WHERE id = 1$$),
  ('no such way', $$UPDATE orders SET status = 'refunded', version = version + 1 WHERE id = 2$$),
  ('no state', $$UPDATE orders SET status = 'Paid', version = version + 1 WHERE id = 2$$),
  ('nowhere to go', $$UPDATE orders SET status = 'refunded', version = version + 1 WHERE id = 1; UPDATE orders SET status = 'paid', version = version + 1 WHERE id = 1$$),
  ('version forgotten', $$UPDATE orders SET note = 'y' WHERE id = 2$$),
  ('nothing changed', $$UPDATE orders SET id = id WHERE id = 2$$),
  ('version of an older row', $$UPDATE orders SET note = 'y', version = 1 WHERE id = 1$$),
  ('version too high', $$UPDATE orders SET note = 'y', version = version + 2 WHERE id = 2$$),
  ('frozen', $$UPDATE orders SET amount = 2, version = version + 1 WHERE id = 2$$),
  ('the same number', $$UPDATE orders SET amount = 1.00, version = version + 1 WHERE id = 2$$),
  ('not paid', $$UPDATE orders SET status = 'paid', version = version + 1 WHERE id = 4$$),
  ('no order', $$UPDATE orders SET order_id = NULL, status = 'paid', version = version + 1 WHERE id = 4$$),
  ('another paid order', $$UPDATE orders SET order_id = 'guard-2', version = version + 1 WHERE id = 1$$),
  ('paid twice', $$UPDATE orders SET order_id = 'guard-1', status = 'paid', version = version + 1 WHERE id = 3$$),
  ('begin as paid', $$INSERT INTO orders VALUES (5, 'guard-2', 'paid')$$),
  ('begin as nothing', $$INSERT INTO orders VALUES (5, 'guard-5', '')$$),
  ('begin', $$INSERT INTO orders VALUES (5, 'guard-5')$$),
  ('delete', $$DELETE FROM orders WHERE id = 1$$),
  ('delete when cancelled', $$UPDATE orders SET status = 'cancelled', version = version + 1 WHERE id = 5; DELETE FROM orders WHERE id = 5$$),
  ('truncate', $$TRUNCATE orders$$)) c (what, statement);
SELECT id, order_id, status, version, note FROM orders ORDER BY 1;
-- a retry that reads again works, and one in which some of many rows are wrong changes none
UPDATE orders SET status = 'paid', version = version + 1 WHERE id IN (2, 3);
UPDATE orders SET status = 'refunded', version = version + 1; -- fails
SELECT status, count(*) FROM orders GROUP BY 1 ORDER BY 1;
-- a row that is paid stays so where its order is refunded afterwards
RESET ROLE;
SELECT outcome FROM payguard.refund_order('guard-1', 'guard-1', reason := 'sent back');
SELECT status FROM orders WHERE order_id = 'guard-1';
SELECT * FROM payguard.verify();
-- in replica role: any state may arrive, and stays in the graph
SET session_replication_role = replica;
SELECT what, split_part(pg_temp.answer(statement), ' ', 2) AS answer FROM (VALUES
  ('first copy', $$INSERT INTO orders VALUES (6, 'guard-6', 'paid'), (7, 'guard-7', 'refunded')$$),
  ('no state', $$INSERT INTO orders VALUES (8, 'guard-8', 'x')$$),
  ('order unknown here', $$UPDATE orders SET status = 'paid', version = version + 1 WHERE id = 4$$),
  ('transition', $$UPDATE orders SET status = 'unpaid', version = version + 1 WHERE id = 6$$),
  ('frozen', $$UPDATE orders SET amount = 2, version = version + 1 WHERE id = 6$$),
  ('version', $$UPDATE orders SET note = 'x' WHERE id = 6$$),
  ('delete', $$DELETE FROM orders WHERE id = 6$$),
  ('truncate', $$TRUNCATE orders$$)) c (what, statement);
RESET session_replication_role;
-- and verify() tells of those that say paid and are not
SELECT * FROM payguard.verify();
SET ROLE regress_guard;
-- taken off and put on again: the rows that break the rules are told, or left as they are
SELECT payguard.unguard_table('orders');
SELECT payguard.unguard_table('orders');
INSERT INTO orders VALUES (8, 'guard-8', 'lost'), (9, 'guard-9', 'gone');
SELECT pg_temp.answer($$SELECT count(*) FROM payguard.guard_table('orders', 'status', '{"unpaid": ["paid"], "paid": ["refunded"]}', order_id_column := 'order_id', paid_states := '{paid}')$$);
SELECT pg_temp.answer($$SELECT count(*) FROM payguard.guard_table('orders', 'status', '{"unpaid": ["paid"], "paid": ["refunded"]}', order_id_column := 'order_id', paid_states := '{paid}', not_valid := true)$$);
SELECT table_name, valid FROM payguard.guards;
SELECT what, split_part(pg_temp.answer(statement), ' | ', 3) AS answer FROM (VALUES
  ('stays as it is', $$UPDATE orders SET note = 'z' WHERE id = 8$$),
  ('goes nowhere', $$UPDATE orders SET status = 'unpaid' WHERE id = 8$$),
  ('nor to another such', $$UPDATE orders SET status = 'gone' WHERE id = 8$$)) c (what, statement);
SELECT payguard.unguard_table('orders');
-- types and names
CREATE TYPE "State of Order" AS ENUM ('unpaid', 'paid', 'refunded', 'later');
CREATE DOMAIN state_text AS varchar(20) CHECK (VALUE <> 'never');
CREATE DOMAIN state_enum AS "State of Order";
CREATE DOMAIN counter AS bigint CHECK (VALUE >= 0);
SELECT status, version, c FROM (VALUES
  ('varchar(10)', 'smallint'), ('text', 'integer'), ('"State of Order"', 'bigint'), ('state_text', 'counter'), ('state_enum', 'counter'),
  ('text COLLATE "C"', 'int2')) t (status, version),
  LATERAL (SELECT format('CREATE TABLE %I (id int PRIMARY KEY, dropped int, "the ""status""" %s, "Ver sion" %s, ref text)', 'T "' || status, status, version)) c (command),
  LATERAL (SELECT pg_temp.answer(command), pg_temp.answer(format('ALTER TABLE %I DROP COLUMN dropped', 'T "' || status)),
                  pg_temp.answer(format('SELECT count(*) FROM payguard.guard_table(%L, %L, %L, %L, once := %L, success_states := %L)',
                                        format('%I', 'T "' || status), 'the "status"', '{"unpaid": ["paid"], "paid": ["refunded"]}', 'Ver sion', '{ref}', '{paid,refunded}'))) d (a, b, c)
WHERE a = 'done' AND b = 'done';
SELECT relname, array_agg(concat(left(answer, 25), substring(answer, ' "[Tthe].*$')) ORDER BY n) FROM pg_class,
  LATERAL (VALUES (1, $$INSERT INTO %I VALUES (1, 'unpaid', 0, 'a'), (2, 'unpaid', NULL, 'a')$$), (2, $$UPDATE %I SET "the ""status""" = 'paid', "Ver sion" = 1 WHERE id = 1$$),
    (3, $$UPDATE %I SET "the ""status""" = 'unpaid', "Ver sion" = 2 WHERE id = 1$$), (4, $$UPDATE %I SET "Ver sion" = 1 WHERE id = 1$$),
    (5, $$UPDATE %I SET "the ""status""" = 'paid', "Ver sion" = 1 WHERE id = 2$$), (6, $$UPDATE %I SET "the ""status""" = NULL, "Ver sion" = 1 WHERE id = 2$$)) s (n, statement),
  LATERAL (SELECT split_part(pg_temp.answer(format(statement, relname)), ' | ', 1) AS answer) a
WHERE relname LIKE 'T "%' AND relkind = 'r' GROUP BY 1 ORDER BY relname::text COLLATE "C";
-- a value that the graph does not know blocks
SELECT pg_temp.answer($$UPDATE "T ""state_enum" SET "the ""status""" = 'later', "Ver sion" = 1 WHERE id = 2$$);
SELECT count(*) AS guards FROM payguard.guards;
-- partitions, those that come later too
CREATE TABLE parted (id int, day int, status text, version int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (1) TO (10);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20) PARTITION BY LIST (id);
CREATE TABLE parted_21 (status text, version int, id int NOT NULL, day int NOT NULL);
ALTER TABLE parted_2 ATTACH PARTITION parted_21 FOR VALUES IN (1);
SELECT * FROM payguard.guard_table('parted', 'status', '{"unpaid": ["paid"]}', 'version', allow_delete := '{unpaid}');
CREATE TABLE parted_3 PARTITION OF parted FOR VALUES FROM (20) TO (30);
CREATE TABLE parted_4 (version int, status text, day int NOT NULL, id int NOT NULL);
ALTER TABLE parted ATTACH PARTITION parted_4 DEFAULT;
INSERT INTO parted VALUES (1, 1, 'unpaid', 1), (1, 11, 'unpaid', 1), (1, 21, 'unpaid', 1), (1, 31, 'unpaid', 1);
UPDATE parted SET status = 'paid', version = version + 1;
SELECT part, array_agg(split_part(pg_temp.answer(format(statement, part)), ' ', 2) ORDER BY n) AS answers FROM
  (VALUES ('parted'), ('parted_1'), ('parted_2'), ('parted_21'), ('parted_3'), ('parted_4')) p (part),
  (VALUES (1, 'UPDATE %s SET status = $q$x$q$, version = 3'), (2, 'UPDATE %s SET version = 1'), (3, 'UPDATE %s SET day = day + 1, version = 3'),
          (4, 'TRUNCATE %s'), (5, 'ALTER TABLE %s DISABLE TRIGGER ALL'), (6, 'DROP TABLE %s')) s (n, statement) GROUP BY 1 ORDER BY 1;
SELECT pg_temp.answer('UPDATE parted SET day = day + 15, version = version + 1 WHERE day = 1');
SELECT tableoid::regclass, status, version FROM parted ORDER BY day;
SELECT pg_temp.answer($$SELECT payguard.unguard_table('parted_1')$$);
SELECT table_name, immutable_columns FROM payguard.guards WHERE table_name LIKE '%.parted%';
SELECT payguard.unguard_table('parted');
SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'payguard%' AND tgrelid::regclass::text LIKE 'parted%';
-- inheritance
CREATE TABLE parent (id int PRIMARY KEY, status text);
CREATE TABLE child (extra int) INHERITS (parent);
SELECT * FROM payguard.guard_table('parent', 'status', '{"unpaid": ["paid"]}');
INSERT INTO parent VALUES (1, 'unpaid');
INSERT INTO child VALUES (2, 'unpaid', 1);
SELECT pg_temp.answer($$UPDATE parent SET status = 'x' WHERE id = 2$$);
SELECT pg_temp.answer($$TRUNCATE child$$);
SELECT pg_temp.answer($$CREATE TABLE child_2 () INHERITS (parent)$$);
CREATE TABLE child_2 (LIKE parent);
SELECT pg_temp.answer($$ALTER TABLE child_2 INHERIT parent$$);
SELECT * FROM payguard.guard_table('child_2', 'status', '{"unpaid": ["paid"]}');
ALTER TABLE child_2 INHERIT parent;
SELECT count(*) AS guards FROM payguard.guards WHERE table_name ~ 'parent|child';
SELECT payguard.unguard_table('parent');
SELECT count(*) AS guards FROM payguard.guards WHERE table_name ~ 'parent|child';
SELECT * FROM payguard.guard_table('parent', 'status', '{"unpaid": ["paid"]}');
-- a row of the time before: a view, a rule's statement, a function and another trigger write through the guard
CREATE TABLE plain (id int PRIMARY KEY, status text);
SELECT * FROM payguard.guard_table('plain', 'status', '{"unpaid": ["paid"], "paid": ["refunded"]}', '{}');
SELECT * FROM payguard.guard_table('plain', 'status', '{"unpaid": ["paid"], "paid": ["refunded"]}');
CREATE FUNCTION bend() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.status := 'refunded'; RETURN NEW; END $$;
CREATE TRIGGER zz_bend BEFORE UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION bend();
INSERT INTO plain VALUES (1, 'unpaid');
SELECT pg_temp.answer($$UPDATE plain SET status = 'paid'$$);
DROP TRIGGER zz_bend ON plain;
-- the settings are parsed again when they change, in the same session
UPDATE plain SET status = 'paid';
SELECT payguard.unguard_table('plain');
UPDATE plain SET status = 'unpaid';
SELECT * FROM payguard.guard_table('plain', 'status', '{"unpaid": ["cancelled"]}');
SELECT pg_temp.answer($$UPDATE plain SET status = 'paid'$$);
-- what is NULL: the first version of a row, and a value that is not to change
CREATE TABLE loose (id int, status text, version int, code text);
SELECT * FROM payguard.guard_table('loose', 'status', '{"unpaid": ["paid"]}', version_column := 'version', immutable_columns := '{code}');
INSERT INTO loose VALUES (1, 'unpaid', NULL, NULL);
SELECT pg_temp.answer(statement) FROM unnest(ARRAY['UPDATE loose SET version = NULL', 'UPDATE loose SET version = 2', 'UPDATE loose SET version = 1, status = NULL', $$UPDATE loose SET version = 1, code = 'x'$$,
  $$UPDATE loose SET version = 1, status = 'paid'$$]) statement;
-- once without an order of payguard's: paid_states say what counts; so they did for 1.1.0, which kept them
CREATE TABLE single (id int PRIMARY KEY, no text, price numeric, status text);
SELECT * FROM payguard.guard_table('single', 'status', '{"unpaid": ["paid"]}', once := '{no,price}', paid_states := '{paid}');
SELECT paid_states, success_states FROM payguard.guards WHERE table_name LIKE '%.single';
INSERT INTO single VALUES (1, 'a', 1, 'unpaid'), (2, 'a', 1.0, 'unpaid'), (3, 'a', NULL, 'unpaid'), (4, 'a', NULL, 'unpaid'), (5, 'a', 2, 'unpaid');
SELECT id, pg_temp.answer(format($$UPDATE single SET status = 'paid' WHERE id = %s$$, id)) FROM generate_series(1, 5) id;
SELECT payguard.unguard_table('single');
RESET ROLE;
CREATE TRIGGER payguard_guard AFTER INSERT OR UPDATE OR DELETE ON regress_guard.single FOR EACH ROW EXECUTE FUNCTION
  payguard.guard('{"status_column": "status", "transitions": {"unpaid": ["paid"]}, "initial": ["unpaid"], "once": ["no"], "paid_states": ["paid"], "success_states": ["paid"], "valid": true}');
SELECT pg_temp.answer($$UPDATE regress_guard.single SET status = 'paid' WHERE id = 2$$);
SELECT pg_temp.answer($$UPDATE regress_guard.single SET no = 'c', status = 'paid' WHERE id = 2$$);
SELECT pg_temp.answer($$UPDATE regress_guard.single SET no = 'b' WHERE id = 1$$);
SELECT payguard.unguard_table('regress_guard.single');
-- rows that share what once is about are found by themselves: there is no index, or it has lost them
CREATE TYPE regress_guard.pair AS (a int, b text);
CREATE TABLE regress_guard.double (id int PRIMARY KEY, no regress_guard.pair, name varchar(1000), status text);
ALTER TABLE regress_guard.double OWNER TO regress_guard;
SELECT count(*) FROM payguard.guard_table('regress_guard.double', 'status', '{"unpaid": ["paid"]}', once := '{no,name}', success_states := '{paid}', allow_delete := '{paid,unpaid}', not_valid := true);
INSERT INTO regress_guard.double SELECT id, row(id / 3, 'x')::regress_guard.pair, repeat('y', 500), 'unpaid' FROM generate_series(1, 9) id;
INSERT INTO regress_guard.double VALUES (10, NULL, 'y', 'unpaid'), (11, NULL, 'y', 'unpaid');
UPDATE regress_guard.double SET status = 'paid' WHERE id <> 7;
SELECT object, left(problem, 90) AS problem, length(problem) FROM payguard.verify();
SELECT payguard.unguard_table('regress_guard.double');
SELECT left(pg_temp.answer($$SELECT count(*) FROM payguard.guard_table('regress_guard.double', 'status', '{"unpaid": ["paid"]}', once := '{no,name}', success_states := '{paid}')$$), 150);
DELETE FROM regress_guard.double WHERE id NOT IN (1, 3, 6, 9);
CREATE UNIQUE INDEX double_once ON regress_guard.double (no, name);
SELECT * FROM payguard.guard_table('regress_guard.double', 'status', '{"unpaid": ["paid"]}', once := '{no,name}', success_states := '{paid}');
UPDATE pg_index SET indisready = false WHERE indexrelid = 'regress_guard.double_once'::regclass;
INSERT INTO regress_guard.double VALUES (12, (3, 'x'), repeat('y', 500), 'unpaid');
UPDATE regress_guard.double SET status = 'paid' WHERE id = 12;
UPDATE pg_index SET indisready = true WHERE indexrelid = 'regress_guard.double_once'::regclass;
SELECT object, left(problem, 90) AS problem, length(problem) FROM payguard.verify();
SELECT payguard.guard_bad_rows('regress_guard.double') LIKE '2 rows in success states%' AS found, payguard.guard_bad_rows('regress_guard.plain') IS NULL AS sound;
SELECT payguard.unguard_table('regress_guard.double');
SELECT left(pg_temp.answer($$SELECT count(*) FROM payguard.guard_table('regress_guard.double', 'status', '{"unpaid": ["paid"]}', once := '{no,name}', success_states := '{paid}')$$), 180);
DROP TABLE regress_guard.double, regress_guard.single;
SET ROLE regress_guard;
-- it fires under the rights of any writer
GRANT SELECT, UPDATE ON plain TO PUBLIC;
RESET ROLE;
CREATE ROLE regress_writer;
SET ROLE regress_writer;
SELECT pg_temp.answer($$UPDATE regress_guard.plain SET status = 'paid'$$);
SELECT pg_temp.answer($$UPDATE regress_guard.plain SET status = 'cancelled'$$);
RESET ROLE;
RESET search_path;
-- who did what
SELECT details->>'table' AS table_name, string_agg(split_part(kind, '.', 2), ' ' ORDER BY event_id), min(actor) = session_user AS actor
FROM payguard.events WHERE kind LIKE 'guard.%' GROUP BY 1 ORDER BY (details->>'table') COLLATE "C";
SET payguard.allow_unsafe_ddl = on;
SELECT bool_and(payguard.unguard_table(table_name::regclass)) FROM payguard.guards WHERE table_name !~ '.child';
DROP SCHEMA regress_guard CASCADE;
RESET payguard.allow_unsafe_ddl;
SELECT payguard.revoke_access('regress_guard', 'owner');
DROP ROLE regress_guard, regress_writer;
SELECT * FROM payguard.verify();
