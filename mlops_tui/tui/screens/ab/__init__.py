"""A/B: tests on live traffic."""
