"""Training jobs: launcher, queue, runner, checkpoints; export of what they made."""
