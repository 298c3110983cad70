"""Searching runs: the keys of the search language, the lists, and what was found as a table."""
