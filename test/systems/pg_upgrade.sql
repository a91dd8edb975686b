-- What a shop has before its server is upgraded: test/systems/pg_upgrade.sh.
CREATE ROLE web LOGIN;
CREATE ROLE till LOGIN;
CREATE EXTENSION payguard SCHEMA pg_catalog;
SELECT payguard.grant_access('web', 'checkout'), payguard.grant_access('till', 'cashier');
SELECT payguard.register_channel('wallet', internal := true), payguard.register_channel('card', first_query_after := '0 s');
SELECT payguard.set_policy('EUR', 100000, approve_payment := true);
SELECT payguard.create_order('order-' || i, i, 'EUR', 'customer ' || i % 7, CASE WHEN i % 3 = 0 THEN now() + '1 day' END)
FROM generate_series(1, 300) i;
SELECT payguard.create_order('large', 200000, 'EUR', 'customer 1');
SELECT count(*) FROM payguard.read_events('reader', 10);
SELECT payguard.pay_order('order-' || i, 'key-' || i, channel := CASE i % 2 WHEN 0 THEN 'internal' ELSE 'wallet' END)
FROM generate_series(1, 200) i;
SELECT payguard.cancel_order('order-' || i, reason := E'a "reason"\twith\nall') FROM generate_series(201, 220) i;
SELECT payguard.update_order('order-' || i, 1, i + 1) FROM generate_series(221, 240) i;
SELECT payguard.revoke_key('order-250', 'revoked');
-- through a channel: open, failed, paid, paid twice and told of out of the blue
SELECT payguard.request_payment('order-' || i, 'key-' || i, 'card', details := '{"url": "https://example.com"}')
FROM generate_series(241, 249) i;
SELECT payguard.report_payment(payment_id, CASE order_id WHEN 'order-241' THEN 'failed' ELSE 'succeeded' END,
                               'txn-' || order_id, amount, currency)
FROM payguard.payments WHERE order_id IN ('order-241', 'order-242', 'order-243');
SELECT payguard.record_payment('order-243', 'card', 'another', 243, 'EUR');
SELECT payguard.record_notification('card', '\x00ff27'::bytea, channel_txn_id := 'nobody knows');
SELECT payguard.refund_order('order-' || i, 'refund-' || i, 1, 'broken') FROM generate_series(1, 5) i;
SELECT payguard.refund_order('order-242', 'refund-242', 2, 'broken');
SELECT count(*) FROM payguard.claim_tasks('worker', 2, '1 h');
INSERT INTO payguard.settlement_lines (channel, kind, channel_txn_id, amount, currency, channel_time)
VALUES ('card', 'payment', 'txn-order-242', 242, 'EUR', now());
-- a guarded table of the shop's own
CREATE TABLE shop (id bigint PRIMARY KEY, status text NOT NULL, version bigint NOT NULL);
SELECT payguard.guard_table('shop', 'status', '{"new": ["done"], "done": []}', 'version');
INSERT INTO shop SELECT i, 'new', 1 FROM generate_series(1, 10) i;
UPDATE shop SET status = 'done', version = 2 WHERE id = 1;
SELECT count(*) FROM payguard.maintain();
SELECT payguard.commit_events('reader', window_id, max(event_id))
FROM (SELECT * FROM payguard.read_events('reader', 50)) e GROUP BY window_id;
