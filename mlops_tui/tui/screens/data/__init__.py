"""Data: data sets, one version whole, and features."""
