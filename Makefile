# Everything a fresh machine needs is installed into .venv from requirements.lock.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest

.PHONY: demo test test-all lint bench lock clean

demo: $(VENV)/installed
	$(BIN)/dandify demo

test: lint
	$(PYTEST) -n 2 --dist loadfile -q

test-all: lint
	$(PYTEST) -n 2 --dist loadfile -q -m ""

lint: $(VENV)/installed
	$(BIN)/ruff check src converters tests benchmarks
	$(BIN)/ruff format --check src converters tests benchmarks
	$(BIN)/mypy

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks

# The lock is complete. Without --no-deps, older pips look `pydantic[email]` up anew, find a newer release, and refuse it.
$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# Needs uv (`pip install uv`). Resolves for every platform; writes hashes and no index address.
lock:
	uv pip compile pyproject.toml --extra dev --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-annotate --no-header --quiet --output-file requirements.lock

clean:
	rm -rf $(VENV) dist demo .mypy_cache .ruff_cache .pytest_cache
