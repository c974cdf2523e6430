"""Results as files and in shards: what a million records cost, and a real job of many small images.

    python -m bench.result_store

Records: 100,000 items with 10 samples each, in SQLite. There are no files.
Job: 2,000 images of 64×64, five samples each, by `patina up`. The model has random weights.

CPU time stands beside seconds, because other programs may use the computer.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from app.archives.manifest import Manifest
from app.archives.segments import measure as measure_segments
from app.archives.streams import zip_segments
from bench.files import encode_png, make_picture
from bench.measure import Metric, measure_added_memory, run, tree_cpu_seconds
from bench.services.calls import create_dataset, run_job
from bench.services.untrained_model import add_untrained_model
from config.settings import Settings
from patina.local.session import temporary_service
from store.db.migrate import migrate
from store.db.tables import Job
from store.files.gc import HashSet64, iter_referenced_hashes
from store.manifest import ResultNames
from store.repositories.jobs import JobRepository, Progress
from store.repositories.result_shards import ResultShardRepository
from store.repositories.samples import NewItem, NewResultShard, NewSample, SampleRepository
from store.result_store import ResultStore
from store.store import Store

SAMPLES = 10  # of each item
RECORDED_ITEMS = 1000
BATCH_ITEMS = 100
SIDE, SCALE, JOB_SAMPLES = 64, 2, 5
MEBIBYTE = 2**20


def measure(options: argparse.Namespace) -> list[Metric]:
    items, images = (2_000, 100) if options.quick else (100_000, 2_000)
    metrics = []
    for part, measured in (("records", _measure_records(items)), ("job", _measure_job(options.images or images))):
        if options.only in (None, part):
            for metric in measured:
                print(metric, file=sys.stderr, flush=True)  # under load it takes long
                metrics.append(metric)
    return metrics


# Records


def _measure_records(items: int) -> Iterator[Metric]:
    for kind in ResultStore:
        with tempfile.TemporaryDirectory() as folder:
            store = _open(Path(folder))
            migrate(store.database)
            taken, _ = _record(store, kind, RECORDED_ITEMS)
            yield Metric(f"recording 1,000 samples, `store={kind}`: CPU", 1000 * taken, "ms")
            job_id = _insert(store, kind, items)
            name = f"{items * SAMPLES:,} samples, `store={kind}`"
            yield Metric(f"{name}: database", _database_bytes(Path(folder)) / MEBIBYTE, "MiB")
            with store.database.read() as session:
                samples = SampleRepository(session)
                page = partial(samples.list_samples, job_id, after=(items - 20, 0), limit=100)
                yield Metric(f"{name}: a page near the end, CPU", 1000 * _time(page), "ms")
                last = partial(samples.list_samples, job_id, skip=items * SAMPLES - 1000, limit=500)
                yield Metric(f"{name}: `shard_size=1000`, the last shard, CPU", 1000 * _time(last), "ms")
                yield Metric(f"{name}: names for the garbage collection, CPU", _time(partial(_read_names, store)), "s")
            if kind is ResultStore.shards:  # the sizes of files are read from the disk, which has none here
                with store.database.read() as session:
                    shards = partial(ResultShardRepository(session).list, job_id, limit=1000)
                    yield Metric(f"{name}: a list of shards, CPU", 1000 * _time(shards), "ms")
            store.close()
            if kind is ResultStore.shards:
                for count in (items // 100, items // 10):
                    added = measure_added_memory(_prepare_zip, folder, job_id, count)
                    label = f"{count * SAMPLES:,} samples: memory to plan a zip of their files"
                    yield Metric(label, added / MEBIBYTE, "MiB")


def _read_names(store: Store) -> None:
    with store.database.read() as session:
        HashSet64(iter_referenced_hashes(session))


def _open(folder: Path) -> Store:
    return Store.open(Settings(data_dir=folder, redis_url="unix:///dev/null"))


def _create_job(store: Store, kind: ResultStore, items: int) -> Job:
    with store.database.write() as session:
        jobs = JobRepository(session)
        parameters = {"samples": SAMPLES, "seed": 7, "scale": 4, "kernel_origin": [-8, -8], "store": kind}
        total = items * SAMPLES
        job = jobs.create("degrade", dataset_id=None, model_id=None, parameters=parameters, unit="samples", total=total)
        new = [(f"photo {number}", NewItem(f"photo {number}.png", f"{number:064x}")) for number in range(items)]
        SampleRepository(session).add_items(job.id, new)
        claimed = jobs.claim(job.id, "a worker", 36_000)
        assert claimed is not None
        return claimed


def _record(store: Store, kind: ResultStore, items: int) -> tuple[float, str]:
    """Records samples as a worker does. Returns the CPU seconds for a thousand samples, and the job's id."""
    job, rng = _create_job(store, kind, items), np.random.default_rng(0)
    started = time.process_time()
    for first in range(0, items, BATCH_ITEMS):
        samples = list(_new_samples(kind, first, rng))
        batch: dict[str, Any] = {"samples": samples}
        if kind is ResultStore.shards:
            batch = {"shards": [NewResultShard(rng.bytes(32).hex(), 250_000_000, samples)]}
        with store.database.write() as session:
            JobRepository(session).record(job.id, job.attempt, Progress(None, None, 100.0, None), **batch)
    return (time.process_time() - started) * BATCH_ITEMS / items, job.id


def _insert(store: Store, kind: ResultStore, items: int) -> str:
    """Inserts the same rows with one statement, which generates them. Returns the job's id."""
    job = _create_job(store, kind, items)
    numbers = f"WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < {items * SAMPLES - 1})"
    shard, blob = "NULL", "lower(hex(randomblob(32)))"
    files = f"""'{{"lr": "' || {blob} || '", "kernel": "' || {blob} || '", "noise": "' || {blob} || '"}}'"""
    if kind is ResultStore.shards:
        shard, start, crc32 = "n / 1000", "250000 * (n % 1000)", "(random() & 4294967295)"
        files = f"""printf('{{"lr": [%d, 4000, %d], "kernel": [%d, 1500, %d], "noise": [%d, 245000, %d]}}',
            {start} + 512, {crc32}, {start} + 5120, {crc32}, {start} + 7168, {crc32})"""
    with store.database.write() as session:
        session.connection().exec_driver_sql(
            f"{numbers} INSERT INTO samples (job_id, position, sample, status, shard, files) "
            f"SELECT '{job.id}', n / {SAMPLES}, n % {SAMPLES}, 'ok', {shard}, {files} FROM n"
        )
        if kind is ResultStore.shards:
            session.connection().exec_driver_sql(
                f"{numbers} INSERT INTO result_shards (job_id, number, sha256, size, samples) "
                f"SELECT '{job.id}', n, {blob}, 250000000, 1000 FROM n WHERE n < {items * SAMPLES // 1000}"
            )
        JobRepository(session).finish(job.id, job.attempt, "succeeded")
    return job.id


def _new_samples(kind: ResultStore, first: int, rng: np.random.Generator) -> Iterator[NewSample]:
    start = 0
    for position in range(first, first + BATCH_ITEMS):
        for sample in range(SAMPLES):
            files: dict[str, Any] = {}
            for name, size in (("lr", 4_000), ("kernel", 1_500), ("noise", 245_000)):
                checksum = int(rng.integers(2**32))
                files[name] = rng.bytes(32).hex() if kind is ResultStore.files else [start, size, checksum]
                start += size + 512
            yield NewSample(position, sample, files)


def _database_bytes(folder: Path) -> int:
    connection = sqlite3.connect(folder / "patina.sqlite")
    try:
        pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    finally:
        connection.close()
    return int(pages) * int(size)


def _time(work: Callable[[], object]) -> float:
    """Returns the CPU seconds of this process."""
    started = time.process_time()
    work()
    return time.process_time() - started


def _prepare_zip(folder: str, job_id: str, items: int) -> Callable[[], object]:
    """Returns a function that plans a zip of the samples of the first items."""
    store = _open(Path(folder))
    with store.database.read() as session:
        job = JobRepository(session).get(job_id)
    assert job is not None
    manifest = _FirstItems(store, ResultNames.from_job(job), items)
    next(manifest.samples())  # imports and opens what the first one needs
    return lambda: measure_segments(zip_segments(manifest))


class _FirstItems(Manifest):
    def __init__(self, store: Store, names: ResultNames, items: int):
        super().__init__(store, names)
        object.__setattr__(self, "_items", items)

    def samples(self, **_: Any) -> Any:
        return super().samples(take=self._items * SAMPLES)  # type: ignore[attr-defined]


# A job


def _measure_job(images: int) -> Iterator[Metric]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "data"
        with (
            temporary_service(data, embedded=True) as url,
            httpx.Client(base_url=url, timeout=600, trust_env=False) as http,
        ):
            dataset = _create_dataset(http, data, images)
            warm = {"source": dataset, "source_to": 10, "samples": JOB_SAMPLES}  # the first job loads the model
            run_job(http, f"/datasets/{dataset}/degrade", data=warm)
            for kind in ResultStore:
                yield from _run_job(http, data, dataset, kind, images)


def _run_job(http: httpx.Client, data: Path, dataset: str, kind: ResultStore, images: int) -> Iterator[Metric]:
    before = _database_bytes(data), _list_blobs(data)
    fields = {"source": dataset, "samples": JOB_SAMPLES, "seed": time.time_ns() % 2**31, "store": kind.value}
    started, used = time.perf_counter(), tree_cpu_seconds(psutil.Process())
    job = run_job(http, f"/datasets/{dataset}/degrade", data=fields)
    seconds, used = time.perf_counter() - started, tree_cpu_seconds(psutil.Process()) - used
    if job["counts"] != {"ok": JOB_SAMPLES * images, "failed": 0}:
        raise RuntimeError(f"the job did not generate all triplets: {job}")
    added = {path: size for path, size in _list_blobs(data).items() if path not in before[1]}
    name = f"{images:,} images, {JOB_SAMPLES} samples, `store={kind}`"
    yield Metric(f"{name}: the job", seconds, "s")
    yield Metric(f"{name}: the job, CPU", used, "s")
    yield Metric(f"{name}: stored files", len(added))
    yield Metric(f"{name}: bytes of them", sum(added.values()) / MEBIBYTE, "MiB")
    yield Metric(f"{name}: blocks of the disk", sum(map(_disk_bytes, added)) / MEBIBYTE, "MiB")
    yield Metric(f"{name}: growth of the database", (_database_bytes(data) - before[0]) / MEBIBYTE, "MiB")
    for archive in ("webdataset", "zip"):
        started, used = time.perf_counter(), tree_cpu_seconds(psutil.Process())
        _download(http, f"/jobs/{job['id']}/archive?format={archive}")
        used = tree_cpu_seconds(psutil.Process()) - used
        yield Metric(f"{name}: download as {archive}", time.perf_counter() - started, "s")
        yield Metric(f"{name}: download as {archive}, CPU", used, "s")


def _download(http: httpx.Client, path: str) -> None:
    with http.stream("GET", path) as response:
        for _ in response.raise_for_status().iter_raw():
            pass


def _list_blobs(data: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in (data / "blobs").glob("*/*")}


def _disk_bytes(path: Path) -> int:
    return 512 * os.stat(path).st_blocks  # noqa: PTH116 - as du counts


def _create_dataset(http: httpx.Client, data: Path, images: int) -> str:
    """Creates a dataset of this many clean images, with a model of random weights. Returns its id."""
    dataset = create_dataset(http, "small", SCALE)
    for first in range(0, images, 500):
        numbers = range(first, min(images, first + 500))
        files = [("files", (f"{n}.png", encode_png(make_picture(SIDE, SIDE, n)))) for n in numbers]
        http.post(f"/datasets/{dataset}/images", params={"role": "hr"}, files=files).raise_for_status()
    store = _open(data)
    add_untrained_model(store, dataset, SCALE)
    store.close()
    return dataset


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", choices=["records", "job"], help="one of the two parts")
    parser.add_argument("--images", type=int, help="images of the job")


if __name__ == "__main__":
    run(__doc__, measure, _add_arguments)
