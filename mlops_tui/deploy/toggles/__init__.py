"""Feature toggles as the store has them, their changes, and the kill switch."""
