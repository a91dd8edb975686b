\set ECHO none
-- Each action of each case is run, as somebody who has asked for nothing, and undone: those that are refused. A second
-- person's turn and a conflict with somebody else are no refusals of the state of things.
CREATE FUNCTION pg_temp.refused_actions() RETURNS TABLE (case_id bigint, kind text, action text, problem text) LANGUAGE plpgsql AS $$
DECLARE
  c record;
  call jsonb;
  actor text := current_setting('payguard.actor', true);
BEGIN
  PERFORM set_config('payguard.actor', 'somebody else', true);
  FOR c IN SELECT x.case_id, x.kind, y.a, s.happened || coalesce(s.outlook, '') || (y.a ->> 'label') || (y.a ->> 'effect') AS words, s.facts
           FROM payguard.cases x
           CROSS JOIN LATERAL jsonb_array_elements(x.actions) y (a)
           CROSS JOIN LATERAL jsonb_to_record(x.story) s (happened text, outlook text, facts jsonb)
           ORDER BY x.case_id LOOP
    IF payguard.tell(c.words, c.facts) IS NULL OR payguard.tell(c.words, c.facts) LIKE '%?%' AND c.words NOT LIKE '%?%' THEN
      RETURN QUERY SELECT c.case_id, c.kind, c.a ->> 'action', 'unknown fact: ' || payguard.tell(c.words, c.facts);
    END IF;
    BEGIN
      FOR call IN SELECT jsonb_array_elements(c.a -> 'calls') LOOP
        EXECUTE (
          SELECT format('SELECT %s(%s)', split_part(call ->> 'function', '(', 1), string_agg(format('%I => %L', f.key,
            CASE f.key WHEN 'note' THEN 'tried' WHEN 'reason' THEN 'tried' WHEN 'channel_txn_id' THEN coalesce(f.value, 'tried ' || c.case_id) WHEN 'channel_refund_id' THEN coalesce(f.value, 'tried ' || c.case_id) ELSE f.value END), ', '))
          FROM jsonb_each_text(call -> 'arguments') f);
      END LOOP;
      RAISE SQLSTATE 'U0000';
    EXCEPTION
      WHEN SQLSTATE 'U0000' OR SQLSTATE 'PY602' OR SQLSTATE '40001' THEN NULL;
      WHEN OTHERS THEN
        RETURN QUERY SELECT c.case_id, c.kind, c.a ->> 'action', SQLSTATE || ' ' || SQLERRM;
    END;
  END LOOP;
  PERFORM set_config('payguard.actor', coalesce(actor, ''), true);
END
$$;
