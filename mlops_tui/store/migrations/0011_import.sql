-- Runs that came from elsewhere: what their source said of them last (mark), and the digest of what they hold.
CREATE TABLE imported (run VARCHAR NOT NULL, source VARCHAR NOT NULL, mark VARCHAR NOT NULL, digest VARCHAR NOT NULL, files BOOLEAN NOT NULL, ts TIMESTAMP NOT NULL);
