-- The template of all test databases. As a superuser, once for each server that runs tests:
--   psql -d postgres -v ON_ERROR_STOP=1 -f template.sql
CREATE ROLE shop_test LOGIN CREATEDB;
CREATE DATABASE shop_template OWNER shop_test;
\connect shop_template
CREATE EXTENSION payguard SCHEMA pg_catalog;
SELECT payguard.grant_access('shop_test', access) FROM unnest('{checkout,cashier,channel,owner}'::text[]) access;
SELECT (payguard.register_channel('card')).name;
ALTER DATABASE shop_template IS_TEMPLATE true;
