"""The terminal face: screens over the typed client. Imports nothing of the agent's rooms."""
