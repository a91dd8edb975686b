-- Money that a channel takes back, and gives back: what becomes of the order, and of money that came meanwhile.
\getenv srcdir PG_ABS_SRCDIR
CREATE ROLE regress_taken_back;
SELECT count(payguard.grant_access('regress_taken_back', a)) FROM unnest('{checkout,cashier,channel,admin,refunds,auditor,consumer}'::text[]) a;
SET SESSION AUTHORIZATION regress_taken_back;
\set situation :srcdir /test/lib/situation.sql
\i :situation
SELECT count(payguard.register_channel(name)) FROM unnest('{sdd,sepa}'::text[]) name;
SELECT (payguard.register_channel('ach', reopen_on := '{bank_return,chargeback,failed}', first_query_after := '0 s')).reopen_on;
\set ECHO none
-- paid(id, channel): an order of 1000 EUR and its deadline, paid through a channel; the transaction is the order's id.
CREATE FUNCTION pg_temp.paid(id text, channel text DEFAULT 'sdd') RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
  this uuid;
BEGIN
  PERFORM payguard.create_order(id, 1000, 'EUR', expires_at := clock_timestamp() + interval '1 hour');
  this := pg_temp.start(id, 'this', channel);
  PERFORM pg_temp.say(this, 'succeeded', id, 1000, 'EUR');
  RETURN this;
END
$$;
-- take(id, n, kind, amount, channel, at): the channel takes money back, for the nth time.
CREATE FUNCTION pg_temp.take(id text, n text DEFAULT '1', kind text DEFAULT 'bank_return', amount bigint DEFAULT 1000, channel text DEFAULT 'sdd', at timestamptz DEFAULT NULL)
RETURNS text LANGUAGE sql AS $$
  SELECT outcome || CASE WHEN replayed THEN ' again' ELSE '' END FROM payguard.record_reversal(channel, id || '/back-' || n, id, kind, amount, 'EUR', at)
$$;
-- give(id, n, channel, at): the channel gives it back to the shop.
CREATE FUNCTION pg_temp.give(id text, n text DEFAULT '1', channel text DEFAULT 'sdd', at timestamptz DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
  SELECT outcome || CASE WHEN replayed THEN ' again' ELSE '' END FROM payguard.record_reinstatement(channel, id || '/back-' || n, at)
$$;
CREATE FUNCTION pg_temp.back(id text, key text DEFAULT 'refund', amount bigint DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
  SELECT outcome FROM payguard.refund_order(id, id || '/' || key, amount, 'goods returned')
$$;
-- now_of(id): all_of(), of this moment and not of the statement's beginning.
CREATE FUNCTION pg_temp.now_of(id text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN pg_temp.all_of(id); END $$;
\set ECHO all
-- a debit comes back: the order is unpaid again, without a deadline, and its key tells what has become of it
SELECT pg_temp.paid('taken-1') IS NOT NULL AS made, pg_temp.take('taken-1');
SELECT pg_temp.all_of('taken-1');
SELECT expires_at IS NULL AS no_deadline, returned_payment_id = pg_temp.id('taken-1', 'this') AS remembered FROM payguard.orders WHERE order_id = 'taken-1';
SELECT count(*) FROM payguard.deadlines WHERE order_id = 'taken-1';
SELECT advice, can_pay, message FROM payguard.order_status('taken-1');
SELECT outcome, payment_status, replayed FROM payguard.start_payment('taken-1', 'taken-1/this', 'sdd');
SELECT pg_temp.take('taken-1');
-- what the channel says of that money is old
SELECT pg_temp.say(pg_temp.id('taken-1', 'this'), status, 'taken-1', 1000, 'EUR') FROM unnest('{succeeded,failed,closed,pending,processing,unknown,not_found}'::text[]) status;
SELECT pg_temp.all_of('taken-1');
-- the customer pays again, and readers see what it replaces
SELECT outcome FROM payguard.record_payment('taken-1', 'bank', 'taken-1-transfer', 1000, 'EUR');
SELECT pg_temp.all_of('taken-1');
SELECT kind, from_status, to_status, details ? 'replaces_payment_id' AS replaces,
  details ->> 'replaces_payment_id' = pg_temp.id('taken-1', 'this')::text AS it FROM payguard.events
WHERE order_id = 'taken-1' AND kind ~ '^order' ORDER BY event_id;
-- the debit is given back to the shop: the first money has won, and a person decides
SELECT pg_temp.give('taken-1'), pg_temp.give('taken-1');
SELECT pg_temp.all_of('taken-1');
-- pay_order() tells it too, and an order that nobody pays is given its money back
SELECT pg_temp.paid('taken-' || n) IS NOT NULL AS made, pg_temp.take('taken-' || n) FROM generate_series(2, 4) n;
SELECT outcome FROM payguard.pay_order('taken-2', 'taken-2/cash');
SELECT details ->> 'replaces_payment_id' = pg_temp.id('taken-2', 'this')::text AS replaces FROM payguard.events WHERE order_id = 'taken-2' AND kind = 'order.paid' ORDER BY event_id DESC LIMIT 1;
SELECT pg_temp.give('taken-3'), pg_temp.now_of('taken-3');
-- an attempt that is live makes room for it
SELECT pg_temp.start('taken-4', 'other', 'bank') IS NOT NULL AS started, pg_temp.give('taken-4'), pg_temp.now_of('taken-4');
-- lost again: only its time tells it from an old message
SELECT pg_temp.paid('taken-' || n) IS NOT NULL AS made FROM generate_series(5, 7) n;
SELECT pg_temp.take('taken-5', at := '2026-03-01'), pg_temp.give('taken-5', at := '2026-03-05'), pg_temp.now_of('taken-5');
SELECT pg_temp.take('taken-5', at := '2026-03-01'), pg_temp.take('taken-5', at := '2026-03-05'), pg_temp.now_of('taken-5');
SELECT pg_temp.take('taken-5', at := '2026-03-09'), pg_temp.now_of('taken-5');
SELECT pg_temp.give('taken-5', at := '2026-03-05'), pg_temp.now_of('taken-5');
SELECT pg_temp.give('taken-5', at := '2026-03-10'), pg_temp.now_of('taken-5');
-- lost again before anybody heard that it had been given back: that is old by then
SELECT pg_temp.paid('taken-30') IS NOT NULL AS made;
SELECT pg_temp.take('taken-30', at := '2026-03-01'), pg_temp.take('taken-30', at := '2026-03-09'), pg_temp.take('taken-30', at := '2026-03-09'), pg_temp.now_of('taken-30');
SELECT pg_temp.give('taken-30', at := '2026-03-05'), pg_temp.now_of('taken-30');
-- without a time nobody can know
SELECT pg_temp.take('taken-6'), pg_temp.give('taken-6'), pg_temp.take('taken-6'), pg_temp.now_of('taken-6');
SELECT outcome, message FROM payguard.record_reversal('sdd', 'taken-6/back-1', 'taken-6', 'bank_return', 1000, 'EUR', '2026-03-09');
-- before its reversal: kept, and applied with it
SELECT pg_temp.give('taken-7', at := '2026-03-05'), pg_temp.give('taken-7', at := '2026-03-05');
SELECT kind, details ->> 'channel' AS channel FROM payguard.alerts WHERE cause IN (SELECT event_id FROM payguard.notifications WHERE reversal_id = 'taken-7/back-1') AND resolved_at IS NULL;
SELECT pg_temp.take('taken-7', at := '2026-03-01'), pg_temp.now_of('taken-7');
SELECT result, count(*) FROM payguard.notifications WHERE reversal_id = 'taken-7/back-1' GROUP BY 1;
SELECT kind, status, from_status FROM (SELECT kind, to_status AS status, from_status, event_id FROM payguard.events WHERE order_id = 'taken-7' ORDER BY event_id DESC LIMIT 6) e ORDER BY event_id;
-- by itself only where one reversal takes all, nothing went back before, and the setting has its kind
SELECT pg_temp.paid('keep-' || n) IS NOT NULL AS made FROM generate_series(1, 7) n;
SELECT pg_temp.take('keep-1', kind := 'chargeback'), pg_temp.now_of('keep-1');
SELECT pg_temp.take('keep-2', amount := 400), pg_temp.now_of('keep-2');
-- its customer is not told that all is well
SELECT order_id, status, advice, can_pay, message FROM unnest('{keep-1,keep-2,keep-6}'::text[]) id, payguard.order_status(id) ORDER BY 1;
SELECT pg_temp.back('keep-3', amount := 300);
SELECT (payguard.settle_refund(refund_id, 'succeeded', 'it is')).outcome FROM payguard.refunds WHERE order_id = 'keep-3';
SELECT pg_temp.take('keep-3'), pg_temp.now_of('keep-3');
-- a refund that nobody has begun is waived; one that may be on its way is not, and the order stays paid
SELECT pg_temp.back('keep-4'), pg_temp.back('keep-5');
SELECT pg_temp.take('keep-4'), pg_temp.now_of('keep-4');
SELECT (payguard.report_refund(refund_id, 'pending')).outcome FROM payguard.refunds WHERE order_id = 'keep-5';
SELECT pg_temp.take('keep-5'), pg_temp.now_of('keep-5');
-- an operator decides: all was taken back, or a part, and what is left waits for a person
SELECT (payguard.reopen_order('keep-1', 'the customer pays by transfer')).status, pg_temp.now_of('keep-1');
SELECT (payguard.reopen_order('keep-1', 'once more')).version = (SELECT version FROM payguard.orders WHERE order_id = 'keep-1') AS the_same;
SELECT (payguard.reopen_order('keep-2', 'the rest goes back')).status, pg_temp.now_of('keep-2');
SELECT order_id, status, advice, can_pay, message FROM unnest('{keep-1,keep-2}'::text[]) id, payguard.order_status(id) ORDER BY 1;
SELECT pg_temp.written() AS before \gset
SELECT pg_temp.answer(format('SELECT payguard.reopen_order(%L, %L)', id, 'try')) FROM unnest('{keep-6,keep-nobody}'::text[]) id;
SELECT pg_temp.answer($$SELECT payguard.reopen_order('keep-6', NULL)$$);
SELECT pg_temp.written() = :'before' AS nothing_written;
-- a dispute is won while the order has stayed paid: nothing but the booking changes, and the alert ends
SELECT pg_temp.take('keep-6', kind := 'chargeback'), pg_temp.now_of('keep-6');
SELECT advice, message FROM payguard.order_status('keep-6');
SELECT pg_temp.give('keep-6'), pg_temp.now_of('keep-6');
SELECT advice, message FROM payguard.order_status('keep-6');
-- a person lets the order count as paid, without its money
SELECT pg_temp.paid('keep-8') IS NOT NULL AS made, pg_temp.take('keep-8', kind := 'chargeback');
SELECT count(payguard.resolve_alert(alert_id, 'the customer is to keep it')) FROM payguard.alerts WHERE order_id = 'keep-8' AND resolved_at IS NULL;
SELECT status, advice, message FROM payguard.order_status('keep-8');
-- of the part that was reopened the dispute is won: a person decides about it, too
SELECT pg_temp.give('keep-2'), pg_temp.now_of('keep-2');
-- money that came beside a payment which is all back may pay instead
SELECT outcome FROM payguard.record_payment('keep-7', 'bank', 'keep-7-transfer', 1000, 'EUR');
SELECT pg_temp.take('keep-7', kind := 'chargeback'), pg_temp.now_of('keep-7');
SELECT outcome FROM payguard.accept_surplus((SELECT payment_id FROM payguard.payments WHERE channel_txn_id = 'keep-7-transfer'), 'it replaces the debit');
SELECT pg_temp.all_of('keep-7');
-- surplus that the channel takes back on its own is settled; of a part a person decides
SELECT pg_temp.make('more-' || n, 'surplus, paid', txn := 'more-' || n) IS NOT NULL AS made FROM generate_series(1, 3) n;
SELECT pg_temp.take('more-1', kind := 'chargeback', channel := 'card'), pg_temp.now_of('more-1');
SELECT pg_temp.take('more-2', kind := 'chargeback', amount := 400, channel := 'card'), pg_temp.now_of('more-2');
SELECT pg_temp.give('more-1', channel := 'card'), pg_temp.now_of('more-1');
-- the parts that add up to all of it settle it too, in whatever order, and more than all
SELECT pg_temp.make('rest-' || n, 'surplus, paid', txn := 'rest-' || n) IS NOT NULL AS made FROM generate_series(1, 6) n;
SELECT pg_temp.take('rest-1', '1', 'chargeback', 400, 'card'), pg_temp.take('rest-1', '2', 'chargeback', 600, 'card'), pg_temp.now_of('rest-1');
SELECT pg_temp.take('rest-2', '2', 'chargeback', 1000, 'card'), pg_temp.take('rest-2', '1', 'chargeback', 400, 'card'), pg_temp.now_of('rest-2');
SELECT pg_temp.take('rest-3', '1', 'chargeback', 400, 'card'), pg_temp.take('rest-3', '2', 'chargeback', 1000, 'card'), pg_temp.now_of('rest-3');
-- together with what a person has given back; what may be on its way is not waived
SELECT r.outcome, w.outcome AS made FROM payguard.refunds f, payguard.waive_refund(f.refund_id, 'in two parts') r, payguard.refund_payment(f.payment_id, 'rest-4/ours', 300, 'the first part') p, payguard.report_refund(p.refund_id, 'succeeded') w WHERE f.order_id = 'rest-4';
SELECT pg_temp.take('rest-4', '1', 'chargeback', 700, 'card'), pg_temp.now_of('rest-4');
SELECT pg_temp.take('rest-4', '2', 'chargeback', 200, 'card'), pg_temp.now_of('rest-4');
SELECT r.outcome FROM payguard.refunds f, payguard.report_refund(f.refund_id, 'pending') r WHERE f.order_id = 'rest-5';
SELECT pg_temp.take('rest-5', '1', 'chargeback', 400, 'card'), pg_temp.take('rest-5', '2', 'chargeback', 600, 'card'), pg_temp.now_of('rest-5');
-- where it had failed, and is made after all
SELECT pg_temp.take('rest-6', '1', 'chargeback', channel := 'card');
SELECT said, r.outcome, pg_temp.now_of('rest-6') FROM unnest('{failed,succeeded}'::text[]) said, payguard.refunds f, payguard.report_refund(f.refund_id, said) r WHERE f.order_id = 'rest-6' AND f.origin = 'channel';
SELECT order_id, received, refunding, refunded, excess FROM payguard.refund_balances JOIN payguard.payments USING (payment_id) WHERE order_id ~ '^rest-' ORDER BY 1;
-- a refund of ours, or a reversal, that has not been made after all: the money is here again
CREATE FUNCTION pg_temp.undo(id text, origin text, status text DEFAULT 'failed') RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(x.outcome, ', ') FROM payguard.refunds r, payguard.report_refund(r.refund_id, undo.status) x WHERE r.order_id = id AND r.origin = undo.origin AND r.status <> 'waived'
$$;
SELECT pg_temp.paid('undo-' || n) IS NOT NULL AS made FROM generate_series(1, 4) n;
SELECT pg_temp.take('undo-1'), pg_temp.undo('undo-1', 'channel'), pg_temp.now_of('undo-1');
SELECT pg_temp.take('undo-2'), pg_temp.start('undo-2', 'other', 'bank') IS NOT NULL AS started;
SELECT pg_temp.say(pg_temp.id('undo-2', 'other'), 'succeeded', 'undo-2-other', 1000, 'EUR'), pg_temp.undo('undo-2', 'channel'), pg_temp.now_of('undo-2');
-- the other money has paid the order, and the customer is still owed this
SELECT pg_temp.back('undo-3'), pg_temp.undo('undo-3', 'request', 'succeeded');
SELECT outcome FROM payguard.record_payment('undo-3', 'bank', 'undo-3-transfer', 1000, 'EUR');
SELECT outcome FROM payguard.accept_surplus((SELECT payment_id FROM payguard.payments WHERE channel_txn_id = 'undo-3-transfer'), 'it replaces the debit');
SELECT pg_temp.now_of('undo-3');
SELECT pg_temp.undo('undo-3', 'request'), pg_temp.now_of('undo-3');
-- taken back twice, and given back once: nothing is here
SELECT pg_temp.take('undo-4'), pg_temp.take('undo-4', n := '2', kind := 'chargeback'), pg_temp.give('undo-4', n := '2'), pg_temp.now_of('undo-4');
SELECT pg_temp.give('undo-4'), pg_temp.now_of('undo-4');
-- surplus that was taken back, and was not after all: whatever was decided before, a person decides
SELECT pg_temp.take('more-3', kind := 'chargeback', channel := 'card'), pg_temp.now_of('more-3');
SELECT pg_temp.undo('more-3', 'channel'), pg_temp.now_of('more-3');
-- a reversal that counts no more: what is said of it again changes nothing
SELECT pg_temp.paid('undo-5') IS NOT NULL AS made, pg_temp.take('undo-5'), pg_temp.give('undo-5');
SELECT status, pg_temp.undo('undo-5', 'channel', status) FROM unnest('{failed,closed,pending,unknown,not_found,succeeded}'::text[]) status;
SELECT pg_temp.now_of('undo-5');
SELECT pg_temp.answer(format('SELECT payguard.%s_refund(%L, %L)', call, refund_id, 'decided')) FROM payguard.refunds, unnest('{waive,retry,approve,reject}'::text[]) call WHERE order_id = 'undo-5';
-- a failure after a success: a message alone takes nothing back, but has the channel asked
SELECT pg_temp.paid('ach-' || n, 'ach') IS NOT NULL AS made FROM generate_series(1, 3) n;
SELECT pg_temp.say(pg_temp.id('ach-1', 'this'), 'failed'), pg_temp.now_of('ach-1');
SELECT pg_temp.give_word(pg_temp.id('ach-1', 'this'), 'failed'), pg_temp.now_of('ach-1');
SELECT pg_temp.give_word(pg_temp.id('ach-1', 'this'), 'failed'), pg_temp.say(pg_temp.id('ach-1', 'this'), 'succeeded', 'ach-1', 1000, 'EUR');
-- the bank's return that follows is the same one
SELECT pg_temp.take('ach-1', channel := 'ach'), pg_temp.take('ach-1', channel := 'ach'), pg_temp.now_of('ach-1');
SELECT reversal_kind, channel_refund_id, status FROM payguard.refunds WHERE order_id = 'ach-1';
-- whoever has asked before the payment changed does not know: here it succeeded while the worker waited
SELECT (payguard.create_order('ach-4', 1000, 'EUR')).status, pg_temp.start('ach-4', 'this', 'ach') IS NOT NULL AS started;
SELECT (payguard.query_payment(pg_temp.id('ach-4', 'this'))).outcome;
SELECT task_id, lease_token, kind FROM payguard.claim_tasks('worker', 100, channels := '{ach}') WHERE order_id = 'ach-4' \gset
SELECT pg_temp.say(pg_temp.id('ach-4', 'this'), 'succeeded', 'ach-4', 1000, 'EUR');
SELECT outcome, payment_status FROM payguard.complete_task(:task_id, :'lease_token', 'failed');
SELECT pg_temp.now_of('ach-4');
-- what is asked then is believed
SELECT pg_sleep(0.5);
SELECT task_id, lease_token, kind FROM payguard.claim_tasks('worker', 100, channels := '{ach}') WHERE order_id = 'ach-4' \gset
SELECT outcome, payment_status FROM payguard.complete_task(:task_id, :'lease_token', 'failed');
SELECT pg_temp.all_of('ach-4');
-- nor does who has asked before an operator had the order paid again
SELECT (payguard.create_order('ach-9', 1000, 'EUR')).status, pg_temp.say(pg_temp.start('ach-9', 'this', 'ach'), 'succeeded', 'ach-9');
SELECT pg_temp.take('ach-9', kind := 'chargeback', amount := 400, channel := 'ach'), (payguard.query_payment(pg_temp.id('ach-9', 'this'))).outcome;
SELECT task_id, lease_token, kind FROM payguard.claim_tasks('worker', 100, channels := '{ach}') WHERE order_id = 'ach-9' \gset
SELECT status FROM payguard.reopen_order('ach-9', 'they pay again');
SELECT outcome, payment_status FROM payguard.complete_task(:task_id, :'lease_token', 'failed');
SELECT pg_temp.now_of('ach-9');
-- where the setting has it not it is a contradiction, as ever
SELECT pg_temp.paid('ach-5', 'sepa') IS NOT NULL AS made;
SELECT pg_temp.give_word(pg_temp.id('ach-5', 'this'), 'failed'), pg_temp.now_of('ach-5');
-- less went back than was said
SELECT pg_temp.paid('taken-23') IS NOT NULL AS made, pg_temp.take('taken-23');
INSERT INTO payguard.settlement_lines (channel, kind, channel_txn_id, channel_refund_id, amount, currency, channel_time) VALUES ('sdd', 'chargeback', 'taken-23', 'taken-23/back-1', 400, 'EUR', now());
SELECT finding FROM payguard.reconcile('sdd', now() - interval '1 hour', now() + interval '1 hour') WHERE order_id = 'taken-23' ORDER BY 1;
SELECT (payguard.resolve_finding(alert_id, 'accept', 'says the statement')).outcome, pg_temp.now_of(order_id) FROM payguard.alerts WHERE kind = 'settlement_refund_mismatch' AND order_id = 'taken-23';
-- a reversal that failed, says a report of it, is undone as well: its payment pays again, or is surplus
SELECT pg_temp.paid('undone-' || n) IS NOT NULL AS made, pg_temp.take('undone-' || n) FROM generate_series(1, 3) n;
CREATE FUNCTION pg_temp.back_of(id text) RETURNS uuid LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT refund_id FROM payguard.refunds WHERE channel_refund_id = id || '/back-1'); END $$;
SELECT outcome, payment_status FROM payguard.start_payment('undone-2', 'undone-2/that', 'card');
SELECT outcome FROM payguard.record_payment('undone-3', 'bank', 'undone-3-transfer', 1000, 'EUR');
SELECT outcome, replayed FROM generate_series(1, 3) n, payguard.report_refund(pg_temp.back_of('undone-' || n), 'failed');
SELECT pg_temp.now_of('undone-' || n) FROM generate_series(1, 3) n;
-- and that it was made all the same is the loss of it once more
SELECT outcome FROM payguard.report_refund(pg_temp.back_of('undone-1'), 'succeeded');
SELECT pg_temp.now_of('undone-1');
-- a message that was sent before it failed takes nothing back
SELECT pg_temp.paid('undone-6') IS NOT NULL AS made, pg_temp.take('undone-6', at := '2026-03-01'), pg_temp.paid('undone-7') IS NOT NULL AS made, pg_temp.take('undone-7');
SELECT outcome FROM unnest('{6,7}'::int[]) n, payguard.report_refund(pg_temp.back_of('undone-' || n), 'failed');
SELECT pg_temp.take('undone-6', at := '2026-03-01'), pg_temp.now_of('undone-6');
SELECT pg_temp.take('undone-7'), pg_temp.take('undone-7', at := '2026-03-09'), pg_temp.now_of('undone-7');
SELECT pg_temp.take('undone-6', at := '2026-03-09'), pg_temp.now_of('undone-6');
-- a report of a reversal that is reinstated: what it says is known, or nobody can know
SELECT pg_temp.paid('undone-4') IS NOT NULL AS made, pg_temp.take('undone-4'), pg_temp.give('undone-4');
SELECT said, outcome, replayed, message FROM unnest('{failed,closed,pending,processing,unknown,not_found,succeeded}'::text[]) said, payguard.report_refund(pg_temp.back_of('undone-4'), said);
SELECT pg_temp.answer(format('SELECT payguard.waive_refund(%L, %L)', pg_temp.back_of('undone-4'), 'not ours')) ~ '^PY105' AS refused;
SELECT pg_temp.now_of('undone-4');
-- a refund of ours comes back when other money has paid the order: it is owed, and the payment is surplus
SELECT pg_temp.paid('undone-5') IS NOT NULL AS made, pg_temp.back('undone-5');
SELECT outcome FROM payguard.refunds r, payguard.report_refund(r.refund_id, 'succeeded') WHERE r.order_id = 'undone-5';
SELECT outcome FROM payguard.record_payment('undone-5', 'bank', 'undone-5-transfer', 1000, 'EUR');
SELECT a.outcome FROM payguard.payments p, payguard.accept_surplus(p.payment_id, 'they want it') a WHERE p.channel_txn_id = 'undone-5-transfer';
SELECT pg_temp.now_of('undone-5');
SELECT r.outcome FROM payguard.refunds f, payguard.report_refund(f.refund_id, 'failed') r WHERE f.idempotency_key = 'undone-5/refund';
SELECT pg_temp.now_of('undone-5');
SELECT r.outcome FROM payguard.refunds f, payguard.retry_refund(f.refund_id, 'to another account') r WHERE f.idempotency_key = 'undone-5/refund';
SELECT pg_temp.now_of('undone-5');
-- the statement has the charge that was taken back, and what took it back
SELECT pg_temp.paid('listed-1', 'sepa') IS NOT NULL AS made, pg_temp.take('listed-1', channel := 'sepa');
SELECT pg_temp.paid('listed-2', 'sepa') IS NOT NULL AS made, pg_temp.take('listed-2', channel := 'sepa');
SELECT pg_temp.paid('listed-4', 'sepa') IS NOT NULL AS made, pg_temp.take('listed-4', channel := 'sepa'), pg_temp.give('listed-4', channel := 'sepa');
SELECT (payguard.register_channel('sepa', reopen_on := '{failed}')).reopen_on;
SELECT pg_temp.paid('listed-3', 'sepa') IS NOT NULL AS made;
SELECT pg_temp.give_word(pg_temp.id('listed-3', 'this'), 'failed');
SELECT pg_temp.now_of('listed-' || n) FROM generate_series(1, 3) n;
INSERT INTO payguard.settlement_lines (channel, kind, channel_status, channel_txn_id, channel_refund_id, amount, currency, channel_time) VALUES
  ('sepa', 'payment', 'succeeded', 'listed-1', NULL, 1000, 'EUR', clock_timestamp()), ('sepa', 'bank_return', 'succeeded', 'listed-1', 'listed-1/back-1', 1000, 'EUR', clock_timestamp()),
  ('sepa', 'payment', 'succeeded', 'listed-4', NULL, 1000, 'EUR', clock_timestamp()), ('sepa', 'bank_return', 'succeeded', 'listed-4', 'listed-4/back-1', 1000, 'EUR', clock_timestamp()),
  ('sepa', 'payment', 'succeeded', 'ach-5', NULL, 1000, 'EUR', clock_timestamp()), ('sepa', 'payment', 'failed', 'listed-3', NULL, 1000, 'EUR', clock_timestamp());
-- surplus money that a person has given back at the channel: the channel told of it as its own, and the statement names our refund
SELECT outcome FROM payguard.record_payment('listed-4', 'sepa', 'listed-5', 1000, 'EUR');
SELECT pg_temp.take('listed-5', kind := 'refund', channel := 'sepa'), pg_temp.now_of('listed-4');
INSERT INTO payguard.settlement_lines (channel, kind, channel_status, channel_txn_id, channel_refund_id, refund_id, amount, currency, channel_time)
  SELECT 'sepa', 'refund', 'succeeded', 'listed-5', 'listed-5/back-1', refund_id, 1000, 'EUR', clock_timestamp() FROM payguard.refunds WHERE order_id = 'listed-4' AND status = 'waived'
  UNION ALL SELECT 'sepa', 'payment', 'succeeded', 'listed-5', NULL, NULL, 1000, 'EUR', clock_timestamp();
SELECT finding, order_id, details ->> 'kind' AS kind FROM payguard.reconcile('sepa', '-infinity', clock_timestamp(), '0 s') WHERE order_id ~ '^listed' ORDER BY 2, 3;
-- a failure is counted once, whether the bank's return has come before it or has named it
SELECT pg_temp.paid('ach-6', 'ach') IS NOT NULL AS made;
SELECT outcome FROM payguard.refund_order('ach-6', 'ach-6/refund', 100, 'goods returned', channel := 'internal');
SELECT pg_temp.give_word(pg_temp.id('ach-6', 'this'), 'failed');
SELECT pg_temp.take('ach-6', channel := 'ach'), pg_temp.give_word(pg_temp.id('ach-6', 'this'), 'failed');
SELECT pg_temp.now_of('ach-6');
SELECT pg_temp.paid('ach-7', 'ach') IS NOT NULL AS made;
SELECT outcome FROM payguard.record_payment('ach-7', 'ach', 'ach-7/again', 1000, 'EUR');
SELECT outcome FROM payguard.record_reversal('ach', 'ach-7/back', 'ach-7/again', 'bank_return', 1000, 'EUR');
SELECT pg_temp.give_word(payment_id, 'failed') FROM payguard.payments WHERE channel_txn_id = 'ach-7/again';
SELECT pg_temp.now_of('ach-7');
-- what undoes a failure may come before its name
SELECT pg_temp.paid('ach-8', 'ach') IS NOT NULL AS made;
SELECT pg_temp.give_word(pg_temp.id('ach-8', 'this'), 'failed');
SELECT pg_temp.give('ach-8', channel := 'ach'), pg_temp.take('ach-8', channel := 'ach');
SELECT pg_temp.now_of('ach-8');
-- other money of a returned payment, whose amount the channel has not named: what was asked, and the channel is queried
CREATE FUNCTION pg_temp.paid_more(id text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  PERFORM payguard.create_order(id, 1000, 'EUR');
  RETURN pg_temp.say(pg_temp.start(id, 'this', 'sdd'), 'succeeded', id, 1500, 'EUR');
END
$$;
SELECT pg_temp.paid_more('extra-1'), pg_temp.take('extra-1', amount := 1500);
SELECT pg_temp.say(pg_temp.id('extra-1', 'this'), 'succeeded', 'extra-1/other') FROM generate_series(1, 2);
SELECT pg_temp.now_of('extra-1');
SELECT kind FROM payguard.tasks WHERE order_id = 'extra-1';
SELECT pg_temp.say(pg_temp.id('extra-1', 'this'), 'succeeded', 'extra-1/other', 1200, 'EUR');
SELECT pg_temp.now_of('extra-1');
-- the money that pays an order again is more than it asks for: a person decides about what is here of the rest
SELECT pg_temp.paid_more('extra-2'), pg_temp.take('extra-2', amount := 1500), pg_temp.give('extra-2');
SELECT pg_temp.now_of('extra-2');
SELECT pg_temp.paid_more('extra-3'), pg_temp.take('extra-3', '1', 'chargeback', 300), pg_temp.take('extra-3', '2', 'chargeback', 1200);
SELECT status FROM payguard.reopen_order('extra-3', 'they pay again');
SELECT pg_temp.give('extra-3', '2');
SELECT pg_temp.now_of('extra-3');
-- what a refund has failed to give back is owed by that one, and not a second time
SELECT pg_temp.paid_more('extra-5'), pg_temp.undo('extra-5', 'surplus'), pg_temp.take('extra-5', amount := 1500);
SELECT status FROM payguard.reopen_order('extra-5', 'they pay again');
SELECT pg_temp.give('extra-5'), pg_temp.now_of('extra-5');
-- an order that is paid again by hand: what nobody has begun to give back is not given back
SELECT pg_temp.paid('extra-4') IS NOT NULL AS made, pg_temp.back('extra-4', amount := 400), pg_temp.take('extra-4', kind := 'chargeback');
SELECT status FROM payguard.reopen_order('extra-4', 'they pay again');
SELECT pg_temp.now_of('extra-4');
-- malformed settings and arguments
SELECT pg_temp.answer(format('SELECT payguard.register_channel(%L, reopen_on := %L)', 'odd', kinds)) FROM unnest('{"{refund}","{NULL}","{bank_return,\"\"}"}'::text[]) kinds;
SELECT pg_temp.answer($$SELECT payguard.register_channel('odd', surplus := 'keep')$$);
SELECT pg_temp.answer($$SELECT payguard.register_channel('odd', processing_alert_after := '-1 day')$$);
SELECT pg_temp.answer($$SELECT payguard.record_reinstatement(NULL, 'x')$$), pg_temp.answer($$SELECT payguard.record_reinstatement('sdd', NULL)$$);
SELECT name, surplus, reopen_on, processing_alert_after FROM payguard.channels WHERE name IN ('internal', 'ach', 'sdd') ORDER BY name;
-- other money of a returned attempt, whose amount the channel has not named: it is asked until it does
SELECT name FROM payguard.register_channel('back-open', first_query_after => '0 s', max_query_interval => '1 ms');
SELECT status FROM payguard.create_order('back-open', 1000, 'EUR');
SELECT payment_id AS p FROM payguard.start_payment('back-open', 'back-open', 'back-open') \gset
SELECT outcome FROM payguard.report_payment(:'p', 'succeeded', 'back-open-1', 1000, 'EUR');
SELECT outcome FROM payguard.record_reversal('back-open', 'back-open-r', 'back-open-1', 'bank_return', 1000, 'EUR');
SELECT outcome FROM payguard.report_payment(:'p', 'succeeded', 'back-open-2');
SELECT status, amount_verified FROM payguard.payments WHERE channel_txn_id = 'back-open-2';
SELECT r.outcome FROM payguard.claim_tasks('w', channels => '{back-open}') t, payguard.complete_task(t.task_id, t.lease_token, 'unknown') r;
SELECT t.kind, p.channel_txn_id FROM payguard.tasks t JOIN payguard.payments p USING (payment_id) WHERE t.order_id = 'back-open';
SELECT pg_sleep(0.1);
SELECT r.outcome FROM payguard.claim_tasks('w', channels => '{back-open}') t, payguard.complete_task(t.task_id, t.lease_token, 'succeeded', 'back-open-2', 1000, 'EUR') r;
SELECT count(*) FROM payguard.tasks WHERE order_id = 'back-open';
-- of money that was too much, and is here again, no more goes back than before
SELECT (payguard.create_order('taken-more', 1000, 'EUR')).status, pg_temp.say(pg_temp.start('taken-more', 'this', 'sdd'), 'succeeded', 'taken-more', 1250, 'EUR'), pg_temp.now_of('taken-more');
SELECT pg_temp.take('taken-more', amount := 1250), pg_temp.now_of('taken-more');
SELECT pg_temp.give('taken-more'), pg_temp.now_of('taken-more');
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_taken_back;
DROP ROLE regress_taken_back;
