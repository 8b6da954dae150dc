# The two commands of a newcomer are `make demo` and `make test`; everything below serves them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Bytecode makes every start two to three times faster, so it is written at set-up and kept.
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH VIRTUAL_ENV

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
TOOLS  := .tools
# uv from PATH, else a private copy that touches nothing outside this folder.
UV     := $(shell command -v uv 2>/dev/null || echo $(TOOLS)/bin/uv)
# All but `sqlite`: tests look into databases with Python's own SQLite, and two copies of the library in one process undo
# each other's locks.
EXTRAS := postgres s3 slurm ray search timm parquet tensorboard notebook dashboard
# Half of what tests take is waiting, for other processes and for leases that run out.
PROCESSES ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 2)))
DEMO_DB := sqlite:///reports/demo.db

.PHONY: help setup demo test quick newest lint types contracts unit bench docs lock clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

setup: $(VENV)/.ready ## set up .venv from the lock file

$(TOOLS)/bin/uv:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.ready: pyproject.toml requirements.lock | $(if $(findstring $(TOOLS),$(UV)),$(TOOLS)/bin/uv)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --compile-bytecode -e .
	@touch $@

demo: $(VENV)/.ready ## train the demo study with two workers and write its report
	@mkdir -p reports
	@rm -rf reports/demo.db* reports/demo.checkpoints
	$(BIN)/cifarsweep create demo --db $(DEMO_DB)
	@$(BIN)/cifarsweep worker --cpu --db $(DEMO_DB) & first=$$!; \
	  $(BIN)/cifarsweep worker --cpu --db $(DEMO_DB); wait $$first
	$(BIN)/cifarsweep report demo --db $(DEMO_DB) --out reports

# Two at a time: the types are checked while the first tests run.
test: $(VENV)/.ready ## lint, types, import contracts and every test
	@$(MAKE) --no-print-directory --jobs=2 lint types contracts unit

lint: $(VENV)/.ready ## ruff, rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready ## mypy, strict
	$(BIN)/mypy

contracts: $(VENV)/.ready ## imports run one way
	$(BIN)/lint-imports

unit: $(VENV)/.ready ## every test, on two processes more than there are cores (or PROCESSES=8)
	$(BIN)/pytest -n $(PROCESSES) --dist worksteal tests

quick: $(VENV)/.ready ## every test but the long ones: fault campaigns, real browsers, Slurm, S3, benchmarks in small
	$(BIN)/pytest -n $(PROCESSES) --dist worksteal -m "not long" tests

newest: $(VENV)/.ready ## of every quick test one case, and fewer random examples: what the version of Python can change
	$(BIN)/pytest -n $(PROCESSES) --dist worksteal -m "not long" --one-case --hypothesis-profile few tests

docs: $(VENV)/.ready ## the documents as pages: open site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo site/index.html

bench: $(VENV)/.ready ## the benchmarks, each against the plain alternative
	@for file in benchmarks/bench_*.py; do $(BIN)/python $$file; done

lock: | $(if $(findstring $(TOOLS),$(UV)),$(TOOLS)/bin/uv) ## make the lock file again
	$(UV) pip compile --quiet pyproject.toml --group dev $(addprefix --extra ,$(EXTRAS)) --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header -o requirements.lock
	sed -i.bak '1i # Locked for every platform and Python 3.11-3.14. Made by `make lock`; names no package host.' requirements.lock
	rm -f requirements.lock.bak

clean: ## remove what make built
	rm -rf $(VENV) .venv-* $(TOOLS) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache reports/demo.db* reports/demo.html site
