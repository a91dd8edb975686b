-- Two stores do the same. The one without SPI gives way where somebody has put on a table what it does not do.
SET client_min_messages = warning;
LOAD 'payguard';
CREATE ROLE regress_stores;
SELECT payguard.grant_access('regress_stores', access) FROM unnest('{checkout,cashier}'::text[]) access;
SET SESSION AUTHORIZATION regress_stores;
SET payguard.store = spi; -- fails
RESET SESSION AUTHORIZATION;
SET payguard.store = other; -- fails
-- served(id): which store has served a new session, in which an order is made and paid
CREATE FUNCTION public.regress_served(id text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  found text;
BEGIN
  PERFORM payguard.create_order(id, 1, 'EUR');
  PERFORM payguard.pay_order(id, id);
  SELECT string_agg(DISTINCT what, ', ' ORDER BY what) INTO found FROM (
    SELECT coalesce(substring(ident, '^(UPDATE|SELECT)|INTO payguard\.\w+ '), substring(ident, 'INSERT')) || ' ' ||
           substring(ident, 'payguard\.(orders|payments|events) ') AS what
    FROM pg_backend_memory_contexts
    WHERE name = 'CachedPlanSource' AND ident ~ '(ONLY|INTO) payguard\.(orders|payments|events) ') p;
  RETURN coalesce('SPI: ' || found, 'no SPI');
END
$$;
\c -
SET payguard.store = spi;
SELECT public.regress_served('stores-spi');
\c -
SELECT format('ALTER DATABASE %I SET payguard.store = heap', current_database()) \gexec
\c -
SELECT public.regress_served('stores-heap');
\c -
SET payguard.store = auto;
SELECT public.regress_served('stores-auto');
-- it goes on with what comes and goes
CREATE TABLE regress_seen (n serial, what text);
CREATE FUNCTION regress_see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO regress_seen (what) VALUES (concat_ws(' ', TG_WHEN, TG_OP, TG_LEVEL, TG_TABLE_NAME));
  RETURN NEW;
END
$$;
CREATE FUNCTION regress_see_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO regress_seen (what) SELECT concat_ws(' ', TG_OP, o.status, 'to', n.status) FROM o JOIN n USING (order_id);
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
SELECT regress_pay('stores-1');
CREATE TRIGGER t_after AFTER INSERT OR UPDATE OF status ON payguard.orders FOR EACH ROW EXECUTE FUNCTION regress_see();
CREATE TRIGGER t_other AFTER UPDATE OF amount ON payguard.orders FOR EACH ROW EXECUTE FUNCTION regress_see();
CREATE CONSTRAINT TRIGGER t_late AFTER INSERT ON payguard.payments DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION regress_see();
SELECT regress_pay('stores-2');
CREATE TRIGGER t_statement AFTER UPDATE ON payguard.orders FOR EACH STATEMENT EXECUTE FUNCTION regress_see();
CREATE TRIGGER t_rows AFTER UPDATE ON payguard.orders REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION regress_see_rows();
CREATE TRIGGER t_statement BEFORE INSERT ON payguard.events FOR EACH STATEMENT EXECUTE FUNCTION regress_see();
SELECT regress_pay('stores-3');
DROP TRIGGER t_statement ON payguard.orders;
DROP TRIGGER t_rows ON payguard.orders;
DROP TRIGGER t_statement ON payguard.events;
CREATE TRIGGER t_before BEFORE INSERT ON payguard.payments FOR EACH ROW EXECUTE FUNCTION regress_see();
SELECT regress_pay('stores-4');
DROP TRIGGER t_before ON payguard.payments;
DROP TRIGGER t_late ON payguard.payments;
DROP TRIGGER t_after ON payguard.orders;
DROP TRIGGER t_other ON payguard.orders;
SELECT regress_pay('stores-5');
-- what each of these sends to SPI, in a new session
CREATE TRIGGER t AFTER UPDATE ON payguard.orders FOR EACH ROW EXECUTE FUNCTION regress_see();
\c -
SELECT public.regress_served('stores-row');
CREATE TRIGGER t_before BEFORE UPDATE ON payguard.orders FOR EACH ROW EXECUTE FUNCTION regress_see();
\c -
SELECT public.regress_served('stores-before');
DROP TRIGGER t ON payguard.orders;
DROP TRIGGER t_before ON payguard.orders;
CREATE TRIGGER t AFTER INSERT ON payguard.payments FOR EACH STATEMENT EXECUTE FUNCTION regress_see();
\c -
SELECT public.regress_served('stores-statement');
DROP TRIGGER t ON payguard.payments;
CREATE TRIGGER t AFTER INSERT ON payguard.events REFERENCING NEW TABLE AS n FOR EACH ROW EXECUTE FUNCTION regress_see();
\c -
SELECT public.regress_served('stores-transition');
DROP TRIGGER t ON payguard.events;
CREATE INDEX regress_index ON payguard.events USING gin (details);
CREATE INDEX regress_lower ON payguard.orders (lower(customer_id));
\c -
SELECT public.regress_served('stores-index');
DROP INDEX payguard.regress_index, payguard.regress_lower;
SET payguard.allow_unsafe_ddl = on;
ALTER TABLE payguard.orders ENABLE ROW LEVEL SECURITY;
\c -
SELECT public.regress_served('stores-security');
SET payguard.allow_unsafe_ddl = on;
ALTER TABLE payguard.orders DISABLE ROW LEVEL SECURITY;
-- a constraint on a column, which both name in their error
ALTER TABLE payguard.payments ADD CONSTRAINT regress_check CHECK (amount <> 987654);
RESET payguard.allow_unsafe_ddl;
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/answer.sql
\i :answer
SELECT (payguard.create_order('stores-check', 987654, 'EUR')).version;
SET payguard.store = spi;
SELECT pg_temp.answer($$SELECT payguard.pay_order('stores-check', 'stores-check')$$) AS spi \gset
SET payguard.store = heap;
SELECT pg_temp.answer($$SELECT payguard.pay_order('stores-check', 'stores-check')$$) AS heap \gset
SELECT regexp_replace(:'spi', 'contains .*', '') AS answer, regexp_replace(:'spi', 'contains .*', '') = regexp_replace(:'heap', 'contains .*', '') AS the_same;
SET payguard.allow_unsafe_ddl = on;
ALTER TABLE payguard.payments DROP CONSTRAINT regress_check;
RESET payguard.allow_unsafe_ddl;
\c -
SELECT public.regress_served('stores-end');
SELECT count(*) FROM payguard.orders WHERE order_id LIKE 'stores-%' AND status = 'paid';
SELECT * FROM payguard.verify();
SELECT format('ALTER DATABASE %I RESET payguard.store', current_database()) \gexec
DROP FUNCTION public.regress_served(text);
DROP FUNCTION regress_pay(text);
DROP FUNCTION regress_see();
DROP FUNCTION regress_see_rows();
DROP TABLE regress_seen;
SELECT payguard.revoke_access('regress_stores', access) FROM unnest('{checkout,cashier}'::text[]) access;
DROP ROLE regress_stores;
