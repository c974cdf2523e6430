# `make ready` sets it up; `make demo` shows all of it; `make up` runs it; `make test` and `make lint` are what CI runs.
# Without a GPU, name PyTorch's index of CPU wheels, a tenth of the download:  make demo TORCH_INDEX=URL

PYTHON ?= python3
PIP_ARGS ?=
TORCH_INDEX ?=
FUZZ_SECONDS ?= 120
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help ready demo up test fuzz chaos lint bench format lock audit clean

help:
	@echo "make ready  set up all that the command line needs, in .venv"
	@echo "make demo   learn a pretend camera from its photos and look at the result (six minutes)"
	@echo "make up     run the service until Ctrl-C"
	@echo "make test   run all tests"
	@echo "make fuzz   send the readers and the API what strangers may send (ten minutes)"
	@echo "make chaos  200 real faults at a running service: is anything lost? (20 minutes)"
	@echo "make lint   ruff and mypy"
	@echo "make audit  look for known vulnerabilities in the images' packages"
	@echo "make bench  measure speeds in short, and fail where one is beyond its floor"

ready: $(READY)

demo: $(READY)
	$(BIN)/patina demo $(DEMO_ARGS)

up: $(READY)
	@exec $(BIN)/patina up $(UP_ARGS)

# Two at a time, each file by one of them; torch's threads would only stand in each other's way.
test: $(READY)
	@$(BIN)/python -m tests.page.chromium
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(TEST_ARGS)

# Each reader of what strangers send for FUZZ_SECONDS, then some thousands of requests.
fuzz: $(READY)
	$(BIN)/pip install -q $(PIP_ARGS) -c constraints.txt -e '.[fuzz]'
	for reader in archive image checkpoint; do \
	    $(BIN)/python -m fuzz.files $$reader --seconds $(FUZZ_SECONDS) || exit 1; done
	$(BIN)/python -m fuzz.api

chaos: $(READY)
	$(BIN)/python -m bench.chaos $(CHAOS_ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# Those of the scripts that end in `run(...)`; to measure in full, run one by itself.
bench: $(READY)
	@failed=; for script in $(basename $(notdir $(shell grep -l '^    run.__doc__' bench/*.py))); do \
	    echo "== $$script"; \
	    $(BIN)/python -m bench.$$script --quick --floors || failed="$$failed $$script"; \
	done; \
	if [ -n "$$failed" ]; then echo "beyond a floor, or broken:$$failed"; exit 1; fi

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The images' packages with their hashes; to be run after a change of pyproject.toml or constraints.txt.
LOCK := $(BIN)/uv pip compile -q --generate-hashes --universal --python-version 3.11 --no-annotate \
    --custom-compile-command "make lock" -c constraints.txt pyproject.toml

lock: $(READY)
	@$(BIN)/uv --version >/dev/null 2>&1 || $(BIN)/pip install -q $(PIP_ARGS) uv==0.13.9
	$(LOCK) locks/api.in -o locks/api.txt
	$(LOCK) locks/api.in locks/worker.in -o locks/worker.txt

audit: $(READY)
	@$(BIN)/pip-audit --version >/dev/null 2>&1 || $(BIN)/pip install -q $(PIP_ARGS) pip-audit==2.10.1
	$(BIN)/pip-audit --require-hashes --disable-pip -r locks/worker.txt

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
	$(BIN)/pip install -q $(PIP_ARGS) -c constraints.txt -e '.[worker,demo,export,test]'
	@touch $(READY)
