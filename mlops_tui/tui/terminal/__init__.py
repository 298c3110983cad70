"""The terminal itself: what it is, what it is told of a paint, and the clipboard behind it."""
