"""Tracking: experiments and runs, taken in from the spool, and what people do with them.

The folders know of each other only downwards:

- *exchange*: runs of other trackers come in, and everything goes out in forms that anybody opens; workers do both.
- *analysis*: what many runs say together. *artifacts*: their files. *logged*: the models that they made.
  *removal*: what was deleted goes for good, a piece at a time.
- *search*: the keys of runs for the search language, their lists, and found runs as a table.
- *life*: how runs begin, go on and end, be it told by a spool, by a call, or by nobody any more.
- ``experiments`` hold runs; *runs* is a run as it is kept: found by name, read, described, changed.
"""
