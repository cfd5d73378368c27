# make demo   search, generate and verify an accelerator for handwritten digits
# make test   lint, types and the test suite
# Both set up a virtual environment by themselves; `make VENV=... PYTHON=...` chooses another one.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu
# One thread per process: these networks are small, and more threads only wait for each other.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help demo test lint unit format docs clean tools
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: $(VENV)/.run-ready
	@$(BIN)/dna demo

test: $(VENV)/.test-ready
	@$(BIN)/dna doctor --quiet
	@$(MAKE) --no-print-directory lint unit

lint: $(VENV)/.test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(VENV)/.test-ready
	$(BIN)/python -m pytest -n $(JOBS)

format: $(VENV)/.test-ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The picture and the tables that are made from results.
docs: $(VENV)/.run-ready
	$(BIN)/python -m benchmarks.tables

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis

# What pip cannot bring, each named with the package that has it.
tools:
	@command -v $(PYTHON) >/dev/null || { echo "Python is missing: install python3 (3.11 or newer)" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$$($(PYTHON) --version) is too old: Python 3.11 or newer is needed; name one with 'make PYTHON=python3.11 ...'" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv is missing: apt install python3-venv" >&2; exit 2; }
	@command -v g++ >/dev/null || { echo "the C++ compiler is missing: apt install g++" >&2; exit 2; }
	@command -v perl >/dev/null || { echo "perl is missing: apt install perl" >&2; exit 2; }

# PyTorch's CPU index keeps gigabytes of GPU libraries away; where it cannot be reached pip takes what it finds elsewhere.
define install
	@echo "installing into $(VENV) (once, some minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@index=$$($(PYTHON) -c 'import urllib.request as u; u.urlopen("$(TORCH_CPU_INDEX)/torch/", timeout=5)' 2>/dev/null \
	  && echo "--extra-index-url $(TORCH_CPU_INDEX)"); \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check $$index -e "$(1)"
	@touch $@
endef

$(VENV)/.run-ready: pyproject.toml | tools
	$(call install,.)

$(VENV)/.test-ready: pyproject.toml | tools
	$(call install,.[test])
	@touch $(VENV)/.run-ready
