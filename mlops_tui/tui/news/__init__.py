"""What screens know of the agent: calls, the feed of changes, lists in pages."""
