"""A request's way through the server: which revision answers, alone or with others, and what becomes of it."""
