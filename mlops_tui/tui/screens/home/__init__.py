"""Home: what needs you, what runs, how the machine and the models are."""
