-- How a deployment runs its models (threads, GPU, Python, memory, time limits), as its servers read it; NULL: as they do by default.
ALTER TABLE deployment ADD COLUMN facts VARCHAR;
