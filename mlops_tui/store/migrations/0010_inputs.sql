-- What MLflow clients say of a data set that a run read; `tags` is a JSON object, among them the context.
ALTER TABLE run_data ADD COLUMN source_type VARCHAR DEFAULT '';
ALTER TABLE run_data ADD COLUMN source VARCHAR DEFAULT '';
ALTER TABLE run_data ADD COLUMN schema_text VARCHAR DEFAULT '';
ALTER TABLE run_data ADD COLUMN profile VARCHAR DEFAULT '';
ALTER TABLE run_data ADD COLUMN tags VARCHAR DEFAULT '{}';
-- Logged models that a run read ('in') and made ('out').
CREATE TABLE run_model (run VARCHAR NOT NULL, model VARCHAR NOT NULL, way VARCHAR NOT NULL, step BIGINT NOT NULL, ts TIMESTAMP NOT NULL);
