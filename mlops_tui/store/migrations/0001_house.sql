-- The house itself: answered requests, events, spool bookkeeping, series. Times are UTC microseconds.
CREATE TABLE request (id VARCHAR NOT NULL, operation VARCHAR NOT NULL, actor VARCHAR NOT NULL, answer VARCHAR NOT NULL, ts TIMESTAMP NOT NULL);
CREATE TABLE event (seq BIGINT NOT NULL, ts TIMESTAMP NOT NULL, tenant VARCHAR NOT NULL, actor VARCHAR NOT NULL, topic VARCHAR NOT NULL, object VARCHAR NOT NULL, action VARCHAR NOT NULL, text VARCHAR NOT NULL, link VARCHAR NOT NULL);
CREATE TABLE tag (object VARCHAR NOT NULL, key VARCHAR NOT NULL, value VARCHAR NOT NULL, ts TIMESTAMP NOT NULL);
CREATE TABLE link (src VARCHAR NOT NULL, rel VARCHAR NOT NULL, dst VARCHAR NOT NULL, ts TIMESTAMP NOT NULL);
-- The offset moves in the transaction of its rows: exactly-once ingestion.
CREATE TABLE spool (path VARCHAR NOT NULL, owner VARCHAR NOT NULL, offset_bytes BIGINT NOT NULL, updated TIMESTAMP NOT NULL, closed BOOLEAN NOT NULL);
CREATE TABLE quarantine (path VARCHAR NOT NULL, offset_bytes BIGINT NOT NULL, line VARCHAR NOT NULL, error VARCHAR NOT NULL, ts TIMESTAMP NOT NULL);
-- One time-series store: training metrics, hardware samples, drift scores. `series` is dictionary and latest-value table at once.
CREATE TABLE series (sid INTEGER NOT NULL, scope VARCHAR NOT NULL, owner VARCHAR NOT NULL, key VARCHAR NOT NULL, n BIGINT NOT NULL, last_step BIGINT NOT NULL, last_ts TIMESTAMP NOT NULL, last DOUBLE, low DOUBLE, high DOUBLE, nonfinite BIGINT NOT NULL);
CREATE TABLE point (sid INTEGER NOT NULL, step BIGINT NOT NULL, ts TIMESTAMP NOT NULL, value DOUBLE NOT NULL);
CREATE TABLE log_line (owner VARCHAR NOT NULL, seq BIGINT NOT NULL, ts TIMESTAMP NOT NULL, stream VARCHAR NOT NULL, text VARCHAR NOT NULL);
