"""Widgets, one a file with its CSS."""
