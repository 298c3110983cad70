"""Performing an operation: agreed to, called, followed, or handed over to another program of ours."""
