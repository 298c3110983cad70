"""What may be typed: the table of words, and commands made from the contracts or from typed functions."""
