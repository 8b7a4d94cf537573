# Kubesweep: one vocabulary of commands; CI calls the same ones. `make` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint unit contract integration pins clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(VENV)/run.stamp: requirements/run.txt requirements/build.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Kubesweep needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

demo: $(VENV)/run.stamp ## sweep 200,000 conversations on this machine, no server needed
	@$(BIN)/kubesweep demo

test: lint unit contract integration ## everything that needs no cluster and no root

lint: $(VENV)/dev.stamp ## style, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(VENV)/dev.stamp ## pure functions
	$(BIN)/pytest tests/unit

contract: $(VENV)/dev.stamp ## every queue implementation against the one contract
	$(BIN)/pytest tests/contract

integration: $(VENV)/dev.stamp ## real Postgres, real processes
	$(BIN)/pytest tests/integration

pins: ## pin every dependency anew, with hashes
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --extra cli pyproject.toml -o requirements/run.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --constraint requirements/run.txt --extra cli --group dev -o requirements/dev.txt pyproject.toml
	echo hatchling | uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate - -o requirements/build.txt

clean: ## remove what the commands above made
	rm -rf $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
