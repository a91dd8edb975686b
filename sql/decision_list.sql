-- The decision table in doc/design.md is the one that the code has.
\getenv srcdir PG_ABS_SRCDIR
\set table :srcdir /test/lib/decision_table.sql
\t on
\pset format unaligned
\o decision_list.generated
\set ECHO none
\i :table
\o
\set ECHO all
\set generated `cat decision_list.generated`
\set documented `sed -n '/^<!-- decisions: begin -->$/,/^<!-- decisions: end -->$/p' "$PG_ABS_SRCDIR/doc/design.md" | sed '1d;$d'`
\t off
\pset format aligned
-- rows that one of them lacks
SELECT 'in the document alone' AS row, d FROM unnest(string_to_array(:'documented', E'\n')) d WHERE d <> ALL (string_to_array(:'generated', E'\n'))
UNION ALL SELECT 'in the code alone', g FROM unnest(string_to_array(:'generated', E'\n')) g WHERE g <> ALL (string_to_array(:'documented', E'\n'));
SELECT :'documented' = :'generated' AS same, cardinality(string_to_array(:'documented', E'\n')) AS lines;
-- each possible combination of facts is in exactly one row
SELECT (SELECT count(*) FROM decided) AS facts, (SELECT count(*) FROM payguard.decisions()) AS decisions,
  count(*) FILTER (WHERE n = 1) AS in_one_row, count(*) FILTER (WHERE n <> 1) AS in_another_number
FROM (SELECT (SELECT count(*) FROM joined j WHERE d.attempt = ANY (j.attempt) AND d.report = ANY (j.report) AND (d."order" = ANY (j."order") OR 'any' = ANY (j."order"))
  AND d.money = ANY (j.money) AND d.txn = ANY (j.txn) AND d.late = ANY (j.late)) AS n FROM decided d) d;
