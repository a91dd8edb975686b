-- Money that does not fit: more, less, in another currency, not needed; what goes back by itself, and what waits for a person.
\getenv srcdir PG_ABS_SRCDIR
CREATE ROLE regress_overpaid;
SELECT count(payguard.grant_access('regress_overpaid', a)) FROM unnest('{checkout,cashier,channel,admin,refunds,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_overpaid;
\set situation :srcdir /test/lib/situation.sql
\i :situation
SELECT (payguard.register_channel('till', internal := true)).internal, (payguard.register_channel('careful', surplus := 'review')).surplus;
\set ECHO none
-- now_of(id): all_of(), of this moment and not of the statement's beginning.
CREATE FUNCTION pg_temp.now_of(id text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN pg_temp.all_of(id); END $$;
-- start_with(id, amount, channel): an attempt of an order of 1000 EUR, which brings so much.
CREATE FUNCTION pg_temp.start_with(id text, amount bigint, channel text DEFAULT 'card', currency text DEFAULT 'EUR') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  this uuid;
BEGIN
  PERFORM payguard.create_order(id, 1000, 'EUR', 'anna');
  this := pg_temp.start(id, 'this', channel);
  RETURN pg_temp.say(this, 'succeeded', id, amount, currency);
END
$$;
CREATE FUNCTION pg_temp.record(id text, channel text, txn text, amount bigint DEFAULT 1000, currency text DEFAULT 'EUR', at timestamptz DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
  SELECT outcome || CASE WHEN replayed THEN ' again' ELSE '' END FROM payguard.record_payment(id, channel, id || '/' || txn, amount, currency, at)
$$;
CREATE FUNCTION pg_temp.accept(id text, txn text) RETURNS text LANGUAGE sql AS $$
  SELECT outcome FROM payguard.payments p, payguard.accept_surplus(p.payment_id, 'it is enough') WHERE channel_txn_id = id || '/' || txn
$$;
\set ECHO all
-- more pays the order, and the excess goes back; it is no part of what is refunded of the order
SELECT pg_temp.start_with('over-1', 1250), pg_temp.now_of('over-1');
SELECT status, advice, refunded_amount FROM payguard.order_status('over-1');
SELECT (payguard.settle_refund(refund_id, 'succeeded', 'it is')).outcome, pg_temp.now_of('over-1') FROM payguard.refunds WHERE order_id = 'over-1';
SELECT count(*) FROM payguard.maintain();
SELECT count(*) FROM payguard.alerts WHERE order_id = 'over-1' AND resolved_at IS NULL;
SELECT outcome, amount FROM payguard.refund_order('over-1', 'over-1/a', reason := 'goods returned');
SELECT (payguard.settle_refund(refund_id, 'succeeded', 'it is')).outcome, pg_temp.now_of('over-1') FROM payguard.refunds WHERE order_id = 'over-1' AND origin = 'request';
-- more than twice what was asked for: somebody has mixed up units, and a person looks
SELECT pg_temp.start_with('over-2', 100000), pg_temp.now_of('over-2');
SELECT pg_temp.start_with('over-20', 2000), pg_temp.now_of('over-20'), pg_temp.start_with('over-21', 2001), pg_temp.now_of('over-21');
-- less of the excess went back than was asked for: the rest of it is still owed
SELECT pg_temp.start_with('part-1', 1250);
SELECT outcome FROM payguard.refunds r, payguard.report_refund(r.refund_id, 'succeeded', amount := 100) WHERE r.order_id = 'part-1';
SELECT pg_temp.now_of('part-1');
-- where the setting says so, a person looks at any excess, and at any money that is not needed
SELECT pg_temp.start_with('over-3', 1250, 'careful'), pg_temp.now_of('over-3');
SELECT pg_temp.record('over-3', 'careful', 'again'), pg_temp.now_of('over-3');
-- money without an attempt; for an order that does not want it all of it goes back
SELECT (payguard.create_order('over-4', 1000, 'EUR')).status, pg_temp.record('over-4', 'bank', 'a', 1100), pg_temp.now_of('over-4');
SELECT pg_temp.record('over-4', 'bank', 'b', 1100), pg_temp.now_of('over-4');
-- less, or another currency: a person decides, and workers do nothing meanwhile
SELECT pg_temp.start_with('less-1', 985), pg_temp.now_of('less-1');
SELECT pg_temp.start_with('less-2', 1000, currency := 'USD'), pg_temp.now_of('less-2');
SELECT count(*) FROM payguard.claim_tasks('worker', 1000, kinds := '{refund}') WHERE order_id ~ '^less-';
-- the order is lowered, and the money pays it
SELECT (payguard.update_order('less-1', version, 985)).amount FROM payguard.orders WHERE order_id = 'less-1';
SELECT outcome FROM payguard.accept_surplus(pg_temp.id('less-1', 'this'), 'the bank has kept a fee');
SELECT pg_temp.all_of('less-1');
-- lowered by too much: the excess goes back as soon as a person says so
SELECT (payguard.create_order('less-3', 1000, 'EUR')).status, pg_temp.record('less-3', 'bank', 'a', 985);
SELECT (payguard.update_order('less-3', version, 900)).amount FROM payguard.orders WHERE order_id = 'less-3';
SELECT pg_temp.accept('less-3', 'a'), pg_temp.now_of('less-3');
-- also where an operator had waived its refund
SELECT (payguard.create_order('less-4', 1000, 'EUR')).status, pg_temp.record('less-4', 'bank', 'a', 985);
SELECT (payguard.waive_refund(refund_id, 'we wait for the rest')).status FROM payguard.refunds WHERE order_id = 'less-4';
SELECT (payguard.update_order('less-4', version, 900)).amount FROM payguard.orders WHERE order_id = 'less-4';
SELECT pg_temp.accept('less-4', 'a'), pg_temp.now_of('less-4');
-- two parts that are the whole sum: neither goes back by itself
SELECT (payguard.create_order('less-5', 1000, 'EUR')).status, pg_temp.record('less-5', 'bank', 'a', 500), pg_temp.record('less-5', 'bank', 'b', 500), pg_temp.now_of('less-5');
-- an amount that the channel has not named is what was asked: less, where the order asks another by now
SELECT (payguard.create_order('less-6', 1000, 'EUR')).status, pg_temp.say(pg_temp.start('less-6', 'this'), 'failed');
SELECT (payguard.update_order('less-6', version, 900)).amount FROM payguard.orders WHERE order_id = 'less-6';
SELECT pg_temp.say(pg_temp.id('less-6', 'this'), 'succeeded', 'less-6'), pg_temp.now_of('less-6');
-- an attempt asked for more than the order asks now: it pays, and the rest goes back
SELECT (payguard.create_order('over-5', 1000, 'EUR')).status, pg_temp.say(pg_temp.start('over-5', 'this'), 'failed');
SELECT (payguard.update_order('over-5', version, 900)).amount FROM payguard.orders WHERE order_id = 'over-5';
SELECT pg_temp.say(pg_temp.id('over-5', 'this'), 'succeeded', 'over-5', 1000, 'EUR'), pg_temp.now_of('over-5');
-- the amount is named, or corrected, later: the unbegun refund of the excess is opened, changes or ends, and waits
SELECT (payguard.create_order('over-' || n, 1000, 'EUR')).status, pg_temp.say(pg_temp.start('over-' || n, 'this'), 'succeeded', 'over-' || n) FROM generate_series(6, 7) n;
SELECT pg_temp.say(pg_temp.id('over-6', 'this'), 'succeeded', 'over-6', 1200, 'EUR'), pg_temp.now_of('over-6');
SELECT pg_temp.say(pg_temp.id('over-7', 'this'), 'succeeded', 'over-7', 900, 'EUR'), pg_temp.now_of('over-7');
SELECT pg_temp.start_with('over-8', 1250), pg_temp.start_with('over-9', 1250);
INSERT INTO payguard.settlement_lines (channel, channel_txn_id, amount, currency, channel_time) VALUES ('card', 'over-8', 1100, 'EUR', now()), ('card', 'over-9', 1000, 'EUR', now());
SELECT order_id, finding FROM payguard.reconcile('card', now() - interval '1 hour', now() + interval '1 hour') WHERE order_id IN ('over-8', 'over-9') ORDER BY 1;
SELECT order_id, (payguard.resolve_finding(alert_id, 'accept', 'says the statement')).outcome, pg_temp.now_of(order_id) FROM payguard.alerts WHERE kind = 'settlement_amount_mismatch' AND order_id IN ('over-8', 'over-9') ORDER BY order_id;
-- cash is handed back by somebody: what payguard opens by itself waits for him
SELECT pg_temp.start_with('cash-1', 1000), pg_temp.record('cash-1', 'till', 'receipt'), pg_temp.now_of('cash-1');
SELECT count(*) FROM payguard.maintain();
SELECT pg_temp.all_of('cash-1');
SELECT (payguard.create_order('cash-2', 1000, 'EUR')).status, pg_temp.record('cash-2', 'till', 'receipt', 800), pg_temp.now_of('cash-2');
SELECT (payguard.update_order('cash-2', version, 800)).amount FROM payguard.orders WHERE order_id = 'cash-2';
SELECT pg_temp.accept('cash-2', 'receipt'), pg_temp.now_of('cash-2');
SELECT (payguard.create_order('cash-3', 1000, 'EUR')).status, pg_temp.record('cash-3', 'till', 'receipt', 1500), pg_temp.now_of('cash-3');
-- an order that has expired: late_success says, and money that the channel took in time is in time
SELECT pg_temp.make('over-late-' || n, 'failed, expired') IS NOT NULL AS made FROM generate_series(1, 4) n;
SELECT pg_temp.record('over-late-1', 'card', 'a'), pg_temp.now_of('over-late-1');
SELECT pg_temp.record('over-late-2', 'card_accept_expired', 'a'), pg_temp.now_of('over-late-2');
SELECT pg_temp.record('over-late-3', 'card', 'a', at := (SELECT expires_at FROM payguard.orders WHERE order_id = 'over-late-3')), pg_temp.now_of('over-late-3');
SELECT pg_temp.record('over-late-4', 'card_refund', 'a', at := (SELECT expires_at FROM payguard.orders WHERE order_id = 'over-late-4')), pg_temp.now_of('over-late-4');
-- cancelled in one tab, paid in the other, a moment before or after the attempt is closed
SELECT pg_temp.make('tab-1', 'closing, to be cancelled') IS NOT NULL AS made;
SELECT pg_temp.say(pg_temp.id('tab-1', 'this'), 'succeeded', 'tab-1', 1000, 'EUR'), pg_temp.now_of('tab-1');
SELECT pg_temp.make('tab-2', 'failed, cancelled') IS NOT NULL AS made;
SELECT pg_temp.say(pg_temp.id('tab-2', 'this'), 'succeeded', 'tab-2', 1000, 'EUR'), pg_temp.now_of('tab-2');
-- who cancels an order that is about to expire wants no money for it, either
SELECT pg_temp.make('tab-3', 'closing, to be expired') IS NOT NULL AS made;
SELECT (payguard.cancel_order('tab-3')).closing_as;
SELECT (payguard.cancel_order('tab-3')).version = (SELECT version FROM payguard.orders WHERE order_id = 'tab-3') AS the_same;
SELECT pg_temp.say(pg_temp.id('tab-3', 'this'), 'succeeded', 'tab-3', 1000, 'EUR'), pg_temp.now_of('tab-3');
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_overpaid;
DROP ROLE regress_overpaid;
