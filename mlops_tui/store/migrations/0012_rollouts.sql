-- A transition says which split came with it and how long agents had watched by then; a look keeps the badness at each mark.
ALTER TABLE rollout_event ADD COLUMN generation BIGINT;
ALTER TABLE rollout_event ADD COLUMN watched_s DOUBLE DEFAULT 0;
ALTER TABLE rollout_look ALTER COLUMN bad_canary TYPE DOUBLE;
ALTER TABLE rollout_look ALTER COLUMN bad_stable TYPE DOUBLE;
ALTER TABLE rollout_look ADD COLUMN marks_canary DOUBLE[];
ALTER TABLE rollout_look ADD COLUMN marks_stable DOUBLE[];
-- What stable was like when a rollout began to compare: the quantiles of its latencies and scores, fixed before anything is counted.
CREATE TABLE rollout_scale (rollout_id VARCHAR NOT NULL, event VARCHAR NOT NULL, since TIMESTAMP NOT NULL, marks DOUBLE[] NOT NULL);
-- Rows of one request are one unit to a rollout, counted when the first of them was labelled; seq numbers the batches.
ALTER TABLE outcome ADD COLUMN request UBIGINT;
ALTER TABLE outcome ADD COLUMN seq BIGINT DEFAULT 0;
