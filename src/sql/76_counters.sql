-- Counters: replays and refusals, in shared memory.
CREATE FUNCTION payguard.read_counters(OUT counter text, OUT reason text, OUT value bigint,
  OUT since timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'payguard_read_counters'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION payguard.read_counters() IS 'The counters of this database. The view stat_counters shows them';

CREATE FUNCTION payguard.reset_counters() RETURNS void
AS 'MODULE_PATHNAME', 'payguard_reset_counters'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION payguard.reset_counters() IS 'Sets the counters of this database to 0';

CREATE VIEW payguard.stat_counters AS
  SELECT counter, reason, value, since FROM payguard.read_counters();
COMMENT ON VIEW payguard.stat_counters IS
  'How many calls were replayed or refused since the server''s start or the last reset_counters(). Empty unless shared_preload_libraries in postgresql.conf names payguard; a change of that needs a restart';
COMMENT ON COLUMN payguard.stat_counters.counter IS 'replays or refusals';
COMMENT ON COLUMN payguard.stat_counters.reason IS
  'Why calls were refused: the CONSTRAINT name of the error. NULL for replays';

CREATE TABLE payguard.counter_samples (
  sampled_at timestamptz NOT NULL,
  counter    text COLLATE "C" NOT NULL,
  reason     text COLLATE "C" NOT NULL,
  value      bigint NOT NULL,
  since      timestamptz NOT NULL,
  PRIMARY KEY (sampled_at, counter, reason)
);
COMMENT ON TABLE payguard.counter_samples IS
  'The counters over time. maintain() writes a sample every five minutes and keeps 35 days';
COMMENT ON COLUMN payguard.counter_samples.reason IS 'The CONSTRAINT name of the error. Empty for replays';
