-- How a model file is best served on one kind of machine, by profile (latency, throughput, memory); the newest row holds.
-- `variant` is the artifact that is served in place of the file, empty when that itself is.
CREATE TABLE model_profile (id VARCHAR PRIMARY KEY, tenant VARCHAR NOT NULL, version_id VARCHAR NOT NULL, digest VARCHAR NOT NULL, host VARCHAR NOT NULL, profile VARCHAR NOT NULL, setting VARCHAR NOT NULL, variant VARCHAR NOT NULL, keeps BOOLEAN NOT NULL, text VARCHAR NOT NULL, report VARCHAR NOT NULL, ts TIMESTAMP NOT NULL, actor VARCHAR NOT NULL);
-- What a deployment was made with: a profile's name, "none", or empty for those of before.
ALTER TABLE deployment ADD COLUMN profile VARCHAR DEFAULT '';
-- The setting that it took, as JSON; and of each revision the artifact that is served in place of the version's file.
ALTER TABLE deployment ADD COLUMN tuned VARCHAR DEFAULT '';
ALTER TABLE revision ADD COLUMN variant VARCHAR DEFAULT '';
