"""The agent: the one process that owns the store and opens the door."""
