# One command each, from a fresh clone; `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

# A file's tests run in one process, one after another, since they may share what took long to make.
PROCESSES ?= 2
PYTEST := $(BIN)/python -m pytest --quiet --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder

# The oldest compiler of protobuf 6, in an environment of its own: its code runs with every later protobuf.
PROTOC_ENV := build/protoc
PROTOC := grpcio-tools==1.72.*

.PHONY: help install demo test fast check proto clean
.SILENT:

help:
	echo "make install  the packages and tools into $(VENV)"
	echo "make demo     segment a synthetic volume; writes out/demo"
	echo "make test     the whole test suite, in two processes; PROCESSES=8 for more"
	echo "make fast     the tests that take seconds"
	echo "make check    ruff, types and the fast tests"
	echo "make proto    regenerate the code in configs/proto"
	echo "make clean    remove what was built; keeps $(VENV) and out"

install: $(INSTALLED)

$(INSTALLED): setup.py pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "error: $(PYTHON) is older than Python 3.10; name a newer one: make PYTHON=python3.12" >&2; exit 2; }
	echo "install: into $(VENV), a few minutes the first time"
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --upgrade pip
	$(PIP) install --editable '.[test]'
	touch $@

demo: install
	echo "demo: a synthetic volume, segmented by the shipped network, into out/demo"
	$(BIN)/ffn_demo

test: install
	echo "test: the whole suite"
	$(PYTEST)

fast: install
	echo "test: the fast part"
	$(PYTEST) -m "not slow"

check: install
	echo "check: ruff"
	$(BIN)/python -m ruff check --quiet .
	echo "check: types"
	$(BIN)/python -m mypy
	$(MAKE) --no-print-directory fast

proto: install
	test -x $(PROTOC_ENV)/bin/pip || $(BIN)/python -m venv --clear $(PROTOC_ENV)
	$(PROTOC_ENV)/bin/python -m pip --quiet --disable-pip-version-check install '$(PROTOC)'
	$(PROTOC_ENV)/bin/python -m configs.generate

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
