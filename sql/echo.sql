-- One refund, one row: what a channel reports of a refund of ours on its own, before and after the answer; and money that goes back another way.
\getenv srcdir PG_ABS_SRCDIR
CREATE ROLE regress_echo;
SELECT count(payguard.grant_access('regress_echo', a)) FROM unnest('{checkout,cashier,channel,admin,refunds,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_echo;
\set situation :srcdir /test/lib/situation.sql
\i :situation
SELECT (payguard.register_channel('store_credit', internal := true)).internal;
\set ECHO none
-- now_of(id): all_of(), of this moment and not of the statement's beginning.
CREATE FUNCTION pg_temp.now_of(id text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN pg_temp.all_of(id); END $$;
-- asked(id, amounts): a paid order of 1000 EUR and its refunds, whose keys are its id and their numbers.
CREATE FUNCTION pg_temp.asked(id text, VARIADIC amounts bigint[]) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_temp.make(id, 'succeeded', txn := id);
  FOR n IN 1 .. cardinality(amounts) LOOP
    PERFORM payguard.refund_order(id, id || '/' || n, amounts[n], 'goods returned');
  END LOOP;
  RETURN pg_temp.refunds_of(id);
END
$$;
CREATE FUNCTION pg_temp.ours(id text, n int DEFAULT 1) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
  RETURN (SELECT refund_id FROM payguard.refunds WHERE idempotency_key = id || '/' || n);
END
$$;
-- echo(id, name, amount): the channel tells of a refund, which it names, and not of ours.
CREATE FUNCTION pg_temp.echo(id text, name text, amount bigint) RETURNS text LANGUAGE sql AS $$
  SELECT outcome || CASE WHEN replayed THEN ' again' ELSE '' END FROM payguard.record_reversal('card', id || '/' || name, id, 'refund', amount, 'EUR')
$$;
CREATE FUNCTION pg_temp.answer_refund(id text, status text, name text DEFAULT NULL, amount bigint DEFAULT NULL, n int DEFAULT 1) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(': ', outcome || CASE WHEN replayed THEN ' again' ELSE '' END, CASE WHEN outcome = 'recorded' THEN message END)
  FROM payguard.report_refund(pg_temp.ours(id, n), status, id || '/' || name, amount, CASE WHEN amount IS NOT NULL THEN 'EUR' END)
$$;
CREATE FUNCTION pg_temp.balance_of(id text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RETURN (SELECT format('refunding %s, refunded %s, excess %s', refunding, refunded, excess) FROM payguard.refund_balances JOIN payguard.payments USING (payment_id) WHERE order_id = id);
END
$$;
\set ECHO all
-- the message is faster than the worker's answer: one refund, whichever comes first
SELECT pg_temp.asked('echo-1', 1000), pg_temp.echo('echo-1', 'A', 1000), pg_temp.now_of('echo-1'), pg_temp.balance_of('echo-1');
SELECT pg_temp.answer_refund('echo-1', 'succeeded', 'A', 1000), pg_temp.now_of('echo-1'), pg_temp.balance_of('echo-1');
SELECT pg_temp.echo('echo-1', 'A', 1000), pg_temp.answer_refund('echo-1', 'succeeded', 'A', 1000);
SELECT kind, from_status, to_status, details ? 'same_as' AS names_it FROM payguard.events WHERE order_id = 'echo-1' AND to_status = 'merged';
SELECT pg_temp.asked('echo-2', 1000), pg_temp.answer_refund('echo-2', 'succeeded', 'A', 1000), pg_temp.echo('echo-2', 'A', 1000), pg_temp.now_of('echo-2'), pg_temp.balance_of('echo-2');
-- what is said of the row that is merged: that the money is back is known, the contrary is kept, and nobody decides about it
SELECT refund_id AS merged FROM payguard.refunds WHERE order_id = 'echo-1' AND status = 'merged' \gset
SELECT said, outcome, replayed, message FROM unnest('{succeeded,pending,unknown,not_found,failed}'::text[]) said, payguard.report_refund(:'merged', said);
SELECT result FROM payguard.record_notification('card', 'merged'::text, 'merged', refund_id := :'merged', channel_status := 'failed');
SELECT pg_temp.answer(format('SELECT payguard.waive_refund(%L, %L)', :'merged', 'not ours')) ~ '^PY105' AS refused;
SELECT pg_temp.now_of('echo-1'), pg_temp.balance_of('echo-1');
-- another amount than was asked for: a person hears of it
SELECT pg_temp.asked('echo-3', 600), pg_temp.echo('echo-3', 'A', 500), pg_temp.answer_refund('echo-3', 'succeeded', 'A'), pg_temp.now_of('echo-3'), pg_temp.balance_of('echo-3');
-- the answer says pending, or failed, where the channel has told of the refund
SELECT pg_temp.asked('echo-4', 600), pg_temp.echo('echo-4', 'A', 600), pg_temp.answer_refund('echo-4', 'pending', 'A'), pg_temp.now_of('echo-4');
SELECT pg_temp.asked('echo-5', 600), pg_temp.echo('echo-5', 'A', 600), pg_temp.answer_refund('echo-5', 'failed', 'A'), pg_temp.now_of('echo-5'), pg_temp.balance_of('echo-5');
-- an answer without a name takes the one of its amount
SELECT pg_temp.asked('echo-6', 600), pg_temp.echo('echo-6', 'A', 600), pg_temp.answer_refund('echo-6', 'succeeded'), pg_temp.now_of('echo-6'), pg_temp.balance_of('echo-6');
SELECT channel_refund_id FROM payguard.refunds WHERE refund_id = pg_temp.ours('echo-6');
-- where several fit nothing is guessed, and the operator names it
SELECT pg_temp.asked('echo-7', 300), pg_temp.echo('echo-7', 'A', 300), pg_temp.echo('echo-7', 'B', 300), pg_temp.answer_refund('echo-7', 'succeeded'), pg_temp.now_of('echo-7');
SELECT (payguard.settle_refund(pg_temp.ours('echo-7'), 'succeeded', 'seen in the console', 'echo-7/B')).outcome, pg_temp.now_of('echo-7'), pg_temp.balance_of('echo-7');
-- the answer without a name comes first: the message names it
SELECT pg_temp.asked('echo-12', 300), pg_temp.answer_refund('echo-12', 'succeeded'), pg_temp.echo('echo-12', 'A', 300), pg_temp.echo('echo-12', 'A', 300), pg_temp.now_of('echo-12'), pg_temp.balance_of('echo-12');
SELECT channel_refund_id FROM payguard.refunds WHERE refund_id = pg_temp.ours('echo-12');
SELECT pg_temp.asked('echo-13', 300, 300), pg_temp.answer_refund('echo-13', 'succeeded', n := 1), pg_temp.answer_refund('echo-13', 'succeeded', n := 2), pg_temp.echo('echo-13', 'A', 300), pg_temp.now_of('echo-13'), pg_temp.balance_of('echo-13');
-- a worker has the refund, and its answer says another amount than the message
SELECT pg_temp.asked('echo-14', 600);
SELECT task_id, lease_token FROM payguard.claim_tasks('worker', 1000, kinds := '{refund}') WHERE order_id = 'echo-14' \gset
SELECT pg_temp.echo('echo-14', 'A', 600), pg_temp.now_of('echo-14');
SELECT outcome FROM payguard.complete_task(:task_id, :'lease_token', 'succeeded', 'echo-14/A', 500, 'EUR');
SELECT pg_temp.now_of('echo-14'), pg_temp.balance_of('echo-14');
-- what was given back before the refund was asked for is none of it
SELECT pg_temp.make('echo-8', 'succeeded', txn := 'echo-8') IS NOT NULL AS made, pg_temp.echo('echo-8', 'A', 300);
SELECT outcome FROM payguard.refund_order('echo-8', 'echo-8/1', 300, 'goods returned');
SELECT pg_temp.answer_refund('echo-8', 'succeeded'), pg_temp.now_of('echo-8'), pg_temp.balance_of('echo-8');
-- nor is what went back under another name, or of another kind
SELECT pg_temp.asked('echo-9', 300), pg_temp.echo('echo-9', 'A', 300), pg_temp.answer_refund('echo-9', 'succeeded', 'B', 300), pg_temp.now_of('echo-9');
SELECT pg_temp.asked('echo-10', 300), outcome FROM payguard.record_reversal('card', 'echo-10/A', 'echo-10', 'chargeback', 300, 'EUR');
SELECT pg_temp.answer_refund('echo-10', 'succeeded', 'A', 300), pg_temp.now_of('echo-10');
-- two refunds of one amount: each takes its own
SELECT pg_temp.asked('echo-11', 300, 300), pg_temp.echo('echo-11', 'A', 300), pg_temp.answer_refund('echo-11', 'succeeded', 'A', 300, 2), pg_temp.now_of('echo-11');
SELECT pg_temp.echo('echo-11', 'B', 300), pg_temp.answer_refund('echo-11', 'succeeded', 'B', 300, 1), pg_temp.now_of('echo-11'), pg_temp.balance_of('echo-11');
-- what was told of ours without a name had another amount: the named one counts, once
SELECT pg_temp.asked('named-1', 400), pg_temp.answer_refund('named-1', 'succeeded', amount := 400), pg_temp.echo('named-1', 'A', 600);
SELECT pg_temp.answer_refund('named-1', 'succeeded', 'A'), pg_temp.answer_refund('named-1', 'succeeded', 'A'), pg_temp.echo('named-1', 'A', 600);
SELECT pg_temp.now_of('named-1'), pg_temp.balance_of('named-1');
-- money goes back by another way, which is the shop's own: at once, under the same ceiling
SELECT pg_temp.make('credit-' || n, 'succeeded', txn := 'credit-' || n) IS NOT NULL AS made FROM generate_series(1, 2) n;
SELECT outcome, status, amount FROM payguard.refund_order('credit-1', 'credit-1/a', 400, 'as store credit', channel := 'store_credit');
SELECT outcome, replayed FROM payguard.refund_order('credit-1', 'credit-1/a', 400, 'as store credit', channel := 'store_credit');
SELECT pg_temp.now_of('credit-1'), pg_temp.balance_of('credit-1');
SELECT channel FROM payguard.refunds WHERE order_id = 'credit-1';
SELECT pg_temp.written() AS before \gset
SELECT pg_temp.answer(format('SELECT outcome FROM payguard.refund_order(%L, %L, %s, %L, channel := %L)', 'credit-1', key, amount, 'try', channel))
FROM (VALUES ('credit-1/b', 601, 'store_credit'), ('credit-1/b', 600, 'bank'), ('credit-1/b', 600, 'nowhere'), ('credit-1/a', 400, 'internal')) c (key, amount, channel);
SELECT pg_temp.written() = :'before' AS nothing_written;
SELECT outcome, status FROM payguard.refund_payment(pg_temp.id('credit-2', 'this'), 'credit-2/a', reason := 'in cash', channel := 'internal');
SELECT pg_temp.now_of('credit-2');
-- with all the arguments of 1.1.0 a call means what it meant
SELECT outcome, amount FROM payguard.refund_order('credit-1', 'credit-1/c', 100, 'goods returned', NULL);
SELECT outcome, amount FROM payguard.refund_payment(pg_temp.id('credit-1', 'this'), 'credit-1/d', 100, 'goods returned', NULL);
SELECT outcome FROM payguard.record_reversal('card', 'credit-1/X', 'credit-1', 'refund', 50, 'EUR');
SELECT (payguard.settle_refund(refund_id, 'succeeded', 'it is')).outcome FROM payguard.refunds WHERE idempotency_key = 'credit-1/c';
PREPARE refund_of_1_1 AS SELECT outcome, amount FROM payguard.refund_order($1, $2, $3, $4, $5);
EXECUTE refund_of_1_1 ('credit-1', 'credit-1/e', 50, 'goods returned', NULL);
-- a free order is given back by a refund of nothing
SELECT (payguard.create_order('free-1', 0, 'EUR')).status, (payguard.pay_order('free-1', 'free-1')).outcome;
SELECT outcome, status, amount FROM payguard.refund_order('free-1', 'free-1/a', reason := 'cannot come');
SELECT outcome, replayed FROM payguard.refund_order('free-1', 'free-1/a', reason := 'cannot come');
SELECT pg_temp.now_of('free-1');
SELECT pg_temp.answer($$SELECT outcome FROM payguard.refund_order('free-1', 'free-1/b', reason := 'once more')$$);
SELECT pg_temp.answer($$SELECT outcome FROM payguard.refund_order('credit-2', 'credit-2/b', reason := 'once more')$$);
-- a person has said that it went back another way, and the channel says that it has made it: he is asked, and the number is on record
SELECT pg_temp.asked('twice-1', 600), (payguard.settle_refund(pg_temp.ours('twice-1'), 'succeeded', 'by transfer')).outcome;
SELECT pg_temp.answer_refund('twice-1', 'succeeded', 'A', 600), pg_temp.now_of('twice-1'), pg_temp.balance_of('twice-1');
SELECT channel_refund_id, amount_verified FROM payguard.refunds WHERE refund_id = pg_temp.ours('twice-1');
SELECT happened, outlook FROM payguard.cases WHERE order_id = 'twice-1';
SELECT (payguard.resolve_alert(alert_id, 'he sent it back to us')).kind FROM payguard.alerts WHERE order_id = 'twice-1' AND resolved_at IS NULL;
SELECT pg_temp.answer_refund('twice-1', 'succeeded', 'A', 600), pg_temp.answer_refund('twice-1', 'succeeded', 'A'), pg_temp.now_of('twice-1');
-- so it is where the channel names an amount alone, or another one
SELECT pg_temp.asked('twice-2', 600), (payguard.settle_refund(pg_temp.ours('twice-2'), 'succeeded', 'by transfer')).outcome, pg_temp.answer_refund('twice-2', 'succeeded', amount := 600), pg_temp.now_of('twice-2');
SELECT pg_temp.asked('twice-3', 600), (payguard.settle_refund(pg_temp.ours('twice-3'), 'succeeded', 'by transfer')).outcome, pg_temp.answer_refund('twice-3', 'succeeded', 'A', 500), pg_temp.now_of('twice-3');
SELECT happened FROM payguard.cases WHERE order_id = 'twice-3';
-- nobody is asked where he gave the number, where the channel tells of what he made in its console, and where he names it later
SELECT pg_temp.asked('twice-4', 600), (payguard.settle_refund(pg_temp.ours('twice-4'), 'succeeded', 'seen in the console', 'twice-4/A')).outcome, pg_temp.answer_refund('twice-4', 'succeeded', 'A', 600), pg_temp.now_of('twice-4');
SELECT pg_temp.asked('twice-5', 600), (payguard.settle_refund(pg_temp.ours('twice-5'), 'succeeded', 'made in the console')).outcome, pg_temp.echo('twice-5', 'A', 600), pg_temp.answer_refund('twice-5', 'succeeded', 'A', 600), pg_temp.now_of('twice-5');
SELECT pg_temp.asked('twice-6', 600), (payguard.settle_refund(pg_temp.ours('twice-6'), 'succeeded', 'made in the console')).outcome, (payguard.settle_refund(pg_temp.ours('twice-6'), 'succeeded', 'its number', 'twice-6/A')).outcome, pg_temp.answer_refund('twice-6', 'succeeded', 'A', 600), pg_temp.now_of('twice-6');
-- a channel's own answers, without a number and then with one, are one refund
SELECT pg_temp.asked('twice-7', 600), pg_temp.answer_refund('twice-7', 'succeeded'), pg_temp.answer_refund('twice-7', 'succeeded', 'A', 600), pg_temp.now_of('twice-7');
-- what has gone back under a number, and is told under another one, is kept and asked about: whoever gave the first
SELECT pg_temp.answer_refund('twice-4', said, 'B', 600) FROM unnest('{succeeded,failed,pending}'::text[]) said;
SELECT pg_temp.echo('twice-7', 'B', 300), pg_temp.answer_refund('twice-7', 'succeeded', 'B', 300);
SELECT pg_temp.now_of('twice-4'), pg_temp.now_of('twice-7'), pg_temp.balance_of('twice-7');
-- one that is tried again gets another number
SELECT pg_temp.asked('twice-8', 600), pg_temp.answer_refund('twice-8', 'pending', 'A'), pg_temp.answer_refund('twice-8', 'failed', 'A');
SELECT (payguard.retry_refund(pg_temp.ours('twice-8'), 'once more')).outcome, pg_temp.answer_refund('twice-8', 'succeeded', 'B', 600), pg_temp.now_of('twice-8');
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_echo;
DROP ROLE regress_echo;
