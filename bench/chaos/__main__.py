"""Real faults at a running service, and whether it loses or doubles anything: exit status 1 if it does.

python -m bench.chaos --faults 200 --minutes 12 --seed 0

Visitors upload, at once and in parts, train, degrade, super-resolve, cancel, retry and delete, while processes are
killed, frozen and told to leave, the queue and its file are lost, the disk is full, the database locked, blobs change
on disk and clients hang up. Then everything that was answered with 2xx is looked at, and done again by a service that
nothing disturbs. What faults come in what order is the seed's; whom each finds at work is chance's.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.chaos.client import Client, Traffic
from bench.chaos.databases import postgresql
from bench.chaos.faults import FAULTS, Scene, deck, inject
from bench.chaos.leftovers import leftovers, oldest_resume
from bench.chaos.load import Ledger, Visitor
from bench.chaos.seeding import seed_model
from bench.chaos.service import Service
from bench.chaos.verdict import Verdict, compare, compare_datasets, compare_jobs, settle
from bench.measure import Metric, add_json_option, save_metrics

VISITORS = 4  # one of them trains
DISK_BYTES = 3 * 2**30  # of memory, as far as it is used
SAY_EVERY_SECONDS = 20


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument(
        "--minutes", type=float, default=11, help="of the storm; what follows takes as long as it takes"
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--keep", type=Path, help="a new folder, for the data and the log, that stays")
    add_json_option(parser)
    options = parser.parse_args(arguments)
    print(f"{os.cpu_count()} cores, {os.getloadavg()[0]:.1f} processes at work before the start", flush=True)
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        disk = stack.enter_context(small_disk(folder / "disk"))
        database = stack.enter_context(postgresql()) if options.database == "postgresql" else None
        url = database.url if database else None
        service = Service((disk or folder / "disk") / "data", folder / "service.log", url)
        quiet = Service(folder / "quiet", folder / "quiet.log")
        scene = Scene(service, Ledger(), random.Random(options.seed), disk, database)
        return storm_and_verdict(scene, quiet, options)


def storm_and_verdict(scene: Scene, quiet: Service, options: argparse.Namespace) -> int:
    service, ledger, traffic, verdict = scene.service, scene.ledger, Traffic(), Verdict()
    service.start()
    try:
        model = seed_model(service)
        visitors = [
            Visitor(f"visitor {n}", service.url, traffic, ledger, model, n == 0, f"{options.seed}-{n}")
            for n in range(VISITORS)
        ]
        for visitor in visitors:
            visitor.start()
        moments = storm(scene, options.faults, 60 * options.minutes)
        print("the storm is over; everything comes to its end", flush=True)
        service.wait_until_ready()
        for visitor in visitors:
            visitor.leave.set()
        for visitor in visitors:
            visitor.join()
        client = Client(service.url, traffic, "verdict")
        settle(client, ledger, verdict)
        sent = traffic.sent
        compare_jobs(client, ledger, verdict)
        print(f"{len(ledger.promises)} jobs are done again, undisturbed", flush=True)
        quiet.start()
        try:
            compare(client, ledger, Client(quiet.url, Traffic(), "quiet"), seed_model(quiet), verdict)
        finally:
            quiet.stop()
        compare_datasets(client, ledger, verdict)
        left = leftovers(service)
    finally:
        status = service.stop()
    left += [f"process {orphan}" for orphan in scene.orphans + service.orphans()]
    if status:
        left.append(f"exit status {status} at the end")
    age, resumed = oldest_resume(service, list(moments))
    return report(scene, moments, traffic, sent, verdict, left, age, resumed, options)


def storm(scene: Scene, faults: int, seconds: float) -> dict[float, str]:
    """Injects so many in so much time; gives the moment and the name of each."""
    began = said = time.monotonic()
    moments: dict[float, str] = {}
    waiting = deck(faults, scene.random)
    while len(moments) < faults:
        left = max(0.0, seconds - (time.monotonic() - began))
        time.sleep(scene.random.uniform(0, 1.6) * left / (faults - len(moments)))
        name = next_possible(scene, waiting)
        if name is None:
            waiting += deck(faults - len(moments), scene.random)
            time.sleep(0.5)
            continue
        moments[time.time()] = name
        if time.monotonic() - said > SAY_EVERY_SECONDS:
            said = time.monotonic()
            print(f"{said - began:4.0f} s: {len(moments)} faults, {len(scene.ledger.promises)} jobs", flush=True)
    return moments


def next_possible(scene: Scene, waiting: list[str]) -> str | None:
    """Injects the first of these for which there is a victim now, and takes it out."""
    for position, name in enumerate(waiting):
        if inject(name, scene):
            return waiting.pop(position)
    return None


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A file system in memory that can be filled; None, said in words, where this user may not mount one."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "patina-chaos", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        print("No small disk can be mounted here (that takes root on Linux): the disk is never full.", flush=True)
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def report(
    scene: Scene,
    moments: dict[float, str],
    traffic: Traffic,
    sent: int,
    verdict: Verdict,
    left: list[str],
    age: float,
    resumed: int,
    options: argparse.Namespace,
) -> int:
    losses, duplicates = verdict.losses + scene.ledger.broken, verdict.duplicates
    for title, found in (("loss", losses), ("duplicate", duplicates), ("left over", left)):
        for one in found:
            print(f"{title}: {one}")
    print("\n| fault | injected |\n|---|---|")
    injected = Counter(moments.values())
    for name, count in injected.most_common():
        print(f"| {name} | {count} |")
    if left_out := [name for name in FAULTS if not injected[name]]:
        print(f"\nnot injected, for want of a victim or of what they take: {', '.join(left_out)}")
    kinds = Counter(promise.work.kind for promise in scene.ledger.promises)
    told = sum(len(promise.told) for promise in scene.ledger.promises)
    print("\nanswers:", ", ".join(f"{answer} {count}" for answer, count in traffic.answers.most_common()))
    print("jobs:", ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()))
    print(f"damaged blobs: {len(scene.damaged)}; told and made again: {told} samples, {len(verdict.mended)} archives")
    print(f"resumed trainings: {resumed}; oldest checkpoint {age:.1f} s when it was hit")
    print(f"faults: {len(moments)}\nrequests: {sent}\nlosses: {len(losses)}\nduplicates: {len(duplicates)}")
    print(f"left over: {len(left)}")
    counts = {"losses": losses, "duplicates": duplicates, "leftovers": left}
    metrics = [Metric("faults", len(moments)), Metric("requests", sent), Metric("jobs", kinds.total())]
    metrics += [Metric(name, len(found), target=0, lower_is_better=True) for name, found in counts.items()]
    save_metrics(options, metrics)
    return 1 if losses or duplicates or left or age > 60 else 0


if __name__ == "__main__":
    sys.exit(main())
