# eopipe
# Each target sets up all it needs in .venv, from the package index alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHARED := $(or $(EOPIPE_SHARED),../shared)
PYTEST := $(BIN)/python -m pytest -q
# the half of the tests that starts clusters; it runs beside the other half
CLUSTERS := tests/engine tests/invariants tests/broken
LOG := out/tests/clusters.log

.PHONY: help venv demo test test-all lint bench clean

help:  ## this list
	@awk -F ':.*##' '/^[a-z-]+:.*##/ { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "eopipe needs Python 3.11 or newer; give one: make PYTHON=/path/to/python3" >&2; exit 2; }
	@echo "setting up $(VENV), once: some minutes (on Linux the package index's torch brings CUDA, 5 GB)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

venv: $(VENV)/.ready  ## the virtual environment, .venv

demo: $(VENV)/.ready  ## a map of a real scene, from words, offline, in about a minute
	@$(BIN)/eopipe demo

# $(call tests,MARKS): those that measure by themselves, then the others in two processes; fails where one of them does
define tests
	@test -d "$(SHARED)/data" || echo "$(SHARED)/data is missing: tests on real scenes are skipped (EOPIPE_SHARED says where it is)"
	@mkdir -p $(dir $(LOG)); status=0; trap 'kill $$clusters 2>/dev/null; exit 130' INT TERM; \
	$(PYTEST) -m "alone and ($(1))" || status=1; \
	$(PYTEST) -m "not alone and ($(1))" $(CLUSTERS) >$(LOG) 2>&1 & clusters=$$!; \
	$(PYTEST) -m "not alone and ($(1))" $(CLUSTERS:%=--ignore=%) || status=1; \
	wait $$clusters || status=1; cat $(LOG); exit $$status
endef

test: $(VENV)/.ready  ## the quick tests of every room, 6 minutes at most
	$(call tests,not slow)

test-all: $(VENV)/.ready  ## every test, 20 minutes at most: what CI runs
	$(call tests,slow or not slow)

lint: $(VENV)/.ready  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.ready  ## the benchmarks, one after the other (minutes)
	@for file in tests/bench/bench_*.py; do \
		name=$$(basename $$file .py); echo "== $$name"; $(BIN)/python -m tests.bench.$$name || exit 1; \
	done

clean:  ## remove what was built (.venv too; out/ stays)
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
