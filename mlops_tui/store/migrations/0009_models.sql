-- Models are described, renamed and hidden; a version may be a folder of files. `updated` is null until something changes.
ALTER TABLE model ADD COLUMN description VARCHAR DEFAULT '';
ALTER TABLE model ADD COLUMN updated TIMESTAMP;
ALTER TABLE model ADD COLUMN deleted TIMESTAMP;
ALTER TABLE model_version ADD COLUMN source VARCHAR DEFAULT '';
ALTER TABLE model_version ADD COLUMN run_link VARCHAR DEFAULT '';
ALTER TABLE model_version ADD COLUMN stage VARCHAR DEFAULT 'None';
ALTER TABLE model_version ADD COLUMN logged_id VARCHAR DEFAULT '';
ALTER TABLE model_version ADD COLUMN updated TIMESTAMP;
ALTER TABLE model_version ADD COLUMN deleted TIMESTAMP;
-- What a run made and may be registered later. Its parameters lie in `param`, its tags in `tag`, its files in `run_artifact`:
-- the owner of those rows (columns `run`, `object`) is a run, a logged model, a model version, or 'files:TENANT' for files under none.
CREATE TABLE logged_model (
  id VARCHAR PRIMARY KEY, tenant VARCHAR NOT NULL, experiment_id VARCHAR NOT NULL, name VARCHAR NOT NULL, kind VARCHAR NOT NULL, status VARCHAR NOT NULL, run_id VARCHAR NOT NULL,
  created TIMESTAMP NOT NULL, updated TIMESTAMP NOT NULL, deleted TIMESTAMP, actor VARCHAR NOT NULL);
CREATE TABLE logged_metric (model_id VARCHAR NOT NULL, key VARCHAR NOT NULL, value DOUBLE NOT NULL, step BIGINT NOT NULL, ts TIMESTAMP NOT NULL, run_id VARCHAR NOT NULL, dataset VARCHAR NOT NULL, digest VARCHAR NOT NULL);
