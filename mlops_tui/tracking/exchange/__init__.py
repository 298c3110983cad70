"""Runs in and out: what other trackers hold is read, and everything is written in forms that anybody opens."""
