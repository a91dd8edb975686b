-- DROP INDEX CONCURRENTLY: what an interrupted build or pg_repack leaves behind goes, what is needed stays.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
SELECT count(*) FROM generate_series(1, 2) n, payguard.create_order('guard_indexes-' || n, 1, 'EUR');
CREATE SCHEMA regress_shop;
CREATE TABLE regress_shop.orders (id int PRIMARY KEY, ref text, email text UNIQUE, status text);
SELECT count(*) FROM payguard.guard_table('regress_shop.orders', 'status', '{"new": ["paid"], "paid": []}', once := '{ref}', success_states := '{paid}');
INSERT INTO regress_shop.orders SELECT n, 'a', n, 'new' FROM generate_series(1, 2) n;
-- builds that fail leave an index that is not valid
CREATE UNIQUE INDEX CONCURRENTLY regress_invalid ON payguard.orders (currency); -- fails
CREATE UNIQUE INDEX CONCURRENTLY regress_invalid ON regress_shop.orders (ref); -- fails
DROP INDEX CONCURRENTLY payguard.regress_invalid;
DROP INDEX CONCURRENTLY regress_shop.regress_invalid;
-- copies that a tool has left, and any other unique index
CREATE UNIQUE INDEX CONCURRENTLY index_17001 ON payguard.orders (order_id);
CREATE UNIQUE INDEX CONCURRENTLY regress_other ON payguard.orders (customer_id, order_id);
DROP INDEX CONCURRENTLY payguard.index_17001;
DROP INDEX CONCURRENTLY payguard.regress_other;
CREATE UNIQUE INDEX CONCURRENTLY index_17002 ON regress_shop.orders (ref) WHERE status = 'paid';
CREATE UNIQUE INDEX regress_other ON regress_shop.orders (ref, email);
DROP INDEX CONCURRENTLY regress_shop.regress_other;
DROP INDEX CONCURRENTLY regress_shop.index_17002;
-- whichever of the two goes, the other one stays
CREATE UNIQUE INDEX CONCURRENTLY index_17003 ON regress_shop.orders (ref) WHERE status = 'paid';
DROP INDEX CONCURRENTLY regress_shop.orders_payguard_once;
DROP INDEX CONCURRENTLY regress_shop.index_17003; -- fails
-- one that holds something else stands in for nothing, nor does one that is not valid
CREATE UNIQUE INDEX regress_other ON regress_shop.orders (ref) WHERE status = 'paid' AND id < 0;
CREATE INDEX regress_plain ON regress_shop.orders (ref) WHERE status = 'paid';
CREATE UNIQUE INDEX index_17004 ON regress_shop.orders (ref) WHERE status = 'paid';
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'regress_shop.index_17004'::regclass;
DROP INDEX CONCURRENTLY regress_shop.index_17003; -- fails
DROP INDEX CONCURRENTLY regress_shop.regress_other;
DROP INDEX CONCURRENTLY regress_shop.regress_plain;
DROP INDEX CONCURRENTLY regress_shop.index_17004;
-- ours, by their names; one that is broken already is not needed as it is
DROP INDEX CONCURRENTLY payguard.alerts_open; -- fails
CREATE UNIQUE INDEX index_17005 ON payguard.alerts (kind, cause) WHERE (resolved_at IS NULL);
DROP INDEX CONCURRENTLY payguard.alerts_open; -- fails
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'payguard.alerts_open'::regclass;
SELECT * FROM payguard.broken_guards();
DROP INDEX CONCURRENTLY payguard.alerts_open;
CREATE UNIQUE INDEX alerts_open ON payguard.alerts (kind, cause) WHERE (resolved_at IS NULL);
DROP INDEX CONCURRENTLY payguard.index_17005;
SELECT * FROM payguard.verify();
-- what a DBA may set
BEGIN;
ALTER INDEX payguard.payments_that_count SET (fillfactor = 70, deduplicate_items = off);
SELECT * FROM payguard.broken_guards();
ROLLBACK;
-- who may not drop it waits for nobody
CREATE ROLE regress_shop;
GRANT USAGE ON SCHEMA regress_shop TO regress_shop;
SET ROLE regress_shop;
DROP INDEX CONCURRENTLY regress_shop.index_17003; -- fails
RESET ROLE;
DROP OWNED BY regress_shop;
DROP ROLE regress_shop;
-- with a guard that is broken elsewhere, DDL goes on
SET payguard.allow_unsafe_ddl = on;
ALTER TABLE payguard.alerts DISABLE TRIGGER payguard_protect;
RESET payguard.allow_unsafe_ddl;
CREATE UNIQUE INDEX index_17006 ON regress_shop.orders (ref) WHERE status = 'paid';
DROP INDEX CONCURRENTLY regress_shop.index_17006;
ALTER TABLE payguard.alerts ENABLE ALWAYS TRIGGER payguard_protect;
SELECT payguard.unguard_table('regress_shop.orders');
-- an index whose condition fails with a state of the guard holds nothing; nobody else's command fails with it
CREATE TABLE regress_shop.payments (ref text, status text);
SELECT count(*) FROM payguard.guard_table('regress_shop.payments', 'status', '{"new": ["paid"], "paid": []}', once := '{ref}', success_states := '{paid}', not_valid := true);
CREATE UNIQUE INDEX regress_fails ON regress_shop.payments (ref) WHERE 1 / (length(status) - 4) > 0;
SELECT * FROM payguard.verify();
SELECT * FROM payguard.guard_problems();
CREATE UNIQUE INDEX regress_holds ON regress_shop.payments (ref) WHERE length(status) = 4;
SELECT * FROM payguard.verify();
DROP INDEX regress_shop.regress_holds; -- fails
DROP INDEX CONCURRENTLY regress_shop.regress_holds; -- fails
ALTER TABLE regress_shop.payments RENAME ref TO reference;
SELECT payguard.unguard_table('regress_shop.payments');
DROP SCHEMA regress_shop CASCADE;
SELECT * FROM payguard.verify();
