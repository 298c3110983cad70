"""The terminal face: screens over the typed client. Imports nothing of the agent's rooms.

``app`` holds nine modes over one table of ``keys``. *screens* has a folder a mode, whose ``mode`` is its first screen,
and the *frame* that all of them are made from; *widgets* are their parts. *news* is what they know of the agent: calls,
the feed of changes, lists in pages. *terminal* is what is told to the real one. *drawing* is lines and charts as plain
data: it knows no widget, so that it can be compared and tested with ``==``.
"""
