"""What is kept of requests: counters in shared memory, and the inference log in binary segments."""
