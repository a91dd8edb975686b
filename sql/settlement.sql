-- The channel's statement beside what is known: each difference is found once, and an operator resolves it.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_clerk;
CREATE ROLE regress_boss;
CREATE ROLE regress_gateway;
SELECT count(payguard.grant_access(r, a)) FROM (VALUES ('regress_clerk'::name, 'admin'), ('regress_boss', 'operator'), ('regress_clerk', 'refunds'), ('regress_boss', 'refunds'), ('regress_gateway', 'checkout'), ('regress_gateway', 'channel')) g (r, a);
SELECT (payguard.register_channel('statement', first_query_after := '1 min')).late_success;
-- what is known: orders that were paid through the channel, or not
SET SESSION AUTHORIZATION regress_gateway;
SELECT count(payguard.create_order('settle-' || n, 1000, 'EUR')) FROM unnest('{ok,early,there,there-grace,here,here-grace,amount,currency,live,gone,dead,late,twice,named,reused,reused-other,name,back,unnamed}'::text[]) n;
SELECT count(payguard.start_payment('settle-' || n, 'settle-' || n, 'statement')) FROM unnest('{ok,early,there,there-grace,amount,currency,live,gone,dead,late,twice,named,reused,name,back,unnamed}'::text[]) n;
RESET SESSION AUTHORIZATION;
CREATE FUNCTION pg_temp.id(n text) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER AS $$ SELECT payment_id FROM payguard.payments WHERE idempotency_key = 'settle-' || n $$;
SET SESSION AUTHORIZATION regress_gateway;
SELECT count(payguard.report_payment(pg_temp.id(n), 'succeeded', 'T-' || n, 1000, 'EUR', channel_time := t)) FROM (VALUES ('ok', timestamptz '2026-01-10 12:00+00'), ('early', '2026-01-02 12:00+00'),
  ('there', '2026-01-10 12:00+00'), ('there-grace', '2026-01-11 12:00+00'), ('amount', '2026-01-10 12:00+00'), ('currency', '2026-01-10 12:00+00'), ('gone', '2026-01-10 12:00+00'),
  ('twice', '2026-01-10 12:00+00'), ('named', '2026-01-10 12:00+00'), ('reused', '2026-01-10 12:00+00'), ('back', '2026-01-10 12:00+00')) p (n, t);
SELECT count(payguard.report_payment(pg_temp.id(n), 'pending', 'T-' || n)) FROM unnest('{live,dead,late}'::text[]) n;
SELECT outcome FROM payguard.report_payment(pg_temp.id('late'), 'failed');
SELECT outcome FROM payguard.report_payment(pg_temp.id('unnamed'), 'succeeded', NULL, 1000, 'EUR', channel_time := '2026-01-10 12:00+00');
-- one charge under two names, and the statement has the one that was dismissed
SELECT outcome FROM payguard.report_payment(pg_temp.id('name'), 'succeeded', 'T-name-2', 1000, 'EUR', channel_time := '2026-01-10 12:00+00');
SELECT outcome FROM payguard.report_payment(pg_temp.id('name'), 'succeeded', 'T-name-1', 1000, 'EUR', channel_time := '2026-01-10 12:00+00');
RESET SESSION AUTHORIZATION;
SELECT payment_id AS name FROM payguard.payments WHERE channel_txn_id = 'T-name-1' \gset
SET SESSION AUTHORIZATION regress_clerk;
SELECT outcome, payment_status FROM payguard.dismiss_surplus(:'name', pg_temp.id('name'), 'one charge');
SELECT count(payguard.refund_order('settle-back', 'settle-back/' || n, amount, 'returned')) FROM (VALUES ('ok', 100), ('amount', 200), ('failed', 50), ('other', 30), ('there', 20)) r (n, amount);
RESET SESSION AUTHORIZATION;
CREATE FUNCTION pg_temp.refund(n text) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER AS $$ SELECT refund_id FROM payguard.refunds WHERE idempotency_key = 'settle-back/' || n $$;
SET SESSION AUTHORIZATION regress_gateway;
SELECT count(payguard.report_refund(pg_temp.refund(n), 'succeeded', 'R-' || n, amount, 'EUR')) FROM (VALUES ('ok', 100), ('amount', 200), ('failed', 50), ('other', 30), ('there', 20)) r (n, amount);
-- who may load a statement, and what it must look like
SELECT pg_temp.answer($$INSERT INTO payguard.settlement_lines (channel, channel_txn_id, amount, currency, channel_time) VALUES ('statement', 'x', 1, 'EUR', now())$$);
SET SESSION AUTHORIZATION regress_clerk;
\copy payguard.settlement_lines (channel, kind, channel_status, channel_txn_id, channel_refund_id, order_id, amount, currency, channel_time) from program 'cat "$PG_ABS_SRCDIR/test/lib/statement.csv"' csv header
INSERT INTO payguard.settlement_lines (channel, channel_txn_id, payment_id, amount, currency, channel_time) VALUES
  ('statement', 'T-named', pg_temp.id('named'), 1000, 'eur', '2026-01-10 12:00+00'), -- no difference
  ('statement', 'T-named-2', pg_temp.id('named'), 1000, 'EUR', '2026-01-10 12:00+00'),
  ('statement', 'T-unnamed', pg_temp.id('unnamed'), 1000, 'EUR', '2026-01-10 12:00+00'), -- no difference
  ('statement', 'T-unnamed-2', pg_temp.id('unnamed'), 1000, 'EUR', '2026-01-10 12:00+00');
SELECT DISTINCT loaded_by, loaded_at > now() - interval '1 min' AS just_now FROM payguard.settlement_lines WHERE channel = 'statement';
SELECT what, regexp_replace(pg_temp.answer('INSERT INTO payguard.settlement_lines ' || what), 'Failing row contains .*', '') FROM unnest(ARRAY[
  $$(channel, kind, channel_txn_id, amount, currency, channel_time) VALUES ('statement', 'gift', 'x', 1, 'EUR', now())$$,
  $$(channel, channel_status, channel_txn_id, amount, currency, channel_time) VALUES ('statement', 'ok', 'x', 1, 'EUR', now())$$,
  $$(channel, channel_txn_id, amount, currency, channel_time) VALUES ('statement', 'x', -1, 'EUR', now())$$,
  $$(channel, channel_txn_id, amount, currency, channel_time) VALUES ('statement', 'x', 1, 'EU1', now())$$,
  $$(channel, channel_txn_id, amount, currency, channel_time) VALUES ('statement', '', 1, 'EUR', now())$$,
  $$(channel, channel_txn_id, amount, currency, channel_time) VALUES ('statement', E'a\nb', 1, 'EUR', now())$$,
  $$(channel, amount, currency, channel_time) VALUES ('statement', 1, 'EUR', now())$$,
  $$(channel, kind, channel_txn_id, amount, currency, channel_time) VALUES ('statement', 'refund', 'x', 1, 'EUR', now())$$,
  $$(channel, channel_txn_id, amount, currency, channel_time) VALUES ('statement', 'x', 1, 'EUR', 'infinity')$$,
  $$(channel, channel_txn_id, amount, currency, channel_time, loaded_by) VALUES ('statement', 'x', 1, 'EUR', now(), 'somebody')$$]) what;
SELECT pg_temp.answer($$UPDATE payguard.settlement_lines SET amount = 1$$), pg_temp.answer($$DELETE FROM payguard.settlement_lines$$);
SELECT what, pg_temp.answer('SELECT count(*) FROM payguard.reconcile(' || what || ')') FROM unnest(ARRAY['NULL', $$'statement', NULL$$, $$'statement', now(), now()$$, $$'statement', grace := '-1 s'$$, $$'nobody'$$]) what;
-- found: each difference, and nothing in the grace or outside of the period
SELECT finding, order_id, details ->> 'kind' AS kind, coalesce(details ->> 'channel_refund_id', details ->> 'channel_txn_id') AS id, concat_ws(' ', details ->> 'channel_status', details ->> 'amount', details ->> 'currency') AS line,
  concat_ws(' ', details ->> 'known_status', details ->> 'known_amount', details ->> 'known_currency') AS known, is_new
FROM payguard.reconcile('statement', '2026-01-10', '2026-01-12') ORDER BY 1, 4;
RESET SESSION AUTHORIZATION;
SELECT count(*), count(DISTINCT (kind, cause)) FROM payguard.alerts WHERE kind LIKE 'settlement\_%' AND details ->> 'channel' = 'statement' \gset found_
SELECT pg_temp.written() AS before \gset
SET SESSION AUTHORIZATION regress_clerk;
-- again: nothing is added
SELECT count(*), count(*) FILTER (WHERE is_new) AS new FROM payguard.reconcile('statement', '2026-01-10', '2026-01-12');
RESET SESSION AUTHORIZATION;
SELECT :found_count AS found, pg_temp.written() = :'before' AS nothing_written;
-- what was in the grace is found with the next period; what came meanwhile is not
SET SESSION AUTHORIZATION regress_gateway;
SELECT outcome FROM payguard.record_payment('settle-here-grace', 'statement', 'T-here-grace', 1000, 'EUR');
SET SESSION AUTHORIZATION regress_clerk;
SELECT finding, order_id, coalesce(details ->> 'channel_refund_id', details ->> 'channel_txn_id') AS id FROM payguard.reconcile('statement', '2026-01-12', '2026-01-14') WHERE is_new ORDER BY 1, 3;
SELECT finding, order_id, coalesce(details ->> 'channel_refund_id', details ->> 'channel_txn_id') AS id FROM payguard.reconcile('statement', now() - interval '1 day', now() + interval '1 day', '1 h') WHERE is_new ORDER BY 1, 3;
-- resolved
CREATE FUNCTION pg_temp.finding(kind_of text, id text) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT alert_id FROM payguard.alerts WHERE kind = 'settlement_' || kind_of AND resolved_at IS NULL AND id IN (details ->> 'channel_refund_id', details ->> 'channel_txn_id')
$$;
CREATE FUNCTION pg_temp.resolve(kind_of text, id text, action text) RETURNS text LANGUAGE sql AS $$
  SELECT pg_temp.answer(format('SELECT (outcome, finding, order_id, message) FROM payguard.resolve_finding(%L, %L, %L)', pg_temp.finding(kind_of, id), action, 'looked into it'))
$$;
SELECT pg_temp.answer('SELECT payguard.resolve_finding(' || a || ')') FROM unnest(ARRAY[$$NULL, 'waive', 'x'$$, $$0, 'waive', 'x'$$, $$1, NULL, 'x'$$, $$1, 'waive', NULL$$, $$1, 'forget', 'x'$$, $$9223372036854775807, 'waive', 'x'$$]) a;
SELECT pg_temp.answer(format('SELECT payguard.resolve_finding(%s, %L, %L)', (SELECT min(alert_id) FROM payguard.alerts WHERE kind NOT LIKE 'settlement%'), 'waive', 'x')) ~ '^22023' AS another_alert;
SELECT id, pg_temp.resolve(k, id, a) FROM (VALUES
  (1, 'missing_locally', 'T-here', 'accept'), (2, 'missing_locally', 'T-nobody', 'accept'), (3, 'missing_locally', 'T-nobody', 'waive'),
  (4, 'missing_at_channel', 'T-there', 'accept'), (5, 'missing_at_channel', 'T-there', 'refund'), (6, 'missing_at_channel', 'T-there', 'waive'),
  (7, 'amount_mismatch', 'T-amount', 'accept'), (8, 'currency_mismatch', 'T-currency', 'accept'),
  (9, 'status_mismatch', 'T-live', 'accept'), (10, 'status_mismatch', 'T-gone', 'accept'), (11, 'status_mismatch', 'T-gone', 'refund'), (12, 'status_mismatch', 'T-gone', 'waive'),
  (13, 'status_mismatch', 'T-dead', 'accept'), (14, 'late_success', 'T-late', 'refund'), (15, 'duplicate_success', 'T-twice-2', 'accept'), (16, 'duplicate_success', 'T-named-2', 'refund'),
  (17, 'duplicate_success', 'T-unnamed-2', 'refund'), (18, 'txn_reused', 'T-reused', 'accept'), (19, 'txn_reused', 'T-reused', 'waive'),
  (20, 'refund_mismatch', 'R-amount', 'refund'), (21, 'refund_mismatch', 'R-amount', 'accept'), (22, 'refund_mismatch', 'R-failed', 'accept'), (23, 'refund_mismatch', 'R-other', 'accept'), (23, 'refund_mismatch', 'R-other', 'waive'),
  (24, 'missing_locally', 'R-here', 'accept'), (25, 'missing_locally', 'R-chargeback', 'accept'), (26, 'missing_at_channel', 'T-there-grace', 'waive'),
  (27, 'missing_locally', 'R-here-grace', 'accept')) r (n, k, id, a) ORDER BY n;
SELECT (payguard.resolve_finding(alert_id, 'waive', 'the statement of yesterday')).outcome FROM payguard.alerts WHERE kind = 'settlement_missing_at_channel' AND resolved_at IS NULL ORDER BY alert_id;
SELECT regexp_replace(pg_temp.answer(format('SELECT payguard.resolve_finding(%s, %L, %L)', alert_id, 'waive', 'x')), 'finding \d+', 'finding <n>') AS again FROM payguard.alerts WHERE kind = 'settlement_amount_mismatch' AND order_id = 'settle-amount';
-- what has become of it
RESET SESSION AUTHORIZATION;
SELECT o.order_id, o.status, o.refunded_amount AS back, string_agg(concat_ws(' ', p.status, p.channel_txn_id, p.received_amount, p.received_currency, r.status, r.amount, r.returned_amount), ', ' ORDER BY p.channel_txn_id COLLATE "C", r.created_at, r.amount) AS payments
FROM payguard.orders o LEFT JOIN payguard.payments p USING (order_id) LEFT JOIN payguard.refunds r ON r.payment_id = p.payment_id WHERE o.order_id LIKE 'settle-%' GROUP BY 1, 2, 3 ORDER BY 1;
-- with the time that the channel names
SELECT p.channel_txn_id, p.channel_time = l.channel_time AS as_the_line FROM payguard.payments p JOIN payguard.settlement_lines l USING (channel, channel_txn_id) WHERE p.channel_txn_id IN ('T-here', 'T-live') ORDER BY 1;
SELECT kind, order_id, payment_id IS NOT NULL AS payment, actor, details - 'alert_id' - 'refund_id' AS details FROM payguard.events WHERE kind LIKE 'finding.%' AND actor = 'regress_clerk' ORDER BY event_id;
-- resolved findings are not found again
SET SESSION AUTHORIZATION regress_clerk;
SELECT finding, details FROM payguard.reconcile('statement', '2026-01-10', '2026-01-12');
-- what is gone is closed by the next run, whatever its period; what comes back is found anew
INSERT INTO payguard.settlement_lines (channel, channel_txn_id, order_id, amount, currency, channel_time) VALUES ('statement', 'T-gone-1', 'settle-nobody', 70, 'EUR', '2026-02-10 12:00+00');
SELECT count(*) FROM payguard.reconcile('statement', '2026-02-10', '2026-02-12') WHERE is_new;
SET SESSION AUTHORIZATION regress_gateway;
SELECT status FROM payguard.create_order('settle-nobody', 70, 'EUR');
SELECT outcome FROM payguard.start_payment('settle-nobody', 'settle-nobody', 'statement');
SET SESSION AUTHORIZATION regress_clerk;
SELECT finding, is_new FROM payguard.reconcile('statement', '2026-02-10', '2026-02-12');
SET SESSION AUTHORIZATION regress_gateway;
SELECT outcome FROM payguard.report_payment(pg_temp.id('nobody'), 'succeeded', 'T-gone-1', 60, 'EUR', channel_time := '2026-02-10 12:00+00');
SET SESSION AUTHORIZATION regress_clerk;
SELECT finding, is_new FROM payguard.reconcile('statement', '2026-03-10', '2026-03-12');
SELECT finding, is_new FROM payguard.reconcile('statement', '2026-03-10', '2026-03-12');
SELECT pg_temp.resolve('amount_mismatch', 'T-gone-1', 'waive');
SELECT outcome FROM payguard.refund_order('settle-early', 'settle-back/again', 10, 'returned');
RESET SESSION AUTHORIZATION;
SELECT pg_temp.refund('again') AS refund_id \gset
SET SESSION AUTHORIZATION regress_clerk;
INSERT INTO payguard.settlement_lines (channel, kind, channel_status, channel_refund_id, refund_id, amount, currency, channel_time) VALUES ('statement', 'refund', 'failed', 'R-again', :'refund_id', 10, 'EUR', '2026-02-10 12:00+00');
SELECT finding, is_new FROM payguard.reconcile('statement', '2026-03-10', '2026-03-12');
SET SESSION AUTHORIZATION regress_gateway;
SELECT outcome FROM payguard.report_refund(:'refund_id', 'failed');
SET SESSION AUTHORIZATION regress_clerk;
SELECT finding, is_new FROM payguard.reconcile('statement', '2026-03-10', '2026-03-12');
SELECT outcome FROM payguard.retry_refund(:'refund_id', 'the account is open again');
SELECT finding, is_new FROM payguard.reconcile('statement', '2026-03-10', '2026-03-12');
SELECT pg_temp.resolve('refund_mismatch', 'R-again', 'waive');
SELECT finding, is_new FROM payguard.reconcile('statement', '2026-03-10', '2026-03-12');
SELECT kind, coalesce(details ->> 'channel_refund_id', details ->> 'channel_txn_id') AS id, resolved_by, note FROM payguard.alerts WHERE coalesce(details ->> 'channel_refund_id', details ->> 'channel_txn_id') IN ('T-gone-1', 'R-again') AND kind LIKE 'settlement%' ORDER BY alert_id;
-- what is closed stays as it is
RESET SESSION AUTHORIZATION;
SELECT payguard.close_findings(array_agg(alert_id) || 0::bigint) FROM payguard.alerts WHERE kind LIKE 'settlement%' AND resolved_at IS NOT NULL;
SET SESSION AUTHORIZATION regress_clerk;
-- money that went back, of a transaction that nobody knows
INSERT INTO payguard.settlement_lines (channel, kind, channel_txn_id, channel_refund_id, amount, currency, channel_time) VALUES ('statement', 'refund', 'T-stranger', 'R-stranger', 10, 'EUR', '2026-04-10 12:00+00');
SELECT finding, order_id FROM payguard.reconcile('statement', '2026-04-10', '2026-04-12');
SELECT pg_temp.resolve('missing_locally', 'R-stranger', 'accept');
SELECT pg_temp.resolve('missing_locally', 'R-stranger', 'waive');
-- a refund that the channel names for the first time, and money of another amount that goes back: what is left of it
SELECT outcome FROM payguard.refund_order('settle-early', 'settle-back/named', 40, 'returned');
RESET SESSION AUTHORIZATION;
SELECT pg_temp.refund('named') AS refund_id \gset
SET SESSION AUTHORIZATION regress_clerk;
INSERT INTO payguard.settlement_lines (channel, kind, channel_refund_id, refund_id, amount, currency, channel_time) VALUES ('statement', 'refund', 'R-named', :'refund_id', 40, 'EUR', '2026-04-10 12:00+00');
INSERT INTO payguard.settlement_lines (channel, channel_txn_id, amount, currency, channel_time) VALUES ('statement', 'T-early', 990, 'EUR', '2026-04-10 12:00+00');
SELECT finding, order_id FROM payguard.reconcile('statement', '2026-04-10', '2026-04-12') ORDER BY 1;
SELECT pg_temp.resolve('refund_mismatch', 'R-named', 'accept');
SELECT pg_temp.resolve('amount_mismatch', 'T-early', 'refund');
RESET SESSION AUTHORIZATION;
SELECT r.status, r.amount, r.returned_amount, r.channel_refund_id, r.reason FROM payguard.refunds r WHERE order_id = 'settle-early' ORDER BY created_at, amount;
SET SESSION AUTHORIZATION regress_clerk;
-- where a policy asks, a second person accepts, too
SELECT min_amount FROM payguard.set_policy('EUR', 1000, approve_payment := true);
INSERT INTO payguard.settlement_lines (channel, channel_txn_id, order_id, amount, currency, channel_time) VALUES
  ('statement', 'T-second', 'settle-reused-other', 1000, 'EUR', '2026-01-10 13:00+00'), ('statement', 'T-third', 'settle-reused-other', 1000, 'EUR', '2026-01-10 13:00+00'), ('statement', 'T-fourth', 'settle-reused-other', 1000, 'EUR', '2026-01-10 13:00+00'), ('statement', 'T-small', 'settle-reused-other', 999, 'EUR', '2026-01-10 13:00+00');
SELECT finding, details ->> 'channel_txn_id' AS id FROM payguard.reconcile('statement', '2026-01-10', '2026-01-12') ORDER BY 2;
SELECT pg_temp.resolve('missing_locally', 'T-small', 'accept');
SELECT pg_temp.resolve('missing_locally', 'T-second', 'accept');
SELECT pg_temp.resolve('missing_locally', 'T-second', 'accept');
SELECT pg_temp.resolve('missing_locally', 'T-third', 'accept');
SELECT pg_temp.resolve('missing_locally', 'T-fourth', 'accept');
SELECT subject, order_id, amount, status, requested_by, decided_by, note FROM payguard.approvals WHERE subject = 'finding' ORDER BY approval_id;
SET SESSION AUTHORIZATION regress_boss;
SELECT pg_temp.resolve('missing_locally', 'T-second', 'accept');
SELECT pg_temp.resolve('missing_locally', 'T-third', 'waive');
SELECT pg_temp.resolve('missing_locally', 'T-fourth', 'refund'); -- nobody has to accept it any more
SELECT subject, order_id, amount, status, requested_by, decided_by, note FROM payguard.approvals WHERE subject = 'finding' ORDER BY approval_id;
-- accepted is not approved: the money waits for that
RESET SESSION AUTHORIZATION;
SELECT o.status, p.channel_txn_id, p.status, r.status FROM payguard.orders o JOIN payguard.payments p USING (order_id) JOIN payguard.refunds r ON r.payment_id = p.payment_id WHERE o.order_id = 'settle-reused-other' ORDER BY 2;
-- transfers to the merchant's account: what the statements' lines add up to, and reconcile() does not compare
SET SESSION AUTHORIZATION regress_clerk;
INSERT INTO payguard.settlement_lines (channel, kind, channel_txn_id, channel_refund_id, amount, currency, channel_time, fee, settled_amount, settled_currency, payout_id) VALUES
  ('statement', 'payment', 'P-1', NULL, 1000, 'EUR', '2026-02-01 12:00+00', 30, NULL, NULL, 'payout-1'),
  ('statement', 'payment', 'P-2', NULL, 2000, 'EUR', '2026-02-02 12:00+00', NULL, NULL, NULL, 'payout-1'),
  ('statement', 'payment', 'P-2', NULL, 2000, 'eur', '2026-02-02 12:00+00', NULL, NULL, NULL, 'payout-1'), -- loaded twice
  ('statement', 'payment', 'P-3', NULL, 100, 'USD', '2026-02-03 12:00+00', 5, 87, 'Eur', 'payout-1'),
  ('statement', 'payment', 'P-4', NULL, 500, 'USD', '2026-02-03 12:00+00', 5, NULL, NULL, 'payout-1'),
  ('statement', 'refund', 'P-1', 'PR-1', 400, 'EUR', '2026-02-04 12:00+00', -10, NULL, NULL, 'payout-2'),
  ('statement', 'chargeback', 'P-2', 'PC-1', 2000, 'EUR', '2026-02-05 12:00+00', 1500, -3500, 'EUR', 'payout-2'),
  ('statement', 'payment', 'P-5', NULL, 9223372036854775807, 'EUR', '2026-02-05 12:00+00', -9223372036854775807, NULL, NULL, 'payout-3'),
  ('statement', 'payment', 'P-6', NULL, 9, 'EUR', '2026-02-05 12:00+00', 1, NULL, NULL, NULL);
INSERT INTO payguard.settlement_lines (channel, channel_status, channel_txn_id, amount, currency, channel_time, fee, payout_id) VALUES ('statement', 'failed', 'P-7', 700, 'EUR', '2026-02-06 12:00+00', 20, 'payout-2');
SELECT payout_id, settled_currency, lines, gross, fees, net, first_at, last_at FROM payguard.payouts WHERE channel = 'statement' ORDER BY 1, 2;
SELECT count(*) FROM payguard.reconcile('statement', '2026-01-10', '2026-01-12') WHERE details ? 'fee' OR details ? 'payout_id';
SELECT what, regexp_replace(pg_temp.answer('INSERT INTO payguard.settlement_lines (channel, channel_txn_id, amount, currency, channel_time, ' || what), 'Failing row contains .*', '') FROM unnest(ARRAY[
  $$settled_amount) VALUES ('statement', 'x', 1, 'EUR', now(), 1)$$,
  $$settled_currency) VALUES ('statement', 'x', 1, 'EUR', now(), 'EUR')$$,
  $$settled_amount, settled_currency) VALUES ('statement', 'x', 1, 'EUR', now(), 1, 'EU1')$$,
  $$payout_id) VALUES ('statement', 'x', 1, 'EUR', now(), '')$$,
  $$payout_id) VALUES ('statement', 'x', 1, 'EUR', now(), E'a\nb')$$,
  $$payout_id) VALUES ('statement', 'x', 1, 'EUR', now(), repeat('x', 256))$$]) what;
RESET SESSION AUTHORIZATION;
SELECT * FROM payguard.verify();
SELECT count(payguard.set_policy(currency, min_amount)) FROM payguard.policies;
DROP OWNED BY regress_clerk, regress_boss, regress_gateway;
DROP ROLE regress_clerk, regress_boss, regress_gateway;
