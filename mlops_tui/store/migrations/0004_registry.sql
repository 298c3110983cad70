CREATE TABLE model (id VARCHAR PRIMARY KEY, tenant VARCHAR NOT NULL, name VARCHAR NOT NULL, created TIMESTAMP NOT NULL, actor VARCHAR NOT NULL);
CREATE TABLE model_version (
  id VARCHAR PRIMARY KEY, model_id VARCHAR NOT NULL, version INTEGER NOT NULL, run_id VARCHAR, digest VARCHAR NOT NULL, size BIGINT NOT NULL, format VARCHAR NOT NULL,
  description VARCHAR NOT NULL, signature VARCHAR NOT NULL, created TIMESTAMP NOT NULL, actor VARCHAR NOT NULL,
  metrics VARCHAR NOT NULL DEFAULT '{}', metric VARCHAR NOT NULL DEFAULT '', value DOUBLE);
-- Append-only, so that a rollback is one more row and history and audit come for free.
CREATE TABLE alias_event (seq BIGINT NOT NULL, model_id VARCHAR NOT NULL, alias VARCHAR NOT NULL, version_id VARCHAR, actor VARCHAR NOT NULL, reason VARCHAR NOT NULL, ts TIMESTAMP NOT NULL, back BOOLEAN NOT NULL DEFAULT false);
CREATE VIEW alias AS SELECT model_id, alias, version_id, ts AS since FROM (SELECT *, row_number() OVER (PARTITION BY model_id, alias ORDER BY seq DESC) AS age FROM alias_event) WHERE age = 1 AND version_id IS NOT NULL;
CREATE TABLE gate_result (id VARCHAR NOT NULL, run_id VARCHAR NOT NULL, gate VARCHAR NOT NULL, passed BOOLEAN NOT NULL, value DOUBLE, threshold DOUBLE, text VARCHAR NOT NULL, detail VARCHAR NOT NULL, digest VARCHAR NOT NULL, ts TIMESTAMP NOT NULL);
