"""Where models are served: this machine or a plugin, kept as they should be by a reconciler."""
