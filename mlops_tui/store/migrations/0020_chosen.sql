-- Requests whose version was named or picked, not drawn by its weight: they are no sample, so nobody compares versions by them.
ALTER TABLE inference ADD COLUMN chosen BOOLEAN DEFAULT 0;
ALTER TABLE outcome ADD COLUMN chosen BOOLEAN DEFAULT 0;
