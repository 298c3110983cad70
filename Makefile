PY ?= python

.PHONY: check format lint types contracts test soak bench
check: format lint types contracts test

format:
	$(PY) -m ruff format --check .
lint:
	$(PY) -m ruff check .
types:
	$(PY) -m mypy
contracts:
	lint-imports
test:
	$(PY) -m pytest
soak:
	$(PY) -m pytest -m soak --override-ini="addopts=-q --import-mode=importlib" -s
bench:
	$(PY) -m tests.benchmarks
