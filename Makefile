# `make help` lists the targets. CI runs `make lint` and `make test`.
# Without a GPU, point TORCH_INDEX at PyTorch's CPU wheels. The download is ten times smaller:  make demo TORCH_INDEX=URL

PYTHON ?= python3
PIP_ARGS ?=
TORCH_INDEX ?=
FUZZ_SECONDS ?= 120
BENCH_SCRIPTS ?= start degrade_operator degrade_job pair_speed sr train_step gpu api lists page
BENCH_ARGS ?= --quick
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help ready demo up test fuzz schemathesis chaos lint bench benchmarks format lock audit clean

help:
	@echo "make ready       install Patina and its packages into .venv"
	@echo "make demo        learn a simulated camera and compare with the ground truth (six minutes)"
	@echo "make up          run the service until Ctrl-C"
	@echo "make test        run all tests (15 minutes)"
	@echo "make lint        check style, types, imports and generated files"
	@echo "make format      format the code"
	@echo "make fuzz        fuzz the file readers and the API (ten minutes)"
	@echo "make schemathesis  run Schemathesis's phases on every endpoint (two minutes)"
	@echo "make chaos       inject 200 faults into a running service and check that nothing is lost (20 minutes)"
	@echo "make bench       run short benchmarks and fail if a metric misses its threshold"
	@echo "make benchmarks  run the benchmarks, store their metrics and rewrite docs/benchmarks.md"
	@echo "make audit       check the locked packages for known vulnerabilities"
	@echo "make lock        update the locked packages in locks/"
	@echo "make clean       delete .venv and caches"

ready: $(READY)

demo: $(READY)
	$(BIN)/patina demo $(DEMO_ARGS)

up: $(READY)
	@exec $(BIN)/patina up $(UP_ARGS)

# Two processes, each with whole test files in the order of tests/conftest.py. One thread each, because torch's
# threads would compete.
test: $(READY)
	@$(BIN)/python -m tests.support.chromium
	@$(BIN)/python -m scripts.test_tools
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(TEST_ARGS)

# Fuzzes each file reader for FUZZ_SECONDS, then sends thousands of requests.
fuzz: $(READY)
	$(BIN)/pip install -q $(PIP_ARGS) -c constraints.txt -e '.[fuzz]'
	for reader in archive image checkpoint video; do \
	    $(BIN)/python -m fuzz.files $$reader --seconds $(FUZZ_SECONDS) || exit 1; done
	$(BIN)/python -m fuzz.api

schemathesis: $(READY)
	$(BIN)/python -m fuzz.schemathesis_phases $(SCHEMATHESIS_ARGS)

chaos: $(READY)
	$(BIN)/python -m bench.chaos $(CHAOS_ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python scripts/unasync.py --check
	$(BIN)/mypy

# For a full measurement, run one script without --quick.
bench: $(READY)
	@failed=; for script in $(BENCH_SCRIPTS); do \
	    echo "== $$script"; \
	    $(BIN)/python -m bench.$$script --quick --check || failed="$$failed $$script"; \
	done; \
	if [ -n "$$failed" ]; then echo "missed a threshold, or broken:$$failed"; exit 1; fi

# Another selection:  make benchmarks BENCH_SCRIPTS="start api" BENCH_ARGS=
benchmarks: $(READY)
	@file=$$($(BIN)/python -m bench.report --name) && for script in $(BENCH_SCRIPTS); do \
	    echo "== $$script"; \
	    $(BIN)/python -m bench.$$script $(BENCH_ARGS) --json $$file || exit 1; \
	done
	$(BIN)/python -m bench.report

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The images' packages with their hashes. Run it after a change of pyproject.toml or constraints.txt.
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
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .import_linter_cache .hypothesis .pytest_cache

# Installs everything once, in exact versions.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Patina needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	         "Select another: make $(or $(MAKECMDGOALS),demo) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# torch comes first, from its own index. The next line then finds it installed.
	$(if $(TORCH_INDEX),$(BIN)/pip install -q $(PIP_ARGS) --index-url $(TORCH_INDEX) -c constraints.txt torch)
	$(BIN)/pip install -q $(PIP_ARGS) -c constraints.txt -e '.[worker,demo,export,test]'
	@touch $(READY)
