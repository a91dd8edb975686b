-- What the handlers work on: the shop's own table, and the role that the web server connects as.
CREATE EXTENSION payguard SCHEMA pg_catalog;
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
