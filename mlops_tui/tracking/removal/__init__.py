"""Removing for good what was deleted, a piece at a time."""
