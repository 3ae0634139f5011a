# `make demo` and `make test` set up all they need in .venv; repeating them re-installs nothing.
# Plain enough for GNU make 3.81, which macOS ships.
PYTHON ?= python3
RUN ?= runs/demo
ARGS ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input

.PHONY: help demo test check docs wheel data clean

help:
	@echo "make demo    train on the bundled telephone prompts, evaluate, write $(RUN)/report.html"
	@echo "make test    run all tests           (ARGS='-k gossip' passes options to pytest)"
	@echo "make check   run ruff, pyright and import-linter"
	@echo "make docs    build the site into build/docs"
	@echo "make wheel   build the source archive and the wheel into dist/"
	@echo "make data    rebuild the bundled corpus from its two Debian packages"
	@echo "make clean   remove .venv and what was built; run folders stay"
	@echo "Another Python than $(PYTHON): make demo PYTHON=python3.12"

demo: .venv/.demo
	@$(BIN)/gossamer train speech demo --run $(RUN)

test: .venv/.test
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

check: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

docs: .venv/.docs
	@$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going \
	  -c docs -d build/doctrees . build/docs $(ARGS)
	@echo "build/docs/index.html"

# The wheel is built from the unpacked source archive, so neither can lack a file unnoticed.
wheel: .venv/.test
	@rm -rf dist
	@$(BIN)/python -m build --quiet

data: .venv/.test
	@$(PIP) 'pocketsphinx>=5.1'
	@$(BIN)/python tools/build_prompts.py

clean:
	rm -rf .venv .jax_cache build dist gossamer.egg-info docs/api

.venv/.python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "gossamer needs Python 3.11 or newer, and there is no $(PYTHON);" \
	    "if it has another name: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "gossamer needs Python 3.11 or newer, and $(PYTHON) is older;" \
	    "if there is a newer one: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments;" \
	    "on Debian or Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv .venv
	@mkdir -p .venv/imports && ln -sfn ../.. .venv/imports/gossamer
	@touch $@

.venv/.demo: .venv/.python pyproject.toml
	@echo "Installing gossamer into .venv (once, a few minutes) ..."
	@$(PIP) -e .
	@touch $@

.venv/.test: .venv/.python pyproject.toml
	@echo "Installing gossamer and its test tools into .venv (once, a few minutes) ..."
	@$(PIP) -e '.[test]'
	@touch $@ .venv/.demo

.venv/.docs: .venv/.python pyproject.toml
	@echo "Installing the tools of the site into .venv (once, a minute) ..."
	@$(PIP) -e '.[docs]'
	@touch $@ .venv/.demo
