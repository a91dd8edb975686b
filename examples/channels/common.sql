-- What the mappings of all channels need: reading a body that may be anything, without an error.
-- Load it before the file of a channel.
--
-- A mapping never raises: a channel's answer that it does not understand is an answer
-- "unknown", and payguard asks again. What payguard would refuse as malformed (an id of more than
-- 255 bytes, a message of more than 4000) becomes NULL here or is cut.
CREATE SCHEMA channel_body;
COMMENT ON SCHEMA channel_body IS 'Reading the answers of payment channels';

CREATE TYPE channel_body.answer AS (
  subject        text,
  channel_status text,
  channel_txn_id text,
  of_txn_id      text,
  amount         bigint,
  currency       text,
  code           text,
  message        text,
  channel_time   timestamptz,
  payment_id     uuid,
  refund_id      uuid,
  event_id       text,
  capture_before timestamptz
);
COMMENT ON TYPE channel_body.answer IS
  'What a channel said, in the words of payguard''s evidence functions';
COMMENT ON COLUMN channel_body.answer.subject IS
  'payment, refund (one of ours), or unclear: about money, perhaps, and not understood, so that somebody has to look; NULL: nothing for record_notification()';
COMMENT ON COLUMN channel_body.answer.channel_txn_id IS
  'The channel''s id of the payment, or of the refund where the subject is one';
COMMENT ON COLUMN channel_body.answer.of_txn_id IS
  'Where the subject is a refund: the channel''s id of the refunded payment';
COMMENT ON COLUMN channel_body.answer.amount IS
  'In the ISO 4217 minor unit; only where money moved or is reserved, as is currency';
COMMENT ON COLUMN channel_body.answer.payment_id IS
  'NULL where the subject is a refund, so that its success is never taken for the payment''s';
COMMENT ON COLUMN channel_body.answer.capture_before IS
  'Until when reserved money can be taken, where the message says it';

CREATE TYPE channel_body.reversal AS (
  call           text,
  reversal_id    text,
  channel_txn_id text,
  kind           text,
  amount         bigint,
  currency       text,
  channel_time   timestamptz
);
COMMENT ON TYPE channel_body.reversal IS
  'Money that a channel moved without being asked by payguard, as the arguments of the function that call names';
COMMENT ON COLUMN channel_body.reversal.call IS
  'record_reversal: the money went back to the customer; record_reinstatement: it came back from there, and only reversal_id and channel_time are used';
COMMENT ON COLUMN channel_body.reversal.channel_txn_id IS 'The channel''s id of the payment';

CREATE FUNCTION channel_body.json(body text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  parsed jsonb;
BEGIN
  parsed := body::jsonb;
  RETURN CASE WHEN jsonb_typeof(parsed) = 'object' THEN parsed END;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION channel_body.json(text) IS 'The object that a body holds, otherwise NULL';

CREATE FUNCTION channel_body.field(body jsonb, VARIADIC path text[]) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN jsonb_typeof(body #> path) IN ('string', 'number') THEN nullif(body #>> path, '') END
$$;
COMMENT ON FUNCTION channel_body.field(jsonb, text[]) IS
  'A string or a number as text; NULL for nothing, an empty string, an object, an array';

CREATE FUNCTION channel_body.id(value text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
  SELECT CASE WHEN octet_length(value) BETWEEN 1 AND 255 AND value !~ '[\x01-\x1f\x7f-\x9f]' THEN value END
$$;
COMMENT ON FUNCTION channel_body.id(text) IS 'An id or a code that payguard takes, otherwise NULL';

CREATE FUNCTION channel_body.note(value text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
  SELECT nullif(btrim(left(regexp_replace(value, '[\x01-\x1f\x7f-\x9f]+', ' ', 'g'), 1000)), '')
$$;
COMMENT ON FUNCTION channel_body.note(text) IS 'A message, cut and cleaned so that payguard takes it';

CREATE FUNCTION channel_body.uuid(value text) RETURNS uuid
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
  SELECT CASE WHEN value ~ '^[0-9a-fA-F]{8}(-?)[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{12}$'
              THEN value::uuid END
$$;
COMMENT ON FUNCTION channel_body.uuid(text) IS 'A payment_id or refund_id of 32 hex digits, otherwise NULL';

CREATE FUNCTION channel_body.refund_reference(value text) RETURNS uuid
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT channel_body.uuid(substr(value, 8)) WHERE value LIKE 'refund-%'
$$;
COMMENT ON FUNCTION channel_body.refund_reference(text) IS
  'The refund_id of a reference refund-<refund_id>, for channels that have one field for references of payments and refunds';

CREATE FUNCTION channel_body.currency(value text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN value ~ '^[A-Za-z]{3}$' THEN upper(value COLLATE "C") END
$$;
COMMENT ON FUNCTION channel_body.currency(text) IS 'An ISO 4217 code in upper case, otherwise NULL';

CREATE FUNCTION channel_body.digits(currency text) RETURNS integer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI',
                                'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN 0
              WHEN currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
              WHEN currency IN ('CLF', 'UYW') THEN 4
              WHEN currency IS NOT NULL THEN 2 END
$$;
COMMENT ON FUNCTION channel_body.digits(text) IS 'Digits behind the point of a currency''s minor unit, by ISO 4217';

CREATE FUNCTION channel_body.minor_units(value text, digits integer) RETURNS bigint
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
  SELECT CASE WHEN value ~ '^[0-9]{1,13}(\.[0-9]{1,9})?$' AND digits BETWEEN 0 AND 4
               AND trunc(value::numeric, digits) = value::numeric
              THEN trunc(value::numeric * 10::numeric ^ digits)::bigint END
$$;
COMMENT ON FUNCTION channel_body.minor_units(text, integer) IS
  'A decimal amount times 10 ^ digits; NULL where that is not exact, negative or no number';

CREATE FUNCTION channel_body.unix_time(value text) RETURNS timestamptz
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN value ~ '^[0-9]{1,11}$' THEN to_timestamp(value::double precision) END
$$;
COMMENT ON FUNCTION channel_body.unix_time(text) IS 'Seconds since 1970, otherwise NULL';

CREATE FUNCTION channel_body.zoned_time(value text, zone text) RETURNS timestamptz
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
  -- the parts are checked first: make_date() and make_time() raise
  SELECT CASE WHEN part[2]::integer BETWEEN 1 AND 12 AND part[1]::integer > 0
               AND part[3]::integer BETWEEN 1 AND extract(day FROM
                     make_date(part[1]::integer, part[2]::integer, 1) + interval '1 month' - interval '1 day')
               AND part[4]::integer < 24 AND part[5]::integer < 60 AND part[6]::integer < 60
               AND zone ~ '^(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$'
              THEN (make_date(part[1]::integer, part[2]::integer, part[3]::integer)
                    + make_time(part[4]::integer, part[5]::integer, part[6]::double precision)
                    - CASE zone WHEN 'Z' THEN interval '0' ELSE (zone || ':00')::interval END) AT TIME ZONE 'UTC' END
  FROM regexp_match(value, '^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)') part
$$;
COMMENT ON FUNCTION channel_body.zoned_time(text, text) IS
  'yyyy-mm-dd hh:mm:ss at a zone like +08:00, otherwise NULL';

CREATE FUNCTION channel_body.rfc3339(value text) RETURNS timestamptz
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
  SELECT channel_body.zoned_time(value, (regexp_match(value, '^.{19}(?:\.\d+)?(Z|[+-]\d\d:\d\d)$'))[1])
$$;
COMMENT ON FUNCTION channel_body.rfc3339(text) IS 'A time with its zone, to the second, otherwise NULL';

CREATE FUNCTION channel_body.answer_of(subject text, channel_status text, channel_txn_id text DEFAULT NULL,
  of_txn_id text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL, code text DEFAULT NULL,
  message text DEFAULT NULL, channel_time timestamptz DEFAULT NULL, payment_id uuid DEFAULT NULL,
  refund_id uuid DEFAULT NULL, event_id text DEFAULT NULL, amount_needed boolean DEFAULT true,
  capture_before timestamptz DEFAULT NULL)
RETURNS channel_body.answer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- A success whose amount cannot be read is no success to build on, and no authorization either: payguard would
  -- take the amount that was asked for.
  SELECT subject, CASE WHEN unreadable THEN 'unknown' ELSE coalesce(channel_status, 'unknown') END,
         channel_body.id(channel_txn_id), channel_body.id(of_txn_id),
         CASE WHEN has_amount AND NOT unreadable THEN amount END,
         CASE WHEN has_amount AND NOT unreadable AND amount IS NOT NULL THEN currency END,
         CASE WHEN unreadable THEN 'amount_not_understood' ELSE channel_body.id(code) END,
         channel_body.note(message), channel_time,
         CASE subject WHEN 'payment' THEN payment_id END,
         CASE subject WHEN 'refund' THEN refund_id END,
         channel_body.id(event_id),
         CASE WHEN channel_status = 'authorized' AND NOT unreadable THEN capture_before END
  FROM (SELECT coalesce(channel_status IN ('succeeded', 'authorized'), false) AS has_amount) m,
       LATERAL (SELECT has_amount AND amount_needed AND (amount IS NULL OR currency IS NULL) AS unreadable) u
$$;
COMMENT ON FUNCTION channel_body.answer_of(text, text, text, text, bigint, text, text, text, timestamptz, uuid, uuid, text, boolean, timestamptz) IS
  'Makes an answer that payguard''s evidence functions take as it is';

CREATE FUNCTION channel_body.reversal_of(call text, reversal_id text, channel_txn_id text DEFAULT NULL, kind text DEFAULT NULL,
  amount bigint DEFAULT NULL, currency text DEFAULT NULL, channel_time timestamptz DEFAULT NULL)
RETURNS SETOF channel_body.reversal
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  -- what lacks something is no row: the mapping's message is unclear then, and is kept for somebody to look at
  SELECT call, r, CASE call WHEN 'record_reversal' THEN t END, CASE call WHEN 'record_reversal' THEN kind END,
         CASE call WHEN 'record_reversal' THEN amount END, CASE call WHEN 'record_reversal' THEN currency END, channel_time
  FROM channel_body.id(reversal_id) r, channel_body.id(channel_txn_id) t
  WHERE r IS NOT NULL AND (call = 'record_reinstatement' OR t IS NOT NULL AND amount > 0 AND currency IS NOT NULL)
$$;
COMMENT ON FUNCTION channel_body.reversal_of(text, text, text, text, bigint, text, timestamptz) IS
  'The call that money moved by the channel leads to; no row where an id, the amount or the currency cannot be read';
