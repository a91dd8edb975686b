-- What a table's own triggers do while sync_rows() moves its rows: in their owner's name, once, and not further than before.
SELECT (payguard.register_channel('follow-triggers', late_success := 'accept_expired')).name;
CREATE ROLE regress_rows_owner;
SELECT count(payguard.grant_access('regress_rows_owner', a)) FROM unnest('{owner,checkout,operator}'::text[]) a;
CREATE SCHEMA regress_rows AUTHORIZATION regress_rows_owner;
SET ROLE regress_rows_owner;
SET search_path = regress_rows;
CREATE TABLE shop (id text PRIMARY KEY, status text NOT NULL DEFAULT 'new');
CREATE TABLE ship (id text PRIMARY KEY, status text NOT NULL DEFAULT 'new');
SELECT count(*) FROM payguard.guard_table('shop', 'status', '{"new": ["paid", "cancelled"], "paid": ["cancelled", "refunded"], "cancelled": [], "refunded": []}',
  order_id_column := 'id', paid_states := '{paid}', closed_states := '{cancelled,refunded}',
  follow := '{"paid": "paid", "refunded": "refunded", "cancelled": "cancelled", "expired": "cancelled"}');
SELECT count(*) FROM payguard.guard_table('ship', 'status', '{"new": ["paid"]}', order_id_column := 'id', paid_states := '{paid}');
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql SET search_path = regress_rows AS $$
BEGIN
  -- who has asked for this?
  PERFORM set_config('payguard.actor', 'the boss', true);
  PERFORM payguard.create_order(new.id || '/' || new.status, 1, 'EUR');
  -- the call that moves this row goes on
  PERFORM payguard.sync_rows();
  IF new.status = 'paid' THEN
    BEGIN
      UPDATE ship SET status = 'paid' WHERE id = new.id;
    EXCEPTION WHEN check_violation THEN
      RAISE NOTICE '% is not shipped', new.id;
    END;
  END IF;
  RETURN new;
END
$$;
CREATE TRIGGER meddle BEFORE UPDATE ON shop FOR EACH ROW EXECUTE FUNCTION meddle();
INSERT INTO shop SELECT 'rows-' || i FROM generate_series(1, 5) i;
INSERT INTO ship SELECT id FROM shop;
RESET ROLE;
SELECT count(payguard.create_order('rows-' || i, 100, 'EUR')), count(payguard.pay_order('rows-' || i, 'rows-' || i)) FROM generate_series(1, 4) i;
SELECT outcome FROM payguard.refund_order('rows-4', 'rows-4', reason := 'sent back');
SELECT sum(payguard.sync_rows('rows-' || i)) FROM generate_series(1, 4) i;
SELECT s.id, s.status, p.status AS ship FROM shop s JOIN ship p USING (id) ORDER BY 1;
SELECT order_id, actor FROM payguard.events WHERE order_id LIKE 'rows-%/%' AND kind = 'order.created' ORDER BY 1;
SELECT kind, order_id FROM payguard.alerts WHERE kind = 'out_of_step' AND order_id LIKE 'rows-%';
-- money for an order whose row is closed already: a person looks
SELECT (payguard.create_order('rows-5', 100, 'EUR', expires_at := clock_timestamp() + '20 ms')).status;
SELECT pg_sleep(0.05), payguard.expire_orders() > 0 AS expired;
SELECT payguard.sync_rows('rows-5');
SELECT outcome FROM payguard.record_payment('rows-5', 'follow-triggers', 'rows-5', 100, 'EUR');
SELECT payguard.sync_rows('rows-5');
SELECT s.status, o.status, a.kind FROM shop s JOIN payguard.orders o ON o.order_id = s.id LEFT JOIN payguard.alerts a ON a.order_id = s.id AND a.kind = 'out_of_step' WHERE s.id = 'rows-5';
SELECT * FROM payguard.verify();
SET payguard.allow_unsafe_ddl = on;
DROP SCHEMA regress_rows CASCADE;
RESET payguard.allow_unsafe_ddl;
SELECT payguard.sync_rows();
SELECT count(payguard.revoke_access('regress_rows_owner', a)) FROM unnest('{owner,checkout,operator}'::text[]) a;
DROP ROLE regress_rows_owner;
