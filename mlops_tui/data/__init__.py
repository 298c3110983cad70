"""Data sets: content hash, schema, profile and checks of files; feature definitions and training sets."""
