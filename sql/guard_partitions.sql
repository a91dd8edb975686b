-- Partitions of a guarded table are retired where each row of them may be deleted.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_shop;
SELECT payguard.grant_access('regress_shop', 'owner');
CREATE SCHEMA regress_shop AUTHORIZATION regress_shop;
SET ROLE regress_shop;
SET search_path = regress_shop;
CREATE TYPE state AS ENUM ('new', 'paid', 'void');
CREATE TABLE orders (id int, status state, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE orders_0 PARTITION OF orders FOR VALUES FROM (0) TO (10);
CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM (10) TO (20);
CREATE TABLE orders_2 PARTITION OF orders FOR VALUES FROM (20) TO (30) PARTITION BY LIST (id);
CREATE TABLE orders_21 PARTITION OF orders_2 FOR VALUES IN (21);
CREATE TABLE orders_22 PARTITION OF orders_2 FOR VALUES IN (22);
CREATE TABLE orders_3 PARTITION OF orders FOR VALUES FROM (30) TO (40);
CREATE TABLE orders_4 PARTITION OF orders FOR VALUES FROM (40) TO (50);
SELECT count(*) FROM payguard.guard_table('orders', 'status', '{"new": ["paid", "void"], "paid": [], "void": []}', allow_delete := '{new,void}');
INSERT INTO orders VALUES (1, 'new'), (2, 'new'), (11, 'new'), (12, 'new'), (21, 'new'), (22, 'new'), (31, 'new');
UPDATE orders SET status = 'void' WHERE id IN (1, 31);
UPDATE orders SET status = 'paid' WHERE id IN (12, 22);
-- one row that must stay keeps its partition, and all above it
SELECT command, split_part(pg_temp.answer(command), ' | ', 1) || ' | ' || split_part(pg_temp.answer(command), ' | ', 3) AS answer FROM (VALUES
  ('DROP TABLE orders_1'), ('ALTER TABLE orders DETACH PARTITION orders_1'), ('DROP TABLE orders_1, orders_0'), ('DROP TABLE orders_22'),
  ('ALTER TABLE orders_2 DETACH PARTITION orders_22'), ('DROP TABLE orders_2'), ('ALTER TABLE orders DETACH PARTITION orders_2')) c (command);
-- the whole table does not go while it has rows, whichever; a child of another kind neither
CREATE TABLE small (id int, status text) PARTITION BY LIST (id);
CREATE TABLE small_1 PARTITION OF small FOR VALUES IN (1) PARTITION BY LIST (id);
CREATE TABLE small_11 PARTITION OF small_1 DEFAULT;
SELECT count(*) FROM payguard.guard_table('small', 'status', '{"new": []}', allow_delete := '{new}');
INSERT INTO small VALUES (1, 'new');
SELECT pg_temp.answer('DROP TABLE small'), pg_temp.answer('DROP TABLE small, small_1');
BEGIN;
DROP TABLE small_1;
DROP TABLE small;
ROLLBACK;
CREATE TABLE whole (id int, status state);
CREATE TABLE heir () INHERITS (whole);
SELECT count(*) FROM payguard.guard_table('whole', 'status', '{"new": []}', allow_delete := '{new}');
INSERT INTO heir VALUES (1, 'new');
SELECT pg_temp.answer('DROP TABLE heir'), pg_temp.answer('DROP TABLE whole CASCADE');
-- what is written meanwhile is seen
SELECT pg_temp.answer($$DO $d$ BEGIN UPDATE orders SET status = 'paid' WHERE id = 2; DROP TABLE orders_0; END $d$ $$);
SELECT pg_temp.answer('ALTER TABLE orders DETACH PARTITION orders_3 CONCURRENTLY');
ALTER TABLE orders DETACH PARTITION orders_3 CONCURRENTLY; -- fails
-- retired: dropped, or detached and dropped
DROP TABLE orders_0;
ALTER TABLE orders DETACH PARTITION orders_3;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'orders_3'::regclass;
UPDATE orders_3 SET status = 'new';
ALTER TABLE orders_2 DETACH PARTITION orders_21;
DROP TABLE orders_21, orders_3;
DELETE FROM orders WHERE id = 11;
ALTER TABLE orders DETACH PARTITION orders_4;
-- a table that was detached is one without a guard: it may get one, or come back empty
SELECT count(*) FROM payguard.guard_table('orders_4', 'status', '{"new": []}');
SELECT payguard.unguard_table('orders_4');
ALTER TABLE orders ATTACH PARTITION orders_4 FOR VALUES FROM (40) TO (50);
SELECT pg_temp.answer('TRUNCATE orders_4'), pg_temp.answer($$INSERT INTO orders VALUES (41, 'paid')$$);
-- one whose sub-partitions all may go
INSERT INTO orders VALUES (42, 'new');
CREATE TABLE orders_5 PARTITION OF orders FOR VALUES FROM (50) TO (60) PARTITION BY LIST (id);
CREATE TABLE orders_51 PARTITION OF orders_5 DEFAULT;
INSERT INTO orders VALUES (51, 'new');
BEGIN;
ALTER TABLE orders DETACH PARTITION orders_5;
SELECT count(*) FROM pg_trigger WHERE tgrelid IN ('orders_5'::regclass, 'orders_51'::regclass);
ROLLBACK;
-- as a job does that keeps partitions for a while: pg_partman detaches, then drops
CREATE FUNCTION retire(VARIADIC partitions text[]) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
  partition text;
BEGIN
  FOREACH partition IN ARRAY partitions LOOP
    EXECUTE format('ALTER TABLE orders DETACH PARTITION %I', partition);
    EXECUTE format('DROP TABLE %I', partition);
  END LOOP;
  RETURN cardinality(partitions);
END $$;
SELECT retire('orders_4', 'orders_5');
SELECT tableoid::regclass, id, status FROM orders ORDER BY id;
-- a row of the time before the guard is in no state: it stays
CREATE TABLE old (id int, status text) PARTITION BY LIST (id);
CREATE TABLE old_1 PARTITION OF old FOR VALUES IN (1);
INSERT INTO old VALUES (1, 'of old');
SELECT count(*) FROM payguard.guard_table('old', 'status', '{"new": []}', allow_delete := '{new}', not_valid := true);
SELECT pg_temp.answer('DROP TABLE old_1'), pg_temp.answer('ALTER TABLE old DETACH PARTITION old_1');
-- somebody who may not drop the partition is told so
RESET ROLE;
CREATE ROLE regress_other;
GRANT USAGE ON SCHEMA regress_shop TO regress_other;
SET ROLE regress_other;
SELECT pg_temp.answer('DROP TABLE regress_shop.old_1');
RESET ROLE;
SELECT payguard.unguard_table(name) FROM unnest('{orders,small,whole,old}'::regclass[]) name;
SELECT * FROM payguard.verify();
DROP SCHEMA regress_shop CASCADE;
RESET search_path;
SELECT payguard.revoke_access('regress_shop', 'owner');
DROP ROLE regress_shop, regress_other;
SELECT * FROM payguard.verify();
