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
  updated_at               timestamptz NOT NULL
);
COMMENT ON TABLE payguard.channels IS 'Where money moves; changed by register_channel()';
COMMENT ON COLUMN payguard.channels.internal IS 'The money is in the shop''s own hands: pay_order() may use it';
COMMENT ON COLUMN payguard.channels.driver IS 'The function that run_tasks() calls, by name';
COMMENT ON COLUMN payguard.channels.late_success IS
  'What a success after a failure does: accept, accept_expired (also pays an expired order), refund';
COMMENT ON COLUMN payguard.channels.idempotent_charge IS
  'The channel charges once for one payment_id, however often it is asked';

INSERT INTO payguard.channels VALUES
  ('internal', true, NULL, '30 s', '1 h', '15 min', '1 day', 'accept', true, now(), now());

CREATE FUNCTION payguard.register_channel(name text, internal boolean DEFAULT NULL,
  driver text DEFAULT NULL, first_query_after interval DEFAULT NULL,
  max_query_interval interval DEFAULT NULL, alert_after interval DEFAULT NULL,
  not_found_is_final_after interval DEFAULT NULL, late_success text DEFAULT NULL,
  idempotent_charge boolean DEFAULT NULL)
RETURNS payguard.channels
AS 'MODULE_PATHNAME', 'payguard_register_channel'
LANGUAGE C VOLATILE SECURITY DEFINER;
COMMENT ON FUNCTION payguard.register_channel(text, boolean, text, interval, interval, interval, interval, text, boolean) IS
  'Registers a channel or changes its settings; NULL: the default at first, later unchanged';
