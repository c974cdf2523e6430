"""Fault injection: a running service under real faults must lose and duplicate nothing. Run it with `make chaos`."""
