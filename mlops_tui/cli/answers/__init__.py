"""How answers and failures are written: for eyes, for pipes, for programs."""
