"""Models: names, their versions, and one version whole."""
