"""Pipelines: the conditions that a model must meet before it is registered, and the worker that judges them."""
