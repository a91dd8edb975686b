-- Policies: what high amounts and suspected duplicates need.
CREATE TABLE payguard.policies (
  currency         text COLLATE "C",
  min_amount       bigint,
  approve_payment  boolean NOT NULL,
  approve_refund   boolean NOT NULL,
  require_version  boolean NOT NULL,
  duplicate_window interval,
  on_duplicate     text COLLATE "C",
  updated_at       timestamptz NOT NULL,
  PRIMARY KEY (currency, min_amount)
);
COMMENT ON TABLE payguard.policies IS
  'What orders and refunds need from an amount on; all policies at or below the amount hold together; changed by set_policy()';
COMMENT ON COLUMN payguard.policies.min_amount IS 'In the currency''s minor unit';
COMMENT ON COLUMN payguard.policies.require_version IS 'pay_order() and start_payment() need expected_version';
COMMENT ON COLUMN payguard.policies.on_duplicate IS
  'What a second order of a customer over the same amount within duplicate_window meets: flag, hold or refuse';

-- Calls of one customer wait for each other here where a policy looks for duplicates.
CREATE TABLE payguard.customers (
  customer_id text COLLATE "C" PRIMARY KEY,
  order_id    text COLLATE "C" NOT NULL,
  paid_at     timestamptz NOT NULL
) WITH (fillfactor = 70);
COMMENT ON TABLE payguard.customers IS 'Locked by payments under a policy that looks for duplicates';
COMMENT ON COLUMN payguard.customers.order_id IS 'The order that was paid or begun last under such a policy';

CREATE FUNCTION payguard.set_policy(currency text, min_amount bigint,
  approve_payment boolean DEFAULT false, approve_refund boolean DEFAULT false,
  require_version boolean DEFAULT false, duplicate_window interval DEFAULT NULL,
  on_duplicate text DEFAULT NULL)
RETURNS payguard.policies
AS 'MODULE_PATHNAME', 'payguard_set_policy'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.set_policy(text, bigint, boolean, boolean, boolean, interval, text) IS
  'What orders and refunds of a currency need from min_amount (minor units) on; one that asks for nothing is removed';
