# `make` lists what there is. Everything is installed into .venv, once; a changed pyproject.toml installs again.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: help demo test check readme results constraints clean

help:  ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(INSTALLED)  ## Make a synthetic study, annotate one scan, segment and evaluate the others
	$(BIN)/lowshot demo -o demo

test: $(INSTALLED)  ## Run the fast tests; PYTEST='-m ""' runs all of them
	$(BIN)/pytest $(PYTEST)

check: $(INSTALLED)  ## Style, types, layers, and whether docs/results.md is what its files say
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/write_results.py --check

readme: $(INSTALLED)  ## Run the blocks of README.md as a reader would type them
	$(BIN)/python scripts/run_readme.py README.md

results: $(INSTALLED)  ## Write docs/results.md from the result files in docs/results
	$(BIN)/python scripts/write_results.py

constraints: $(INSTALLED)  ## Renew the versions that development is pinned to (PyTorch's stays)
	$(BIN)/pip install --upgrade --upgrade-strategy eager "$$(sed -n '/^torch==/p' constraints.txt)" -e '.[dev]'
	$(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt

clean:  ## Remove what make and the tools made
	rm -rf .venv build demo dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache src/*.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	@echo "Installing into .venv; this takes a few minutes"
	$(BIN)/pip install --quiet --constraint constraints.txt -e '.[dev]'
	@touch $@
