"""Ground floor: ids, clock, errors, paths and configuration. Imports no other room."""
