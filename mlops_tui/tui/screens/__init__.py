"""Screens: one a mode, and those that open from them. Each is imported when it is first shown."""
