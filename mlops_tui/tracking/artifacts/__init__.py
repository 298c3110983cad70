"""Files of runs and models: where they lie, taken from the spool, put and deleted by clients."""
