CREATE TABLE deployment (
  id VARCHAR PRIMARY KEY, tenant VARCHAR NOT NULL, name VARCHAR NOT NULL, target VARCHAR NOT NULL, environment VARCHAR NOT NULL, host VARCHAR NOT NULL, port INTEGER NOT NULL, workers INTEGER NOT NULL,
  status VARCHAR NOT NULL, text VARCHAR NOT NULL, boot VARCHAR NOT NULL, pid INTEGER, proc_created BIGINT, acknowledged BIGINT NOT NULL, created TIMESTAMP NOT NULL, actor VARCHAR NOT NULL, removed TIMESTAMP);
CREATE TABLE revision (id VARCHAR PRIMARY KEY, deployment_id VARCHAR NOT NULL, no INTEGER NOT NULL, version_id VARCHAR NOT NULL, label VARCHAR NOT NULL, created TIMESTAMP NOT NULL);
-- Append-only: the newest row of a deployment is the split that its servers must show; its seq is the generation.
CREATE TABLE traffic_event (seq BIGINT NOT NULL, deployment_id VARCHAR NOT NULL, split VARCHAR NOT NULL, strategy VARCHAR NOT NULL, actor VARCHAR NOT NULL, reason VARCHAR NOT NULL, ts TIMESTAMP NOT NULL);
-- When the servers were first seen to show a split; what they answered from then on was shared so.
CREATE TABLE traffic_ack (deployment_id VARCHAR NOT NULL, generation BIGINT NOT NULL, ts TIMESTAMP NOT NULL);
-- Predictions and late truths as they come; seq numbers the batches, so that what is new is found without reading the rest.
CREATE TABLE inference (seq BIGINT NOT NULL, ts TIMESTAMP NOT NULL, deployment_id VARCHAR NOT NULL, revision_no INTEGER NOT NULL, request_id VARCHAR NOT NULL, "row" INTEGER NOT NULL, latency INTEGER NOT NULL, status INTEGER NOT NULL, shadow BOOLEAN NOT NULL, score FLOAT, features FLOAT[]);
CREATE TABLE label (seq BIGINT NOT NULL, deployment_id VARCHAR NOT NULL, request_id VARCHAR NOT NULL, "row" INTEGER NOT NULL, ts TIMESTAMP NOT NULL, truth DOUBLE NOT NULL);
-- A prediction beside its truth, joined once, whichever came last; ts is when it was predicted, known when the truth came.
CREATE TABLE outcome (deployment_id VARCHAR NOT NULL, revision_no INTEGER NOT NULL, shadow BOOLEAN NOT NULL, status INTEGER NOT NULL, ts TIMESTAMP NOT NULL, known TIMESTAMP NOT NULL, score FLOAT NOT NULL, truth DOUBLE NOT NULL);
-- Figures of each revision since it began; latency counts eighths of an octave, the first below 1 µs. `tally` says how far both were brought.
CREATE TABLE revision_total (deployment_id VARCHAR NOT NULL, revision_no INTEGER NOT NULL, requests BIGINT NOT NULL, errors BIGINT NOT NULL, latency BIGINT[] NOT NULL);
CREATE TABLE tally (inference BIGINT NOT NULL, label BIGINT NOT NULL);
CREATE TABLE rollout (id VARCHAR PRIMARY KEY, tenant VARCHAR NOT NULL, deployment_id VARCHAR NOT NULL, strategy VARCHAR NOT NULL, spec VARCHAR NOT NULL, stable_no INTEGER NOT NULL, canary_no INTEGER NOT NULL, started TIMESTAMP NOT NULL, actor VARCHAR NOT NULL, watched_s DOUBLE NOT NULL DEFAULT 0);
CREATE TABLE rollout_event (seq BIGINT NOT NULL, rollout_id VARCHAR NOT NULL, state VARCHAR NOT NULL, step INTEGER NOT NULL, weight DOUBLE NOT NULL, text VARCHAR NOT NULL, actor VARCHAR NOT NULL, ts TIMESTAMP NOT NULL);
CREATE TABLE rollout_look (rollout_id VARCHAR NOT NULL, step INTEGER NOT NULL, look INTEGER NOT NULL, event VARCHAR NOT NULL, ts TIMESTAMP NOT NULL, bad_canary BIGINT NOT NULL, n_canary BIGINT NOT NULL, bad_stable BIGINT NOT NULL, n_stable BIGINT NOT NULL, log_e_harm DOUBLE NOT NULL, log_e_safe DOUBLE NOT NULL, verdict VARCHAR NOT NULL);
