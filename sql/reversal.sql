-- What a channel gives back on its own counts once, whatever is known of its payment by then.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_reversal;
SELECT payguard.grant_access('regress_reversal', access) FROM unnest('{checkout,channel,admin,refunds,auditor}'::text[]) access;
SET SESSION AUTHORIZATION regress_reversal;
SELECT name FROM payguard.register_channel('reversal');
CREATE FUNCTION pg_temp.pay(id text) RETURNS uuid LANGUAGE sql AS $$
  SELECT payguard.create_order(id, 100, 'EUR');
  SELECT (payguard.start_payment(id, id, 'reversal')).payment_id;
$$;
CREATE VIEW pg_temp.refund AS
  SELECT r.order_id, r.status, r.origin, r.reversal_kind, r.amount, r.channel_refund_id,
         b.received, b.refunding, b.refunded, b.excess
  FROM payguard.refunds r LEFT JOIN payguard.refund_balances b USING (payment_id)
  ORDER BY r.origin, r.amount DESC;
-- before its payment is known: kept, and applied as soon as it is
SELECT pg_temp.pay('reversal-1') AS payment_id \gset
SELECT outcome, replayed, message FROM payguard.record_reversal('reversal', 'back-1', 'txn-1', 'refund', 40, 'EUR');
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-1', 100, 'EUR');
SELECT * FROM pg_temp.refund WHERE order_id = 'reversal-1';
SELECT status, refunded_amount FROM payguard.order_status('reversal-1');
SELECT outcome, replayed FROM payguard.record_reversal('reversal', 'back-1', 'txn-1', 'refund', 40, 'EUR');
SELECT result FROM payguard.notifications WHERE channel_txn_id = 'txn-1';
-- its transaction is known, but not its money: the same
SELECT pg_temp.pay('reversal-2') AS payment_id \gset
SELECT outcome FROM payguard.report_payment(:'payment_id', 'pending', 'txn-2');
SELECT outcome FROM payguard.record_reversal('reversal', 'back-2', 'txn-2', 'refund', 100, 'EUR');
SELECT payguard.match_notifications();
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-2', 100, 'EUR');
SELECT * FROM pg_temp.refund WHERE order_id = 'reversal-2';
SELECT status, refunded_amount FROM payguard.order_status('reversal-2');
-- a reversal's id is not taken for a transaction
SELECT pg_temp.pay('reversal-3') AS payment_id \gset
SELECT outcome FROM payguard.record_reversal('reversal', 'same-id', 'txn-none', 'refund', 100, 'EUR');
SELECT outcome, payment_status FROM payguard.report_payment(:'payment_id', 'pending', 'same-id');
-- a chargeback while a refund is on its way: what is back cannot be refunded once more
SELECT pg_temp.pay('reversal-4') AS payment_id \gset
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-4', 100, 'EUR');
SELECT outcome, refund_id FROM payguard.refund_order('reversal-4', 'reversal-4-r', reason := 'sent back') \gset
SELECT outcome FROM payguard.report_refund(:'refund_id', 'pending');
SELECT outcome FROM payguard.record_reversal('reversal', 'back-4', 'txn-4', 'chargeback', 100, 'EUR');
SELECT * FROM pg_temp.refund WHERE order_id = 'reversal-4';
SELECT outcome FROM payguard.report_refund(:'refund_id', 'failed');
SELECT pg_temp.answer(format('SELECT payguard.retry_refund(%L, ''again'')', :'refund_id')); -- fails
SELECT * FROM pg_temp.refund WHERE order_id = 'reversal-4';
-- the same before anybody has begun the refund: a person decides whether it is still made
SELECT pg_temp.pay('reversal-20') AS payment_id \gset
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-20', 100, 'EUR');
SELECT outcome FROM payguard.refund_order('reversal-20', 'reversal-20-a', 30, 'sent back');
SELECT outcome FROM payguard.refund_order('reversal-20', 'reversal-20-b', 30, 'sent back');
SELECT (payguard.report_refund(refund_id, 'pending')).outcome FROM payguard.refunds WHERE idempotency_key = 'reversal-20-a';
SELECT outcome FROM payguard.record_reversal('reversal', 'back-20', 'txn-20', 'chargeback', 40, 'EUR');
SELECT status, idempotency_key FROM payguard.refunds WHERE order_id = 'reversal-20' ORDER BY idempotency_key COLLATE "C"; -- there is room for all
SELECT outcome FROM payguard.record_reversal('reversal', 'back-20b', 'txn-20', 'chargeback', 60, 'EUR');
SELECT * FROM pg_temp.refund WHERE order_id = 'reversal-20' ORDER BY origin, amount, status;
SELECT kind FROM payguard.tasks WHERE order_id = 'reversal-20';
SELECT status, amount FROM payguard.approvals WHERE order_id = 'reversal-20';
SELECT severity, kind FROM payguard.alerts WHERE order_id = 'reversal-20' AND resolved_at IS NULL ORDER BY kind COLLATE "C";
SELECT (payguard.waive_refund(refund_id, 'their bank has given it back')).outcome FROM payguard.refunds WHERE idempotency_key = 'reversal-20-b';
SELECT * FROM pg_temp.refund WHERE order_id = 'reversal-20' ORDER BY origin, amount, status;
SELECT status FROM payguard.approvals WHERE order_id = 'reversal-20';
-- a second name of a charge is dismissed; its reversal takes the charge back
SELECT pg_temp.pay('reversal-5') AS payment_id \gset
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-5', 100, 'EUR');
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-5b', 100, 'EUR');
SELECT payment_id AS second FROM payguard.payments WHERE channel_txn_id = 'txn-5b' \gset
SELECT outcome FROM payguard.dismiss_surplus(:'second', :'payment_id', 'the same');
SELECT outcome FROM payguard.record_reversal('reversal', 'back-5', 'txn-5b', 'refund', 100, 'EUR');
SELECT status, refunded_amount FROM payguard.order_status('reversal-5');
-- a surplus whose amount nobody named is asked about
SELECT pg_temp.pay('reversal-6') AS payment_id \gset
SELECT outcome FROM payguard.report_payment(:'payment_id', 'failed');
SELECT status FROM payguard.cancel_order('reversal-6');
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-6');
SELECT kind FROM payguard.tasks WHERE order_id = 'reversal-6' ORDER BY kind COLLATE "C";
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-6', 60, 'EUR');
SELECT kind FROM payguard.tasks WHERE order_id = 'reversal-6' ORDER BY kind COLLATE "C";
-- no answer is no answer: it is asked again, until an amount is named
SELECT name FROM payguard.register_channel('reversal', first_query_after := '0 s', max_query_interval := '0 s');
SELECT pg_temp.pay('reversal-8') AS payment_id \gset
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-8');
SELECT c.kind, (payguard.complete_task(c.task_id, c.lease_token, 'unknown')).outcome
FROM payguard.claim_tasks('reversal', 100, kinds := '{query}', channels := '{reversal}') c WHERE c.order_id = 'reversal-8';
SELECT kind FROM payguard.tasks WHERE order_id = 'reversal-8';
-- what is named under the second name of a charge holds for the charge: at the dismissal, and later
SELECT pg_temp.pay('reversal-9') AS payment_id \gset
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-9b');
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-9', 100, 'EUR');
SELECT payment_id AS second FROM payguard.payments WHERE channel_txn_id = 'txn-9' \gset
SELECT outcome FROM payguard.dismiss_surplus(:'second', :'payment_id', 'the same');
SELECT status, received_amount, amount_verified FROM payguard.payments WHERE order_id = 'reversal-9' ORDER BY status;
SELECT pg_temp.pay('reversal-10') AS payment_id \gset
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-10b');
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-10');
SELECT payment_id AS second FROM payguard.payments WHERE channel_txn_id = 'txn-10' \gset
SELECT outcome FROM payguard.dismiss_surplus(:'second', :'payment_id', 'the same');
SELECT status, received_amount, amount_verified FROM payguard.payments WHERE order_id = 'reversal-10' ORDER BY status;
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-10', 100, 'EUR');
SELECT status, received_amount, amount_verified FROM payguard.payments WHERE order_id = 'reversal-10' ORDER BY status;
-- a second charge whose amount nobody named: a report made about the first fills it in
SELECT pg_temp.pay('reversal-7') AS payment_id \gset
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-7', 100, 'EUR');
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-7b');
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-7b', 107, 'EUR');
SELECT status, received_amount, amount_verified FROM payguard.payments WHERE order_id = 'reversal-7' ORDER BY received_amount;
SELECT * FROM pg_temp.refund WHERE order_id = 'reversal-7';
-- a reversal reported under another id: its own is what its repetition is known by
SELECT pg_temp.pay('reversal-11') AS payment_id \gset
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-11', 100, 'EUR');
SELECT refund_id FROM payguard.record_reversal('reversal', 'reversal-11', 'txn-11', 'refund', 30, 'EUR') \gset
SELECT outcome FROM payguard.report_refund(:'refund_id', 'failed');
SELECT outcome FROM payguard.report_refund(:'refund_id', 'succeeded', 'another');
SELECT outcome, replayed FROM payguard.record_reversal('reversal', 'reversal-11', 'txn-11', 'refund', 30, 'EUR');
SELECT * FROM pg_temp.refund WHERE order_id = 'reversal-11';
-- a message that contradicts the second name of its payment: the alert is about the second
SELECT pg_temp.pay('reversal-12') AS payment_id \gset
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-12', 100, 'EUR');
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-12b', 100, 'EUR');
SELECT result FROM payguard.record_notification('reversal', 'twelve', payment_id := :'payment_id',
  channel_status := 'succeeded', channel_txn_id := 'txn-12b', amount := 99);
-- money under a transaction of another order's payment: who that is, is not told
SELECT pg_temp.pay('reversal-13') AS payment_id \gset
SELECT outcome, order_id, payment_id, order_status FROM payguard.record_payment('reversal-13', 'reversal', 'txn-12', 100, 'EUR');
-- less was received than is on its way back: the balance says so as soon as the refund has failed
SELECT pg_temp.pay('reversal-21') AS payment_id \gset
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-21');
SELECT outcome, refund_id FROM payguard.refund_order('reversal-21', 'reversal-21', reason := 'sent back') \gset
SELECT outcome FROM payguard.report_refund(:'refund_id', 'pending');
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-21', 60, 'EUR');
SELECT * FROM pg_temp.refund WHERE order_id = 'reversal-21';
SELECT outcome FROM payguard.report_refund(:'refund_id', 'failed');
SELECT * FROM pg_temp.refund WHERE order_id = 'reversal-21';
-- less came than is to go back: what nobody has begun waits for a person, what is on its way does not
SELECT pg_temp.pay('reversal-22') AS payment_id \gset
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-22');
SELECT outcome FROM payguard.refund_order('reversal-22', 'reversal-22-a', 40, 'sent back');
SELECT outcome FROM payguard.refund_order('reversal-22', 'reversal-22-b', 50, 'sent back');
SELECT (payguard.report_refund(refund_id, 'pending')).outcome FROM payguard.refunds WHERE idempotency_key = 'reversal-22-a';
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-22', 90, 'EUR');
SELECT * FROM pg_temp.refund WHERE order_id = 'reversal-22'; -- enough for both
SELECT pg_temp.pay('reversal-23') AS payment_id \gset
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-23');
SELECT outcome FROM payguard.refund_order('reversal-23', 'reversal-23-a', 40, 'sent back');
SELECT outcome FROM payguard.refund_order('reversal-23', 'reversal-23-b', 50, 'sent back');
SELECT (payguard.report_refund(refund_id, 'pending')).outcome FROM payguard.refunds WHERE idempotency_key = 'reversal-23-a';
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-23', 89, 'EUR');
SELECT * FROM pg_temp.refund WHERE order_id = 'reversal-23';
SELECT kind FROM payguard.tasks WHERE order_id = 'reversal-23';
-- nothing came at all: the refund of surplus money that was taken for granted waits, too
SELECT pg_temp.pay('reversal-24') AS payment_id \gset
SELECT outcome FROM payguard.report_payment(:'payment_id', 'failed');
SELECT status FROM payguard.cancel_order('reversal-24');
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-24');
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-24', 0, 'EUR');
SELECT * FROM pg_temp.refund WHERE order_id = 'reversal-24';
SELECT count(*) AS nobody_sends_it FROM payguard.tasks WHERE order_id = 'reversal-24';
-- amounts whose sum is no number any more are evidence, and can be undone one by one
SELECT pg_temp.pay('reversal-25') AS payment_id \gset
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-25', 100, 'EUR');
SELECT (payguard.record_reversal('reversal', 'back-25-' || n, 'txn-25', kind, 9223372036854775807, 'EUR')).outcome FROM (VALUES (1, 'refund'), (2, 'refund'), (3, 'chargeback')) v (n, kind);
SELECT (payguard.report_refund(refund_id, 'failed')).outcome FROM payguard.refunds WHERE channel_refund_id IN ('back-25-2', 'back-25-3');
SELECT DISTINCT received, refunding, refunded, excess FROM pg_temp.refund WHERE order_id = 'reversal-25';
SELECT status, refunded_amount FROM payguard.order_status('reversal-25');
SELECT (payguard.report_refund(refund_id, 'failed')).outcome FROM payguard.refunds WHERE channel_refund_id = 'back-25-1';
SELECT DISTINCT received, refunding, refunded, excess FROM pg_temp.refund WHERE order_id = 'reversal-25';
SELECT status, refunded_amount FROM payguard.order_status('reversal-25');
-- nor is a refund made of a sum that has run over
SELECT pg_temp.pay('reversal-26') AS payment_id \gset
SELECT outcome FROM payguard.report_payment(:'payment_id', 'failed');
SELECT status FROM payguard.cancel_order('reversal-26');
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-26');
SELECT (payguard.record_reversal('reversal', 'back-26-' || n, 'txn-26', 'chargeback', 9223372036854775807, 'EUR')).outcome FROM generate_series(1, 2) n;
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-26', 110, 'EUR');
SELECT status, amount FROM payguard.refunds WHERE order_id = 'reversal-26' ORDER BY amount;
SELECT (payguard.report_refund(refund_id, 'failed')).outcome FROM payguard.refunds WHERE channel_refund_id LIKE 'back-26-%';
-- and what is back beyond it is too much
SELECT pg_temp.pay('reversal-27') AS payment_id \gset
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-27');
SELECT outcome, refund_id FROM payguard.refund_order('reversal-27', 'reversal-27', reason := 'sent back') \gset
SELECT outcome FROM payguard.report_refund(:'refund_id', 'pending');
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-27', 60, 'EUR');
SELECT outcome FROM payguard.report_refund(:'refund_id', 'succeeded', 'back-27', 100, 'EUR');
SELECT * FROM pg_temp.refund WHERE order_id = 'reversal-27';
SELECT kind FROM payguard.alerts WHERE order_id = 'reversal-27' ORDER BY kind COLLATE "C";
-- more went back than surplus money was, which turned out to be more itself: when it comes back all of it is owed
SELECT pg_temp.pay('reversal-28') AS payment_id \gset
SELECT outcome FROM payguard.report_payment(:'payment_id', 'failed');
SELECT status FROM payguard.cancel_order('reversal-28');
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-28');
SELECT (payguard.report_refund(refund_id, 'succeeded', 'back-28', 150, 'EUR')).outcome FROM payguard.refunds WHERE order_id = 'reversal-28';
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-28', 140, 'EUR');
SELECT (payguard.report_refund(refund_id, 'failed')).outcome FROM payguard.refunds WHERE channel_refund_id = 'back-28';
SELECT status, amount FROM payguard.refunds WHERE order_id = 'reversal-28' ORDER BY amount;
-- one reversal with two amounts, before its payment is known: the second contradicts the first, in REPEATABLE READ too
SELECT pg_temp.pay('reversal-29') AS payment_id \gset
SELECT outcome FROM unnest('{60,70}'::bigint[]) amount, payguard.record_reversal('reversal', 'back-29', 'txn-29', 'chargeback', amount, 'EUR');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT outcome FROM payguard.report_payment(:'payment_id', 'succeeded', 'txn-29', 100, 'EUR');
COMMIT;
SELECT count(*) AS refunds FROM payguard.refunds WHERE channel_refund_id = 'back-29';
SELECT result, count(*) FROM payguard.notifications WHERE reversal_id = 'back-29' GROUP BY 1 ORDER BY 1;
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP VIEW pg_temp.refund;
DROP FUNCTION pg_temp.pay;
SELECT payguard.revoke_access('regress_reversal', access) FROM unnest('{checkout,channel,admin,refunds,auditor}'::text[]) access;
DROP ROLE regress_reversal;
