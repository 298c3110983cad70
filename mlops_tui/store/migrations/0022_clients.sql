-- Whose request it is where clients stick to a version: a keyed hash; 0 without a key, -1 where nobody asked.
ALTER TABLE inference ADD COLUMN client BIGINT DEFAULT -1;
ALTER TABLE outcome ADD COLUMN client BIGINT DEFAULT -1;
-- Looks at clients: the chance with which they were drawn for the canary, and the requests of the canary so far.
ALTER TABLE rollout_look ADD COLUMN chance DOUBLE;
ALTER TABLE rollout_look ADD COLUMN requests BIGINT;
-- Clients that looks have counted: mark -1 for their first request of a step, else when they met a bad one at that mark.
CREATE TABLE rollout_client (rollout_id VARCHAR NOT NULL, event VARCHAR NOT NULL, mark INTEGER NOT NULL, step INTEGER NOT NULL, client BIGINT NOT NULL, canary BOOLEAN NOT NULL);
