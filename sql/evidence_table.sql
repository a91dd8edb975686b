-- What a report does, cell by cell: each situation of an attempt, each thing a channel can say.
\getenv srcdir PG_ABS_SRCDIR
-- many orders: in a database of their own
SELECT current_database() AS database \gset
CREATE DATABASE regress_payguard_evidence_table;
\c regress_payguard_evidence_table
SET client_min_messages = warning;
CREATE EXTENSION payguard;
CREATE ROLE regress_evidence_table;
SELECT count(payguard.grant_access('regress_evidence_table', a)) FROM unnest('{checkout,cashier,channel,operator,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_evidence_table;
\set situation :srcdir /test/lib/situation.sql
\i :situation
CREATE TEMP TABLE situations (n int GENERATED ALWAYS AS IDENTITY, situation text);
INSERT INTO situations (situation) VALUES
  ('pending'), ('unknown'), ('closing'), ('closing, to be cancelled'), ('closing, to be expired'), ('superseded'),
  ('failed, unpaid'), ('failed, paying by another'), ('failed, another to be cancelled'), ('failed, cancelled'),
  ('failed, expired'), ('failed, paid'), ('failed, refunded'), ('succeeded'), ('succeeded, not verified'), ('succeeded, refunded'),
  ('surplus, unpaid'), ('surplus, cancelled'), ('surplus, paid');
CREATE TEMP TABLE monies (n int, money text, amount bigint, currency text);
INSERT INTO monies VALUES (1, 'as asked', 1000, 'EUR'), (2, 'none', NULL, NULL), (3, 'other amount', 999, 'EUR'), (4, 'other currency', 1000, 'USD');
-- txns: what the payment is known by, and what the report names
CREATE TEMP TABLE txns (n int, txn text, known text, named text);
INSERT INTO txns VALUES (1, 'same', 't', 't'), (2, 'another', 't', 'u'), (3, 'not named', 't', NULL), (4, 'not known', NULL, 't'), (5, 'none', NULL, NULL);
CREATE TEMP TABLE cells (n int GENERATED ALWAYS AS IDENTITY, situation text, channel text, late text, report text, txn text, known text, named text,
  money text, amount bigint, currency text);
-- a success: whatever its transaction and its money; another report: whatever its transaction
INSERT INTO cells (situation, channel, late, report, txn, known, named, money, amount, currency)
SELECT s.situation, 'card', 'accept', 'succeeded', t.txn, t.known, t.named, m.money, m.amount, m.currency
FROM situations s, txns t, monies m ORDER BY s.n, t.n, m.n;
INSERT INTO cells (situation, channel, late, report, txn, known, named, money)
SELECT s.situation, 'card', 'accept', r.report, t.txn, t.known, t.named, 'none'
FROM situations s, unnest('{failed,closed,pending,unknown,not_found}'::text[]) WITH ORDINALITY r (report, n), txns t
WHERE t.n IN (1, 2, 4) ORDER BY r.n, s.n, t.n;
-- what the channel's setting of late_success changes
INSERT INTO cells (situation, channel, late, report, txn, known, named, money, amount, currency)
SELECT s.situation, 'card_' || l.late, l.late, 'succeeded', t.txn, t.known, t.named, m.money, m.amount, m.currency
FROM situations s, unnest('{accept_expired,refund}'::text[]) WITH ORDINALITY l (late, n), txns t, monies m
WHERE s.situation ~ '^failed' AND t.n = 4 AND m.n IN (1, 3) ORDER BY l.n, s.n, m.n;
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
    r.outcome := pg_temp.say(this, c.report, id || c.named, c.amount, c.currency);
    INSERT INTO results SELECT r.*;
    COMMIT;
  END LOOP;
END
$$;
CALL pg_temp.run();
\pset format unaligned
-- what was said → outcome: the order, its version's growth; payments; refunds; tasks; alerts opened
SELECT concat_ws(', ', r.situation || ': ' || r.report, nullif(r.txn, 'same'), nullif(r.money, 'none')) || ' → ' || r.outcome || ': '
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
SELECT r.n, r.situation, r.report, r.txn, r.money, r.late, d.*, o.status AS now_order, p.status AS now_payment,
  other.status IS NOT DISTINCT FROM 'superseded' AND r.situation <> 'superseded' AS superseded,
  EXISTS (SELECT FROM payguard.refunds f WHERE f.payment_id = r.payment_id AND f.status = 'pending' AND f.origin = 'surplus'
          AND f.amount = p.received_amount) AND r.was <> 'surplus' AS refunded,
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
 AND d.other_txn = (r.txn = 'another') AND d.money_fits = (r.money IN ('as asked', 'none'));
SELECT (SELECT count(*) FROM cells) AS cells, count(*) AS compared, count(DISTINCT n) AS once,
  count(DISTINCT (c.order_status, c.closing_as, c.payment_status, c.channel_status, c.late_success, c.money_fits, c.other_txn)) AS decisions FROM compared c;
SELECT situation, report, txn, money, late, now_order, order_becomes, now_payment, payment_becomes, superseded, supersede, refunded, refund,
  second_charged, second_charge, queried, query, closes, close, alerted, alert
FROM compared
WHERE now_order <> order_becomes OR now_payment <> payment_becomes OR superseded <> supersede OR refunded <> refund
   OR second_charged <> second_charge OR (query AND NOT queried) OR (close AND NOT closes)
   OR (alerted IS DISTINCT FROM alert AND NOT fill_in)
ORDER BY n;
-- what is filled in may show another amount than was reported before
SELECT situation, txn, money, alerted, count(*) FROM compared WHERE fill_in AND alerted IS NOT NULL GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3;
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_evidence_table;
\c :database
DROP DATABASE regress_payguard_evidence_table;
DROP ROLE regress_evidence_table;
