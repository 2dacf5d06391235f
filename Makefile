# `make demo` and `make test` need nothing but Python 3.11 or newer; everything they install goes into .venv.
#
# torch: by default pip takes the build that its index offers. For a smaller one without CUDA:
#   make demo PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP_FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin
# tests run in so many processes; a file's tests stay in one of them
TEST_WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(TEST_WORKERS) --no-loadscope-reorder
# extras that the checks need; what is installed is remembered by a stamp in .venv
EXTRAS := test,lint,onnx,postgres,s3,cluster,label-studio

.DEFAULT_GOAL := help
.PHONY: help demo test slow lint types layers docs bench check clean label-studio

help:
	@echo "make demo    install, run two real campaigns on generated histology, print where the report is"
	@echo "make test    install what the tests need and run all but the slow ones"
	@echo "make slow    the slow tests"
	@echo "make check   lint, types and layers"
	@echo "make docs    run the code in README.md and docs/"
	@echo "make bench   the benchmarks, quickly"
	@echo "make label-studio   install Label Studio, for its tests, into an environment of its own"
	@echo "make clean   remove the environments and the demo"

demo: $(VENV)/.installed
	$(BIN)/alframe demo

test: $(VENV)/.installed-tests
	$(PYTEST) -m "not slow" $(PYTEST_FLAGS)

slow: $(VENV)/.installed-tests
	$(PYTEST) -m slow $(PYTEST_FLAGS)

check: lint types layers

lint: $(VENV)/.installed-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-tests
	$(BIN)/mypy

layers: $(VENV)/.installed-tests
	$(BIN)/lint-imports

docs: $(VENV)/.installed-tests
	$(BIN)/python -m pytest tests/test_docs.py

bench: $(VENV)/.installed-tests
	@set -e; for file in benchmarks/[a-z]*.py; do \
		name=$$(basename $$file .py); echo "== $$name"; $(BIN)/python -m benchmarks.$$name --quick; \
	done

label-studio: .venv-label-studio/.installed

.venv-label-studio/.installed: constraints-label-studio.txt
	@echo "installing Label Studio into .venv-label-studio (two minutes)"
	$(PYTHON) -m venv .venv-label-studio
	.venv-label-studio/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-label-studio.txt label-studio
	@touch $@

clean:
	rm -rf $(VENV) .venv-label-studio alframe-demo

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "alframe needs Python 3.11 or newer; set PYTHON=/path/to/python")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/.made
	@echo "installing alframe into $(VENV) (a minute or two)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-tests: pyproject.toml constraints.txt | $(VENV)/.made
	@echo "installing alframe and what its tests need into $(VENV) (a minute or two)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@ $(VENV)/.installed
