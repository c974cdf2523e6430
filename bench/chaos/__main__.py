"""Injects real faults into a running service. Exits with status 1 if it loses, duplicates or leaves over anything.

python -m bench.chaos --faults 200 --minutes 11 --seed 0
python -m bench.chaos --cluster --faults 300 --minutes 25

Simulated clients upload, train, degrade, super-resolve, cancel, retry and delete. Meanwhile processes are killed,
frozen and terminated, the queue and its file are lost, the disk fills up, the database is locked, blobs change on disk
and clients disconnect. With `--cluster`, the service is two APIs behind a load balancer, three warm workers and a train
worker on PostgreSQL, Valkey and a bucket; the bucket goes away, throttles and is slow, connections to the database end,
a worker's network is cut, and the load balancer is restarted. After that, everything that was answered with 2xx is
compared with the results of an undisturbed service. A training must also resume from a checkpoint of the last minute.
The seed fixes the faults and their order, but not what the processes do at that moment.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.chaos.client import TIMEOUT_SECONDS, Client, Traffic
from bench.chaos.cluster_faults import CLUSTER_FAULTS
from bench.chaos.environment import VARIABLES, Environment
from bench.chaos.faults import FAULTS, Faults
from bench.chaos.leftovers import find_leftovers, find_oldest_resume
from bench.chaos.load import Ledger, SimulatedClient
from bench.chaos.verdict import Verdict, check_all_finished, compare_datasets, compare_jobs, compare_results
from bench.measure import Metric, add_json_option, save_metrics
from bench.services.cluster import Shape, open_cluster
from bench.services.local import LocalService
from bench.services.postgresql import run_postgresql
from bench.services.service import Service
from bench.services.untrained_model import add_untrained_model
from store.repositories.datasets import DatasetRepository

SCALE = 4
NUM_CLIENTS = 4  # one of them trains
DISK_BYTES = 3 * 2**30  # in memory, as far as it is used
PATIENCE = 4  # times the fault injection's time, which is longer on a busy computer
REPORT_EVERY_SECONDS = 20
MAX_CHECKPOINT_AGE = 60  # seconds of training that a fault may cost
CLUSTER = Shape(apis=2, warm_workers=3, train_workers=1, bucket=True, load_balancer=True, networks=True)


@dataclass
class Outcome:
    """What happened during the fault injection, and what was found after it."""

    faults: dict[float, str] = field(default_factory=dict)  # by time
    traffic: Traffic = field(default_factory=Traffic)
    requests: int = 0  # before the comparison
    verdict: Verdict = field(default_factory=Verdict)
    leftovers: list[str] = field(default_factory=list)
    checkpoint_age: float = 0.0  # of the oldest checkpoint that a training resumed from
    resumes: int = 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, default=200)
    names = list(dict.fromkeys([*FAULTS, *CLUSTER_FAULTS]))
    parser.add_argument("--only", choices=names, metavar="NAME", help=f"inject this fault alone: {'; '.join(names)}")
    parser.add_argument("--cluster", action="store_true", help="a small cluster instead of one computer")
    parser.add_argument("--minutes", type=float, default=11, help="of fault injection; the comparison takes longer")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--keep", type=Path, help="keep the data and the log in this new folder")
    add_json_option(parser)
    options = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):  # a background job of a shell would ignore the first
        signal.signal(number, lambda *_: sys.exit(1))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start", flush=True)
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        environment = stack.enter_context((open_small_cluster if options.cluster else open_computer)(folder, options))
        reference = LocalService(folder / "reference", folder / "reference.log", VARIABLES)
        outcome = run_and_compare(environment, reference, options)
    return report(environment, outcome, options)


@contextmanager
def open_computer(folder: Path, options: argparse.Namespace) -> Iterator[Environment]:
    """Yields a service of one computer, not yet started."""
    rng, log = random.Random(options.seed), folder / "service.log"
    with ExitStack() as stack:
        disk = stack.enter_context(mount_small_disk(folder / "disk"))
        postgresql = stack.enter_context(run_postgresql()) if options.database == "postgresql" else None
        url = postgresql.url if postgresql else None
        service = LocalService((disk or folder / "disk") / "data", log, VARIABLES, url)
        yield Environment(service, Ledger(), rng, disk, postgresql)


@contextmanager
def open_small_cluster(folder: Path, options: argparse.Namespace) -> Iterator[Environment]:
    """Yields a cluster, not yet started."""
    with open_cluster(folder / "cluster", folder / "service.log", CLUSTER, VARIABLES) as cluster:
        rng = random.Random(options.seed)
        yield Environment(cluster, Ledger(), rng, postgresql=cluster.postgresql, cluster=cluster)


def run_and_compare(environment: Environment, reference: Service, options: argparse.Namespace) -> Outcome:
    service, ledger, outcome = environment.service, environment.ledger, Outcome()
    traffic, verdict = outcome.traffic, outcome.verdict
    service.start()
    try:
        model = create_model(service)
        patience = max(TIMEOUT_SECONDS, PATIENCE * 60 * options.minutes)
        seeds = [f"{options.seed}-{number}" for number in range(NUM_CLIENTS)]
        clients = [
            SimulatedClient(f"client {n}", Client(service.url, traffic, seed, patience), ledger, model, n == 0, seed)
            for n, seed in enumerate(seeds)
        ]
        for client in clients:
            client.start()
        outcome.faults = inject_faults(environment, options.faults, 60 * options.minutes, faults_of(options))
        print("all faults injected; waiting for the jobs to finish", flush=True)
        service.wait_until_ready()
        for client in clients:
            client.stop.set()
        for client in clients:
            client.join()
        checker = Client(service.url, traffic, "checker")
        check_all_finished(checker, ledger, verdict)
        outcome.requests = traffic.requests
        compare_jobs(checker, ledger, verdict)
        print(f"running {len(ledger.accepted_jobs)} jobs again on an undisturbed service", flush=True)
        reference.start()
        try:
            undisturbed = Client(reference.url, Traffic(), "reference")
            compare_results(checker, ledger, undisturbed, create_model(reference), verdict)
        finally:
            reference.stop()
        compare_datasets(checker, ledger, verdict)
        outcome.leftovers = find_leftovers(service)
    finally:
        status = service.stop()
    outcome.leftovers += [f"process {orphan}" for orphan in environment.orphans + service.orphans()]
    if status:
        outcome.leftovers.append(f"exit status {status} at the end")
    outcome.checkpoint_age, outcome.resumes = find_oldest_resume(service, list(outcome.faults))
    return outcome


def create_model(service: Service) -> str:
    """Creates a dataset with a model, and returns the model's id."""
    with closing(service.open_store()) as store:
        with store.database.write() as session:
            dataset = DatasetRepository(session).create("seeded", SCALE)
        return add_untrained_model(store, dataset.id, SCALE)


def faults_of(options: argparse.Namespace) -> Faults:
    """Returns the faults to inject."""
    faults = CLUSTER_FAULTS if options.cluster else FAULTS
    return {options.only: faults[options.only]} if options.only else faults


def inject_faults(environment: Environment, count: int, seconds: float, faults: Faults) -> dict[float, str]:
    """Injects `count` faults over the given time. Returns their names by the time of each."""
    started = reported = time.monotonic()
    injected: dict[float, str] = {}
    pending = draw_faults(count, environment.random, faults)
    while len(injected) < count:
        remaining = max(0.0, seconds - (time.monotonic() - started))
        time.sleep(environment.random.uniform(0, 1.6) * remaining / (count - len(injected)))
        name = inject_next(environment, pending, faults)
        if name is None:
            if len(faults) > 1:
                pending += draw_faults(count - len(injected), environment.random, faults)
            elif time.monotonic() - started > seconds:
                break  # it has no target
            time.sleep(0.5)
            continue
        injected[time.time()] = name
        if time.monotonic() - reported > REPORT_EVERY_SECONDS:
            reported = time.monotonic()
            jobs = len(environment.ledger.accepted_jobs)
            print(f"{reported - started:4.0f} s: {len(injected)} faults, {jobs} jobs", flush=True)
    return injected


def draw_faults(count: int, rng: random.Random, faults: Faults) -> list[str]:
    """Returns names of faults in random order. Every kind occurs at least once if `count` suffices."""
    names = list(faults)
    weights = [weight for weight, _ in faults.values()]
    drawn = rng.sample(names, min(count, len(names))) + rng.choices(names, weights, k=max(0, count - len(names)))
    rng.shuffle(drawn)
    return drawn


def inject_next(environment: Environment, pending: list[str], faults: Faults) -> str | None:
    """Injects the first pending fault that has a target now, and removes it from the list."""
    for position, name in enumerate(pending):
        with suppress(psutil.NoSuchProcess):  # the target died at the same time
            if faults[name][1](environment):
                return pending.pop(position)
    return None


@contextmanager
def mount_small_disk(folder: Path) -> Iterator[Path | None]:
    """Mounts a file system in memory that can be filled. Yields None, and says why, if this user may not mount one."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "patina-chaos", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        print("Cannot mount a small disk (this needs root on Linux), so no fault fills the disk.", flush=True)
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def report(environment: Environment, outcome: Outcome, options: argparse.Namespace) -> int:
    """Prints and stores what was found. Returns the exit status."""
    ledger, verdict, traffic = environment.ledger, outcome.verdict, outcome.traffic
    found = {
        "losses": verdict.losses + ledger.violations,
        "duplicates": verdict.duplicates,
        "leftovers": outcome.leftovers,
    }
    for kind, messages in found.items():
        for message in messages:
            print(f"{kind}: {message}")
    print("\n| fault | injected |\n|---|---|")
    injected = Counter(outcome.faults.values())
    for name, count in injected.most_common():
        print(f"| {name} | {count} |")
    if missing := [name for name in faults_of(options) if not injected[name]]:
        print(f"\nnot injected, because there was no target or no means: {', '.join(missing)}")
    kinds = Counter(job.request.kind for job in ledger.accepted_jobs)
    reported = sum(len(job.reported_losses) for job in ledger.accepted_jobs)
    print("\nresponses:", ", ".join(f"{outcome} {count}" for outcome, count in traffic.outcomes.most_common()))
    print("jobs:", ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()))
    print(
        f"damaged blobs: {len(environment.damaged)}; reported and repaired: {reported} images, "
        f"{len(verdict.repaired)} archives"
    )
    print(f"resumed trainings: {outcome.resumes}; oldest checkpoint {outcome.checkpoint_age:.1f} s when interrupted")
    too_old = outcome.checkpoint_age > MAX_CHECKPOINT_AGE
    if too_old:
        print(f"failed: that checkpoint was older than {MAX_CHECKPOINT_AGE} s")
    print(f"faults: {len(outcome.faults)}\nrequests: {outcome.requests}")
    for kind, messages in found.items():
        print(f"{kind}: {len(messages)}")
    metrics = [
        Metric("faults", len(outcome.faults)),
        Metric("requests", outcome.requests),
        Metric("jobs", kinds.total()),
    ]
    metrics += [Metric(kind, len(messages), target=0, lower_is_better=True) for kind, messages in found.items()]
    save_metrics(options, metrics)
    return 1 if any(found.values()) or too_old else 0


if __name__ == "__main__":
    sys.exit(main())
