-- The schema: made here, so that one planted before is refused.
CREATE SCHEMA payguard;
COMMENT ON SCHEMA payguard IS 'payguard: an order is paid once';

CREATE FUNCTION payguard.state_transitions(OUT machine text, OUT from_status text, OUT to_status text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'payguard_state_transitions'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION payguard.state_transitions() IS
  'The legal moves of each state machine. from_status is NULL if to_status can be the first state';
