-- An order whose rows cannot be written, here because of a trigger of a user's, holds up no other: deadlines,
-- leases that ran out, charges that come too late, messages that wait for their payment. maintain() and its alert
-- name it, until it is done.

\set VERBOSITY terse
SET client_min_messages = warning;
SELECT count(payguard.register_channel(name, first_query_after := '1 hour')) FROM unnest(ARRAY['left', 'left_other']) name;
CREATE SCHEMA left_out;
CREATE FUNCTION left_out.refuse() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$ BEGIN
  RAISE EXCEPTION 'order % is not to be touched', NEW.order_id; END $$;
CREATE TRIGGER left_out BEFORE INSERT ON payguard.events FOR EACH ROW WHEN (NEW.order_id LIKE 'left-%-bad' AND NEW.kind NOT LIKE 'order.created')
  EXECUTE FUNCTION left_out.refuse();
ALTER TABLE payguard.events DISABLE TRIGGER left_out;

-- orders(what): a bad one and two good ones, the bad one first.
CREATE FUNCTION left_out.orders(what text, expires_at timestamptz DEFAULT NULL) RETURNS SETOF text BEGIN ATOMIC
  SELECT (payguard.create_order(what || '-' || name, 100, 'EUR', expires_at => expires_at)).order_id FROM unnest(ARRAY['bad', 'good', 'more']) name;
END;
-- states(what): theirs.
CREATE FUNCTION left_out.states(what text) RETURNS text BEGIN ATOMIC
  SELECT string_agg(order_id || ' ' || status, ', ' ORDER BY order_id) FROM payguard.orders WHERE order_id LIKE what || '-%';
END;

SELECT left_out.orders('left-due', clock_timestamp() + '200 ms');
SELECT count((payguard.request_payment(o, o, 'left')).outcome) FROM left_out.orders('left-lost') o;
CREATE TEMP TABLE taken AS SELECT order_id FROM payguard.claim_tasks('w', lease := '1 ms', channels := '{left}');
SELECT order_id FROM taken ORDER BY 1;
SELECT count((payguard.request_payment(o, o, 'left', expires_at => clock_timestamp() + '200 ms')).outcome) FROM left_out.orders('left-late') o;
SELECT outcome FROM unnest(ARRAY['left-told-bad', 'left-told-good', 'left-told-more']) o CROSS JOIN LATERAL payguard.record_payment(o, 'left', o, 100, 'EUR');
SELECT count(*) FROM left_out.orders('left-told');
SELECT pg_sleep(0.3);
ALTER TABLE payguard.events ENABLE TRIGGER left_out;

SELECT payguard.expire_orders(1000) >= 2 AS others;
SELECT left_out.states('left-due');
-- a claim, which deals with leases that ran out and with charges that come too late
SELECT order_id, kind FROM payguard.claim_tasks('w', 1, channels := '{left}');
-- (a session of its own looks at all leases, not at those that ran out since it looked)
\c -
SET client_min_messages = warning;
SELECT order_id, kind FROM payguard.claim_tasks('w', 10, channels := '{left,left_other}');
SELECT p.order_id, p.status, p.failure_code FROM payguard.payments p WHERE order_id LIKE 'left-lost-%' OR order_id LIKE 'left-late-%' ORDER BY 1;
SELECT payguard.match_notifications(1000) >= 2 AS others;
SELECT left_out.states('left-told');

\c -
SET client_min_messages = warning;
SELECT duty, problem FROM payguard.maintain() WHERE problem IS NOT NULL;
SELECT cause, details FROM payguard.alerts WHERE kind = 'maintenance_failed' AND resolved_at IS NULL ORDER BY cause;

-- what is about all of them ends the call
SET statement_timeout = '100 ms';
CREATE OR REPLACE FUNCTION left_out.refuse() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$ BEGIN PERFORM pg_sleep(5); RETURN NEW; END $$;
SELECT payguard.expire_orders(1000);
RESET statement_timeout;

-- without the trigger all of it is made up for
DROP TRIGGER left_out ON payguard.events;
SELECT duty, problem FROM payguard.maintain() WHERE problem IS NOT NULL;
SELECT left_out.states('left-due'), left_out.states('left-told');
SELECT count(*) FROM payguard.alerts WHERE kind = 'maintenance_failed' AND resolved_at IS NULL;
SELECT * FROM payguard.verify();
DROP SCHEMA left_out CASCADE;
