"""A stored data set as live traffic."""
