"""The simulator of clusters agrees with what can be computed by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.cluster.simulate import Cluster, simulate
from bench.cluster.transactions import MANY, Cost, Transactions

FREE = Cost(0.0, 0.0)
IDEAL = Cluster(
    workers=20,
    jobs=20,
    samples_per_second=100.0,
    sample_bytes=1e5,
    files_per_sample=3,
    database_cores=4,
    store_bytes_per_second=1e12,
    store_puts_per_second=1e9,
    commit_seconds=0.0,
    transactions=Transactions(FREE, FREE, FREE, FREE, FREE),
)


def test_without_costs_workers_are_the_limit() -> None:
    outcome = simulate(IDEAL)
    assert outcome.share == pytest.approx(1, abs=0.02)
    assert outcome.limit == "workers"


def test_a_slow_store_limits_to_its_speed() -> None:
    by_requests = simulate(replace(IDEAL, store_puts_per_second=1500))  # 500 of 2,000 samples a second
    assert by_requests.share == pytest.approx(0.25, rel=0.05)
    assert by_requests.limit == "store's requests"
    by_bytes = simulate(replace(IDEAL, store_bytes_per_second=1e8))  # 1,000 of them
    assert by_bytes.share == pytest.approx(0.5, rel=0.05)
    assert by_bytes.limit == "store's bandwidth"


def test_records_of_one_job_wait_for_each_other() -> None:
    # A batch is 50 samples of half a second; 50 ms for each allow 20 batches a second, so 1,000 samples.
    costly = Transactions(Cost(1.0, 49.0), Cost(1.0, 49.0), FREE, FREE, FREE)
    alone = simulate(replace(IDEAL, jobs=1, transactions=costly))
    assert alone.share == pytest.approx(0.5, rel=0.05)
    assert alone.limit == "row of a job"
    spread = simulate(replace(IDEAL, jobs=20, transactions=costly))
    assert spread.share == pytest.approx(1, abs=0.05)


def test_renewals_use_up_the_database() -> None:
    # 90 ms after each pause of half a second, for each of 20 workers: 3.05 of 4 cores.
    renewals = Transactions(FREE, FREE, Cost(90.0, 0.0), FREE, FREE)
    assert simulate(replace(IDEAL, transactions=renewals)).busy["database"] == pytest.approx(0.76, abs=0.04)
    assert simulate(replace(IDEAL, transactions=renewals, database_cores=1)).limit == "database"


def test_costs_of_batches_are_interpolated() -> None:
    costs = Transactions(Cost(1.0, 2.0), Cost(3.0, 12.0), FREE, FREE, FREE)
    assert costs.record(1) == Cost(1.0, 2.0)
    assert costs.record(MANY) == Cost(3.0, 12.0)
    assert costs.record((1 + MANY) / 2) == Cost(2.0, 7.0)
