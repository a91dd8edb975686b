-- What a report does, cell by cell: each situation of an attempt, each thing a channel can say.
\getenv srcdir PG_ABS_SRCDIR
-- many orders: in a database of their own
SELECT current_database() AS database \gset
CREATE DATABASE regress_payguard_evidence_table;
\c regress_payguard_evidence_table
SET client_min_messages = warning;
CREATE EXTENSION payguard;
CREATE ROLE regress_evidence_table;
SELECT count(payguard.grant_access('regress_evidence_table', a)) FROM unnest('{checkout,cashier,channel,admin,refunds,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_evidence_table;
\set situation :srcdir /test/lib/situation.sql
\i :situation
CREATE TEMP TABLE situations (n int GENERATED ALWAYS AS IDENTITY, situation text);
INSERT INTO situations (situation) VALUES
  ('pending'), ('unknown'), ('closing'), ('closing, to be cancelled'), ('closing, to be expired'), ('superseded'),
  ('failed, unpaid'), ('failed, paying by another'), ('failed, another to be cancelled'), ('failed, cancelled'),
  ('failed, expired'), ('failed, paid'), ('failed, refunded'), ('succeeded'), ('succeeded, not verified'), ('succeeded, refunded'),
  ('surplus, unpaid'), ('surplus, cancelled'), ('surplus, paid'), ('processing'), ('revived'),
  ('returned, unpaid'), ('returned, paying by another'), ('returned, paid'), ('authorized'), ('capturing');
CREATE TEMP TABLE monies (n int, money text, amount bigint, currency text);
INSERT INTO monies VALUES (1, 'as asked', 1000, 'EUR'), (2, 'none', NULL, NULL), (3, 'less', 999, 'EUR'), (4, 'other currency', 1000, 'USD'),
  (5, 'more', 1100, 'EUR');
-- txns: what the payment is known by, and what the report names
CREATE TEMP TABLE txns (n int, txn text, known text, named text);
INSERT INTO txns VALUES (1, 'same', 't', 't'), (2, 'another', 't', 'u'), (3, 'not named', 't', NULL), (4, 'not known', NULL, 't'), (5, 'none', NULL, NULL);
-- way: what a message says, or an operator's word
CREATE TEMP TABLE cells (n int GENERATED ALWAYS AS IDENTITY, way text DEFAULT 'message', situation text, channel text, late text, report text, txn text, known text, named text,
  money text, amount bigint, currency text);
-- a success: whatever its transaction and its money; another report: whatever its transaction
INSERT INTO cells (situation, channel, late, report, txn, known, named, money, amount, currency)
SELECT s.situation, 'card', 'accept', 'succeeded', t.txn, t.known, t.named, m.money, m.amount, m.currency
FROM situations s, txns t, monies m WHERE s.situation !~ '^returned' OR t.known IS NOT NULL ORDER BY s.n, t.n, m.n;
INSERT INTO cells (situation, channel, late, report, txn, known, named, money)
SELECT s.situation, 'card', 'accept', r.report, t.txn, t.known, t.named, 'none'
FROM situations s, unnest('{failed,closed,pending,processing,authorized,unknown,not_found}'::text[]) WITH ORDINALITY r (report, n), txns t
WHERE t.n IN (1, 2, 4) AND (s.situation !~ '^returned' OR t.known IS NOT NULL) ORDER BY r.n, s.n, t.n;
-- what is a step back when a message says it
INSERT INTO cells (way, situation, channel, late, report, txn, known, named, money)
SELECT 'word', s.situation, 'card', 'accept', r.report, t.txn, t.known, t.named, 'none'
FROM situations s, unnest('{pending,processing,authorized}'::text[]) WITH ORDINALITY r (report, n), txns t
WHERE s.situation ~ '^(failed|processing|capturing)' AND t.n = 1 ORDER BY r.n, s.n;
-- a failure after a success, where the channel takes money back that way
INSERT INTO cells (way, situation, channel, late, report, txn, known, named, money)
SELECT w.way, s.situation, 'card_failed', 'accept', r.report, t.txn, t.known, t.named, 'none'
FROM situations s, unnest('{message,word}'::text[]) WITH ORDINALITY w (way, n), unnest('{failed,closed}'::text[]) WITH ORDINALITY r (report, n), txns t
WHERE s.situation ~ '^(succeeded|surplus)' AND t.n = 1 ORDER BY w.n, r.n, s.n;
-- what the channel's setting of late_success changes
INSERT INTO cells (situation, channel, late, report, txn, known, named, money, amount, currency)
SELECT s.situation, 'card_' || l.late, l.late, 'succeeded', t.txn, t.known, t.named, m.money, m.amount, m.currency
FROM situations s, unnest('{accept_expired,refund}'::text[]) WITH ORDINALITY l (late, n), txns t, monies m
WHERE s.situation ~ '^(failed|revived)' AND t.n = 4 AND m.n IN (1, 3, 5) ORDER BY l.n, s.n, m.n;
CREATE TEMP TABLE results (LIKE cells, outcome text, order_id text, payment_id uuid, before payguard.orders, was text, version bigint,
  had_payments text, had_refunds text, had_alerts text);
CREATE PROCEDURE pg_temp.run() LANGUAGE plpgsql AS $$
DECLARE
  c cells; r results; this uuid; id text;
BEGIN
  FOR c IN SELECT * FROM cells ORDER BY n LOOP
    id := 'cell-' || c.n;
    this := pg_temp.make(id, c.situation, c.channel, id || c.known);
    SELECT c.*, NULL, id, this, o, p.status, o.version, pg_temp.payments_of(id), pg_temp.refunds_of(id), pg_temp.alerts_of(id) INTO r
    FROM payguard.orders o, payguard.payments p WHERE o.order_id = id AND p.payment_id = this;
    r.outcome := CASE c.way WHEN 'word' THEN pg_temp.give_word(this, c.report, id || c.named)
                            ELSE pg_temp.say(this, c.report, id || c.named, c.amount, c.currency) END;
    INSERT INTO results SELECT r.*;
    COMMIT;
  END LOOP;
END
$$;
CALL pg_temp.run();
\pset format unaligned
-- what was said → outcome: the order, its version's growth; payments; refunds; tasks; alerts opened
SELECT concat_ws(', ', r.situation || ': ' || r.report, CASE WHEN r.way = 'word' THEN 'an operator says' END, CASE WHEN r.channel = 'card_failed' THEN 'channel that reverses by failing' END, nullif(r.txn, 'same'), nullif(r.money, 'none')) || ' → ' || r.outcome || ': '
  || pg_temp.order_of(order_id) || ' +' || o.version - r.version || coalesce('; ' || nullif(pg_temp.payments_of(order_id), had_payments), '')
  || coalesce('; refunds: ' || pg_temp.refunds_of(order_id), '') || coalesce('; tasks: ' || pg_temp.tasks_of(order_id), '')
  || coalesce('; alerts: ' || pg_temp.alerts_of(order_id), '') AS cell
FROM results r JOIN payguard.orders o USING (order_id) WHERE late = 'accept' ORDER BY n;
SELECT late || ', ' || r.situation || ': ' || r.money || ' → ' || r.outcome || ': ' || pg_temp.order_of(order_id) || ' +' || o.version - r.version
  || '; ' || pg_temp.payments_of(order_id) || coalesce('; refunds: ' || pg_temp.refunds_of(order_id), '')
  || coalesce('; tasks: ' || pg_temp.tasks_of(order_id), '') || coalesce('; alerts: ' || pg_temp.alerts_of(order_id), '') AS cell
FROM results r JOIN payguard.orders o USING (order_id) WHERE late <> 'accept' ORDER BY n;
\pset format aligned
-- the decision table says the same as what happened
CREATE TEMP VIEW compared AS
SELECT r.n, r.way, r.situation, r.report, r.txn, r.money AS told, r.late, d.*, o.status AS now_order, p.status AS now_payment,
  other.status IS NOT DISTINCT FROM 'superseded' AND r.situation <> 'superseded' AS superseded,
  EXISTS (SELECT FROM payguard.refunds f WHERE f.payment_id = r.payment_id AND f.origin = 'surplus' AND f.amount = p.received_amount
          AND f.status = CASE WHEN d.hold THEN 'awaiting_approval' ELSE 'pending' END) AND r.was <> 'surplus' AS refunded,
  EXISTS (SELECT FROM payguard.refunds f WHERE f.payment_id = r.payment_id AND f.origin = 'surplus' AND f.status = 'pending'
          AND f.amount = p.received_amount - o.amount AND f.amount > 0 AND o.refunded_amount = 0) AND r.was <> 'surplus' AS gave_excess,
  EXISTS (SELECT FROM payguard.payments s WHERE s.order_id = r.order_id AND s.details ->> 'second_charge_of' = r.payment_id::text
          AND s.status = 'surplus' AND EXISTS (SELECT FROM payguard.refunds f WHERE f.payment_id = s.payment_id
                                                AND f.status = 'awaiting_approval' AND f.amount = s.received_amount)) AS second_charged,
  EXISTS (SELECT FROM payguard.tasks t WHERE t.payment_id = r.payment_id AND t.kind = 'query') AS queried,
  EXISTS (SELECT FROM payguard.tasks t WHERE t.payment_id = r.payment_id AND t.kind = 'close') AS closes,
  (SELECT string_agg(DISTINCT a.kind, ', ') FROM payguard.alerts a WHERE a.order_id = r.order_id
   AND a.opened_at > (r."before").updated_at AND strpos(coalesce(r.had_alerts, ''), a.kind) = 0) AS alerted
FROM results r JOIN payguard.orders o USING (order_id) JOIN payguard.payments p ON p.payment_id = r.payment_id
LEFT JOIN payguard.payments other ON other.idempotency_key = r.order_id || '/other'
JOIN payguard.decisions() d ON (d.order_status, d.payment_status, d.channel_status, d.late_success) = ((r."before").status, r.was, r.report, r.late)
 AND d.closing_as IS NOT DISTINCT FROM (r."before").closing_as
 AND d.other_txn = (r.txn = 'another') AND NOT d.in_time AND d.revived = (r.situation = 'revived' AND r.was <> 'failed' AND r.report = 'succeeded')
 AND d.reverses = (r.channel = 'card_failed' AND r.report IN ('failed', 'closed') AND r.was IN ('succeeded', 'surplus'))
 AND d.fresh = (r.way = 'word' AND (d.reverses OR (r.was, r.report) IN (('processing', 'pending'), ('failed', 'pending'), ('failed', 'processing'), ('failed', 'authorized'))))
 AND NOT d.repeatable AND d.revivable = (d.fresh AND r.was = 'failed' AND (r."before").status = 'unpaid' AND r.late <> 'refund')
 AND d.money = CASE r.money WHEN 'less' THEN 'less' WHEN 'more' THEN 'more' WHEN 'other currency' THEN 'other' ELSE 'fits' END;
SELECT (SELECT count(*) FROM cells) AS cells, count(*) AS compared, count(DISTINCT n) AS once,
  count(DISTINCT (c.order_status, c.closing_as, c.payment_status, c.channel_status, c.late_success, c.money, c.other_txn, c.revived, c.fresh, c.revivable, c.reverses)) AS decisions FROM compared c;
SELECT situation, report, txn, told, late, now_order, order_becomes, now_payment, payment_becomes, superseded, supersede, refunded, refund, gave_excess, excess,
  second_charged, second_charge, queried, query, closes, close, alerted, alert
FROM compared
WHERE NOT another AND NOT reverse AND (now_order <> order_becomes OR now_payment <> payment_becomes OR superseded <> supersede OR refunded <> refund OR gave_excess <> excess
   OR second_charged <> second_charge OR (query AND NOT queried) OR (close AND NOT closes)
   OR (alerted IS DISTINCT FROM CASE WHEN excess THEN concat_ws(', ', alert, 'overpaid') ELSE alert END AND NOT fill_in))
ORDER BY n;
-- money that was taken back
SELECT situation, report, now_order, now_payment, alerted, count(*) FROM compared WHERE reverse GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2;
-- what is filled in may show another amount than was reported before
SELECT situation, txn, told, alerted, count(*) FROM compared WHERE fill_in AND alerted IS NOT NULL GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3;
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_evidence_table;
\c :database
DROP DATABASE regress_payguard_evidence_table;
DROP ROLE regress_evidence_table;
