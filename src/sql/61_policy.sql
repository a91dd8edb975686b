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
  'What orders and refunds need from an amount on. All policies at or below an amount hold together. set_policy() changes it';
COMMENT ON COLUMN payguard.policies.min_amount IS 'The policy holds from this amount on, in the currency''s minor unit';
COMMENT ON COLUMN payguard.policies.require_version IS
  'Whoever calls pay_order() or start_payment() must give expected_version';
COMMENT ON COLUMN payguard.policies.on_duplicate IS
  'What happens to a second order of a customer over the same amount within duplicate_window: flag (it is paid, with an alert), hold (it needs an approval) or refuse';

-- Calls of one customer wait for each other here where a policy looks for duplicates.
CREATE TABLE payguard.customers (
  customer_id text COLLATE "C" PRIMARY KEY,
  order_id    text COLLATE "C" NOT NULL,
  paid_at     timestamptz NOT NULL
) WITH (fillfactor = 70);
COMMENT ON TABLE payguard.customers IS
  'One row for each customer whom a policy about duplicates has looked at. Payments lock it';
COMMENT ON COLUMN payguard.customers.order_id IS 'The order that was last paid or begun under such a policy';

CREATE FUNCTION payguard.set_policy(currency text, min_amount bigint,
  approve_payment boolean DEFAULT false, approve_refund boolean DEFAULT false,
  require_version boolean DEFAULT false, duplicate_window interval DEFAULT NULL,
  on_duplicate text DEFAULT NULL)
RETURNS payguard.policies
AS 'MODULE_PATHNAME', 'payguard_set_policy'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.set_policy(text, bigint, boolean, boolean, boolean, interval, text) IS
  'Sets what orders and refunds of a currency need from min_amount (minor units) on. A policy that asks for nothing is removed';
