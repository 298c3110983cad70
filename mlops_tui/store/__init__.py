"""The store: the only room that speaks to the metadata database (DuckDB, one writer)."""
