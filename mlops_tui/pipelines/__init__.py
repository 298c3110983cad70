"""The room of pipelines."""
