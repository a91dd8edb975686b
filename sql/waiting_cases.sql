-- What a person must look at: cases tells it, and offers what would not be refused; find_orders() finds an order by anything.
\getenv srcdir PG_ABS_SRCDIR
\set actions :srcdir /test/lib/actions.sql
\i :actions
\set ECHO all
CREATE ROLE regress_clerk;
CREATE ROLE regress_phone;
SELECT payguard.grant_access('regress_clerk', 'operator'), payguard.grant_access('regress_phone', 'support');
SELECT count(payguard.register_channel(name)) FROM unnest('{case-card,case-paypal,case-debit}'::text[]) name;
-- what(): the cases of these orders, as a clerk reads them, and what he may do
CREATE FUNCTION pg_temp.what(like_this text) RETURNS TABLE (told text) LANGUAGE sql AS $$
  SELECT regexp_replace(line, '\d{4}-\d\d-\d\d \d\d:\d\d', '<time>', 'g') FROM (
    SELECT c.case_id, 0 AS place, concat_ws(' | ', c.severity, c.kind, payguard.major_text(c.amount, c.currency) || ' ' || c.currency, c.refund_status, c.happened, c.outlook) AS line
    FROM payguard.cases c WHERE c.order_id LIKE like_this
    UNION ALL
    SELECT c.case_id, a.place, '  ' || concat_ws(' | ', a.action ->> 'action', payguard.tell(a.action ->> 'label', c.story -> 'facts'), payguard.tell(a.action ->> 'effect', c.story -> 'facts'),
      'asked by ' || (a.action ->> 'asked_by'))
    FROM payguard.cases c, LATERAL jsonb_array_elements(c.actions) WITH ORDINALITY a (action, place) WHERE c.order_id LIKE like_this) l
  ORDER BY case_id, place
$$;

-- paid twice
SELECT (payguard.create_order('case-1042', 4250, 'EUR', 'case-ann')).status;
SELECT payment_id AS p FROM payguard.start_payment('case-1042', 'case-k1', 'case-card') \gset
SELECT outcome FROM payguard.report_payment(:'p', 'succeeded', 'case-ch_m1', 4250, 'EUR');
SELECT outcome FROM payguard.record_payment('case-1042', 'case-paypal', 'case-PP-777', 4250, 'EUR');
SELECT * FROM pg_temp.what('case-1042');
-- a second charge, or a second name
SELECT outcome FROM payguard.report_payment(:'p', 'succeeded', 'case-ch_m2', 4250, 'EUR');
-- too little
SELECT (payguard.create_order('case-1017', 10000, 'EUR')).status;
SELECT outcome FROM payguard.record_payment('case-1017', 'case-paypal', 'case-PP-778', 9985, 'EUR');
-- too much
SELECT (payguard.create_order('case-1018', 10000, 'JPY')).status;
SELECT outcome FROM payguard.record_payment('case-1018', 'case-paypal', 'case-PP-779', 30000, 'JPY');
-- a direct debit taken back
SELECT (payguard.create_order('case-998', 8900, 'EUR', 'case-ben')).status;
SELECT outcome FROM payguard.record_payment('case-998', 'case-debit', 'case-dd-1', 8900, 'EUR');
SELECT outcome FROM payguard.record_reversal('case-debit', 'case-back-1', 'case-dd-1', 'bank_return', 3900, 'EUR');
-- large, twice the same, and a refund that failed
SELECT currency FROM payguard.set_policy('XCD', 100000, approve_payment := true, approve_refund := true);
SELECT currency FROM payguard.set_policy('XCD', 1000, duplicate_window := '1 day', on_duplicate := 'flag');
SELECT (payguard.create_order(id, 150000, 'XCD', 'case-cay')).status FROM unnest('{case-large}'::text[]) id;
SELECT (payguard.create_order(id, 2000, 'XCD', 'case-dan')).status FROM unnest('{case-same-1,case-same-2}'::text[]) id;
SELECT outcome FROM unnest('{case-same-1,case-same-2}'::text[]) id, payguard.pay_order(id, id);
SELECT refund_id AS r FROM payguard.refund_order('case-1018', 'case-r1', 500, 'damaged') \gset
SELECT outcome FROM payguard.report_refund(:'r', 'failed', code := 'account closed');
-- a late success, and an attempt that was overtaken
SELECT (payguard.create_order(id, 700, 'EUR')).status FROM unnest('{case-late,case-over}'::text[]) id;
SELECT payment_id AS p FROM payguard.start_payment('case-late', 'case-late', 'case-card') \gset
SELECT outcome FROM payguard.report_payment(:'p', 'failed');
SELECT outcome FROM payguard.report_payment(:'p', 'succeeded', 'case-late', 700, 'EUR');
SELECT payment_id AS p FROM payguard.start_payment('case-over', 'case-over', 'case-card') \gset
SELECT outcome FROM payguard.record_payment('case-over', 'case-paypal', 'case-PP-780', 700, 'EUR');
-- money that is reserved: less than was asked for, soon to be let go of, and not taken
SELECT (payguard.register_channel('case-hold', alert_after := '0 s')).alert_after;
SELECT (payguard.create_order('case-hold-' || n, 50000, 'EUR', 'case-eve')).status FROM generate_series(1, 4) n;
SELECT outcome FROM generate_series(1, 4) n, payguard.start_payment('case-hold-' || n, 'case-hold-' || n, 'case-hold', capture := 'manual');
SELECT r.outcome FROM payguard.payments p CROSS JOIN LATERAL payguard.report_payment(p.payment_id, 'authorized', p.order_id,
  CASE p.order_id WHEN 'case-hold-1' THEN 40000 ELSE 50000 END, 'EUR', capture_before := CASE p.order_id WHEN 'case-hold-2' THEN clock_timestamp() + interval '1 h' END) r
WHERE p.order_id LIKE 'case-hold-%' ORDER BY p.order_id;
SELECT r.outcome FROM payguard.payments p CROSS JOIN LATERAL payguard.capture_payment(p.payment_id) r WHERE p.order_id IN ('case-hold-3', 'case-hold-4') ORDER BY p.order_id;
SELECT r.outcome FROM payguard.claim_tasks('worker', 100, kinds := '{capture}', channels := '{case-hold}') t
CROSS JOIN LATERAL payguard.complete_task(t.task_id, t.lease_token, CASE t.order_id WHEN 'case-hold-3' THEN 'authorized' ELSE 'failed' END) r ORDER BY t.order_id;
-- a capture of less than was reserved whose answer is lost: what it asked for counts; given up, nobody knows what was taken
SELECT (payguard.create_order('case-part-' || n, 50000, 'EUR', 'case-eve')).status FROM generate_series(1, 2) n;
SELECT outcome FROM generate_series(1, 2) n, payguard.start_payment('case-part-' || n, 'case-part-' || n, 'case-hold', capture := 'manual');
SELECT r.outcome FROM payguard.payments p CROSS JOIN LATERAL payguard.report_payment(p.payment_id, 'authorized', p.order_id, 50000, 'EUR') r WHERE p.order_id LIKE 'case-part-%' ORDER BY p.order_id;
SELECT amount FROM generate_series(1, 2) n, payguard.update_order('case-part-' || n, 2, 30000);
SELECT outcome FROM payguard.payments p CROSS JOIN LATERAL payguard.capture_payment(p.payment_id) r WHERE p.order_id = 'case-part-1';
SELECT t.amount, r.outcome FROM payguard.claim_tasks('worker', 100, kinds := '{capture}', channels := '{case-hold}') t CROSS JOIN LATERAL payguard.complete_task(t.task_id, t.lease_token, 'unknown') r;
SELECT count(*) FROM payguard.maintain();
SELECT outcome FROM payguard.payments p CROSS JOIN LATERAL payguard.close_payment(p.payment_id) r WHERE p.order_id = 'case-part-2';
SELECT count(*) FROM payguard.maintain();
-- a capture of a part that the channel has refused, and one that asked for more than the channel has reserved by now
SELECT (payguard.create_order('case-part-' || n, 50000, 'EUR', 'case-eve')).status FROM generate_series(3, 4) n;
SELECT outcome FROM generate_series(3, 4) n, payguard.start_payment('case-part-' || n, 'case-part-' || n, 'case-hold', capture := 'manual');
SELECT r.outcome FROM payguard.payments p CROSS JOIN LATERAL payguard.report_payment(p.payment_id, 'authorized', p.order_id, 50000, 'EUR') r WHERE p.order_id IN ('case-part-3', 'case-part-4') ORDER BY p.order_id;
SELECT amount FROM generate_series(3, 4) n, payguard.update_order('case-part-' || n, 2, 30000);
SELECT r.outcome FROM payguard.payments p CROSS JOIN LATERAL payguard.capture_payment(p.payment_id) r WHERE p.order_id IN ('case-part-3', 'case-part-4') ORDER BY p.order_id;
SELECT r.outcome FROM payguard.claim_tasks('worker', 100, kinds := '{capture}', channels := '{case-hold}') t
CROSS JOIN LATERAL payguard.complete_task(t.task_id, t.lease_token, 'authorized', amount := CASE t.order_id WHEN 'case-part-4' THEN 20000 END, currency := 'EUR') r ORDER BY t.order_id;
SELECT happened, outlook, amount FROM payguard.cases WHERE order_id IN ('case-part-3', 'case-part-4') AND kind = 'capture_failed' ORDER BY order_id;
SELECT c.order_id, a -> 'calls' -> 0 -> 'arguments' -> 'amount' AS paid FROM payguard.cases c, jsonb_array_elements(c.actions) a WHERE c.order_id LIKE 'case-part-%' AND a ->> 'action' IN ('was_paid', 'was_closed') ORDER BY c.order_id, a ->> 'action';
-- the money of an order that seems to repeat another goes back the way that it came
SELECT (payguard.create_order('case-same-3', 2000, 'XCD', 'case-dan')).status;
SELECT payment_id AS p FROM payguard.start_payment('case-same-3', 'case-same-3', 'case-card') \gset
SELECT outcome FROM payguard.report_payment(:'p', 'failed');
SELECT outcome FROM payguard.record_payment('case-same-3', 'case-paypal', 'case-PP-781', 2000, 'XCD');
SELECT * FROM pg_temp.what('case-%');
-- none of it would be refused, whoever has what access
SELECT * FROM pg_temp.refused_actions();
-- less than a large order asks for: nobody goes round the second person by a lower price
SELECT outcome FROM payguard.record_payment('case-large', 'case-card', 'case-less', 1, 'XCD');
SELECT a ->> 'action' AS action FROM payguard.cases c, jsonb_array_elements(c.actions) a WHERE c.order_id = 'case-large' AND c.kind = 'amount_mismatch';
SELECT payguard.accept_surplus(payment_id, 'alone', true) FROM payguard.payments WHERE channel_txn_id = 'case-less';
-- a finding waits for a second person, and so does the refund of its payment: two askers
SELECT (payguard.create_order('case-900', 900, 'XCD')).status;
SELECT outcome FROM payguard.record_payment('case-900', 'case-paypal', 'case-900-a', 900, 'XCD');
SELECT outcome FROM payguard.record_payment('case-900', 'case-card', 'case-900-b', 150000, 'XCD');
INSERT INTO payguard.settlement_lines (channel, channel_txn_id, amount, currency, channel_time) VALUES ('case-card', 'case-900-b', 170000, 'XCD', now());
SELECT finding FROM payguard.reconcile('case-card', now() - interval '1 day', now() + interval '1 day', '1 h') WHERE order_id = 'case-900';
SELECT told FROM pg_temp.what('case-900') WHERE told LIKE '%statement%';
SELECT outcome FROM payguard.cases c, payguard.resolve_finding(c.case_id, 'accept', 'seen') WHERE c.order_id = 'case-900' AND c.kind = 'settlement_amount_mismatch';
SELECT told FROM pg_temp.what('case-900') WHERE told LIKE '%statement%' OR told LIKE '%send_back%';
-- a worker is sending the money: nobody sends it by hand, too
SELECT count(*) FROM payguard.claim_tasks('w', 100, channels => '{case-paypal}', kinds => '{refund}');
SELECT told FROM pg_temp.what('case-1042') WHERE told LIKE '%sent_back%';
-- what a shop keeps with an attempt is not taken for a link
SELECT payguard.start_payment('case-late', 'case-details', 'case-card', details => '{"second_charge_of": "x"}');
SELECT (payguard.create_order('case-odd', 900, 'EUR')).status;
SELECT payment_id AS p FROM payguard.start_payment('case-odd', 'case-odd', 'case-card', details => '["second_charge_of", {"at": 1}]') \gset
SELECT outcome FROM payguard.record_payment('case-odd', 'case-card', 'case-odd', 900, 'EUR');
SELECT outcome FROM payguard.report_payment(:'p', 'succeeded', 'case-odd', 900, 'EUR');
SELECT details ? 'second_charge_of' AS linked, details ->> 'details' AS kept FROM payguard.payments WHERE payment_id = :'p';
SELECT outcome FROM payguard.report_payment(:'p', 'succeeded', 'case-odd-2', 900, 'EUR');
SELECT told FROM pg_temp.what('case-odd') WHERE told LIKE '%critical%';
-- a refund that no worker could send, and that waits too long: it went back, or it did not
SELECT (payguard.create_order('case-slow', 800, 'EUR')).status;
SELECT outcome FROM payguard.record_payment('case-slow', 'case-hold', 'case-slow', 800, 'EUR');
SELECT outcome FROM payguard.refund_order('case-slow', 'case-slow/r', 800, 'came too late');
DO $$
BEGIN
  FOR i IN 1 .. 10 LOOP
    PERFORM payguard.retry_task(task_id, lease_token, 'no route', '1 us') FROM payguard.claim_tasks('worker', 1, channels => '{case-hold}', kinds => '{refund}');
    PERFORM pg_sleep(0.01);
  END LOOP;
END
$$;
SELECT count(*) FROM payguard.maintain();
SELECT * FROM pg_temp.what('case-slow');
-- none of it would be refused either
SELECT * FROM pg_temp.refused_actions();
-- it is read where nothing may be written, and locks nothing
BEGIN READ ONLY;
SELECT count(c.actions) > 9 AS told FROM payguard.cases c;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND mode NOT IN ('AccessShareLock', 'ExclusiveLock');
COMMIT;
-- a clerk decides; the case is gone, and is told among the past ones
SET SESSION AUTHORIZATION regress_clerk;
SELECT a ->> 'action' AS action FROM payguard.cases, jsonb_array_elements(actions) a WHERE order_id = 'case-1017';
SELECT r.outcome FROM payguard.cases c, payguard.accept_surplus(c.payment_id, 'the difference is a tip', true) r WHERE c.order_id = 'case-1017';
SELECT payguard.update_order('case-large', 1, 1);
SELECT count(*) FROM payguard.cases WHERE order_id = 'case-1017';
SELECT happened, resolved_by, note FROM payguard.past_cases WHERE order_id = 'case-1017';
RESET SESSION AUTHORIZATION;
-- who may read alone is offered nothing
SET SESSION AUTHORIZATION regress_phone;
SELECT happened, actions FROM payguard.cases WHERE order_id = 'case-1042' ORDER BY case_id LIMIT 1;
SELECT count(*) FROM payguard.alerts;
SELECT order_id, found_by, status FROM payguard.find_orders(' case-PP-777 ');
RESET SESSION AUTHORIZATION;
-- whatever a person has in his hand
SELECT f.found_by, f.order_id, f.status, f.amount, jsonb_array_length(f.payments) AS payments,
       ARRAY(SELECT concat_ws(' ', p ->> 'channel', p ->> 'status', p -> 'received' ->> 'major', 'counts' || NULLIF((p ->> 'counts'), 'false'),
               jsonb_array_length(p -> 'refunds') || ' refunds') FROM jsonb_array_elements(f.payments) p) AS what
FROM (SELECT refund_id, payment_id FROM payguard.refunds WHERE order_id = 'case-1042' ORDER BY refund_id LIMIT 1) r,
     unnest(ARRAY['case-1042', 'case-ann', r.payment_id::text, upper(r.refund_id::text), 'case-k1', 'case-r1', 'case-ch_m1', 'nothing', NULL, '',
                  '00000000-0000-0000-0000-000000000000']) WITH ORDINALITY w (what, n), payguard.find_orders(w.what) f ORDER BY n;
-- braces and other signs in what users give stay as they are
SELECT payguard.tell('{a} of {b}, {c}; {d}', '{"a": "{b}", "b": {"amount": 5, "currency": "JPY", "major": "5"}, "c": {"at": "2026-01-02 03:04 UTC"}}');
SELECT payguard.major_text(amount, currency) FROM (VALUES (4250, 'EUR'), (4250, 'JPY'), (4250, 'KWD'), (4250, 'ABC'), (-5, 'EUR'), (NULL, 'EUR')) v (amount, currency);
SELECT payguard.tell('{a} {b} {c}', '{"a": "major", "b": ["at"], "c": "at"}');
SELECT payguard.case_actions(0), payguard.case_actions(NULL), payguard.case_story(0);
SELECT payguard.refusal_of('fly', NULL, NULL, NULL, NULL);
SELECT payguard.refusal_of('waive_refund', NULL, NULL, NULL, NULL), payguard.refusal_of('accept', NULL, NULL, NULL, 0),
       regexp_replace(payguard.refusal_of('accept_surplus', NULL, payment_id, NULL, NULL), '"[^"]+"', '<id>') AS late FROM payguard.payments WHERE idempotency_key = 'case-late';
SELECT count(payguard.set_policy(currency, min_amount)) FROM payguard.policies WHERE currency = 'XCD';
SELECT * FROM payguard.verify();
SELECT payguard.revoke_access('regress_clerk', 'operator'), payguard.revoke_access('regress_phone', 'support');
DROP ROLE regress_clerk, regress_phone;
