# keras-struct: `make demo` shows it at work, `make test` tests it. Each creates what it needs in .venv.
#
#   make demo PYTHON=python3.12     another interpreter (3.11 or newer)
#   make test PYTEST_ARGS="-n 4"    arguments of pytest; two processes by default
#   make mutants MUTANTS=50 SEED=7  fewer mutants, and others
#   make test-slow TORCH=...        any requirement that pip understands, such as the path of a CPU-only wheel
#
# PyTorch has an environment of its own, .venv-torch, so that nothing else comes to depend on it.

PYTHON ?= python3
TORCH ?= torch==2.13.0
PYTEST_ARGS ?= -n 2 --dist worksteal
MUTANTS ?= 200
SEED ?= 1

# The ten slowest tests are printed at the end; conftest.py fails those that take more than 15 seconds and are not `slow`.
PYTEST := -m pytest --durations=10

# The examples in docstrings too, but PyTorch is not installed for them.
DOCTESTS := --doctest-modules tests keras_struct --ignore-glob="keras_struct/core/backend/torch*"

VENV := .venv
BIN := $(VENV)/bin
TORCH_VENV := .venv-torch
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
INSTALL := $(BIN)/python $(PIP_INSTALL)

export TF_CPP_MIN_LOG_LEVEL ?= 2

# Compiled code is kept, wherever that is not usual: pytest rewrites the asserts of all tests, in each process again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-slow test-backends mutants lint format docs docs-serve pre-commit clean distclean

help:
	@echo "make demo           grow a small network while it trains"
	@echo "make test           the tests, without the slow ones"
	@echo "make test-slow      the slow tests, and those of the JAX and PyTorch backends"
	@echo "make test-backends  the tests of the JAX and PyTorch backends"
	@echo "make mutants        mutation testing: whether the tests notice small faults at random places; hours"
	@echo "make lint           ruff, import-linter, mypy"
	@echo "make format         let ruff format and repair what it can"
	@echo "make docs           build the documentation into site/; tutorials are executed when they or the library changed"
	@echo "make docs-serve     the same, served on localhost"
	@echo "make pre-commit     install the git hooks"
	@echo "make clean          remove what was built; make distclean: and $(VENV), $(TORCH_VENV)"

demo: $(VENV)/.installed
	$(BIN)/keras-struct grow

test: $(VENV)/.installed-dev
	$(BIN)/python $(PYTEST) -m "not slow" $(DOCTESTS) $(PYTEST_ARGS)

test-slow: $(VENV)/.installed-dev test-backends
	$(BIN)/python $(PYTEST) -m slow $(PYTEST_ARGS)

# JAX compiles much and runs each function a few times: compiling with fewer optimizations takes two thirds of the time.
test-backends: $(VENV)/.installed-dev $(TORCH_VENV)/.installed
	TEST_SECONDS=200 KERAS_BACKEND=jax JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(BIN)/python $(PYTEST) tests/backends $(PYTEST_ARGS)
	TEST_SECONDS=200 KERAS_BACKEND=torch $(TORCH_VENV)/bin/python $(PYTEST) tests/backends $(PYTEST_ARGS)

# What was found is kept in .cache/mutants: an interrupted run goes on.
mutants: $(VENV)/.installed-dev
	$(BIN)/python -m tests.mutants --mutants $(MUTANTS) --seed $(SEED)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

pre-commit: $(VENV)/.installed-dev
	$(BIN)/pre-commit install

clean:
	rm -rf site runs build dist .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find keras_struct tests tutorials -type d -name __pycache__ -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) $(TORCH_VENV)

# Two environments; a stamp for each set of extras, older than pyproject.toml when that has changed.

$(BIN)/python $(TORCH_VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11, or missing: try 'make PYTHON=python3.11 ...'" >&2; exit 1; }
	$(PYTHON) -m venv $(@:/bin/python=) || { rm -rf $(@:/bin/python=); exit 1; }

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(INSTALL) --editable ".[dev,jax]"
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(INSTALL) --editable ".[docs]"
	@touch $@

$(TORCH_VENV)/.installed: pyproject.toml | $(TORCH_VENV)/bin/python
	$(TORCH_VENV)/bin/python $(PIP_INSTALL) "$(TORCH)"
	$(TORCH_VENV)/bin/python $(PIP_INSTALL) --editable ".[dev,torch]"
	@touch $@
