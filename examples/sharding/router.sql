-- The router's own part: which shard has what. Run in the router's database before what
-- generate.sql prints. Needs the extension plproxy, and payguard's files (not its extension).
\set ON_ERROR_STOP on
CREATE EXTENSION plproxy;
CREATE SCHEMA payguard;
CREATE SCHEMA payguard_router;
GRANT USAGE ON SCHEMA payguard, payguard_router TO PUBLIC;

-- What needs no shard: the library computes it.
CREATE FUNCTION payguard.new_order_id() RETURNS text
AS '$libdir/payguard', 'payguard_new_order_id' LANGUAGE C VOLATILE PARALLEL SAFE;
CREATE FUNCTION payguard.slot(order_id text) RETURNS integer
AS '$libdir/payguard', 'payguard_slot' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION payguard.payment_slot(payment_id uuid) RETURNS integer
AS '$libdir/payguard', 'payguard_payment_slot' LANGUAGE C IMMUTABLE PARALLEL SAFE;

-- Each of the 4096 slots is at one shard. The number of shards divides nothing: slots move one by one.
CREATE TABLE payguard_router.slots (slot integer PRIMARY KEY CHECK (slot BETWEEN 0 AND 4095), shard integer NOT NULL CHECK (shard >= 0));
CREATE INDEX ON payguard_router.slots (shard);
COMMENT ON TABLE payguard_router.slots IS 'Where the orders of each slot live';

CREATE FUNCTION payguard_router.shard(slot integer) RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT s.shard FROM payguard_router.slots s WHERE s.slot = $1 $$;
COMMENT ON FUNCTION payguard_router.shard(integer) IS 'The shard of a slot';

CREATE FUNCTION payguard_router.shards() RETURNS SETOF integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT DISTINCT s.shard FROM payguard_router.slots s ORDER BY 1 $$;
COMMENT ON FUNCTION payguard_router.shards() IS 'The shards that have slots';

-- What is malformed goes to the first shard, which refuses or records it as payguard does: the router
-- has no opinion of its own.
CREATE FUNCTION payguard_router.shard_of_order(order_id text) RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
  SELECT CASE WHEN octet_length($1) BETWEEN 1 AND 255 AND $1 !~ '[\u0001-\u001f\u007f-\u009f]'
              THEN payguard_router.shard(payguard.slot($1)) ELSE 0 END
$$;
COMMENT ON FUNCTION payguard_router.shard_of_order(text) IS 'The shard of an order';

CREATE FUNCTION payguard_router.shard_of_id(id uuid) RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN substr($1::text, 15, 1) = '7' THEN payguard_router.shard(payguard.payment_slot($1)) ELSE 0 END
$$;
COMMENT ON FUNCTION payguard_router.shard_of_id(uuid) IS 'The shard of a payment or refund, which its id tells';

-- The ids of tasks, alerts and approvals come from sequences; setup.sh starts that of shard n at n * 2^48.
CREATE FUNCTION payguard_router.shard_of_number(id bigint) RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN EXISTS (SELECT FROM payguard_router.slots s WHERE s.shard = $1 >> 48) THEN ($1 >> 48)::integer ELSE 0 END $$;
COMMENT ON FUNCTION payguard_router.shard_of_number(bigint) IS 'The shard that gave a task, alert or approval its number';

