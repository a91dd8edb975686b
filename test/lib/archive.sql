\set ECHO none
-- Shared by the tests of retention in sql/: a database of its own, since what is old enough goes to
-- the archive whoever made it.
SET client_min_messages = warning;
CREATE DATABASE regress_payguard_archive;
\c regress_payguard_archive
SET client_min_messages = warning;
CREATE EXTENSION payguard SCHEMA pg_catalog;
-- archive(expected): archives what is settled. An autovacuum worker's snapshot may hold that up for
-- a moment, so it is tried again until as many orders as are expected have gone.
CREATE PROCEDURE public.archive(expected integer) LANGUAGE plpgsql AS $$
DECLARE
  done integer := 0;
  patience timestamptz := clock_timestamp() + interval '20 s';
BEGIN
  LOOP
    PERFORM payguard.count_events(10000);
    done := done + payguard.archive_orders(clock_timestamp());
    COMMIT;
    EXIT WHEN done >= expected OR clock_timestamp() > patience;
    PERFORM pg_sleep(0.02);
  END LOOP;
  IF done <> expected THEN
    RAISE '% archived, not %', done, expected;
  END IF;
END
$$;
-- place(order): where it and what belongs to it is
CREATE FUNCTION public.place(id text) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(', ',
    (SELECT 'live ' || status FROM payguard.orders WHERE order_id = id),
    (SELECT 'archived ' || status FROM payguard.archived_orders WHERE order_id = id),
    (SELECT nullif(count(*), 0) || ' payments' FROM payguard.payments WHERE order_id = id),
    (SELECT nullif(count(*), 0) || ' archived payments' FROM payguard.archived_payments WHERE order_id = id),
    (SELECT nullif(count(*), 0) || ' refunds' FROM payguard.refunds WHERE order_id = id),
    (SELECT nullif(count(*), 0) || ' archived refunds' FROM payguard.archived_refunds WHERE order_id = id),
    (SELECT nullif(count(*), 0) || ' events' FROM payguard.events WHERE order_id = id),
    (SELECT nullif(count(*), 0) || ' archived events' FROM payguard.archived_events WHERE order_id = id),
    (SELECT nullif(count(*), 0) || ' messages' FROM payguard.notifications WHERE order_id = id),
    (SELECT nullif(count(*), 0) || ' archived messages' FROM payguard.archived_notifications WHERE order_id = id),
    (SELECT nullif(count(*), 0) || ' approvals' FROM payguard.approvals WHERE order_id = id),
    (SELECT nullif(count(*), 0) || ' archived approvals' FROM payguard.archived_approvals WHERE order_id = id))
$$;
CREATE FUNCTION public.id_of(key text) RETURNS uuid LANGUAGE sql AS $$
  SELECT payment_id FROM payguard.every_payment WHERE idempotency_key = key
$$;
SELECT FROM payguard.register_channel('card', first_query_after := '1 min');
\set ECHO all
