# The two commands of the README, and what the maintainers use.
#   make train   set everything up, then train a spiral classifier with the defaults
#   make test    set everything up, then run the tests
# Settings: make train ARGS="--samples 1000000 --hidden 128,128", PYTHON=python3.12, VENV=dir

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help train test test-lowest check lint format docs docs-check bench gpu-check clean

help:
	@sed -n '2,4s/^# //p' Makefile

# The environment. CuPy comes along only where a CUDA driver answers; nothing is compiled.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than 3.11; use make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	extra=$$($(BIN)/python nnfs_gpu/backend/driver.py); \
	$(BIN)/python -m pip install --quiet --editable ".$${extra:+[$$extra]}"
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	extra=$$($(BIN)/python nnfs_gpu/backend/driver.py); \
	$(BIN)/python -m pip install --quiet --editable ".[test,$${extra:-compile}]"
	@touch $@ $(VENV)/.installed

train: $(VENV)/.installed
	$(BIN)/nnfs-gpu train $(ARGS)

# A process of tests for each core, up to four. The tests of a file stay together, and files in their
# order: the longest are in the middle, so that no process ends with one of them alone.
SPREAD := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(SPREAD) $(ARGS)

# The suite with the oldest releases that pyproject.toml allows, in an environment of its own.
# Python 3.11 or 3.12: those releases have no wheels for later ones.
LOWEST := $(VENV)-lowest

$(LOWEST)/.installed-test: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
		{ echo "error: $(PYTHON) is not Python 3.11 or 3.12; use make test-lowest PYTHON=python3.11" >&2; exit 2; }
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet uv
	extra=$$($(LOWEST)/bin/python nnfs_gpu/backend/driver.py); \
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python \
		--resolution lowest-direct --editable ".[test,$${extra:-compile}]"
	@touch $@

test-lowest: $(LOWEST)/.installed-test
	$(LOWEST)/bin/python -m pytest $(SPREAD) $(ARGS)

$(VENV)/.installed-check: pyproject.toml | $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --editable ".[check]"
	@touch $@

# Format, lint, types, who imports whom, tests: what has to pass before a commit.
check: lint
	$(BIN)/python -m pytest $(SPREAD) $(ARGS)

lint: $(VENV)/.installed-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/.installed-docs: pyproject.toml | $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	@touch $@

# The site, into build/docs: notebooks are executed where they or the package have changed, warnings
# are errors, and every link must lead somewhere. It is then read without a network; without a server,
# too (the search shows text beside its titles where there is one: python -m http.server).
docs: $(VENV)/.installed-docs
	rm -rf build/docs
	$(BIN)/python -m sphinx -b html -q -E -W --keep-going -d build/doctrees docs build/docs
	$(BIN)/python docs/links.py build/docs
	@echo "build/docs/index.html"

$(VENV)/.installed-browser: pyproject.toml | $(VENV)/.installed-test $(VENV)/.installed-docs
	$(BIN)/python -m pip install --quiet --editable ".[browser]"
	@touch $@

# The site in Chromium, which must be installed: on a phone and at a desk, in light and dark. Leaves
# screenshots in build/screenshots, to be looked at.
docs-check: docs $(VENV)/.installed-browser
	NNFS_GPU_SITE=build/docs $(BIN)/python -m pytest -n 0 tests/docs

# All suites, their pictures and the README's tables, in 15 minutes. PyTorch and JAX are measured
# too where they are installed: $(BIN)/python -m pip install -e .[bench]
bench: $(VENV)/.installed
	$(BIN)/python -m bench $(if $(ARGS),$(ARGS),all)

# Everything about the GPU, in one command, without network: uses .venv where there is one. On a
# device that is lent for minutes: make gpu-check ARGS="--minutes 9 --out DIR", then the command that
# it ends with, which goes on with what was cut (bench/README.md).
gpu-check:
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m bench.gpu_check $(ARGS)

clean:
	rm -rf $(VENV) $(LOWEST) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .numba_cache
