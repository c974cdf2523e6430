"""Measures one and two workers on this computer, on PostgreSQL and Valkey. See `python -m bench.cluster --help`."""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import torch
from sqlalchemy import func, insert, select, update

from bench.cluster.processes import Cluster, run_cluster
from bench.measure import Metric, Summary, compute_ratio, cpu_seconds
from models.checkpoint import save_degradation
from models.degradation import Degradation, DegradationConfig
from store.db.tables import Dataset, Image, Item
from store.model_files import DEGRADER
from store.repositories.models import ModelRepository
from tests.support.images import make_photos

SCALE, SAMPLES, SIDE = 4, 4, 512
CORES = (0, 1)
LARGE_JOBS = 10
ITEMS = 400_000
PROBE_SECONDS = 0.1  # pause between two calls of somebody else
INSERT_BATCH = 10_000


@dataclass(frozen=True)
class Run:
    """A job: its duration, and the CPU time of all workers, in seconds."""

    seconds: float
    cpu_seconds: float


def measure(options: argparse.Namespace) -> list[Metric]:
    images = options.images or (24 if options.quick else 120)
    items = options.items or (20_000 if options.quick else ITEMS)
    with tempfile.TemporaryDirectory() as name, run_cluster(Path(name)) as cluster:
        dataset = _create_dataset(cluster, images)
        runs = _compare_workers(cluster, dataset, SAMPLES * images, options.rounds)
        waits = _measure_waits(cluster, dataset, 2 if options.quick else 5)
        return [*runs, *waits, *_measure_acceptance(cluster, items)]


def _create_dataset(cluster: Cluster, images: int) -> str:
    """Creates a shared dataset of photos with an untrained model."""
    http = cluster.client("alice")
    dataset = str(http.post("/datasets", json={"name": "photos", "scale": SCALE}).raise_for_status().json()["id"])
    http.patch(f"/datasets/{dataset}", json={"shared": True}).raise_for_status()
    parts = [("files", file) for file in make_photos(images, SIDE).items()]
    http.post(f"/datasets/{dataset}/images?role=hr", files=parts).raise_for_status()
    _add_model(cluster, dataset)
    return dataset


def _add_model(cluster: Cluster, dataset: str) -> None:
    degradation, generator = Degradation(DegradationConfig(SCALE)), torch.Generator().manual_seed(0)
    for parameter in degradation.parameters():  # initialized networks ignore z
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    with cluster.store.blobs.scratch() as folder:
        save_degradation(degradation, folder / DEGRADER)
        files = {DEGRADER: cluster.store.blobs.put_file(folder / DEGRADER)}
    with cluster.store.database.write() as session:
        ModelRepository(session).create(
            dataset_id=dataset,
            job_id=dataset,
            preset="default",
            scale=SCALE,
            kernel_origin=degradation.kernel_origin,
            steps=0,
            seconds=0.0,
            files=files,
            history=[],
        )


def _compare_workers(cluster: Cluster, dataset: str, samples: int, rounds: int) -> list[Metric]:
    runs: dict[int, list[Run]] = {1: [], 2: []}
    seeds = itertools.count()
    for number in range(rounds):
        for workers in sorted(runs, reverse=bool(number % 2)):
            with cluster.workers(CORES[:workers]) as processes:
                _run_job(cluster, dataset, next(seeds), processes, source_to=2 * workers)  # loads the model
                runs[workers].append(_run_job(cluster, dataset, next(seeds), processes))
    rates = {workers: Summary.from_values([samples / run.seconds for run in each]) for workers, each in runs.items()}
    one, two = ([run.seconds for run in runs[workers]] for workers in (1, 2))
    work = compute_ratio(*([run.cpu_seconds for run in runs[workers]] for workers in (2, 1)))
    busy = statistics.median(run.cpu_seconds / (2 * run.seconds) for run in runs[2])
    return [
        Metric("a degrade job, one worker with one core", rates[1], "samples a second"),
        Metric("the same, two workers with one core each", rates[2], "samples a second"),
        Metric(
            "two workers: times the speed of one",
            compute_ratio(one, two),
            "times",
            target=1.6,
            limit=f"2, with two free cores; the workers had {busy:.0%} of theirs",
        ),
        Metric("CPU time of the job by two workers, relative to one", work, "times", target=1.1, lower_is_better=True),
    ]


def _run_job(cluster: Cluster, dataset: str, seed: int, processes: list[psutil.Process], **fields: object) -> Run:
    """Runs a job on the dataset's images to its end."""
    before = cpu_seconds(*processes)
    job = _wait_until_ended(cluster.client("alice"), _degrade(cluster.client("alice"), dataset, seed=seed, **fields))
    if job["counts"]["failed"] or job["status"] != "succeeded":
        raise RuntimeError(f"the job did not generate all samples: {job}")
    return Run(_seconds_between(job["started"], job["finished"]), cpu_seconds(*processes) - before)


def _measure_waits(cluster: Cluster, dataset: str, rounds: int) -> list[Metric]:
    """Measures how long a job of one image waits behind ten large ones of somebody else."""
    waits: dict[int, list[float]] = {1: [], 2: []}
    for workers, taken in waits.items():
        with cluster.workers(CORES[:workers]):
            large = [_degrade(cluster.client("alice"), dataset, samples=50, seed=seed) for seed in range(LARGE_JOBS)]
            _wait_until_running(cluster.client("alice"), large[0])
            for seed in range(rounds):
                time.sleep(1)
                job_id = _degrade(cluster.client("bob"), dataset, source_to=1, seed=seed)
                job = _wait_until_ended(cluster.client("bob"), job_id)
                taken.append(_seconds_between(job["created"], job["started"]))
            for job_id in large:
                cluster.client("alice").post(f"/jobs/{job_id}/cancel").raise_for_status()
    return [
        Metric(
            f"a job of one image behind {LARGE_JOBS} large ones of another token, {workers} busy workers: wait",
            Summary.from_values(taken),
            "s",
            target=3,
            lower_is_better=True,
            limit="a worker finishes the batches that it has begun",
        )
        for workers, taken in waits.items()
    ]


def _measure_acceptance(cluster: Cluster, items: int) -> list[Metric]:
    """Measures a request for a dataset of so many images, and the calls of another token meanwhile."""
    dataset = _fill_dataset(cluster, items)
    api = psutil.Process(cluster.api.pid)
    with cluster.workers(CORES[1:2]):
        with _probing(cluster) as calm:
            time.sleep(5)
        memory = api.memory_info().rss
        with _probing(cluster) as latencies:
            began = time.perf_counter()
            job = _degrade(cluster.client("alice"), dataset)
            accepted = time.perf_counter() - began
            most = memory
            while (listed := _count_items(cluster, job)) < items:
                most = max(most, api.memory_info().rss)
                time.sleep(0.25)
            expanded = time.perf_counter() - began
        cluster.client("alice").post(f"/jobs/{job}/cancel").raise_for_status()
    what = f"a request for {listed:,} images"
    return [
        Metric(f"{what}: until it is accepted", accepted, "s", target=1, lower_is_better=True),
        Metric(f"{what}: until a worker has listed all", expanded, "s", limit="others process the first meanwhile"),
        Metric(f"{what}: memory of the API grows by", (most - memory) / 2**20, "MiB", target=10, lower_is_better=True),
        Metric(
            f"{what}: slowest call of another token meanwhile",
            max(latencies),
            "s",
            target=0.2,
            lower_is_better=True,
            limit=f"{max(calm):.2g} s before it",
        ),
    ]


def _fill_dataset(cluster: Cluster, images: int) -> str:
    """Adds records of images without files: only their number counts here."""
    http = cluster.client("alice")
    dataset = str(http.post("/datasets", json={"name": "many", "scale": SCALE}).raise_for_status().json()["id"])
    _add_model(cluster, dataset)
    with cluster.store.database.write() as session:
        for start in range(0, images, INSERT_BATCH):
            numbers = range(start, min(images, start + INSERT_BATCH))
            session.execute(
                insert(Image),
                [
                    {
                        "id": f"image{number:09}",
                        "dataset_id": dataset,
                        "role": "hr",
                        "name": f"folder {number // 1000}/photo {number}.png",
                        "sha256": f"{number:064x}",
                        "width": 640,
                        "height": 480,
                        "findings": [],
                    }
                    for number in numbers
                ],
            )
        session.execute(update(Dataset).where(Dataset.id == dataset).values(hr_images=images))
    return dataset


def _count_items(cluster: Cluster, job_id: str) -> int:
    with cluster.store.database.read() as session:
        return int(session.scalar(select(func.max(Item.position) + 1).where(Item.job_id == job_id)) or 0)


@contextmanager
def _probing(cluster: Cluster) -> Iterator[list[float]]:
    """Somebody else creates a dataset again and again. Yields the seconds of each call."""
    http, taken, ended = cluster.client("bob"), list[float](), threading.Event()

    def probe() -> None:
        while not ended.wait(PROBE_SECONDS):
            began = time.perf_counter()
            http.post("/datasets", json={"name": "another", "scale": SCALE}).raise_for_status()
            taken.append(time.perf_counter() - began)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield taken
    finally:
        ended.set()
        thread.join()


def _degrade(http: httpx.Client, dataset: str, **fields: object) -> str:
    data = {"source": dataset, "samples": SAMPLES, **fields}
    answer = http.post(f"/datasets/{dataset}/degrade", data={name: str(value) for name, value in data.items()})
    return str(answer.raise_for_status().json()["id"])


def _wait_until_running(http: httpx.Client, job_id: str) -> None:
    while not http.get(f"/jobs/{job_id}").raise_for_status().json()["progress"]["done"]:
        time.sleep(0.1)


def _wait_until_ended(http: httpx.Client, job_id: str) -> dict[str, Any]:
    while True:
        job: dict[str, Any] = http.get(f"/jobs/{job_id}", params={"wait": 20}).raise_for_status().json()
        if job["status"] not in ("queued", "running"):
            return job


def _seconds_between(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
