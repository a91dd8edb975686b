-- What the handlers work on: the shop's own table, and the role that the web server connects as. A superuser runs it, once.
-- It stands in place of the last three lines of "Install it" in the README. Where those were run, leave out CREATE ROLE.
CREATE EXTENSION IF NOT EXISTS payguard SCHEMA pg_catalog;
CREATE ROLE web LOGIN;
ALTER ROLE web SET lock_timeout = '2s';   -- 55P03 instead of a customer who waits; the handlers call again
SELECT payguard.grant_access('web', 'checkout'), payguard.grant_access('web', 'channel');
SELECT payguard.register_channel('card');

CREATE TABLE shop_orders (
  id       text PRIMARY KEY,
  customer text NOT NULL,
  total    numeric(12, 2) NOT NULL,
  currency text NOT NULL DEFAULT 'EUR',
  status   text NOT NULL DEFAULT 'new'   -- new, paid, shipped
);
GRANT SELECT, INSERT, UPDATE (status) ON shop_orders TO web;

-- Nobody sets a row to paid that payguard does not know as paid, and what payguard hears moves the row: doc/adopting.md, 5.
SELECT payguard.guard_table('shop_orders', 'status', '{"new": ["paid"], "paid": ["shipped"]}',
  order_id_column := 'id', paid_states := '{paid,shipped}', amount_column := 'total', currency_column := 'currency',
  follow := '{"paid": "paid"}');
