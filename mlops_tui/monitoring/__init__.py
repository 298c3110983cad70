"""The room of monitoring."""
