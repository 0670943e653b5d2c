# Needs Python 3.11 or newer, git and make; everything else comes into $(VENV).

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?=
ARGS ?=
WORKDIR ?= runs/quickstart
SEED ?= 0
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install test quickstart lint format parity clean

help:  ## list these targets
	@sed -n 's/^\([a-z]*\):.*## */make \1\t/p' $(MAKEFILE_LIST) | expand -t 20
	@echo
	@echo "variables: VENV=$(VENV) PYTHON=$(PYTHON) WORKDIR=$(WORKDIR) SEED=$(SEED) EXTRAS=cuda JOBS=$(JOBS) ARGS='--more flags'"

install: $(VENV)/.installed-$(or $(EXTRAS),base)  ## into $(VENV); EXTRAS=cuda or tpu for accelerators

test: $(VENV)/.installed-test  ## all tests; ARGS go to pytest
	$(VENV)/bin/python -m pytest -n $(JOBS) --dist loadscope $(ARGS)

quickstart: $(VENV)/.installed-base  ## data, SFT, preferences, DPO and evaluation of a small model, on a CPU
	$(VENV)/bin/python experiments/quickstart.py --workdir=$(WORKDIR) --seed=$(SEED) $(ARGS)

lint: $(VENV)/.installed-test  ## what CI checks
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check

format: $(VENV)/.installed-test  ## in place
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

parity: $(VENV)/.installed-test,parity  ## the tests that compare with PyTorch, transformers, PEFT and TRL
	$(VENV)/bin/python -m pytest -m parity -n $(JOBS) --dist loadscope $(ARGS)

clean:  ## caches and build products; keeps $(VENV) and runs/
	rm -rf build dist *.egg-info .cache .pytest_cache .ruff_cache
	find align_jax configs experiments tests -name __pycache__ -prune -exec rm -rf {} +

# One stamp for each set of extras, so that pip runs again only after setup.py has changed.
$(VENV)/.installed-%: setup.py | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e ".$(patsubst %,[%],$(filter-out base,$*))"
	@touch "$@" $(VENV)/.installed-base

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
