"""Hardware: machines, the queue of jobs, and what all of it used."""
