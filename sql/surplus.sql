-- Surplus money goes back, or an operator lets it pay its order, or says that it was never there twice.
\getenv srcdir PG_ABS_SRCDIR
CREATE ROLE regress_surplus;
SELECT count(payguard.grant_access('regress_surplus', a)) FROM unnest('{checkout,cashier,channel,admin,refunds,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_surplus;
\set situation :srcdir /test/lib/situation.sql
\i :situation
-- the order is still to be paid: a customer who paid twice is asked, and wants the goods
SELECT pg_temp.make('surplus-1', 'surplus, cancelled', txn := 'surplus-1') IS NOT NULL AS made;
SELECT pg_temp.all_of('surplus-1');
SELECT outcome, order_status, payment_status, version, replayed FROM payguard.accept_surplus(pg_temp.id('surplus-1', 'this'), 'the customer wants it');
SELECT pg_temp.all_of('surplus-1');
SELECT kind, from_status, to_status, version, details ->> 'note' AS note FROM payguard.events WHERE order_id = 'surplus-1' ORDER BY event_id DESC LIMIT 3;
SELECT kind, resolved_by, note FROM payguard.alerts WHERE order_id = 'surplus-1';
SELECT outcome, order_status, replayed FROM payguard.report_payment(pg_temp.id('surplus-1', 'this'), 'succeeded', 'surplus-1', 1000, 'EUR');
-- it can be refunded like any payment
SELECT outcome, status, amount FROM payguard.refund_order('surplus-1', 'surplus-1/refund', 400, 'a discount');
-- expired orders too
SELECT pg_temp.say(pg_temp.make('surplus-2', 'failed, expired'), 'succeeded', 'surplus-2', 1000, 'EUR');
SELECT outcome, order_status FROM payguard.accept_surplus(pg_temp.id('surplus-2', 'this'), 'fine');
-- what must not be accepted, and nothing is written
SELECT pg_temp.make('surplus-paid', 'surplus, paid') IS NOT NULL, pg_temp.make('surplus-other', 'surplus, unpaid') IS NOT NULL,
  pg_temp.make('surplus-begun', 'surplus, cancelled') IS NOT NULL, pg_temp.make('surplus-back', 'surplus, cancelled') IS NOT NULL,
  pg_temp.make('surplus-failed', 'surplus, cancelled') IS NOT NULL, pg_temp.make('surplus-refunded', 'surplus, refunded') IS NOT NULL;
SELECT pg_temp.say(pg_temp.make('surplus-paying', 'failed, cancelled'), 'succeeded', 'surplus-usd', 1000, 'USD');
SELECT payguard.report_refund(refund_id, s.status) IS NOT NULL FROM payguard.refunds JOIN (VALUES ('surplus-begun', 'unknown'), ('surplus-back', 'succeeded'), ('surplus-failed', 'failed')) s (order_id, status) USING (order_id);
SELECT pg_temp.written() AS before \gset
SELECT id, pg_temp.answer(format('SELECT outcome FROM payguard.accept_surplus(%L, %L)', pg_temp.id(id, 'this'), 'let it'))
FROM unnest('{surplus-1,surplus-paid,surplus-other,surplus-paying,surplus-begun,surplus-back,surplus-failed}'::text[]) id;
SELECT pg_temp.answer($$SELECT outcome FROM payguard.accept_surplus('01890000-0000-7000-8000-000000000000', 'let it')$$);
SELECT pg_temp.answer($$SELECT outcome FROM payguard.dismiss_surplus('01890000-0000-7000-8000-000000000000', '01890000-0000-7000-8000-000000000000', 'let it')$$);
SELECT pg_temp.written() = :'before' AS nothing_written;
-- a refund that failed is waived first: then the money is certainly here
SELECT (payguard.waive_refund(refund_id, 'the customer wants the goods')).outcome FROM payguard.refunds WHERE order_id = 'surplus-failed';
SELECT outcome, order_status FROM payguard.accept_surplus(pg_temp.id('surplus-failed', 'this'), 'now it may');
-- the channel names one charge twice: an operator finds out, and says so
SELECT pg_temp.make('surplus-3', 'succeeded', txn := 'surplus-3') IS NOT NULL AS made;
SELECT outcome, payment_status, replayed, message FROM payguard.report_payment(pg_temp.id('surplus-3', 'this'), 'succeeded', 'surplus-3-again', 1000, 'EUR');
SELECT pg_temp.all_of('surplus-3');
-- until then, its repetition is a replay
SELECT pg_temp.written() AS before \gset
SELECT outcome, replayed FROM payguard.report_payment(pg_temp.id('surplus-3', 'this'), 'succeeded', 'surplus-3-again', 1000, 'EUR');
SELECT outcome, replayed FROM payguard.record_payment('surplus-3', 'card', 'surplus-3-again', 1000, 'EUR');
SELECT pg_temp.written() = :'before' AS nothing_written;
SELECT payment_id AS second FROM payguard.payments WHERE channel_txn_id = 'surplus-3-again' \gset
-- of what it must be a second name
SELECT what, pg_temp.answer(format('SELECT outcome FROM payguard.dismiss_surplus(%L, %L, %L)', :'second', same, 'no')) FROM (VALUES ('itself', :'second'::uuid), ('another order', pg_temp.id('surplus-1', 'this')),
  ('a failed one', pg_temp.id('surplus-paid', 'this')), ('nothing', '01890000-0000-7000-8000-000000000000')) w (what, same);
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.dismiss_surplus(%L, %L, %L)', pg_temp.id('surplus-3', 'this'), :'second', 'the wrong way round'));
SELECT outcome, payment_status, order_status, replayed FROM payguard.dismiss_surplus(:'second', pg_temp.id('surplus-3', 'this'), 'one charge, says the statement');
SELECT pg_temp.all_of('surplus-3'), failure_code FROM payguard.payments WHERE payment_id = :'second';
SELECT kind, from_status, to_status, details - 'same_as' AS details FROM payguard.events WHERE order_id = 'surplus-3' AND kind !~ '^approval' ORDER BY event_id DESC LIMIT 2;
-- from then on, its repetition is a replay, whatever it says
SELECT pg_temp.written() AS before \gset
SELECT outcome, replayed FROM payguard.report_payment(pg_temp.id('surplus-3', 'this'), 'succeeded', 'surplus-3-again', 1000, 'EUR');
SELECT outcome, replayed FROM payguard.report_payment(:'second', 'succeeded', 'surplus-3-again', 1000, 'EUR');
SELECT outcome, replayed FROM payguard.record_payment('surplus-3', 'card', 'surplus-3-again', 1000, 'EUR');
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.dismiss_surplus(%L, %L, %L)', :'second', pg_temp.id('surplus-3', 'this'), 'twice'));
SELECT pg_temp.written() = :'before' AS nothing_written;
-- a third name is a third charge, until somebody says otherwise
SELECT outcome, replayed FROM payguard.report_payment(pg_temp.id('surplus-3', 'this'), 'succeeded', 'surplus-3-third', 1000, 'EUR');
SELECT pg_temp.all_of('surplus-3');
-- a second charge that was real: an operator has it refunded, in parts
SELECT payment_id AS third FROM payguard.payments WHERE channel_txn_id = 'surplus-3-third' \gset
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.refund_payment(%L, %L, 600, %L)', :'third', 'surplus-3/a', 'charged twice'));
SELECT (payguard.waive_refund(refund_id, 'in parts')).outcome FROM payguard.refunds WHERE payment_id = :'third';
SELECT outcome, amount, replayed FROM payguard.refund_payment(:'third', 'surplus-3/a', 600, 'charged twice');
SELECT outcome, amount, replayed FROM payguard.refund_payment(:'third', 'surplus-3/b', reason := 'charged twice, the rest');
SELECT outcome, amount, replayed FROM payguard.refund_payment(:'third', 'surplus-3/b', reason := 'charged twice, the rest');
SELECT pg_temp.all_of('surplus-3');
-- nor is a charge dismissed of which money may be on its way back
SELECT pg_temp.make('surplus-4', 'succeeded', txn := 'surplus-4') IS NOT NULL AS made;
SELECT pg_temp.say(pg_temp.id('surplus-4', 'this'), 'succeeded', 'surplus-4-again', 1000, 'EUR');
SELECT payment_id AS other FROM payguard.payments WHERE channel_txn_id = 'surplus-4-again' \gset
SELECT (payguard.waive_refund(refund_id, 'in parts')).outcome FROM payguard.refunds WHERE payment_id = :'other';
SELECT (payguard.report_refund(refund_id, 'pending', 'surplus-4-back')).outcome FROM payguard.refund_payment(:'other', 'surplus-4/a', 600, 'charged twice');
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.dismiss_surplus(%L, %L, %L)', :'other', pg_temp.id('surplus-4', 'this'), 'one charge'));
-- the order's own refunds are another matter
SELECT outcome, amount FROM payguard.refund_order('surplus-3', 'surplus-3/own', reason := 'goods returned');
SELECT pg_temp.order_of('surplus-3');
-- surplus money of which the channel gave back less than it should: the rest is owed
SELECT (payguard.report_refund(refund_id, 'succeeded', amount := 700)).outcome FROM payguard.refunds WHERE order_id = 'surplus-paid';
SELECT pg_temp.all_of('surplus-paid');
-- an amount that was taken for granted turns out to be another: the surplus follows
SELECT pg_temp.say(pg_temp.make('surplus-' || amount, 'failed, cancelled'), 'succeeded', 'surplus-' || amount) FROM unnest('{900,1100}'::int[]) amount;
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.accept_surplus(%L, %L)', pg_temp.id('surplus-900', 'this'), 'not before the amount is known'));
SELECT pg_temp.say(pg_temp.id('surplus-' || amount, 'this'), 'succeeded', 'surplus-' || amount, amount, 'EUR')
FROM unnest('{900,1100}'::int[]) amount;
SELECT pg_temp.all_of('surplus-' || amount), received, refunding FROM unnest('{900,1100}'::int[]) amount, payguard.refund_balances WHERE payment_id = pg_temp.id('surplus-' || amount, 'this') ORDER BY amount;
-- also where an operator has decided before that it stays: only what is more than that is owed
SELECT pg_temp.say(pg_temp.make('surplus-kept-' || amount, 'failed, cancelled'), 'succeeded', 'surplus-kept-' || amount) FROM unnest('{900,1100}'::int[]) amount;
SELECT (payguard.waive_refund(refund_id, 'a gift')).outcome FROM payguard.refunds WHERE order_id ~ '^surplus-kept-';
SELECT outcome, replayed FROM unnest('{900,1100}'::int[]) amount, payguard.report_payment(pg_temp.id('surplus-kept-' || amount, 'this'), 'succeeded', 'surplus-kept-' || amount, amount, 'EUR');
SELECT pg_temp.all_of('surplus-kept-' || amount), received, refunding FROM unnest('{900,1100}'::int[]) amount, payguard.refund_balances WHERE payment_id = pg_temp.id('surplus-kept-' || amount, 'this') ORDER BY amount;
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_surplus;
DROP ROLE regress_surplus;
