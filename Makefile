# Two commands matter: `make demo` and `make test`. Both set up .venv by themselves.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/installed-$(shell echo "$(CURDIR)" | cksum | cut -d" " -f1).lock

.PHONY: help demo repro ui test test-all lint format lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(READY) ## Ingest, train, register, classify, all under Prefect: the digits, or data.source
	@$(BIN)/darkroom run

repro: $(READY) ## Take in the dataset if there is none, then `dvc repro`
	@test -e data/dataset.dvc || $(BIN)/darkroom ingest
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro

ui: $(READY) ## Open MLflow on this project's runs (http://127.0.0.1:5000)
	@$(BIN)/darkroom ui

test: $(READY) ## Every promise once (at most 6 minutes on 2 cores)
	@$(BIN)/pytest -n 2

test-all: $(READY) ## Full counts (at most 60 minutes)
	@$(BIN)/pytest -n 2 --full

lint: $(READY) ## ruff and mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY) ## Let ruff lay out the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: $(READY) ## Renew requirements.lock from pyproject.toml
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile -q --upgrade --universal --generate-hashes \
	  --python-version 3.11 --no-emit-index-url --all-extras pyproject.toml -o requirements.lock

clean: ## Remove .venv and caches; data, models and runs stay
	@rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache

# Installed exactly as locked; skipped while the lock has not changed.
$(READY): requirements.lock pyproject.toml
	@cmp -s requirements.lock $@ && touch $@ || $(MAKE) --no-print-directory install

.PHONY: install
install:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "darkroom: Python 3.11 or newer is needed; this is $$($(PYTHON) --version)"; \
	       echo "  mend: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@echo "Installing into $(VENV) as locked (once; about 6 GB, mostly PyTorch) ..."
	@# Scripts in .venv name the folder that it was made in: a moved project gets a new one
	@grep -qsF "$(CURDIR)/$(VENV)" $(VENV)/pyvenv.cfg || rm -rf $(VENV)
	@rm -f $(READY); test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@sed -n '/^uv==/,/# via/p' requirements.lock > $(VENV)/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --compile-bytecode requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@cp requirements.lock $(READY)
