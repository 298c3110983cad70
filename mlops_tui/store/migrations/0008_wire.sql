-- What clients of the MLflow API need: experiments have a number (0 is the default one) and a place for artifacts.
ALTER TABLE experiment ADD COLUMN number BIGINT;
ALTER TABLE experiment ADD COLUMN place VARCHAR DEFAULT '';
ALTER TABLE experiment ADD COLUMN updated TIMESTAMP;
UPDATE experiment SET number = n.number, name = n.name, updated = experiment.created FROM (
  SELECT id, CASE WHEN name = 'default' THEN 'Default' ELSE name END AS name,
    CASE WHEN name = 'default' THEN 0 ELSE row_number() OVER (PARTITION BY tenant, name = 'default' ORDER BY created, id) END AS number
  FROM experiment) n WHERE n.id = experiment.id;
-- Who made a run: '' the SDK or a runner, 'mlflow' a client of the MLflow API, which sends no heartbeats.
ALTER TABLE run ADD COLUMN via VARCHAR DEFAULT '';
