"""Monitoring: what live traffic says about a model: drift, quality on late labels, alerts and what they set off."""
