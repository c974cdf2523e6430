"""What Patina is measured with. Each script runs by itself, `python -m bench.NAME`; RESULTS.md holds their figures."""
