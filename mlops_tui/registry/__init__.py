"""The registry: models, versions, aliases and lineage."""
