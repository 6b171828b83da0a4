# `make demo` and `make test` do all their own set-up, on a machine with Python 3.11+ and Node 20+:
# Python packages go to .venv, npm's to js/node_modules. Stamps make later runs quick.
#
# ARGS is passed on:  make demo ARGS=--no-browser   make test-py ARGS="-k undo"

PYTHON ?= python3
BIN := .venv/bin
STATIC := kerasedit/widgets/static
BUNDLE := $(STATIC)/widget.js
LABEXTENSION := kerasedit/labextension
INSTALLED := .venv/share/jupyter/labextensions/kerasedit
JS_SOURCES := $(shell find js -type f -not -path '*/node_modules/*' -not -path 'js/lab/lib/*' 2>/dev/null)

export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help demo setup test test-all lint format test-js test-py test-jax test-clusters chromium bench clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

help:
	@echo "make demo      open the quick start in JupyterLab"
	@echo "make test      lint, then the JavaScript and Python tests"
	@echo "make test-all  the same with the slow tests, many more generated examples, JAX and clusters"
	@echo "make bench     measure against the targets"
	@echo "make lint      only the linters and type checkers"
	@echo "make format    let the linters fix what they can"
	@echo "make setup     only install and build"
	@echo "make clean     remove what was built (not what was installed)"

demo: setup
	$(BIN)/kerasedit demo $(ARGS)

test: lint test-js test-py

test-all: export HYPOTHESIS_PROFILE = all
test-all: TIER = -m "slow or not slow"
test-all: .venv/.stamp-cluster .venv/.stamp-onnx lint test-js test-py test-jax

bench: setup
	$(BIN)/python -m benchmarks $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	npm --prefix js run lint
	npm --prefix js run typecheck

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test-js: js/node_modules/.stamp
	npm --prefix js test

test-py: setup chromium
	$(BIN)/python -m pytest -n 2 --dist loadfile $(TIER) $(ARGS)

# What does not depend on the backend, on JAX. As many generated examples as in `make test`.
test-jax: setup .venv/.stamp-jax
	KERAS_BACKEND=jax HYPOTHESIS_PROFILE=ci $(BIN)/python -m pytest -m "not slow and not tensorflow" \
	  tests/unit tests/properties tests/corpus/test_hub.py $(ARGS)

# Part of `make test-all`, where they are among the slow tests.
test-clusters: setup .venv/.stamp-cluster
	$(BIN)/python -m pytest -m slow tests/clusters $(ARGS)

chromium: .venv/.stamp
	@$(BIN)/python tests/browser/chromium.py

# --- Set-up ---------------------------------------------------------------------------------------

setup: .venv/.stamp $(BUNDLE) .venv/.stamp-lab

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "kerasedit needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv

# The bundle is made below, by its own rule, so the package's build hook need not make it too.
.venv/.stamp: pyproject.toml tests/corpus/requirements.txt | .venv/bin/python
	SKIP_JUPYTER_BUILDER=1 $(BIN)/python -m pip install --editable ".[lab,test,dev]"
	$(BIN)/python -m pip install --no-deps --requirement tests/corpus/requirements.txt
	touch $@

.venv/.stamp-jax: .venv/.stamp
	SKIP_JUPYTER_BUILDER=1 $(BIN)/python -m pip install --editable ".[jax]"
	touch $@

.venv/.stamp-cluster: .venv/.stamp
	SKIP_JUPYTER_BUILDER=1 $(BIN)/python -m pip install --editable ".[cluster]"
	touch $@

.venv/.stamp-onnx: .venv/.stamp
	SKIP_JUPYTER_BUILDER=1 $(BIN)/python -m pip install --editable ".[onnx]"
	touch $@

# Not `npm ci`: it can fail on the optional packages of other platforms where `install` works.
js/node_modules/.stamp: js/package.json js/lab/package.json js/package-lock.json
	npm --prefix js install --no-audit --no-fund
	touch $@

$(BUNDLE): js/node_modules/.stamp $(JS_SOURCES)
	npm --prefix js run build
	touch $@

# An editable install copies the JupyterLab extension, or finds none that is built.
.venv/.stamp-lab: .venv/.stamp $(BUNDLE)
	rm -rf $(INSTALLED)
	mkdir -p $(INSTALLED)
	cp -R $(LABEXTENSION)/. js/lab/install.json $(INSTALLED)
	touch $@

clean:
	rm -rf $(STATIC) $(LABEXTENSION) js/lab/lib artifacts build dist .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.venv/*' -not -path '*/node_modules/*' -prune \
	  -exec rm -rf {} +
