"""Deployments: what is served where, how traffic is shared, and how a new version comes in safely.

``deployments`` and ``traffic`` say what is served and by whom; ``targets`` make it so, and ``package`` knows the files.
``rollout`` brings a new version in step by step; ``rollback`` is the way back. ``fallback``, ``toggles`` and ``tokens``
are what a person says beside that. ``replay`` sends a stored data set as traffic.
"""
