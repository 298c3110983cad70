"""Rollouts: asked for in a file, moved from state to state by a table, judged by evidence."""
