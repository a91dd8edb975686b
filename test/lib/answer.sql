\set ECHO none
-- Shared by the tests in sql/. What a statement answers, on one line: the value that it returns,
-- or every field of its error. Ids and times are not shown.
SET client_min_messages = warning;
CREATE FUNCTION pg_temp.masked(value text) RETURNS text LANGUAGE sql AS $$
  SELECT regexp_replace(regexp_replace(value,
    '[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}', '<id>', 'g'),
    '(\w{3} \w{3} \d\d \d\d:\d\d:\d\d(\.\d+)? \d{4} \w+|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?[+-]\d\d(:\d\d)?)', '<time>', 'g')
$$;
CREATE FUNCTION pg_temp.answer(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  code text; name text; place text[] := '{}'; message text; detail text; hint text; part text;
BEGIN
  IF statement ~* '^(SELECT|WITH)' THEN
    EXECUTE statement INTO message;
  ELSE
    EXECUTE statement;
  END IF;
  RETURN pg_temp.masked(coalesce(message, 'done'));
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, name = CONSTRAINT_NAME,
    message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
  GET STACKED DIAGNOSTICS part = SCHEMA_NAME;
  place := place || nullif(part, '');
  GET STACKED DIAGNOSTICS part = TABLE_NAME;
  place := place || nullif(part, '');
  GET STACKED DIAGNOSTICS part = COLUMN_NAME;
  place := array_remove(place || nullif(part, ''), NULL);
  RETURN pg_temp.masked(concat_ws(' | ', concat_ws(' ', code, nullif(name, ''), nullif(array_to_string(place, '.'), '')),
                        message, nullif(detail, ''), nullif(hint, '')));
END
$$;
-- What has been written so far; two calls that return the same: nothing between them was.
CREATE FUNCTION pg_temp.written() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
  SELECT md5(string_agg(query_to_xml(format('SELECT md5(t::text) FROM payguard.%I t ORDER BY 1', name), true, true, '')::text,
                        '' ORDER BY name))
  FROM payguard.own_tables() t (name)
$$;
\set VERBOSITY terse
\set ECHO all
