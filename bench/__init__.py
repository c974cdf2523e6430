"""Benchmarks: `python -m bench.NAME` runs one. `make benchmarks` runs them and writes docs/benchmarks.md."""
