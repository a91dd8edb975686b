-- The table that the clients write to, guarded; each client has rows of its own.
CREATE EXTENSION payguard SCHEMA pg_catalog;
CREATE ROLE shop LOGIN;
SELECT payguard.grant_access('shop', access) FROM unnest('{owner,checkout,cashier,channel,auditor}'::text[]) access;
GRANT CREATE ON SCHEMA public TO shop;
SET SESSION AUTHORIZATION shop;
CREATE TABLE shop_orders (
  id integer PRIMARY KEY,
  status varchar(20) NOT NULL DEFAULT 'unpaid',
  amount integer NOT NULL DEFAULT 100,
  version integer NOT NULL DEFAULT 1
);
INSERT INTO shop_orders (id) SELECT n FROM generate_series(1, 2000) n;
SELECT payguard.guard_table('shop_orders', 'status', '{"unpaid": ["paid", "cancelled"], "paid": ["refunded"]}',
  version_column := 'version', immutable_columns := '{amount}', allow_delete := '{cancelled}');
