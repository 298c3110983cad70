-- Append-only: the newest row of a key is what holds; no definition means that it was removed. The keys $evaluators and
-- $metadata hold what belongs to the whole set.
CREATE TABLE toggle_event (seq BIGINT NOT NULL, tenant VARCHAR NOT NULL, key VARCHAR NOT NULL, definition VARCHAR, actor VARCHAR NOT NULL, reason VARCHAR NOT NULL, ts TIMESTAMP NOT NULL);
CREATE VIEW toggle AS SELECT * FROM (SELECT * FROM toggle_event QUALIFY row_number() OVER (PARTITION BY tenant, key ORDER BY seq DESC) = 1) WHERE definition IS NOT NULL;
