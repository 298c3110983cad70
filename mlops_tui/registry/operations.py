"""The registry: its parts register themselves on import."""
