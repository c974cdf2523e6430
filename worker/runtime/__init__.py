"""How a worker runs jobs: RQ worker, lease, outcome, threads, cached models."""
