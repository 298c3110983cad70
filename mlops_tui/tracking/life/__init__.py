"""How runs begin, go on and end: told by a spool, made by a call, forked, or lost without a word."""
