"""The room of abtest."""
