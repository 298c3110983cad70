"""Deployments: what is served where, how traffic is shared, and how a new version comes in safely."""
