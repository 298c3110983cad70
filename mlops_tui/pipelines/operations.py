"""Registers the room on import."""
