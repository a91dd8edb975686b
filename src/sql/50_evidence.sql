-- Evidence: what channels report. It is never refused.
CREATE FUNCTION payguard.decisions(
  OUT order_status text, OUT closing_as text, OUT payment_status text, OUT channel_status text,
  OUT late_success text, OUT money text, OUT other_txn boolean, OUT in_time boolean,
  OUT revived boolean, OUT fresh boolean, OUT revivable boolean, OUT reverses boolean, OUT repeatable boolean,
  OUT order_becomes text, OUT payment_becomes text, OUT supersede boolean, OUT refund boolean, OUT hold boolean, OUT excess boolean,
  OUT second_charge boolean, OUT another boolean, OUT reverse boolean, OUT fill_in boolean, OUT query boolean, OUT close boolean, OUT capture boolean, OUT alert text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'payguard_decisions'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION payguard.decisions() IS
  'The decision table: what follows from each order, attempt and report. payment_status is NULL for money without an attempt';

CREATE FUNCTION payguard.report_payment(payment_id uuid, channel_status varchar,
  channel_txn_id text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL,
  code text DEFAULT NULL, message text DEFAULT NULL, channel_time timestamptz DEFAULT NULL,
  capture_before timestamptz DEFAULT NULL)
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_report_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.report_payment(uuid, varchar, text, bigint, text, text, text, timestamptz, timestamptz) IS
  'Evidence: what a channel says about a payment: succeeded, failed, closed, pending, processing, authorized, unknown or not_found. Never refused';

CREATE FUNCTION payguard.report_payment(payment_id uuid, channel_status text,
  channel_txn_id text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL,
  code text DEFAULT NULL, message text DEFAULT NULL, channel_time timestamptz DEFAULT NULL)
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_report_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.report_payment(uuid, text, text, bigint, text, text, text, timestamptz) IS
  'The arguments of 1.1.0, kept for stored calls and for grants in dumps';

CREATE FUNCTION payguard.record_payment(order_id text, channel text, channel_txn_id text,
  amount bigint, currency text, channel_time timestamptz DEFAULT NULL)
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_record_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.record_payment(text, text, text, bigint, text, timestamptz) IS
  'Evidence: money that came without an attempt in payguard. Never refused';

CREATE FUNCTION payguard.settle_payment(payment_id uuid, channel_status text, note text,
  channel_txn_id text DEFAULT NULL, amount bigint DEFAULT NULL, currency text DEFAULT NULL)
RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_settle_payment'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.settle_payment(uuid, text, text, text, bigint, text) IS
  'An operator states the outcome of an attempt because the channel cannot be asked. The rules are those of report_payment(). Errors: PY402';

CREATE FUNCTION payguard.accept_surplus(payment_id uuid, note text) RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_accept_surplus'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.accept_surplus(uuid, text) IS
  'An operator lets surplus money pay its order. Its refund is waived. Errors: PY101, PY103, PY104, PY105, PY402, PY501, PY502, PY601';

CREATE FUNCTION payguard.accept_surplus(payment_id uuid, note text, as_whole_price boolean) RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_accept_surplus'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.accept_surplus(uuid, text, boolean) IS
  'The same. If as_whole_price is true and less came than the order asks, the order''s amount becomes what came. Errors: PY101, PY102, PY103, PY104, PY105, PY402, PY501, PY502, PY601';

CREATE FUNCTION payguard.same_charge_as(details jsonb) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN details ->> 'second_charge_of' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
         THEN (details ->> 'second_charge_of')::uuid END
$$;
COMMENT ON FUNCTION payguard.same_charge_as(jsonb) IS
  'Returns the payment of whose charge this one is a second charge or a second name, from its details. NULL: there is none';

CREATE FUNCTION payguard.dismiss_surplus(payment_id uuid, same_as uuid, note text) RETURNS payguard.payment_result
AS 'MODULE_PATHNAME', 'payguard_dismiss_surplus'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.dismiss_surplus(uuid, uuid, text) IS
  'An operator states that surplus money was a second name of the charge of the payment same_as. Its refund is waived. Errors: PY105, PY402';
