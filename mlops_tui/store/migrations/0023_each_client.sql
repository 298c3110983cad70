-- Where clients stick to a version looks count requests as everywhere, and beside them clients' first requests as
-- [units, badness at each mark]; now and then ln e of all requests of each client. Looks that counted otherwise are
-- taken again from the log, which has all that they had.
DELETE FROM rollout_look WHERE requests IS NOT NULL;
ALTER TABLE rollout_look DROP COLUMN chance;
ALTER TABLE rollout_look DROP COLUMN requests;
ALTER TABLE rollout_look ADD COLUMN first_canary DOUBLE[];
ALTER TABLE rollout_look ADD COLUMN first_stable DOUBLE[];
ALTER TABLE rollout_look ADD COLUMN log_e_clients DOUBLE;
-- Clients whose first request of a step was counted.
DELETE FROM rollout_client;
ALTER TABLE rollout_client DROP COLUMN mark;
