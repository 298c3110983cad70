"""Govern: the audit trail, who may do what, plugins, events."""
