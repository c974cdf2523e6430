# `make demo` shows all of it; `make up` runs it; `make test` and `make lint` are what CI runs.
# Without a GPU, name PyTorch's index of CPU wheels, a tenth of the download:  make demo TORCH_INDEX=URL

PYTHON ?= python3
PIP_ARGS ?=
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo up test lint format clean

help:
	@echo "make demo   learn a pretend camera from its photos and look at the result (six minutes)"
	@echo "make up     run the service until Ctrl-C"
	@echo "make test   run all tests"
	@echo "make lint   ruff and mypy"

demo: $(READY)
	$(BIN)/patina demo $(DEMO_ARGS)

up: $(READY)
	@exec $(BIN)/patina up $(UP_ARGS)

test: $(READY)
	$(BIN)/python -m pytest $(TEST_ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache

# Everything, once, in exact versions.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Patina needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	         "Name another: make $(or $(MAKECMDGOALS),demo) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# From an index of its own torch comes first: what is asked for afterwards is then there already.
	$(if $(TORCH_INDEX),$(BIN)/pip install -q $(PIP_ARGS) --index-url $(TORCH_INDEX) -c constraints.txt torch)
	$(BIN)/pip install -q $(PIP_ARGS) -c constraints.txt -e '.[worker,demo,test]'
	@touch $(READY)
