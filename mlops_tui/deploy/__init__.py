"""The room of deploy."""
