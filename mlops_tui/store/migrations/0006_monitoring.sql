CREATE TABLE monitor (
  id VARCHAR PRIMARY KEY, tenant VARCHAR NOT NULL, deployment_id VARCHAR NOT NULL, spec VARCHAR NOT NULL, reference VARCHAR NOT NULL, profiles VARCHAR NOT NULL, created TIMESTAMP NOT NULL, actor VARCHAR NOT NULL, judged TIMESTAMP, removed TIMESTAMP,
  -- The newest judgement that had rows, the last batch of predictions that was counted, and the alarms between judgements.
  resulted TIMESTAMP, counted BIGINT NOT NULL DEFAULT 0, alarms VARCHAR NOT NULL DEFAULT '{}');
-- Counts add: late rows and two servers merge exactly. One row a bucket, feature, revision and judgement.
CREATE TABLE drift_bucket (monitor_id VARCHAR NOT NULL, minute TIMESTAMP NOT NULL, feature VARCHAR NOT NULL, revision_no INTEGER NOT NULL, n BIGINT NOT NULL, counts BIGINT[] NOT NULL);
CREATE TABLE drift_result (monitor_id VARCHAR NOT NULL, ts TIMESTAMP NOT NULL, feature VARCHAR NOT NULL, psi DOUBLE, js DOUBLE, ks DOUBLE, w1 DOUBLE, p_value DOUBLE, n BIGINT NOT NULL, verdict VARCHAR NOT NULL, method VARCHAR NOT NULL, history DOUBLE[] NOT NULL, others VARCHAR NOT NULL DEFAULT '{}');
CREATE TABLE quality_result (monitor_id VARCHAR NOT NULL, ts TIMESTAMP NOT NULL, n BIGINT NOT NULL, accuracy DOUBLE, auc DOUBLE, coverage DOUBLE NOT NULL, estimated BOOLEAN NOT NULL);
CREATE TABLE alert (id VARCHAR PRIMARY KEY, tenant VARCHAR NOT NULL, rule VARCHAR NOT NULL, subject VARCHAR NOT NULL, severity VARCHAR NOT NULL, opened TIMESTAMP NOT NULL, acked TIMESTAMP, acked_by VARCHAR NOT NULL, silenced_until TIMESTAMP, closed TIMESTAMP, text VARCHAR NOT NULL, detail VARCHAR NOT NULL, link VARCHAR NOT NULL);
CREATE TABLE automation (id VARCHAR PRIMARY KEY, tenant VARCHAR NOT NULL, kind VARCHAR NOT NULL, subject VARCHAR NOT NULL, state VARCHAR NOT NULL, created TIMESTAMP NOT NULL, decided TIMESTAMP, actor VARCHAR NOT NULL, alert_id VARCHAR NOT NULL, text VARCHAR NOT NULL, inputs VARCHAR NOT NULL, job_id VARCHAR);
CREATE TABLE abtest (
  id VARCHAR PRIMARY KEY, tenant VARCHAR NOT NULL, name VARCHAR NOT NULL, deployment_id VARCHAR NOT NULL, spec VARCHAR NOT NULL, a_no INTEGER NOT NULL, b_no INTEGER NOT NULL, state VARCHAR NOT NULL, started TIMESTAMP NOT NULL, ended TIMESTAMP, actor VARCHAR NOT NULL, verdict VARCHAR NOT NULL,
  generation BIGINT NOT NULL, n BIGINT NOT NULL DEFAULT 0, difference DOUBLE, low DOUBLE, high DOUBLE);
CREATE TABLE abtest_look (abtest_id VARCHAR NOT NULL, ts TIMESTAMP NOT NULL, n_a BIGINT NOT NULL, n_b BIGINT NOT NULL, mean_a DOUBLE, mean_b DOUBLE, difference DOUBLE, low DOUBLE, high DOUBLE);
-- The last event of an alert that a notifier was told, or that was given up.
CREATE TABLE notifier (name VARCHAR PRIMARY KEY, told BIGINT NOT NULL);
