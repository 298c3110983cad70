"""Feature computation without a store: what training, replay and serving share."""
