# Each target sets up all it needs in .venv, from the package index alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help venv demo test test-all lint bench clean

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/'

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || (echo "eopipe needs Python 3.11 or newer; run: make PYTHON=python3.12 …" && exit 2)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

venv: $(VENV)/.ready  ## the virtual environment

demo: $(VENV)/.ready  ## a real land-cover map of Pisa, in a minute or two
	@PATH="$(abspath $(BIN)):$$PATH" sh tests/flows/demo.sh

test: $(VENV)/.ready  ## the tests
	$(BIN)/python -m pytest -q

lint: $(VENV)/.ready  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.ready  ## the benchmarks (minutes)
	$(BIN)/python -m pytest -q -s tests/bench -c tests/bench/pytest.ini

clean:  ## remove what was built
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
