-- Paying is a HOT update of the order: no index grows by it.
SELECT pg_stat_reset() IS NOT NULL AS reset; -- of what other tests did
\getenv srcdir PG_ABS_SRCDIR
\set answer :srcdir /test/lib/answer.sql
\i :answer
CREATE ROLE regress_hot;
SELECT payguard.grant_access('regress_hot', access) FROM unnest('{checkout,cashier}'::text[]) access;
SELECT pg_stat_force_next_flush();
SELECT n_tup_upd AS upd, n_tup_hot_upd AS hot FROM pg_stat_user_tables WHERE relid = 'payguard.orders'::regclass \gset before_
SELECT sum(n_tup_upd) AS payments_upd, sum(n_tup_del) AS payments_del FROM pg_stat_user_tables WHERE relid IN ('payguard.payments'::regclass, 'payguard.events'::regclass) \gset before_
SET SESSION AUTHORIZATION regress_hot;
SELECT count(payguard.create_order('hot-' || n, n, 'EUR')) FROM generate_series(1, 1000) n;
DO $$
BEGIN
  FOR n IN 1 .. 1000 LOOP
    PERFORM payguard.pay_order('hot-' || n, 'hot-' || n);
    COMMIT;
  END LOOP;
END
$$;
RESET SESSION AUTHORIZATION;
SELECT pg_stat_force_next_flush();
SELECT n_tup_upd - :before_upd AS counted, n_tup_hot_upd - :before_hot >= 950 AS hot
FROM pg_stat_user_tables WHERE relid = 'payguard.orders'::regclass;
-- No index of orders names a column that paying changes. (The payments are only inserted.)
SELECT i.indexrelid::regclass, a.attname FROM pg_index i
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = 'payguard.orders'::regclass
  AND a.attname = ANY ('{status,closing_as,version,payment_id,refunded_amount,updated_at}');
SELECT indexrelid::regclass FROM pg_index
WHERE indrelid = 'payguard.orders'::regclass
  AND pg_get_expr(indpred, indrelid) ~ '(status|closing_as|version|payment_id|refunded_amount|updated_at)';
SELECT sum(n_tup_upd) - :before_payments_upd AS updated, sum(n_tup_del) - :before_payments_del AS deleted FROM pg_stat_user_tables WHERE relid IN ('payguard.payments'::regclass, 'payguard.events'::regclass);
SELECT payguard.revoke_access('regress_hot', access) FROM unnest('{checkout,cashier}'::text[]) access;
DROP ROLE regress_hot;
