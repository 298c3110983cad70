"""Logged models: what runs made, before anybody registers it."""
