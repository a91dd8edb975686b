-- Calls within calls: a user's trigger on one of our tables calls another of our functions. Whether a setting of
-- the session may get a call refused is told by that call alone, during the other one and after it, whichever way
-- that ends: evidence is applied under the session's user, a request with a bad actor is refused.
CREATE ROLE regress_calls;
SELECT payguard.grant_access('regress_calls', a) FROM unnest('{checkout,cashier,channel}'::text[]) a;
SELECT name FROM payguard.register_channel('calls');
SELECT FROM payguard.create_order('calls-0', 100, 'EUR');
-- what the trigger does: a call that ends, or fails, or is evidence
CREATE TABLE public.regress_calls_do (what text);
INSERT INTO regress_calls_do VALUES ('nothing');
CREATE FUNCTION public.regress_calls() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  what text := (SELECT d.what FROM public.regress_calls_do d);
BEGIN
  UPDATE public.regress_calls_do SET what = 'nothing';
  CASE what
    WHEN 'nothing' THEN
      NULL;
    WHEN 'request' THEN
      PERFORM payguard.try_pay_order('calls-none', 'calls-none');
    WHEN 'refused request' THEN
      BEGIN
        PERFORM payguard.pay_order('calls-none', 'calls-none');
      EXCEPTION WHEN SQLSTATE 'PY401' THEN
        NULL;
      END;
    WHEN 'evidence' THEN
      PERFORM payguard.record_payment('calls-0', 'calls', 'calls-0-' || clock_timestamp(), 100, 'EUR');
    WHEN 'refused evidence' THEN
      BEGIN
        PERFORM payguard.record_payment('calls-0', 'calls', NULL, 100, 'EUR');
      EXCEPTION WHEN null_value_not_allowed THEN
        NULL;
      END;
    WHEN 'undone evidence' THEN
      BEGIN
        PERFORM payguard.record_payment('calls-0', 'calls', 'calls-undone', 100, 'EUR');
        RAISE EXCEPTION 'undone';
      EXCEPTION WHEN raise_exception THEN
        NULL;
      END;
    WHEN 'failed evidence' THEN
      BEGIN
        UPDATE public.regress_calls_do SET what = 'raise';
        PERFORM payguard.record_payment('calls-0', 'calls', 'calls-failed', 100, 'EUR');
      EXCEPTION WHEN raise_exception THEN
        NULL;
      END;
    WHEN 'raise' THEN
      RAISE EXCEPTION 'raised inside';
  END CASE;
  RETURN NULL;
END $$;
CREATE TRIGGER regress_calls AFTER INSERT ON payguard.orders FOR EACH ROW EXECUTE FUNCTION public.regress_calls();
CREATE TRIGGER regress_calls AFTER INSERT ON payguard.payments FOR EACH ROW EXECUTE FUNCTION public.regress_calls();
CREATE PROCEDURE pg_temp.next(what text) LANGUAGE sql SECURITY DEFINER AS $$ UPDATE public.regress_calls_do SET what = next.what $$;
GRANT EXECUTE ON PROCEDURE pg_temp.next(text) TO regress_calls;
SELECT payguard.create_order('calls-' || n, 100, 'EUR') IS NOT NULL AS made FROM generate_series(1, 2) n;
-- the role must not act for others: no request of its own is accepted, and all evidence is
SET SESSION AUTHORIZATION regress_calls;
SET payguard.actor = 'somebody else';
\set VERBOSITY terse
SELECT payguard.create_order('calls-3', 100, 'EUR'); -- fails
CALL pg_temp.next('request');
SELECT outcome FROM payguard.record_payment('calls-1', 'calls', 'calls-1', 100, 'EUR');
CALL pg_temp.next('refused request');
SELECT outcome FROM payguard.record_payment('calls-2', 'calls', 'calls-2', 100, 'EUR');
CALL pg_temp.next('evidence');
SELECT payguard.create_order('calls-4', 100, 'EUR'); -- fails
CALL pg_temp.next('refused evidence');
SELECT payguard.create_order('calls-5', 100, 'EUR'); -- fails
CALL pg_temp.next('undone evidence');
SELECT payguard.create_order('calls-6', 100, 'EUR'); -- fails
CALL pg_temp.next('failed evidence');
SELECT payguard.create_order('calls-7', 100, 'EUR'); -- fails
-- the last call was evidence: nobody acts under a name that is none all the same
RESET SESSION AUTHORIZATION;
SELECT payguard.grant_access('regress_calls', 'delegate');
SET SESSION AUTHORIZATION regress_calls;
SET payguard.actor = E'two\nlines';
CALL pg_temp.next('nothing');
SELECT outcome FROM payguard.record_payment('calls-1', 'calls', 'calls-1b', 100, 'EUR');
SELECT payguard.current_actor(); -- fails
-- nor is it so after evidence that failed
CALL pg_temp.next('raise');
SELECT outcome FROM payguard.record_payment('calls-1', 'calls', 'calls-1c', 100, 'EUR'); -- fails
SELECT payguard.current_actor(); -- fails
RESET payguard.actor;
RESET SESSION AUTHORIZATION;
SELECT order_id, kind, actor = 'regress_calls' AS by_session FROM payguard.events WHERE order_id LIKE 'calls-%' AND kind = 'order.paid' ORDER BY event_id;
SELECT order_id, status FROM payguard.orders WHERE order_id LIKE 'calls-%' ORDER BY 1;
DROP TRIGGER regress_calls ON payguard.orders;
DROP TRIGGER regress_calls ON payguard.payments;
DROP FUNCTION public.regress_calls();
DROP TABLE public.regress_calls_do;
DROP PROCEDURE pg_temp.next(text);
SELECT payguard.revoke_access('regress_calls', a) FROM unnest('{checkout,cashier,channel,delegate}'::text[]) a;
DROP OWNED BY regress_calls;
DROP ROLE regress_calls;
