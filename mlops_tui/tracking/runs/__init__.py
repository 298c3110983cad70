"""Runs as they are kept: found, read, what they say of themselves, and what people change."""
