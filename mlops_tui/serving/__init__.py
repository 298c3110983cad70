"""The inference server: a supervisor and its workers per deployment, alive without the agent.

``python -m mlops_tui.serving.supervisor --dir DIR`` serves what ``routes.json`` in the folder names. The supervisor
holds the listening sockets and the unsealed models; workers answer requests and log them to segments. Neither opens
the store.
"""
