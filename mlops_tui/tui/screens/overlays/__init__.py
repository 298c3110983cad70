"""What opens over any screen: help, jump, logs, jobs."""
