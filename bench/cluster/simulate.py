"""Simulates a cluster of 10 to 1,000 workers: `python -m bench.cluster.simulate`.

A discrete-event simulation. Each worker computes samples, stores their files, and records them in the database, as
`worker/runtime/` does; beside that it renews its lease and looks for something better to do. Database and store are
queues with a number of servers; each job is a lock, because a record of samples locks its job's row. How long the
transactions take is measured (`bench.cluster.transactions`); how fast a worker computes, and the store, are arguments.

It prints for each number of workers the share of the ideal throughput, how busy everything is, and what limits.
"""

from __future__ import annotations

import argparse
import heapq
import sys
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from bench.cluster.transactions import Cost, Transactions
from worker.runtime.lease import LOOK_EVERY_SECONDS, MAX_HEARTBEAT_SECONDS
from worker.runtime.progress import RECORD_EVERY_SECONDS

COSTS = Path(__file__).with_name("costs.json")  # of the computer in docs/scaling.md
WARM_UP_SECONDS, MEASURED_SECONDS = 10.0, 30.0
SHARD_SECONDS = 10.0  # of work in a claim; less at the end of a job
BUSY = 0.9  # share of its time that makes a resource the limit
CONNECTIONS = 4  # of each worker process to the database, measured; see docs/scaling.md


@dataclass
class Resource:
    """A queue with `servers`. Requests are served in their order."""

    name: str
    servers: int
    waiting: deque[Generator[Step, None, None]] = field(default_factory=deque)
    used: int = 0
    busy_seconds: float = 0.0


Step = float | tuple[Resource, bool]  # seconds to wait; a resource to acquire (True) or to release (False)


class Simulation:
    """Runs processes, which are generators of steps, on a common clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self._order = count()
        self._events: list[tuple[float, int, Generator[Step, None, None]]] = []

    def start(self, process: Generator[Step, None, None], delay: float = 0.0) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._order), process))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, process = heapq.heappop(self._events)
            self._advance(process)

    def _advance(self, process: Generator[Step, None, None]) -> None:
        """Runs a process until it must wait."""
        for step in process:
            if isinstance(step, float):
                self.start(process, step)
                return
            resource, acquires = step
            if not acquires:
                if resource.waiting:
                    self.start(resource.waiting.popleft())
                else:
                    resource.used -= 1
            elif resource.used < resource.servers:
                resource.used += 1
            else:
                resource.waiting.append(process)
                return


@dataclass(frozen=True)
class Cluster:
    """What is simulated. Seconds, bytes and samples of one worker, unless the name says otherwise."""

    workers: int
    jobs: int  # that run at the same time; workers are spread over them
    samples_per_second: float
    sample_bytes: float
    files_per_sample: float
    database_cores: int
    store_bytes_per_second: float  # of the whole store
    store_puts_per_second: float
    commit_seconds: float  # of a transaction: the disk's flush and the network
    transactions: Transactions


@dataclass(frozen=True)
class Outcome:
    share: float  # of the throughput that as many workers alone would have
    busy: dict[str, float]  # share of the time that each resource was in use

    @property
    def limit(self) -> str:
        """The first resource that is busy. Jobs come last: they are locked while others wait for the database."""
        return next((name for name, busy in self.busy.items() if busy >= BUSY), "workers")


def simulate(cluster: Cluster) -> Outcome:
    simulation = Simulation()
    database = Resource("database", cluster.database_cores)
    bandwidth, puts = Resource("store's bandwidth", 1), Resource("store's requests", 1)
    locks = [Resource("row of a job", 1) for _ in range(cluster.jobs)]
    costs, recorded = cluster.transactions, 0.0
    batch = cluster.samples_per_second * RECORD_EVERY_SECONDS
    record = costs.record(batch)
    num_batches = max(1, round(SHARD_SECONDS / RECORD_EVERY_SECONDS))

    def use(resource: Resource, seconds: float) -> Generator[Step, None, None]:
        yield resource, True
        resource.busy_seconds += seconds
        yield seconds
        yield resource, False

    def transact(cost: Cost, lock: Resource | None = None) -> Generator[Step, None, None]:
        if lock:
            yield lock, True
        locked_at = simulation.now
        yield from use(database, cost.server / 1000)
        yield cost.worker / 1000 + cluster.commit_seconds
        if lock:
            lock.busy_seconds += simulation.now - locked_at
            yield lock, False

    def work(lock: Resource) -> Generator[Step, None, None]:
        nonlocal recorded
        while True:
            yield from transact(costs.claim, lock)
            for _ in range(num_batches):
                began = simulation.now
                # The last batch is stored and recorded while this one is computed.
                yield from use(puts, batch * cluster.files_per_sample / cluster.store_puts_per_second)
                yield from use(bandwidth, batch * cluster.sample_bytes / cluster.store_bytes_per_second)
                yield from transact(record, lock)
                if simulation.now >= WARM_UP_SECONDS:
                    recorded += batch
                yield max(0.0, RECORD_EVERY_SECONDS - (simulation.now - began))

    def repeat(cost: Cost, pause: float) -> Generator[Step, None, None]:
        while True:
            yield pause
            yield from transact(cost)

    for number in range(cluster.workers):
        delay = RECORD_EVERY_SECONDS * number / cluster.workers  # workers start at different moments
        simulation.start(work(locks[number % cluster.jobs]), delay)
        simulation.start(repeat(costs.renew, MAX_HEARTBEAT_SECONDS), delay)
        simulation.start(repeat(costs.look, LOOK_EVERY_SECONDS), delay)
    simulation.run(WARM_UP_SECONDS)
    for resource in (database, bandwidth, puts, *locks):
        resource.busy_seconds = 0.0
    simulation.run(WARM_UP_SECONDS + MEASURED_SECONDS)
    busy = {resource.name: resource.busy_seconds / resource.servers for resource in (database, bandwidth, puts)}
    busy["row of a job"] = max(lock.busy_seconds for lock in locks)
    ideal = cluster.workers * cluster.samples_per_second * MEASURED_SECONDS
    return Outcome(recorded / ideal, {name: min(1.0, seconds / MEASURED_SECONDS) for name, seconds in busy.items()})


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.cluster.simulate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--costs", type=Path, default=COSTS, help="output of bench.cluster.transactions")
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 20], help="that run at the same time")
    parser.add_argument("--samples-per-second", type=float, default=100.0, help="of each worker")
    parser.add_argument("--sample-bytes", type=float, default=250_000, help="of all files of a sample")
    parser.add_argument("--files-per-sample", type=float, default=3.0)
    parser.add_argument("--database-cores", type=int, default=8)
    parser.add_argument("--store-bytes-per-second", type=float, default=1.25e9, help="10 Gbit/s")
    parser.add_argument("--store-puts-per-second", type=float, default=3500.0, help="of one prefix of Amazon S3")
    parser.add_argument("--commit-ms", type=float, default=5.0, help="flush and network of each transaction")
    arguments = parser.parse_args()
    write = sys.stdout.write
    write("| workers | jobs | samples/s | of the ideal | limit | busy |\n|---|---|---|---|---|---|\n")
    for workers in arguments.workers:
        for jobs in arguments.jobs:
            outcome = simulate(
                Cluster(
                    workers,
                    min(jobs, workers),
                    arguments.samples_per_second,
                    arguments.sample_bytes,
                    arguments.files_per_sample,
                    arguments.database_cores,
                    arguments.store_bytes_per_second,
                    arguments.store_puts_per_second,
                    arguments.commit_ms / 1000,
                    Transactions.load(arguments.costs),
                )
            )
            busy = ", ".join(f"{name} {share:.0%}" for name, share in outcome.busy.items())
            throughput = outcome.share * workers * arguments.samples_per_second
            write(f"| {workers} | {min(jobs, workers)} | {throughput:,.0f} | {outcome.share:.0%} | ")
            write(f"{outcome.limit} | {busy} |\n")
    write(f"Connections to PostgreSQL: {CONNECTIONS} for each worker.\n")


if __name__ == "__main__":
    main()
