"""Latency and throughput of the API: job status under load, a small degrade job, large uploads.

python -m bench.api
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil

from bench.files import encode_png, make_jpeg_factory, make_picture, make_png_factory, stream_multipart
from bench.measure import Metric, Summary, read_peak_memory, read_resident_memory, reset_peak_memory, run
from bench.polling import poll_at_full_speed, poll_at_rate
from bench.services.calls import create_dataset, run_job, wait_until_ended
from patina.local.pidfile import read_pidfile
from patina.local.session import temporary_service

RATE = 500  # requests a second
MEGABYTE = 1_000_000
FLUSHES = 8  # fsync calls of a small job, in sequence: its image, four database commits, three files


def measure(options: argparse.Namespace) -> list[Metric]:
    with tempfile.TemporaryDirectory() as folder, temporary_service(Path(folder), embedded=True) as url:
        api = _find_api_process(Path(folder))
        with httpx.Client(base_url=url, timeout=600, trust_env=False) as http:
            dataset = _train_model(http)
            return [
                *_measure_polling(http, dataset, seconds=2 if options.quick else 10),
                _measure_small_job(http, dataset, Path(folder), rounds=5 if options.quick else 30),
                *_measure_upload(
                    http, dataset, api, Path(folder), "PNG", make_png_factory(), 100 if options.quick else 1000
                ),
                *_measure_upload(
                    http, dataset, api, Path(folder), "JPEG", make_jpeg_factory(), 100 if options.quick else 1000
                ),
            ]


def _measure_polling(http: httpx.Client, dataset: str, seconds: float) -> list[Metric]:
    """Polls a job that uses all cores."""
    job = _submit_job(http, dataset, encode_png(make_picture(1000, 1000)), samples=1000)
    while http.get(f"/jobs/{job}").json()["progress"]["done"] == 0:
        time.sleep(0.1)
    url = f"{http.base_url}/jobs/{job}".replace("//jobs", "/jobs")
    steady = poll_at_rate(url, RATE, seconds)
    fastest = poll_at_full_speed(url, int(RATE * seconds))
    still_running = http.get(f"/jobs/{job}").json()["status"] == "running"
    _cancel_job(http, job)
    if not still_running:
        raise RuntimeError("The job ended before the measurement. Give it more samples.")
    idle = poll_at_full_speed(url, int(RATE * seconds))
    bare = poll_at_full_speed(f"{http.base_url}/health".replace("//health", "/health"), int(RATE * seconds))
    return [
        Metric(
            f"`GET /jobs/{{id}}` while a job runs, {RATE} requests a second: 99th percentile",
            steady.percentile(99),
            "ms",
            target=50,
            lower_is_better=True,
            limit=f"median {steady.percentile(50):.1f} ms",
        ),
        Metric(
            "`GET /jobs/{id}` while a job runs: throughput with 8 connections",
            fastest.per_second,
            "requests a second",
            target=RATE,
            threshold=RATE / 5,
            limit=f"idle {idle.per_second:.0f}; `GET /health`, without a database query, {bare.per_second:.0f}",
        ),
    ]


def _measure_small_job(http: httpx.Client, dataset: str, folder: Path, rounds: int) -> Metric:
    taken, flushing = [], []
    for number in range(rounds + 2):
        image = encode_png(make_picture(128, 128, seed=number))
        began = time.perf_counter()
        answer = http.post(
            f"/datasets/{dataset}/degrade", files={"files": ("a.png", image)}, headers={"Prefer": "wait=60"}
        )
        taken.append(1000 * (time.perf_counter() - began))
        if answer.status_code != httpx.codes.OK or answer.json()["status"] != "succeeded":
            raise RuntimeError(answer.text)
        began = time.perf_counter()
        for _ in range(FLUSHES):
            _write_flushed(folder / "flushed", b"x")
        flushing.append(1000 * (time.perf_counter() - began))
    limit = f"its {FLUSHES} fsync calls alone: {Summary.from_values(flushing[2:])} ms"
    return Metric(
        "small degrade job, from request to result",
        Summary.from_values(taken[2:]),
        "ms",
        target=150,
        threshold=1000,
        lower_is_better=True,
        limit=limit,
    )


# Uploads


def _measure_upload(
    http: httpx.Client, dataset: str, api: int, folder: Path, kind: str, files: Callable[[int], bytes], number: int
) -> list[Metric]:
    """Measures one streamed request with many different files."""
    size, flushed_size = sum(len(files(n)) for n in range(10)) / 10 * number, 0
    began = time.perf_counter()
    for n in range(number // 5):  # the minimum: hash, write and flush each file
        data = files(n)
        hashlib.sha256(data).hexdigest()
        _write_flushed(folder / f"bare-{n}", data)
        flushed_size += len(data)
    bare = flushed_size / (time.perf_counter() - began) / MEGABYTE
    for file in folder.glob("bare-*"):
        file.unlink()
    reset_peak_memory(api)
    before = read_resident_memory(api)
    began = time.perf_counter()
    answer = http.post(
        f"/datasets/{dataset}/images?role=hr",
        content=stream_multipart(files(n) for n in range(number)),
        headers={"Content-Type": "multipart/form-data; boundary=bench"},
    )
    seconds = time.perf_counter() - began
    answer.raise_for_status()
    if len(answer.json()["accepted"]) != number:
        raise RuntimeError(answer.text[:1000])
    speed = size / seconds / MEGABYTE
    what = f"upload of {number:,} {kind} files of 1 MB"
    return [
        Metric(
            what,
            speed,
            "MB/s",
            target=100,
            limit=f"hash, write and flush them in sequence: {bare:.0f} MB/s",
        ),
        Metric(f"{what}: share of that limit", speed / bare, target=0.8, threshold=0.2),
        Metric(
            f"{what}: memory added in the API",
            (read_peak_memory(api) - before) / MEGABYTE,
            "MB",
            target=64,
            threshold=128,
            lower_is_better=True,
            limit=f"request body: {size / MEGABYTE:,.0f} MB",
        ),
    ]


# The service


def _train_model(http: httpx.Client) -> str:
    """Creates a dataset, trains a `default` model for a few steps, and returns the dataset's id."""
    dataset = create_dataset(http, "bench", 4)
    for role, side in (("lr", 48), ("hr", 192)):
        parts = [("files", (f"{n}.png", encode_png(make_picture(side, side, seed=n)))) for n in range(4)]
        http.post(f"/datasets/{dataset}/images?role={role}", files=parts).raise_for_status()
    job = run_job(http, f"/datasets/{dataset}/train", json={"preset": "default", "max_steps": 4})
    if job["status"] != "succeeded":
        raise RuntimeError(str(job))
    return dataset


def _submit_job(http: httpx.Client, dataset: str, image: bytes, samples: int) -> str:
    answer = http.post(
        f"/datasets/{dataset}/degrade", files={"files": ("a.png", image)}, data={"samples": str(samples)}
    )
    return str(answer.raise_for_status().json()["id"])


def _cancel_job(http: httpx.Client, job: str) -> None:
    http.post(f"/jobs/{job}/cancel")
    wait_until_ended(http, job)


def _find_api_process(data_dir: Path) -> int:
    note = read_pidfile(data_dir)
    assert note
    (api,) = (child.pid for child in psutil.Process(note.pid).children() if child.cmdline()[-1] == "app")
    return int(api)


def _write_flushed(path: Path, data: bytes) -> None:
    with path.open("wb") as opened:
        opened.write(data)
        opened.flush()
        os.fsync(opened.fileno())


if __name__ == "__main__":
    run(__doc__, measure)
