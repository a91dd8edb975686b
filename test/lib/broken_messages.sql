\set ECHO none
-- For the tests of examples/channels: a table `messages` (mapping, body) and the functions pg_temp.mapped(mapping, body)
-- and pg_temp.moved(mapping, body) are there, the answer and the reversals of a body. A body is cut at any place, and
-- any field is replaced by anything: never an error, and nothing but what the whole body says, or unknown. One in four of
-- the fields' replacements; PAYGUARD_EVERY=1 runs them all.
\getenv every PAYGUARD_EVERY
\if :{?every} \else \set every 4 \endif
SELECT DISTINCT mapping, (pg_temp.mapped(mapping, left(body, n))).channel_status
FROM messages, generate_series(0, length(body) - 1, 29) n ORDER BY 1, 2;
-- the fields that say whose a message is, and success where it is true or false, are not guesses when they change
WITH RECURSIVE whole AS MATERIALIZED (
  SELECT mapping, body::jsonb AS body, (pg_temp.mapped(mapping, body)).channel_status AS status,
         ARRAY(SELECT amount FROM pg_temp.moved(mapping, body) WHERE call = 'record_reversal') AS moved
  FROM messages
), fields(mapping, body, status, moved, path, value) AS (
  SELECT mapping, body, status, moved, '{}'::text[], body FROM whole
  UNION ALL
  SELECT mapping, body, status, moved, path || key, f.value
  FROM fields, LATERAL (SELECT key, e.value FROM jsonb_each(CASE jsonb_typeof(fields.value) WHEN 'object' THEN fields.value ELSE '{}' END) e
                        UNION ALL
                        SELECT (place - 1)::text, e.value
                        FROM jsonb_array_elements(CASE jsonb_typeof(fields.value) WHEN 'array' THEN fields.value ELSE '[]' END)
                             WITH ORDINALITY e(value, place)) f
), broken AS MATERIALIZED (
  SELECT mapping, status, moved, path[cardinality(path)] AS field, jsonb_set(body, path, other)::text AS part
  FROM fields, unnest(ARRAY['null', 'true', '[]', '{}', '-1', '"\u0001"', '[{"a":[1]}]', to_jsonb(repeat('9', 400))]::jsonb[]) other
  WHERE path <> '{}' AND abs(hashtext(body::text || path::text || other::text)) % :every = 0 AND NOT (path[cardinality(path)] = 'success' AND other = 'true')
    AND NOT path && '{supplementary_data}'
)
SELECT mapping, count(*) > 100 AS many,
       count(*) FILTER (WHERE a.channel_status IS NULL) AS nothing_said,
       count(*) FILTER (WHERE a.channel_status IN ('failed', 'closed') AND a.channel_status <> status) AS ended_by_guess,
       count(*) FILTER (WHERE a.channel_status = 'succeeded' AND status NOT IN ('succeeded', 'unknown')) AS succeeded_by_guess,
       count(*) FILTER (WHERE a.amount IS NOT NULL AND a.channel_status NOT IN ('succeeded', 'authorized')) AS amounts_without_money,
       count(*) FILTER (WHERE field NOT IN ('merchantReference', 'custom_id')
                          AND EXISTS (SELECT FROM pg_temp.moved(mapping, part) v WHERE v.call = 'record_reversal' AND v.amount <> ALL (moved)))
         AS other_money
FROM broken, LATERAL pg_temp.mapped(mapping, part) a
GROUP BY 1 ORDER BY 1;
SELECT mapping, a.subject, a.channel_status, count(*)
FROM (SELECT DISTINCT mapping FROM messages) m,
     unnest(ARRAY[NULL, '', 'null', '7', '[]', '{}', '"succeeded"', '{', repeat('[', 100000), '{"a":"\u0000"}', '<xml/>']) body,
     pg_temp.mapped(mapping, body) a
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
\set ECHO all
