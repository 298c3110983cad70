"""Commands with code of their own; all others are made from the contracts."""
