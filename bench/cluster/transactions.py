"""Measures what the transactions of workers cost: `python -m bench.cluster.transactions --out FILE`.

They are those of `JobRepository` and `ScheduleRepository`, one after the other, on the PostgreSQL of the tests. The
output feeds `bench.cluster.simulate`. CPU time is measured, not the time that passes, because other programs on the
computer change it little. Not in it: the disk's flush at the commit, and the network.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from bench.measure import tree_cpu_seconds
from bench.services.postgresql import run_postgresql
from store.db.access import Caller
from store.db.database import Database
from store.db.migrate import migrate
from store.db.tables import Job
from store.repositories.jobs import JobRepository, Progress
from store.repositories.samples import NewSample
from store.repositories.schedule import ScheduleRepository

LEASE_SECONDS = 15.0
SHA256 = "0" * 64
MANY = 101
OWNERS = 10  # of the jobs that wait


@dataclass(frozen=True)
class Cost:
    """Milliseconds of CPU: of the database server, and of the worker."""

    server: float
    worker: float


@dataclass(frozen=True)
class Transactions:
    record_one: Cost  # a batch of one sample
    record_many: Cost  # a batch of MANY
    renew: Cost  # a lease
    look: Cost  # for something that should run first
    claim: Cost  # the next shard, and the end of the last one

    @classmethod
    def load(cls, file: Path) -> Transactions:
        """Reads the output of this program."""
        return cls(**{name: Cost(**cost) for name, cost in json.loads(file.read_text()).items()})

    def record(self, samples: float) -> Cost:
        """Returns the cost of a batch of so many samples."""
        share = (samples - 1) / (MANY - 1)
        return Cost(
            self.record_one.server + share * (self.record_many.server - self.record_one.server),
            self.record_one.worker + share * (self.record_many.worker - self.record_one.worker),
        )


def measure(waiting_jobs: int = 100, rounds: int = 100) -> Transactions:
    """Measures with as many jobs that wait beside the one that runs."""
    with run_postgresql() as postgresql, closing(Database(postgresql.url)) as database:
        migrate(database)
        return _measure(database, postgresql.process, waiting_jobs, rounds)


def _measure(database: Database, server: psutil.Process, waiting_jobs: int, rounds: int) -> Transactions:
    for number in range(waiting_jobs + 1):
        with database.as_caller(Caller(f"owner {number % OWNERS}", is_admin=False)).write() as session:
            JobRepository(session).create(
                "degrade", dataset_id=None, model_id=None, parameters={}, unit="samples", total=10**6, num_items=10**6
            )
    claimed = _claim(database)
    position = 0

    def record(batch: int) -> None:
        nonlocal position
        samples = [NewSample(position + n, 0, dict.fromkeys(("lr", "kernel", "noise"), SHA256)) for n in range(batch)]
        position += batch
        with database.write() as session:
            progress = Progress(done=None, total=None, per_second=1.0, eta_seconds=None)
            JobRepository(session).record(claimed.id, claimed.attempt, progress, samples)

    def renew() -> None:
        with database.write() as session:
            JobRepository(session).renew(claimed.id, claimed.attempt, LEASE_SECONDS)

    def look() -> None:
        with database.write() as session:
            ScheduleRepository(session).reserve_better("warm", claimed, seconds=5.0)

    def claim() -> None:
        job = _claim(database)
        with database.write() as session:
            JobRepository(session).finish(job.id, job.attempt, "succeeded")

    def cost(work: Callable[[], None]) -> Cost:
        server_began, worker_began = tree_cpu_seconds(server), time.process_time()
        for _ in range(rounds):
            work()
        worker_seconds = time.process_time() - worker_began
        return Cost(1000 * (tree_cpu_seconds(server) - server_began) / rounds, 1000 * worker_seconds / rounds)

    return Transactions(cost(lambda: record(1)), cost(lambda: record(MANY)), cost(renew), cost(look), cost(claim))


def _claim(database: Database) -> Job:
    with database.write() as session:
        claim = ScheduleRepository(session).claim_next("warm", "a worker", LEASE_SECONDS, workers=1000)
        assert claim is not None
        return claim.job


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cluster.transactions", description=__doc__)
    parser.add_argument("--out", type=Path, help="JSON file for bench.cluster.simulate")
    arguments = parser.parse_args()
    costs = {name: {part: round(value, 2) for part, value in cost.items()} for name, cost in asdict(measure()).items()}
    text = json.dumps(costs, indent=2) + "\n"
    if arguments.out:
        arguments.out.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
