"""Drift: watched features, alerts and what is proposed."""
