-- Reports repeated or in another order end in the same state.
\getenv srcdir PG_ABS_SRCDIR
-- many orders: in a database of their own
SELECT current_database() AS database \gset
CREATE DATABASE regress_payguard_evidence_order;
\c regress_payguard_evidence_order
SET client_min_messages = warning;
CREATE EXTENSION payguard;
CREATE ROLE regress_evidence_order;
SELECT count(payguard.grant_access('regress_evidence_order', a)) FROM unnest('{checkout,cashier,channel,admin,refunds,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_evidence_order;
\set situation :srcdir /test/lib/situation.sql
\i :situation
CREATE TEMP TABLE reports (n int, report text, status text, named text, amount bigint);
INSERT INTO reports VALUES (1, 'succeeded', 'succeeded', 't', 1000), (2, 'succeeded, no amount', 'succeeded', 't', NULL), (3, 'succeeded, no txn', 'succeeded', NULL, 1000),
  (4, 'failed', 'failed', 't', NULL), (5, 'closed', 'closed', NULL, NULL), (6, 'pending', 'pending', 't', NULL), (7, 'unknown', 'unknown', NULL, NULL),
  (8, 'not_found', 'not_found', NULL, NULL), (9, 'succeeded, other amount', 'succeeded', 't', 999);
CREATE TEMP TABLE ends (situation text, known boolean, a text, b text, back boolean, order_id text, status text, "by" text, payments text, received bigint, surplus bigint, version bigint);
CREATE FUNCTION pg_temp.total(id text, state text) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT coalesce(sum(received_amount), 0)::bigint FROM payguard.payments WHERE order_id = id AND (state IS NULL OR status = state)
$$;
CREATE PROCEDURE pg_temp.end_of(id text, situation text, known boolean, a text, b text, back boolean) LANGUAGE sql AS $$
  INSERT INTO ends SELECT situation, known, a, b, back, id, o.status, pg_temp.named(o.payment_id),
    (SELECT string_agg(pg_temp.named(p.payment_id) || ' ' || p.status, ', ' ORDER BY pg_temp.named(p.payment_id), p.status) FROM payguard.payments p WHERE p.order_id = id),
    pg_temp.total(id, NULL), pg_temp.total(id, 'surplus'), o.version
  FROM payguard.orders o WHERE o.order_id = id
$$;
CREATE PROCEDURE pg_temp.run() LANGUAGE plpgsql AS $$
DECLARE
  c record; id text; this uuid; n int := 0; step int;
BEGIN
  FOR c IN SELECT s.situation, k.known, a.report AS a, b.report AS b, back, a.status AS status_1, a.named AS named_1, a.amount AS amount_1, b.status AS status_2, b.named AS named_2, b.amount AS amount_2
      FROM unnest('{pending,unknown,closing,superseded,"failed, unpaid","failed, paying by another","failed, cancelled","failed, paid","failed, refunded",succeeded,"surplus, paid","closing, to be cancelled"}'::text[]) WITH ORDINALITY s (situation, n),
        unnest('{t,f}'::boolean[]) k (known), reports a, reports b, unnest('{f,t}'::boolean[]) back
      WHERE a.n <= b.n ORDER BY s.n, known, a.n, b.n, back LOOP
    n := n + 1;
    id := 'order-' || n;
    this := pg_temp.make(id, c.situation, 'card', CASE WHEN c.known THEN id || 't' END);
    FOR step IN 1..2 LOOP
      IF (step = 1) <> c.back THEN
        PERFORM pg_temp.say(this, c.status_1, id || c.named_1, c.amount_1, 'EUR');
      ELSE
        PERFORM pg_temp.say(this, c.status_2, id || c.named_2, c.amount_2, 'EUR');
      END IF;
    END LOOP;
    CALL pg_temp.end_of(id, c.situation, c.known, c.a, c.b, c.back);
  END LOOP;
END
$$;
CALL pg_temp.run();
CREATE TEMP VIEW pairs AS
SELECT f.situation, f.known, f.a, f.b, (f.status, f."by", f.payments, f.received, f.surplus) IS NOT DISTINCT FROM (g.status, g."by", g.payments, g.received, g.surplus) AS same,
  f.status || ': ' || f.payments AS a_then_b, g.status || ': ' || g.payments AS b_then_a, f.received = g.received AS same_money
FROM ends f JOIN ends g USING (situation, known, a, b) WHERE NOT f.back AND g.back;
SELECT count(*) AS pairs, count(*) FILTER (WHERE same) AS same FROM pairs;
-- the exceptions: 1. of "pending" and "unknown" the last one is believed;
SELECT situation, a, b, a_then_b, b_then_a, same_money, count(*) FROM pairs WHERE NOT same AND situation IN ('pending', 'unknown') AND a_then_b !~ '^paid|surplus' AND b_then_a !~ '^paid|surplus' GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3;
-- 2. a channel that names two amounts for one charge contradicts itself: the first that does not fit is surplus, and both alert;
SELECT situation, a, b, a_then_b, b_then_a, same_money, count(*) FROM pairs
WHERE NOT same AND (a ~ 'other amount' OR b ~ 'other amount') AND situation !~ 'to be' GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3;
-- 3. an order that is to be cancelled: a failure closes it, and the success after it comes too late.
SELECT situation, a, b, a_then_b, b_then_a, same_money, count(*) FROM pairs WHERE NOT same AND situation ~ 'to be' GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3;
-- there is no other
SELECT situation, known, a, b, a_then_b, b_then_a FROM pairs
WHERE NOT same AND situation !~ 'to be' AND a !~ 'other amount' AND b !~ 'other amount' AND NOT (a = 'pending' AND b = 'unknown') ORDER BY 1, 2, 3, 4;
-- repeated, a report changes nothing more: (a, a) is (a)
SELECT count(*) AS repeated FROM pairs WHERE a = b AND same;
-- Two real charges: whichever is heard of first, the totals are equal, one of them pays, the other goes back.
CREATE PROCEDURE pg_temp.run_two() LANGUAGE plpgsql AS $$
DECLARE
  c record; id text; first uuid; second uuid;
BEGIN
  FOR c IN SELECT what, back, status FROM unnest('{one attempt,two attempts,no attempt}'::text[]) WITH ORDINALITY w (what, n),
      unnest('{f,t}'::boolean[]) back, unnest('{NULL,failed,unknown}'::text[]) status ORDER BY w.n, status, back LOOP
    id := 'two-' || c.what || c.back || coalesce(c.status, '');
    PERFORM payguard.create_order(id, 1000, 'EUR');
    first := pg_temp.start(id, 'first');
    second := NULL;
    IF c.what = 'two attempts' THEN
      PERFORM pg_temp.say(first, 'failed');
      second := pg_temp.start(id, 'second');
    END IF;
    IF c.status IS NOT NULL THEN PERFORM pg_temp.say(coalesce(second, first), c.status); END IF;
    FOR step IN 1..2 LOOP
      IF (step = 1) <> c.back THEN
        PERFORM pg_temp.say(first, 'succeeded', id || 't', 1000, 'EUR');
      ELSIF c.what = 'no attempt' THEN
        PERFORM payguard.record_payment(id, 'card', id || 'u', 1000, 'EUR');
      ELSE
        PERFORM pg_temp.say(coalesce(second, first), 'succeeded', id || 'u', 1000, 'EUR');
      END IF;
    END LOOP;
    CALL pg_temp.end_of(id, c.what || coalesce(', ' || c.status, ''), NULL, 't', 'u', c.back);
  END LOOP;
END
$$;
CALL pg_temp.run_two();
SELECT situation, CASE WHEN back THEN 'u, t' ELSE 't, u' END AS "order", status, received, surplus, payments, pg_temp.refunds_of(order_id) AS refunds, pg_temp.alerts_of(order_id) AS alerts
FROM ends WHERE order_id ~ '^two' ORDER BY situation, back;
-- every pair kept the promises
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_evidence_order;
\c :database
DROP DATABASE regress_payguard_evidence_order;
DROP ROLE regress_evidence_order;
