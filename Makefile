# make lab: JupyterLab on the quickstart.   make test: the quick tests.   make demo: the quickstart, headless.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TESTABLE := $(VENV)/.testable
# A worker for each processor, of one thread; tests/conftest.py says who gets what.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "fpgmlab needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[lab,detect,deploy,cluster,accelerate,test]'
	touch $@

# Only to test and to make the book: other people's detectors (ultralytics is AGPL-3.0), all runtimes, Sphinx.
$(TESTABLE): $(READY)
	$(BIN)/python -m pip install --quiet --editable '.[ultralytics,ppyoloe,openvino,ncnn,executorch,nncf,book]'
	touch $@

venv: $(READY)  ## build .venv with everything in it

lab: $(READY)  ## open JupyterLab on the quickstart, beside it all that it writes
	$(BIN)/jupyter lab --ServerApp.root_dir='$(CURDIR)' $(LAB_FLAGS) notebooks/00_quickstart.ipynb

classroom: $(READY)  ## open the desk to a class, and say at which address
	$(BIN)/python -m fpgmlab.widgets.classroom $(CLASSROOM_FLAGS) notebooks/05_classroom_desk.ipynb

lint: $(TESTABLE)  ## look for bad style and for types that do not hold
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

test: $(TESTABLE)  ## run the quick tests
	$(PYTEST) -m 'not slow' $(PYTEST_FLAGS)

test-slow: $(TESTABLE)  ## run the tests that cannot be quick: every network, every notebook afresh
	$(PYTEST) -m slow $(PYTEST_FLAGS)

demo: $(READY)  ## run the quickstart headless into outputs/quickstart/
	$(BIN)/python notebooks/run.py 00_quickstart

book: $(TESTABLE)  ## make the book: run all chapters at small settings, write outputs/book/site
	OMP_NUM_THREADS=1 $(BIN)/python -m book $(BOOK_FLAGS)

book-quick: $(TESTABLE)  ## the same without running chapters again
	OMP_NUM_THREADS=1 $(BIN)/python -m book --quick $(BOOK_FLAGS)

wheels: $(READY)  ## build the wheels of fpgmlab and of its data and notebooks into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist . ./data
	ls -l dist

clean:  ## remove what the other commands have made
	rm -rf $(VENV) outputs build dist .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help venv lab classroom lint test test-slow demo book book-quick wheels clean
