-- What the handlers work on: the shop's own table, and the role that the web server connects as. A superuser runs it, once.
-- It stands in place of the last three lines of "Install it" in the README. Where those were run, leave out CREATE ROLE.
CREATE EXTENSION IF NOT EXISTS payguard SCHEMA pg_catalog;
CREATE ROLE web LOGIN;
ALTER ROLE web SET lock_timeout = '2s';   -- 55P03 instead of a customer who waits; the handlers call again
SELECT payguard.grant_access('web', 'checkout'), payguard.grant_access('web', 'channel');
SELECT payguard.register_channel('card', not_found_is_final_after := '15 min');   -- it knows a payment at once: doc/guide.md, 1

CREATE TABLE shop_orders (
  id       text PRIMARY KEY,
  customer text NOT NULL,
  total    numeric(12, 2) NOT NULL,
  currency text NOT NULL DEFAULT 'EUR',
  status   text NOT NULL DEFAULT 'new'   -- new, paid, shipped, refunded, cancelled
);
GRANT SELECT, INSERT, UPDATE (status) ON shop_orders TO web;

-- Nobody sets a row to paid, refunded or cancelled whose order is not so for payguard, and what payguard hears moves the row.
-- A channel that takes money back (a debit) needs a way back to new, too, and that a version: doc/adopting.md, 5.
SELECT payguard.guard_table('shop_orders', 'status',
  '{"new": ["paid", "cancelled"], "paid": ["shipped", "refunded"], "shipped": ["refunded"], "cancelled": ["paid"]}',
  order_id_column := 'id', paid_states := '{paid,shipped}', closed_states := '{cancelled,refunded}',
  amount_column := 'total', currency_column := 'currency',
  follow := '{"paid": "paid", "refunded": "refunded", "cancelled": "cancelled", "expired": "cancelled"}');
