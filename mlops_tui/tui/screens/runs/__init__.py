"""Runs: experiments, runs, one run, several side by side, and what many say together."""
