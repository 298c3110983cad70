"""A/B tests: two versions on live traffic, judged at every look without fear of peeking."""
