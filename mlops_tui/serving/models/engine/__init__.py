"""The process in which a model runs that cannot run in a worker: torch, and MLflow's pyfunc.

This folder runs under whatever Python a model needs, as a package of its own: it imports the standard library, numpy,
and what the model itself brings in, nothing else of this program. Its imports are relative for that reason.
"""
