-- The shop's tables, once as they were ("usual") and once on payguard ("shop"), and who may do what.
CREATE EXTENSION payguard SCHEMA pg_catalog;
CREATE ROLE spring_shop LOGIN;
CREATE ROLE spring_operator LOGIN;
SELECT payguard.grant_access('spring_shop', access) FROM unnest('{checkout,cashier,channel,owner}'::text[]) access;
SELECT payguard.grant_access('spring_operator', access) FROM unnest('{operator,auditor}'::text[]) access;
SELECT payguard.register_channel('card');
CREATE SCHEMA usual AUTHORIZATION spring_shop;
CREATE SCHEMA shop AUTHORIZATION spring_shop;

SET SESSION AUTHORIZATION spring_shop;
CREATE TABLE usual.shop_orders (
  id       text PRIMARY KEY,
  customer text NOT NULL,
  cents    bigint NOT NULL,
  status   text NOT NULL DEFAULT 'new',   -- new, paid, failed, shipped
  version  bigint NOT NULL DEFAULT 1,
  trade_no text                           -- the number of the payment at the channel
);
CREATE TABLE usual.used_keys (idempotency_key text PRIMARY KEY);

-- The same table, and one line that guards it: paid is what payguard knows as paid.
CREATE TABLE shop.shop_orders (LIKE usual.shop_orders INCLUDING ALL);
SELECT payguard.guard_table('shop.shop_orders', 'status',
  '{"new": ["paid"], "paid": ["shipped"]}', version_column := 'version',
  order_id_column := 'id', paid_states := '{paid,shipped}');
CREATE TABLE shop.wallets (customer text PRIMARY KEY, cents bigint NOT NULL CHECK (cents >= 0));
