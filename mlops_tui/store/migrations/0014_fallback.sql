-- Append-only: the newest row of a deployment says who answers when a revision does not; no spec: as if none were said.
CREATE TABLE fallback_event (seq BIGINT NOT NULL, deployment_id VARCHAR NOT NULL, spec VARCHAR, actor VARCHAR NOT NULL, reason VARCHAR NOT NULL, ts TIMESTAMP NOT NULL);
