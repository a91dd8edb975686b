-- An attempt: started, closed, asked about; one at a time.
\getenv srcdir PG_ABS_SRCDIR
CREATE ROLE regress_attempts;
SELECT count(payguard.grant_access('regress_attempts', a)) FROM unnest('{checkout,cashier,channel,admin,refunds,auditor}'::text[]) a;
SET SESSION AUTHORIZATION regress_attempts;
\set situation :srcdir /test/lib/situation.sql
\i :situation
SELECT (payguard.create_order('attempt-1', 1000, 'EUR')).version;
SELECT outcome, order_id, order_status, payment_status, version, amount, currency, completed_at, replayed, message
FROM payguard.start_payment('attempt-1', 'attempt-1/this', 'card', 1000, 'EUR', 1, clock_timestamp() + interval '10 min', '{"return_to": "/thanks"}');
SELECT channel, amount, currency, received_amount, amount_verified, status, channel_txn_id, order_version, request_kind, details, expires_at - created_at > interval '9 min' AS expires, completed_at FROM payguard.payments WHERE order_id = 'attempt-1';
SELECT kind, run_at - t.created_at BETWEEN '59 s' AND '61 s' AS after_first_query, tries, sent, dead_at FROM payguard.tasks t WHERE order_id = 'attempt-1';
SELECT kind, from_status, to_status, version FROM payguard.events WHERE order_id = 'attempt-1' ORDER BY event_id;
-- the order of the checks: each call has one fault less
SELECT (payguard.create_order('attempt-2', 1000, 'EUR')).version;
SELECT pg_temp.written() AS before \gset
SELECT n, pg_temp.answer(call) FROM (VALUES
  (1, $$SELECT payguard.start_payment('attempt-1', '', 'nowhere', 5, 'USD', 9)$$),
  (2, $$SELECT payguard.start_payment('attempt-2', 'attempt-1/this', 'nowhere', 5, 'USD', 9)$$),
  (3, $$SELECT payguard.start_payment('attempt-1', 'attempt-1/this', 'nowhere', 5, 'USD', 9)$$),
  (4, $$SELECT payguard.start_payment('attempt-none', 'attempt-new', 'nowhere', 5, 'USD', 9)$$),
  (5, $$SELECT payguard.start_payment('attempt-none', 'attempt-new', 'card', 5, 'USD', 9)$$),
  (6, $$SELECT payguard.start_payment('attempt-1', 'attempt-new', 'card', 5, 'USD', 9)$$),
  (7, $$SELECT payguard.start_payment('attempt-2', 'attempt-new', 'card', 5, 'USD', 9)$$),
  (8, $$SELECT payguard.start_payment('attempt-2', 'attempt-new', 'card', 5, 'USD', 1)$$),
  (9, $$SELECT payguard.start_payment('attempt-2', 'attempt-new', 'card', 1000, 'USD', 1)$$),
  (10, $$SELECT payguard.pay_order('attempt-1', 'attempt-1/this')$$), (11, $$SELECT payguard.start_payment('attempt-2', 'attempt-new', 'internal')$$)) c (n, call);
-- the retry of the click: replayed, nothing written
SELECT outcome, order_status, payment_status, version, replayed FROM payguard.start_payment('attempt-1', 'attempt-1/this', 'card');
SELECT outcome, order_status, payment_status, version, replayed FROM payguard.start_payment('attempt-1', 'attempt-1/this', 'card', 1000, 'EUR', 77);
SELECT pg_temp.written() = :'before' AS nothing_written;
-- while it is open: no other, no change of the order
SELECT pg_temp.answer($$SELECT version FROM payguard.update_order('attempt-1', 2, amount := 5)$$);
SELECT pg_temp.answer($$SELECT outcome FROM payguard.pay_order('attempt-1', 'attempt-1/pay')$$);
-- closed at its channel first: then another may start
SELECT outcome, order_status, payment_status, version, replayed, message FROM payguard.close_payment(pg_temp.id('attempt-1', 'this'));
SELECT pg_temp.all_of('attempt-1');
SELECT kind, run_at <= clock_timestamp() AS due FROM payguard.tasks WHERE order_id = 'attempt-1' ORDER BY 1;
SELECT pg_temp.written() AS before \gset
SELECT outcome, payment_status, replayed FROM payguard.close_payment(pg_temp.id('attempt-1', 'this'));
SELECT pg_temp.answer($$SELECT outcome FROM payguard.start_payment('attempt-1', 'attempt-1/other', 'bank')$$);
SELECT pg_temp.written() = :'before' AS nothing_written;
SELECT pg_temp.say(pg_temp.id('attempt-1', 'this'), 'closed');
SELECT pg_temp.all_of('attempt-1'), failure_code FROM payguard.payments WHERE order_id = 'attempt-1';
SELECT pg_temp.answer($$SELECT outcome FROM payguard.start_payment('attempt-1', 'attempt-1/this', 'card')$$);
SELECT pg_temp.start('attempt-1', 'other', 'bank') IS NOT NULL AS started;
SELECT pg_temp.all_of('attempt-1');
-- what has ended cannot be closed
SELECT (payguard.create_order('attempt-3', 1000, 'EUR')).version;
SELECT outcome FROM payguard.pay_order('attempt-3', 'attempt-3/this');
SELECT pg_temp.make('attempt-4', 'surplus, paid') IS NOT NULL AS made;
SELECT what, pg_temp.answer(format('SELECT outcome FROM payguard.close_payment(%L)', id)) FROM (VALUES ('failed', pg_temp.id('attempt-1', 'this')), ('paid', pg_temp.id('attempt-3', 'this')),
  ('surplus', pg_temp.id('attempt-4', 'this')), ('none', '01890000-0000-7000-8000-000000000000'), ('null', NULL)) c (what, id);
-- superseded: it is being closed already
SELECT pg_temp.make('attempt-5', 'superseded') IS NOT NULL AS made;
SELECT outcome, payment_status, order_status, replayed FROM payguard.close_payment(pg_temp.id('attempt-5', 'this'));
-- a failure says why
SELECT pg_temp.make('attempt-6', 'pending') IS NOT NULL AS made;
SELECT outcome, payment_status, order_status FROM payguard.report_payment(pg_temp.id('attempt-6', 'this'), 'failed', 'attempt-6', code := 'card_declined', message := E'Ask your bank.\nCode 51');
SELECT status, failure_code, failure_message, channel_txn_id FROM payguard.payments WHERE order_id = 'attempt-6';
SELECT pg_temp.answer($$SELECT outcome FROM payguard.start_payment('attempt-6', 'attempt-6/this', 'card')$$);
-- an operator's word
SELECT pg_temp.make('attempt-7', 'unknown') IS NOT NULL AS made;
SELECT outcome, payment_status, order_status FROM payguard.settle_payment(pg_temp.id('attempt-7', 'this'), 'succeeded', 'seen on the statement', 'attempt-7', 1000, 'EUR');
SELECT kind, actor, details FROM payguard.events WHERE order_id = 'attempt-7' AND kind = 'payment.succeeded';
SELECT pg_temp.answer($$SELECT outcome FROM payguard.settle_payment('01890000-0000-7000-8000-000000000000', 'failed', 'no such payment')$$);
-- cancelling a paying order closes its attempt first
SELECT pg_temp.make('attempt-8', 'pending') IS NOT NULL AS made;
SELECT status, closing_as, version FROM payguard.cancel_order('attempt-8', 2, 'changed my mind');
SELECT pg_temp.all_of('attempt-8');
SELECT status, closing_as, version FROM payguard.cancel_order('attempt-8', 2, 'changed my mind');
SELECT pg_temp.say(pg_temp.id('attempt-8', 'this'), 'closed');
SELECT pg_temp.all_of('attempt-8');
SELECT kind, from_status, to_status, version, details FROM payguard.events WHERE order_id = 'attempt-8' ORDER BY event_id;
SELECT pg_temp.make('attempt-9', 'closing, to be cancelled') IS NOT NULL AS made;
SELECT pg_temp.say(pg_temp.id('attempt-9', 'this'), 'succeeded', 'attempt-9', 1000, 'EUR');
SELECT pg_temp.all_of('attempt-9');
SELECT pg_temp.answer($$SELECT status FROM payguard.cancel_order('attempt-9')$$);
-- what the customer's page may say, in every situation
SELECT pg_temp.make('advice ' || s, s) IS NOT NULL AS made
FROM unnest('{pending,unknown,closing,"closing, to be cancelled","closing, to be expired",superseded,"failed, unpaid","failed, paying by another","failed, cancelled","failed, expired","failed, paid",succeeded,"succeeded, refunded","surplus, unpaid","surplus, cancelled","surplus, paid","surplus, refunded"}'::text[]) s;
SELECT pg_temp.say(pg_temp.make('advice second charge', 'succeeded', txn := 'advice t'), 'succeeded', 'advice u', 1000, 'EUR'),
  pg_temp.say(pg_temp.make('advice contradiction', 'succeeded', txn := 'advice v'), 'failed');
SELECT pg_temp.make('advice refund failed', 'succeeded', txn := 'advice w') IS NOT NULL, pg_temp.make('advice surplus returned', 'surplus, paid', txn := 'advice x') IS NOT NULL;
SELECT (payguard.report_refund(refund_id, 'failed')).outcome FROM payguard.refund_order('advice refund failed', 'advice refund failed', reason := 'goods returned');
SELECT (payguard.report_refund(refund_id, 'succeeded')).outcome FROM payguard.refunds WHERE order_id = 'advice surplus returned';
SELECT substr(o.order_id, 8) AS situation, s.status, advice, message, can_pay, can_cancel, retry_after, resume_payment_id = pg_temp.id(o.order_id, CASE WHEN o.order_id ~ 'another' THEN 'other' ELSE 'this' END) AS resumes, s.refunded_amount AS back
FROM payguard.orders o, payguard.order_status(o.order_id) s WHERE o.order_id ~ '^advice' ORDER BY 1;
SELECT pg_temp.answer($$SELECT payguard.order_status('attempt-none')$$);
-- and where its advice is to pay, that works; where it is not, it does not
SELECT advice, can_pay, count(*), count(*) FILTER (WHERE answer = 'pending') AS started FROM (
  SELECT advice, can_pay, pg_temp.answer(format('SELECT outcome FROM payguard.start_payment(%L, %L, %L)', o.order_id, o.order_id || '/advised', 'card')) AS answer
  FROM payguard.orders o, payguard.order_status(o.order_id) WHERE o.order_id ~ '^advice') a GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM payguard.verify();
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_attempts;
DROP ROLE regress_attempts;
