"""The demo: the whole lifecycle on real data, told by a client of the door like any other."""
