"""Statistics in pure numpy: what deploy, monitoring, abtest and the gates count with.

Counts go in, verdicts come out as frozen msgspec Structs (JSON-able). Nothing here reads a clock, a file or the
store, and scipy is imported only inside the functions that need it.
"""
