-- Of a token only its hash is kept; what was revoked stays, for the record.
CREATE TABLE deployment_token (id VARCHAR NOT NULL, tenant VARCHAR NOT NULL, deployment_id VARCHAR NOT NULL, client VARCHAR NOT NULL, sha256 VARCHAR NOT NULL, created TIMESTAMP NOT NULL, expires TIMESTAMP, revoked TIMESTAMP, actor VARCHAR NOT NULL);
