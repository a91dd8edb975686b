-- Money goes back once, and never more than came.
\getenv srcdir PG_ABS_SRCDIR
CREATE ROLE regress_refunds;
SELECT count(payguard.grant_access('regress_refunds', a)) FROM unnest('{checkout,cashier,channel,admin,refunds,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_refunds;
\set situation :srcdir /test/lib/situation.sql
\i :situation
-- balance(order): the refunds of the order's payment added up
CREATE FUNCTION pg_temp.balance(id text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT format('received %s: refunding %s, refunded %s, excess %s', received, refunding, refunded, excess)
  FROM payguard.refund_balances WHERE payment_id = (SELECT payment_id FROM payguard.orders WHERE order_id = id)
$$;
CREATE FUNCTION pg_temp.refund(key text) RETURNS uuid LANGUAGE sql STABLE AS $$
  SELECT refund_id FROM payguard.refunds WHERE idempotency_key = key
$$;
CREATE FUNCTION pg_temp.refund_says(refund uuid, status text, id text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
  SELECT outcome || CASE WHEN replayed THEN ' again' ELSE '' END FROM payguard.report_refund(refund, status, id, amount, currency)
$$;
-- a part, then the rest
SELECT pg_temp.make('back-1', 'succeeded', txn := 'back-1') IS NOT NULL AS made;
SELECT outcome, order_id, status, amount, currency, replayed, message FROM payguard.refund_order('back-1', 'back-1/a', 300, 'a discount', '{"ticket": 7}');
SELECT pg_temp.all_of('back-1'), pg_temp.balance('back-1');
SELECT amount, currency, status, origin, reason, requested_by, details, completed_at FROM payguard.refunds WHERE order_id = 'back-1';
-- a key names one refund
SELECT pg_temp.written() AS before \gset
SELECT outcome, amount, replayed FROM payguard.refund_order('back-1', 'back-1/a', 300, 'a discount');
SELECT outcome, amount, replayed FROM payguard.refund_order('back-1', 'back-1/a', reason := 'whatever is left');
SELECT outcome, amount, replayed FROM payguard.refund_payment(pg_temp.id('back-1', 'this'), 'back-1/a', 300, 'a discount');
SELECT pg_temp.answer($$SELECT outcome FROM payguard.refund_order('back-1', 'back-1/a', 301, 'a discount')$$);
SELECT pg_temp.answer($$SELECT outcome FROM payguard.refund_order('back-none', 'back-1/a', 300, 'a discount')$$);
-- no more than is left, counting what is on its way
SELECT pg_temp.answer($$SELECT outcome FROM payguard.refund_order('back-1', 'back-1/b', 701, 'too much')$$);
SELECT pg_temp.answer($$SELECT outcome FROM payguard.refund_order('back-none', 'back-1/b', 1, 'no order')$$);
SELECT pg_temp.answer($$SELECT outcome FROM payguard.refund_payment('01890000-0000-7000-8000-000000000000', 'back-1/b', 1, 'no payment')$$);
SELECT pg_temp.written() = :'before' AS nothing_written;
SELECT pg_temp.refund_says(pg_temp.refund('back-1/a'), 'succeeded', 'r1', 300, 'EUR'), pg_temp.all_of('back-1'), pg_temp.balance('back-1');
SELECT pg_temp.all_of('back-1'), pg_temp.balance('back-1');
SELECT outcome, amount FROM payguard.refund_order('back-1', 'back-1/b', reason := 'the rest');
SELECT pg_temp.refund_says(pg_temp.refund('back-1/b'), 'succeeded', 'r2');
SELECT pg_temp.all_of('back-1'), pg_temp.balance('back-1');
SELECT pg_temp.answer($$SELECT outcome FROM payguard.refund_order('back-1', 'back-1/c', reason := 'once more')$$);
SELECT pg_temp.answer($$SELECT outcome FROM payguard.refund_order('back-1', 'back-1/c', 1, 'once more')$$);
SELECT pg_temp.answer($$SELECT outcome FROM payguard.pay_order('back-1', 'back-1/pay')$$);
-- the bank returns it: the order is paid again, the money is owed
SELECT pg_temp.refund_says(pg_temp.refund('back-1/b'), 'failed'), pg_temp.refund_says(pg_temp.refund('back-1/b'), 'failed');
SELECT pg_temp.all_of('back-1'), pg_temp.balance('back-1');
SELECT kind, from_status, to_status, version, details FROM payguard.events WHERE order_id = 'back-1' AND version > 3 ORDER BY event_id;
-- retried, and made
SELECT (payguard.retry_refund(pg_temp.refund('back-1/b'), 'other account')).outcome;
SELECT pg_temp.all_of('back-1'), pg_temp.balance('back-1');
SELECT pg_temp.refund_says(pg_temp.refund('back-1/b'), 'unknown'), pg_temp.refund_says(pg_temp.refund('back-1/b'), 'pending', 'r2');
SELECT pg_temp.refund_says(pg_temp.refund('back-1/b'), 'succeeded', 'r3');
SELECT pg_temp.all_of('back-1'), pg_temp.balance('back-1');
-- failed, then waived: it may not be made any more; if the channel makes it, that counts
SELECT pg_temp.make('back-2', 'succeeded', txn := 'back-2') IS NOT NULL AS made;
SELECT outcome FROM payguard.refund_order('back-2', 'back-2/a', 600, 'goods returned');
SELECT pg_temp.refund_says(pg_temp.refund('back-2/a'), 'failed'), pg_temp.balance('back-2');
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.refund_payment(%L, %L, 300, %L)', pg_temp.id('back-2', 'this'), 'back-1/a', 'a discount'));
-- another refund takes its place
SELECT outcome FROM payguard.refund_order('back-2', 'back-2/b', 500, 'goods returned');
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.retry_refund(%L, %L)', pg_temp.refund('back-2/a'), 'once more'));
SELECT (payguard.waive_refund(pg_temp.refund('back-2/a'), 'replaced by b')).outcome, pg_temp.alerts_of('back-2') AS alerts_before;
SELECT (payguard.waive_refund(pg_temp.refund('back-2/a'), 'replaced by b')).replayed;
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.retry_refund(%L, %L)', pg_temp.refund('back-2/a'), 'once more'));
SELECT pg_temp.all_of('back-2'), pg_temp.balance('back-2');
SELECT pg_temp.refund_says(pg_temp.refund('back-2/a'), 'succeeded', 'late');
SELECT pg_temp.all_of('back-2'), pg_temp.balance('back-2');
-- nobody has claimed b: it can be waived, and then another made
SELECT (payguard.waive_refund(pg_temp.refund('back-2/b'), 'a was made after all')).outcome, pg_temp.balance('back-2');
SELECT pg_temp.all_of('back-2'), pg_temp.balance('back-2');
SELECT outcome, amount FROM payguard.refund_order('back-2', 'back-2/c', reason := 'the rest');
-- one that was sent can not
SELECT pg_temp.refund_says(pg_temp.refund('back-2/c'), 'unknown');
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.waive_refund(%L, %L)', pg_temp.refund('back-2/c'), 'no'));
SELECT outcome FROM payguard.settle_refund(pg_temp.refund('back-2/c'), 'succeeded', 'the channel says so on the phone');
SELECT pg_temp.all_of('back-2'), pg_temp.balance('back-2');
SELECT details ->> 'note' AS note FROM payguard.events WHERE refund_id = pg_temp.refund('back-2/c') AND kind = 'refund.succeeded';
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.%s(%L, %s)', f, '01890000-0000-7000-8000-000000000000', arguments))
FROM (VALUES ('retry_refund', $$'n'$$), ('waive_refund', $$'n'$$), ('settle_refund', $$'failed', 'n'$$)) c (f, arguments);
-- money in the shop's own hands is back at once
SELECT (payguard.create_order('back-3', 1000, 'EUR')).status;
SELECT outcome FROM payguard.pay_order('back-3', 'back-3/this');
SELECT outcome, amount FROM payguard.refund_order('back-3', 'back-3/a', 999, 'changed their mind');
SELECT outcome, amount FROM payguard.refund_order('back-3', 'back-3/b', reason := 'and the penny');
SELECT pg_temp.all_of('back-3'), pg_temp.balance('back-3');
-- an order that was not paid
SELECT pg_temp.make('back-4', 'surplus, unpaid', txn := 'back-4') IS NOT NULL AS made;
SELECT pg_temp.answer($$SELECT outcome FROM payguard.refund_order('back-4', 'back-4/a', reason := 'no payment')$$);
-- what channels give back on their own
SELECT pg_temp.make('back-' || n, 'succeeded', txn := 'back-' || n) IS NOT NULL AS made FROM generate_series(5, 9) n;
SELECT n, r.outcome, r.status, r.amount, r.replayed FROM (VALUES (5, 'refund', 400), (6, 'chargeback', 1000), (7, 'bank_return', 1000), (8, 'refund', 1200)) v (n, kind, amount),
  payguard.record_reversal('card', 'rev-' || n, 'back-' || n, kind, v.amount, 'EUR') r;
SELECT id, pg_temp.all_of(id), pg_temp.balance(id) FROM unnest('{back-5,back-6,back-7,back-8}'::text[]) id;
SELECT pg_temp.written() AS before \gset
SELECT outcome, replayed FROM payguard.record_reversal('card', 'rev-5', 'back-5', 'refund', 400, 'EUR');
SELECT pg_temp.answer($$SELECT outcome FROM payguard.refund_order('back-6', 'back-6/a', 1, 'after the chargeback')$$);
SELECT pg_temp.written() = :'before' AS nothing_written;
-- other money than before, or under the name of another payment's: a person must look
SELECT outcome, message FROM payguard.record_reversal('card', 'rev-5', 'back-5', 'refund', 500, 'EUR');
SELECT outcome, message FROM payguard.record_reversal('card', 'rev-5', 'back-9', 'refund', 400, 'EUR');
SELECT outcome, message FROM payguard.record_reversal('card', 'rev-9', 'back-9', 'refund', 400, 'USD');
SELECT id, pg_temp.all_of(id), pg_temp.balance(id) FROM unnest('{back-5,back-9}'::text[]) id;
-- a refund of ours is under way, and the customer's bank takes the money too
SELECT pg_temp.make('back-10', 'succeeded', txn := 'back-10') IS NOT NULL AS made;
SELECT outcome FROM payguard.refund_order('back-10', 'back-10/a', 700, 'goods returned');
SELECT outcome FROM payguard.report_refund(pg_temp.refund('back-10/a'), 'pending');
SELECT outcome, amount FROM payguard.record_reversal('card', 'rev-10', 'back-10', 'chargeback', 1000, 'EUR');
SELECT pg_temp.refund_says(pg_temp.refund('back-10/a'), 'succeeded', 'r10');
SELECT pg_temp.all_of('back-10'), pg_temp.balance('back-10');
-- the chargeback is won: what was too much is not any more
SELECT refund_id AS chargeback FROM payguard.refunds WHERE channel_refund_id = 'rev-10' \gset
SELECT outcome FROM payguard.settle_refund(:'chargeback', 'failed', 'we won');
SELECT pg_temp.all_of('back-10'), pg_temp.balance('back-10');
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.retry_refund(%L, %L)', :'chargeback', 'once more'));
-- a reversal of a transaction that is not known yet waits for it
SELECT outcome, message FROM payguard.record_reversal('card', 'rev-11', 'back-11', 'chargeback', 1000, 'EUR');
SELECT outcome, message FROM payguard.record_reversal('card', 'rev-12', 'back-12', 'refund', 100, 'EUR');
SELECT channel, channel_txn_id, amount, result, convert_from(body, 'UTF8') AS body FROM payguard.notifications WHERE channel_txn_id IN ('back-11', 'back-12') ORDER BY 2;
SELECT pg_temp.make('back-11', 'succeeded', txn := 'back-11') IS NOT NULL AS made;
SELECT pg_temp.all_of('back-11');
-- and is not taken for a payment of that name
SELECT pg_temp.make('back-13', 'pending', txn := 'rev-12') IS NOT NULL AS made;
SELECT pg_temp.all_of('back-13');
SELECT kind, cause = event_id AS its_own, resolved_at IS NOT NULL AS resolved FROM payguard.alerts JOIN payguard.notifications ON cause = event_id WHERE channel_txn_id IN ('back-11', 'back-12') AND kind = 'unmatched_notification' ORDER BY channel_txn_id;
-- a refund that is not known is kept
SELECT outcome, refund_id, status, amount, currency, message FROM payguard.report_refund('01890000-0000-7000-8000-000000000000', 'succeeded', 'r99', 5, 'EUR');
SELECT channel, refund_id, channel_status, channel_txn_id, amount, currency, result FROM payguard.notifications WHERE refund_id = '01890000-0000-7000-8000-000000000000';
-- the channel's name of a refund is one refund's
SELECT pg_temp.make('back-14', 'succeeded', txn := 'back-14') IS NOT NULL AS made;
SELECT outcome FROM payguard.refund_order('back-14', 'back-14/a', 100, 'a');
SELECT outcome, message FROM payguard.report_refund(pg_temp.refund('back-14/a'), 'succeeded', 'r1', 100, 'EUR');
-- another amount, another currency
SELECT pg_temp.refund_says(pg_temp.refund('back-14/a'), 'succeeded', 'r14', 90, 'USD');
SELECT pg_temp.all_of('back-14'), pg_temp.balance('back-14');
-- every state of a refund, everything that a channel can say of it
CREATE FUNCTION pg_temp.make_refund(id text, state text) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
  refund uuid;
BEGIN
  IF state = 'awaiting_approval' THEN
    PERFORM pg_temp.say(pg_temp.make(id, 'succeeded', txn := id), 'succeeded', id || '/second', 1000, 'EUR');
    RETURN (SELECT refund_id FROM payguard.refunds WHERE order_id = id);
  END IF;
  PERFORM pg_temp.make(id, 'succeeded', txn := id);
  refund := (payguard.refund_order(id, id, 600, 'goods returned')).refund_id;
  IF state IN ('unknown', 'succeeded', 'failed') THEN PERFORM payguard.report_refund(refund, state); END IF;
  IF state = 'waived' THEN PERFORM payguard.waive_refund(refund, 'not needed'); END IF;
  RETURN refund;
END
$$;
CREATE TEMP TABLE said (n int GENERATED ALWAYS AS IDENTITY, state text, status text, order_id text, outcome text, had_alerts text, version bigint);
CREATE PROCEDURE pg_temp.say_all() LANGUAGE plpgsql AS $$
DECLARE
  c record; refund uuid; id text; had text; v bigint;
BEGIN
  FOR c IN SELECT state, status FROM unnest('{awaiting_approval,pending,unknown,succeeded,failed,waived}'::text[]) WITH ORDINALITY s (state, n),
      unnest('{succeeded,failed,closed,pending,unknown,not_found}'::text[]) WITH ORDINALITY r (status, m) ORDER BY n, m LOOP
    id := 'said-' || c.state || '-' || c.status;
    refund := pg_temp.make_refund(id, c.state);
    SELECT version INTO v FROM payguard.orders WHERE order_id = id;
    INSERT INTO said (state, status, order_id, had_alerts, version, outcome) SELECT c.state, c.status, id, pg_temp.alerts_of(id), v, pg_temp.refund_says(refund, c.status);
  END LOOP;
END
$$;
CALL pg_temp.say_all();
SELECT state, s.status, outcome, (SELECT string_agg(r.status || coalesce(' ' || failure_code, ''), ', ') FROM payguard.refunds r WHERE r.order_id = s.order_id) AS becomes,
  pg_temp.order_of(s.order_id) AS "order", o.version - s.version AS by, pg_temp.tasks_of(s.order_id) AS tasks, nullif(pg_temp.alerts_of(s.order_id), had_alerts) AS alerts
FROM said s JOIN payguard.orders o ON o.order_id = s.order_id ORDER BY n;
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_refunds;
DROP ROLE regress_refunds;
