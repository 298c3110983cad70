"""What is served of a model version: its files, its measured profile, and a bundle of all that."""
