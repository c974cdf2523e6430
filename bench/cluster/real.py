"""Measures one and two workers on this computer, on PostgreSQL and Valkey. See `python -m bench.cluster --help`."""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import httpx
import psutil
from sqlalchemy import func, insert, select, update

from bench.measure import Metric, Summary, compute_ratio, tree_cpu_seconds
from bench.services.calls import create_dataset, wait_until_ended
from bench.services.cluster import Cluster, Shape, open_cluster
from bench.services.service import API
from bench.services.untrained_model import add_untrained_model
from store.db.tables import Dataset, Image, Item
from store.repositories.tokens import TokenRepository
from store.store import Store
from tests.support.images import make_photos

SCALE, SAMPLES, SIDE = 4, 4, 512
JOB_SECONDS, QUICK_SECONDS = 45.0, 5.0  # CPU time of one worker for the measured job
CALIBRATION_SAMPLES = 40  # of each image; fewer cost more each
MAX_SAMPLES = 1000  # of each image, which the API allows
LARGE_JOBS = 10
ITEMS = 400_000
PROBE_SECONDS = 0.1  # pause between two calls of somebody else
INSERT_BATCH = 10_000


VARIABLES = {
    "PATINA_REQUIRE_TOKENS": "true",
    "PATINA_TORCH_THREADS": "1",
    "PATINA_CANCEL_GRACE_SECONDS": "120",  # nobody restarts a worker here
    "PATINA_TOKEN_REQUESTS_PER_MINUTE": "1000000",
    "PATINA_ADDRESS_REQUESTS_PER_MINUTE": "1000000",
    "PATINA_LOG_JSON": "true",
}


@dataclass
class Site:
    """The cluster and who uses it: a client is a token of its own."""

    cluster: Cluster
    store: Store
    cores: Sequence[int]  # two, of the workers
    _clients: dict[str, httpx.Client] = field(default_factory=dict)

    def client(self, name: str) -> httpx.Client:
        """Returns the client of a token, which it creates the first time."""
        if name not in self._clients:
            with self.store.database.write() as session:
                secret = TokenRepository(session).create(name, "submit").secret
            headers = {"Authorization": f"Bearer {secret}"}
            self._clients[name] = httpx.Client(base_url=self.cluster.url, headers=headers, timeout=600, trust_env=False)
        return self._clients[name]

    def other_cpu_seconds(self) -> float:
        """Returns the CPU time of API, maintenance, the queue's server and PostgreSQL."""
        return tree_cpu_seconds(self.cluster.process) + tree_cpu_seconds(self.cluster.postgresql.process)


@contextmanager
def running_site(cores: Sequence[int]) -> Iterator[Site]:
    """Starts servers, API and maintenance, without workers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with open_cluster(folder / "cluster", folder / "log", Shape(), VARIABLES) as cluster:
            cluster.prepare_database()
            cluster.start()
            store = cluster.open_store()
            try:
                yield Site(cluster, store, cores)
            finally:
                store.close()
                cluster.stop()


@dataclass(frozen=True)
class Run:
    """A job: how long it took, and the CPU time of each worker and of all else, in seconds."""

    seconds: float
    worker_seconds: list[float]
    other_seconds: float

    @property
    def cpu_seconds(self) -> float:
        return sum(self.worker_seconds)

    @property
    def busy(self) -> float:
        """The share of their cores that the workers had."""
        return self.cpu_seconds / (len(self.worker_seconds) * self.seconds)


@dataclass
class Arrangement:
    """On which cores there is a worker, and the jobs that these did, one in each round."""

    cores: Sequence[int]
    runs: list[Run] = field(default_factory=list)


def measure(options: argparse.Namespace) -> list[Metric]:
    images = options.images or (24 if options.quick else 120)
    items = options.items or (20_000 if options.quick else ITEMS)
    with running_site(options.cores) as site:
        dataset = _create_dataset(site, images)
        runs = _compare_workers(site, dataset, images, options.rounds, QUICK_SECONDS if options.quick else JOB_SECONDS)
        waits = _measure_waits(site, dataset, 2 if options.quick else 5)
        return [*runs, *waits, *_measure_acceptance(site, items)]


def _create_dataset(site: Site, images: int) -> str:
    """Creates a shared dataset of photos with an untrained model."""
    http = site.client("alice")
    dataset = create_dataset(http, "photos", SCALE)
    http.patch(f"/datasets/{dataset}", json={"shared": True}).raise_for_status()
    parts = [("files", file) for file in make_photos(images, SIDE).items()]
    http.post(f"/datasets/{dataset}/images?role=hr", files=parts).raise_for_status()
    add_untrained_model(site.store, dataset, SCALE)
    return dataset


def _compare_workers(site: Site, dataset: str, images: int, rounds: int, seconds: float) -> list[Metric]:
    """Measures one worker on each core, and two on both, in alternating order, on jobs that take one about `seconds`.

    A core may be slower, or busy with other programs. So two workers are compared with the mean of one on each core. A
    shorter job would not be divided: a claim takes what lasts ten seconds.
    """
    first, second, both = Arrangement(site.cores[:1]), Arrangement(site.cores[1:]), Arrangement(site.cores)
    seeds, per_image = itertools.count(), _choose_samples(site, dataset, images, seconds)
    samples = per_image * images
    for number in range(rounds):
        for arrangement in (first, second, both)[:: -1 if number % 2 else 1]:
            with site.cluster.workers(arrangement.cores) as processes:
                # Long enough for each worker to take part, which loads the model.
                _run_job(site, dataset, next(seeds), processes, per_image, source_to=1 + images // 2)
                run = _run_job(site, dataset, next(seeds), processes, per_image)
            arrangement.runs.append(run)
            print(f"round {number + 1}, cores {arrangement.cores}: {_describe(run, samples)}", flush=True)
    alone = list(zip(first.runs, second.runs, strict=True))
    rates_of_two = [samples / run.seconds for run in both.runs]
    rates_of_one = [statistics.mean(samples / run.seconds for run in each) for each in alone]
    cpu_of_one = [statistics.mean(run.cpu_seconds for run in each) for each in alone]
    busy_alone = statistics.median(run.busy for run in (*first.runs, *second.runs))
    busy = statistics.median(run.busy for run in both.runs)
    free = statistics.median(len(both.cores) - run.other_seconds / run.seconds for run in both.runs)
    return [
        Metric("a degrade job, one worker with one core", Summary.from_values(rates_of_one), "samples a second"),
        Metric("the same, two workers with one core each", Summary.from_values(rates_of_two), "samples a second"),
        Metric(
            "two workers: times the speed of one",
            compute_ratio(rates_of_two, rates_of_one),
            "times",
            target=1.6,
            limit=f"{free:.2f}: two cores less what API, database and queue took; "
            f"the workers had {busy:.0%} of theirs, one alone {busy_alone:.0%}",
        ),
        Metric(
            "CPU time of the job by two workers, relative to one",
            compute_ratio([run.cpu_seconds for run in both.runs], cpu_of_one),
            "times",
            target=1.1,
            lower_is_better=True,
            limit="1: no work is done twice",
        ),
        Metric(
            "CPU time of API, maintenance, database and queue, relative to the workers'",
            Summary.from_values([run.other_seconds / run.cpu_seconds for run in both.runs]),
            "times",
        ),
    ]


def _choose_samples(site: Site, dataset: str, images: int, seconds: float) -> int:
    """Returns how many samples of each image take one worker that long."""
    with site.cluster.workers(site.cores[:1]) as processes:
        _run_job(site, dataset, 0, processes, 1)  # loads the model
        half = _run_job(site, dataset, 1, processes, CALIBRATION_SAMPLES, source_to=1 + images // 2)
    # By its CPU time: on a busy core it would choose too few.
    return max(1, min(MAX_SAMPLES, round(CALIBRATION_SAMPLES * seconds / (2 * half.cpu_seconds))))


def _describe(run: Run, samples: int) -> str:
    workers = " + ".join(f"{seconds:.1f}" for seconds in run.worker_seconds)
    speed = f"{samples / run.seconds:.2f} samples/s, {run.seconds:.1f} s"
    return f"{speed}, CPU of the workers {workers} s, of the rest {run.other_seconds:.1f} s"


def _run_job(
    site: Site, dataset: str, seed: int, processes: Sequence[psutil.Process], samples: int, **fields: object
) -> Run:
    """Runs a job on the dataset's images to its end, with that number of samples of each."""
    before, others_before = [tree_cpu_seconds(one) for one in processes], site.other_cpu_seconds()
    client = site.client("alice")
    job = wait_until_ended(client, _degrade(client, dataset, seed=seed, samples=samples, **fields))
    if job["counts"]["failed"] or job["status"] != "succeeded":
        raise RuntimeError(f"the job did not generate all samples: {job}")
    seconds = [tree_cpu_seconds(one) - start for one, start in zip(processes, before, strict=True)]
    duration = _seconds_between(job["started"], job["finished"])
    return Run(duration, seconds, site.other_cpu_seconds() - others_before)


def _measure_waits(site: Site, dataset: str, rounds: int) -> list[Metric]:
    """Measures how long a job of one image waits behind ten large ones of somebody else."""
    waits: dict[int, list[float]] = {1: [], 2: []}
    for workers, taken in waits.items():
        with site.cluster.workers(site.cores[:workers]):
            large = [_degrade(site.client("alice"), dataset, samples=50, seed=seed) for seed in range(LARGE_JOBS)]
            _wait_until_running(site.client("alice"), large[0])
            for seed in range(rounds):
                time.sleep(1)
                job_id = _degrade(site.client("bob"), dataset, source_to=1, seed=seed)
                job = wait_until_ended(site.client("bob"), job_id)
                taken.append(_seconds_between(job["created"], job["started"]))
            for job_id in large:
                site.client("alice").post(f"/jobs/{job_id}/cancel").raise_for_status()
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


def _measure_acceptance(site: Site, items: int) -> list[Metric]:
    """Measures a request for a dataset of that number of images, and the calls of another token meanwhile."""
    dataset = _fill_dataset(site, items)
    (api,) = site.cluster.find_all(API)
    with site.cluster.workers(site.cores[1:]):
        with _probing(site) as calm:
            time.sleep(5)
        memory = api.memory_info().rss
        with _probing(site) as latencies:
            began = time.perf_counter()
            job = _degrade(site.client("alice"), dataset)
            accepted = time.perf_counter() - began
            most = memory
            while (listed := _count_items(site, job)) < items:
                most = max(most, api.memory_info().rss)
                time.sleep(0.25)
            expanded = time.perf_counter() - began
        site.client("alice").post(f"/jobs/{job}/cancel").raise_for_status()
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


def _fill_dataset(site: Site, images: int) -> str:
    """Adds records of images without files: only their number counts here."""
    http = site.client("alice")
    dataset = create_dataset(http, "many", SCALE)
    add_untrained_model(site.store, dataset, SCALE)
    with site.store.database.write() as session:
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


def _count_items(site: Site, job_id: str) -> int:
    with site.store.database.read() as session:
        return int(session.scalar(select(func.max(Item.position) + 1).where(Item.job_id == job_id)) or 0)


@contextmanager
def _probing(site: Site) -> Iterator[list[float]]:
    """Somebody else creates a dataset again and again. Yields the seconds of each call."""
    http, taken, ended = site.client("bob"), list[float](), threading.Event()

    def probe() -> None:
        while not ended.wait(PROBE_SECONDS):
            began = time.perf_counter()
            create_dataset(http, "another", SCALE)
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


def _seconds_between(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
