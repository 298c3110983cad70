-- Online features: the newest row of a view is what servers look entities up in; the table itself is a sealed artifact.
CREATE TABLE online_features (seq BIGINT NOT NULL, tenant VARCHAR NOT NULL, view VARCHAR NOT NULL, digest VARCHAR NOT NULL, size BIGINT NOT NULL, entities BIGINT NOT NULL, newest TIMESTAMP NOT NULL, data VARCHAR NOT NULL, actor VARCHAR NOT NULL, ts TIMESTAMP NOT NULL);
