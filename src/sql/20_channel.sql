-- Channels.
CREATE TABLE payguard.channels (
  name                     text COLLATE "C" PRIMARY KEY,
  internal                 boolean NOT NULL,
  driver                   text,
  first_query_after        interval NOT NULL,
  max_query_interval       interval NOT NULL,
  alert_after              interval NOT NULL,
  not_found_is_final_after interval NOT NULL,
  late_success             text COLLATE "C" NOT NULL,
  idempotent_charge        boolean NOT NULL,
  created_at               timestamptz NOT NULL,
  updated_at               timestamptz NOT NULL,
  surplus                  text COLLATE "C",
  reopen_on                text[] COLLATE "C",
  processing_alert_after   interval
);
COMMENT ON TABLE payguard.channels IS 'The ways that money comes and goes. register_channel() changes it';
COMMENT ON COLUMN payguard.channels.internal IS 'The money is in the shop''s own hands. pay_order() may use the channel';
COMMENT ON COLUMN payguard.channels.driver IS 'The name of the function that run_tasks() calls';
COMMENT ON COLUMN payguard.channels.late_success IS
  'What happens when a success follows a failure: accept, accept_expired (it also pays an expired order) or refund';
COMMENT ON COLUMN payguard.channels.idempotent_charge IS
  'The channel charges one payment_id once, however often it is asked';
COMMENT ON COLUMN payguard.channels.surplus IS
  'Whether surplus money is refunded at once (refund, or NULL) or waits for a person (review)';
COMMENT ON COLUMN payguard.channels.reopen_on IS
  'The kinds of reversals that make an order unpaid again without a person: bank_return, chargeback, failed';
COMMENT ON COLUMN payguard.channels.processing_alert_after IS
  'How long the channel may process a payment before an alert is opened. NULL: the same as alert_after';

INSERT INTO payguard.channels VALUES
  ('internal', true, NULL, '30 s', '1 h', '15 min', '1 day', 'accept', true, now(), now(), 'refund', '{bank_return}', '10 days');

-- A function whose arguments grow keeps its old signature for one version, without defaults: grants in dumps
-- name it. A call with all the old arguments would fit both; one varchar in the new one decides that.
CREATE FUNCTION payguard.register_channel(name varchar, internal boolean DEFAULT NULL,
  driver text DEFAULT NULL, first_query_after interval DEFAULT NULL,
  max_query_interval interval DEFAULT NULL, alert_after interval DEFAULT NULL,
  not_found_is_final_after interval DEFAULT NULL, late_success text DEFAULT NULL,
  idempotent_charge boolean DEFAULT NULL, surplus text DEFAULT NULL, reopen_on text[] DEFAULT NULL,
  processing_alert_after interval DEFAULT NULL)
RETURNS payguard.channels
AS 'MODULE_PATHNAME', 'payguard_register_channel'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.register_channel(varchar, boolean, text, interval, interval, interval, interval, text, boolean, text, text[], interval) IS
  'Registers a channel or changes its settings. NULL gives a new channel the default, and leaves a known one as it is';

CREATE FUNCTION payguard.register_channel(name text, internal boolean DEFAULT NULL,
  driver text DEFAULT NULL, first_query_after interval DEFAULT NULL,
  max_query_interval interval DEFAULT NULL, alert_after interval DEFAULT NULL,
  not_found_is_final_after interval DEFAULT NULL, late_success text DEFAULT NULL,
  idempotent_charge boolean DEFAULT NULL)
RETURNS payguard.channels
AS 'MODULE_PATHNAME', 'payguard_register_channel'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.register_channel(text, boolean, text, interval, interval, interval, interval, text, boolean) IS
  'The arguments of 1.1.0, kept for stored calls and for grants in dumps';
