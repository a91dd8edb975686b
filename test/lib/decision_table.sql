-- Prints the section of doc/design.md between the marker comments "decisions": what follows from
-- an order, an attempt and a report, from payguard.decisions(). Facts that lead to the same are one
-- row. To write the section anew: psql -XqAt -f test/lib/decision_table.sql
SET client_min_messages = warning;
CREATE TEMP TABLE decided AS
SELECT coalesce(payment_status, 'none') || CASE WHEN revived THEN ', revived' ELSE '' END AS attempt,
  channel_status || CASE WHEN reverses THEN ', `reopen_on` has it' ELSE '' END || CASE WHEN repeatable THEN ', asked since, may be captured again' WHEN fresh THEN ', asked since' ELSE '' END AS report,
  order_status || coalesce(', to be ' || closing_as, '') || CASE WHEN in_time THEN ', the money in time' WHEN revivable THEN ', may be paid' ELSE '' END AS "order",
  money, CASE WHEN other_txn THEN 'another' ELSE 'same or not named' END AS txn,
  late_success AS late,
  CASE WHEN payment_becomes IS NOT DISTINCT FROM payment_status THEN 'stays' ELSE payment_becomes END AS attempt_becomes,
  CASE WHEN order_becomes = order_status THEN 'stays' WHEN order_becomes = coalesce(closing_as, 'unpaid') THEN 'unpaid, or what it is to be' ELSE order_becomes END AS order_becomes,
  coalesce(nullif(concat_ws(', ', CASE WHEN supersede THEN 'the other attempt is superseded and closed' END, CASE WHEN refund AND hold THEN 'refund, which waits for approval' WHEN refund THEN 'refund' END,
    CASE WHEN excess THEN 'refund of what is too much, alert `overpaid`' END,
    CASE WHEN another THEN 'as money without an attempt' END, CASE WHEN reverse THEN 'a reversal of kind `failed`' END, CASE WHEN second_charge THEN 'a surplus payment, its refund waits for approval' END, CASE WHEN fill_in THEN 'fill in what was missing' END,
    CASE WHEN query THEN 'query' END, CASE WHEN close THEN 'close again' END, CASE WHEN capture THEN 'capture again' END, 'alert `' || alert || '`'), ''), '–') AS follows
FROM payguard.decisions();
-- the values of each fact, in the order of the state machines
CREATE TEMP TABLE fact_values (fact text, value text, n int);
INSERT INTO fact_values SELECT 'attempt', v, n FROM unnest('{none,pending,"pending, revived",processing,"processing, revived",authorized,"authorized, revived",capturing,"capturing, revived",unknown,"unknown, revived",closing,"closing, revived",superseded,failed,succeeded,surplus,returned}'::text[]) WITH ORDINALITY u (v, n)
UNION ALL SELECT 'report', v, n FROM unnest('{succeeded,failed,"failed, `reopen_on` has it","failed, `reopen_on` has it, asked since",closed,"closed, `reopen_on` has it","closed, `reopen_on` has it, asked since",pending,"pending, asked since",processing,"processing, asked since",authorized,"authorized, asked since","authorized, asked since, may be captured again",unknown,not_found}'::text[]) WITH ORDINALITY u (v, n)
UNION ALL SELECT 'order', v, n FROM unnest('{any,unpaid,"unpaid, may be paid",paying,"paying, to be cancelled","paying, to be expired",paid,refunded,cancelled,expired,"expired, the money in time"}'::text[]) WITH ORDINALITY u (v, n)
UNION ALL SELECT 'money', v, n FROM unnest('{fits,more,less,other}'::text[]) WITH ORDINALITY u (v, n)
UNION ALL SELECT 'txn', v, n FROM unnest('{"same or not named",another}'::text[]) WITH ORDINALITY u (v, n)
UNION ALL SELECT 'late', v, n FROM unnest('{accept,accept_expired,refund,hold}'::text[]) WITH ORDINALITY u (v, n);
CREATE TEMP TABLE joined AS SELECT ARRAY[attempt] AS attempt, ARRAY[report] AS report, ARRAY["order"] AS "order", ARRAY[money] AS money, ARRAY[txn] AS txn, ARRAY[late] AS late,
  attempt_becomes, order_becomes, follows FROM decided;
CREATE FUNCTION pg_temp.joined_values(fact text, sets text[]) RETURNS text[] LANGUAGE sql AS $$
  SELECT array_agg(DISTINCT v) FROM unnest(sets) v
$$;
-- rows that differ in one fact and lead to the same are joined, fact by fact
CREATE AGGREGATE pg_temp.all_values(anycompatiblearray) (SFUNC = array_cat, STYPE = anycompatiblearray, INITCOND = '{}');
DO $$
DECLARE
  fact text; facts text[] := '{late,money,txn,order,attempt,report}'; before bigint;
BEGIN
  LOOP
    SELECT count(*) INTO before FROM joined;
    FOREACH fact IN ARRAY facts LOOP
      EXECUTE format('CREATE TEMP TABLE next AS SELECT %1$s, pg_temp.joined_values(%2$L, pg_temp.all_values(%2$I)) AS %2$I, attempt_becomes, order_becomes, follows FROM joined GROUP BY %1$s, attempt_becomes, order_becomes, follows',
        (SELECT string_agg(quote_ident(f), ', ') FROM unnest(facts) f WHERE f <> fact), fact);
      DROP TABLE joined;
      ALTER TABLE next RENAME TO joined;
      -- an order may be in any state that is possible beside such an attempt
      IF fact = 'order' THEN
        UPDATE joined j SET "order" = '{any}'
        WHERE (SELECT array_agg(DISTINCT d."order") FROM decided d WHERE d.attempt = ANY (j.attempt) AND d.report = ANY (j.report)) <@ j."order";
      END IF;
    END LOOP;
    EXIT WHEN before = (SELECT count(*) FROM joined);
  END LOOP;
END
$$;
-- shown(fact, values, possible): "any" where the fact does not matter
CREATE FUNCTION pg_temp.shown(of_fact text, of_values text[], possible bigint) RETURNS text LANGUAGE sql AS $$
  SELECT CASE WHEN cardinality(of_values) = possible AND possible > 1 THEN 'any' ELSE string_agg(value, '; ' ORDER BY n) END
  FROM fact_values WHERE fact = of_fact AND value = ANY (of_values)
$$;
CREATE FUNCTION pg_temp.rank(of_fact text, of_values text[]) RETURNS int LANGUAGE sql AS $$
  SELECT min(n) FROM fact_values WHERE fact = of_fact AND value = ANY (of_values)
$$;
SELECT '| attempt | report | order | money | transaction | `late_success` | attempt becomes | order becomes | follows |'
UNION ALL SELECT '|---|---|---|---|---|---|---|---|---|';
SELECT format('| %s | %s | %s | %s | %s | %s | %s | %s | %s |', pg_temp.shown('attempt', attempt, 0), pg_temp.shown('report', report, 0),
  pg_temp.shown('order', "order", 0),
  pg_temp.shown('money', money, 4), pg_temp.shown('txn', txn, 2), pg_temp.shown('late', late, 4), attempt_becomes, order_becomes, follows)
FROM joined j
ORDER BY pg_temp.rank('attempt', attempt), pg_temp.rank('report', report), pg_temp.rank('order', "order"), pg_temp.rank('money', money), pg_temp.rank('txn', txn), pg_temp.rank('late', late);
