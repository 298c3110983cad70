"""Deploy: environments, one deployment, one rollout, and the keys that steer traffic."""
