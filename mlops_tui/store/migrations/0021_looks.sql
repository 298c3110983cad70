-- A look counts the batches after those of the look before it, so that its price is that of what is new.
ALTER TABLE rollout_look ADD COLUMN upto BIGINT DEFAULT 0;
