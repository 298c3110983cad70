CREATE TABLE identity (name VARCHAR NOT NULL, tenant VARCHAR NOT NULL, role VARCHAR NOT NULL, uid INTEGER, created TIMESTAMP NOT NULL, actor VARCHAR NOT NULL, revoked TIMESTAMP);
CREATE TABLE audit (seq BIGINT NOT NULL, ts TIMESTAMP NOT NULL, actor VARCHAR NOT NULL, on_behalf_of VARCHAR NOT NULL, tenant VARCHAR NOT NULL, action VARCHAR NOT NULL, object VARCHAR NOT NULL, request_id VARCHAR NOT NULL, reason VARCHAR NOT NULL, outcome VARCHAR NOT NULL, detail VARCHAR NOT NULL, prev VARCHAR NOT NULL, hash VARCHAR NOT NULL);
-- `peaks` are the roots of the full subtrees, from which the next checkpoint goes on; they are not signed, the root is.
CREATE TABLE audit_checkpoint (seq BIGINT NOT NULL, ts TIMESTAMP NOT NULL, hash VARCHAR NOT NULL, root VARCHAR NOT NULL, signature VARCHAR NOT NULL, public_key VARCHAR NOT NULL, peaks VARCHAR NOT NULL);
-- `sample` is the newest one whole; its history lies in series of scope 'host'.
CREATE TABLE host (id VARCHAR PRIMARY KEY, name VARCHAR NOT NULL, facts VARCHAR NOT NULL, sample VARCHAR NOT NULL, seen TIMESTAMP NOT NULL);
CREATE TABLE plugin_trust (name VARCHAR NOT NULL, digest VARCHAR NOT NULL, ts TIMESTAMP NOT NULL, actor VARCHAR NOT NULL);
