"""Append-only event files: whoever produces facts writes them here, the agent reads them when it can.

One file a process, ``<home.spool>/<owner>/<host>-<pid>-<start µs>.jsonl``; one JSON record a line, one
``O_APPEND`` write a record. :mod:`.writer` needs neither numpy nor msgspec nor a network, so that a
training script pays for nothing else; :mod:`.reader` turns bytes back into typed batches.
"""
