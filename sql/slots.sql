-- Ids are uuids of version 7, and a payment's holds the slot of its order.
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
-- CRC-32C's check value (RFC 3720 and others): 0xe3069283 of "123456789", modulo 4096
SELECT payguard.slot('123456789') = x'e3069283'::bigint % 4096 AS known, payguard.slot('123456789');
SELECT payguard.slot(repeat(chr(97), 1)) = x'c1d04330'::bigint % 4096 AS known;
SELECT payguard.slot('The quick brown fox jumps over the lazy dog') = x'22620404'::bigint % 4096 AS known;
SELECT payguard.slot('caf' || chr(233)), payguard.slot(chr(8364));
SELECT min(payguard.slot(n::text)) >= 0 AS at_least_0, max(payguard.slot(n::text)) <= 4095 AS at_most_4095,
       count(DISTINCT payguard.slot(n::text)) > 4000 AS spread FROM generate_series(1, 40000) n;
SELECT count(payguard.create_order('slots-' || n, n, 'EUR')) FROM generate_series(1, 200) n;
SELECT count(*), bool_and(payguard.payment_slot(payment_id) = payguard.slot(order_id)) AS same_slot,
       bool_and(payment_id::text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$') AS version_7,
       bool_and(abs(extract(epoch FROM clock_timestamp()) * 1000
                    - ('x' || left(replace(payment_id::text, '-', ''), 12))::bit(48)::bigint) < 60000) AS of_now
FROM generate_series(1, 200) n, payguard.pay_order('slots-' || n, 'slots-' || n);
SELECT bool_and(id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$') AS version_7,
       count(DISTINCT substr(id, 15, 4)) > 400 AS random
FROM (SELECT payguard.new_order_id() AS id FROM generate_series(1, 1000)) i;
SELECT (payguard.revoke_key('slots-1', 'slots-revoked')).payment_id AS id \gset
SELECT payguard.payment_slot(:'id') = payguard.slot('slots-1') AS same_slot;
SELECT payguard.payment_slot('01890000-0000-7abc-8000-000000000000') = x'abc'::int AS the_bits;
SELECT payguard.payment_slot('f47ac10b-58cc-4372-a567-0e02b2c3d479'); -- fails
