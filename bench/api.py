"""What a user waits for at the API: a job's status while one runs, a small job, and a large upload.

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

from bench.files import multipart, noise, photo, picture, png
from bench.measure import Figure, Spread, forget_peak, peak_memory, resident_memory, run
from bench.polling import poll_as_fast_as_can_be, poll_at
from patina.local.pidfile import read_note
from patina.local.session import started

RATE = 500  # questions a second
MEGABYTE = 1_000_000
FLUSHES = 8  # of a small job, one after the other: its image, its four steps in the records, its three files


def measure(options: argparse.Namespace) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, started(Path(folder), embedded=True) as url:
        api = _process_of_the_api(Path(folder))
        with httpx.Client(base_url=url, timeout=600, trust_env=False) as http:
            dataset = _trained(http)
            return [
                *_polling(http, dataset, seconds=2 if options.quick else 10),
                _small_job(http, dataset, Path(folder), rounds=5 if options.quick else 30),
                *_upload(http, dataset, api, Path(folder), "PNG", noise(), 100 if options.quick else 1000),
                *_upload(http, dataset, api, Path(folder), "JPEG", photo(), 100 if options.quick else 1000),
            ]


def _polling(http: httpx.Client, dataset: str, seconds: float) -> list[Figure]:
    """While a job takes all cores."""
    job = _job(http, dataset, png(picture(1000, 1000)), samples=1000)
    while http.get(f"/jobs/{job}").json()["progress"]["done"] == 0:
        time.sleep(0.1)
    url = f"{http.base_url}/jobs/{job}".replace("//jobs", "/jobs")
    steady = poll_at(url, RATE, seconds)
    fastest = poll_as_fast_as_can_be(url, int(RATE * seconds))
    still_running = http.get(f"/jobs/{job}").json()["status"] == "running"
    _end(http, job)
    if not still_running:
        raise RuntimeError("the job ended before the figures were taken")
    idle = poll_as_fast_as_can_be(url, int(RATE * seconds))
    bare = poll_as_fast_as_can_be(f"{http.base_url}/health".replace("//health", "/health"), int(RATE * seconds))
    return [
        Figure(
            f"`GET /jobs/{{id}}` while a job runs, {RATE} a second: 99th percentile",
            steady.percentile(99),
            "ms",
            aim=50,
            lower_is_better=True,
            limit=f"median {steady.percentile(50):.1f} ms",
        ),
        Figure(
            "the same, as fast as eight clients can ask",
            fastest.per_second,
            "a second",
            aim=RATE,
            floor=RATE / 5,
            limit=f"no job running {idle.per_second:.0f}; `GET /health`, which asks no database, {bare.per_second:.0f}",
        ),
    ]


def _small_job(http: httpx.Client, dataset: str, folder: Path, rounds: int) -> Figure:
    taken, flushing = [], []
    for number in range(rounds + 2):
        image = png(picture(128, 128, seed=number))
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
    limit = f"its {FLUSHES} flushes to disk alone: {Spread.of(flushing[2:])} ms"
    return Figure(
        "small degrade, from request to finished",
        Spread.of(taken[2:]),
        "ms",
        aim=150,
        floor=1000,
        lower_is_better=True,
        limit=limit,
    )


# Uploads


def _upload(
    http: httpx.Client, dataset: str, api: int, folder: Path, kind: str, files: Callable[[int], bytes], number: int
) -> list[Figure]:
    """One request of many files, each with other bytes, written out as it is sent."""
    size, flushed_size = sum(len(files(n)) for n in range(10)) / 10 * number, 0
    began = time.perf_counter()
    for n in range(number // 5):  # what cannot be left out: each file is hashed, written and flushed
        data = files(n)
        hashlib.sha256(data).hexdigest()
        _write_flushed(folder / f"bare-{n}", data)
        flushed_size += len(data)
    bare = flushed_size / (time.perf_counter() - began) / MEGABYTE
    for file in folder.glob("bare-*"):
        file.unlink()
    forget_peak(api)
    before = resident_memory(api)
    began = time.perf_counter()
    answer = http.post(
        f"/datasets/{dataset}/images?role=hr",
        content=multipart(files(n) for n in range(number)),
        headers={"Content-Type": "multipart/form-data; boundary=bench"},
    )
    seconds = time.perf_counter() - began
    answer.raise_for_status()
    if len(answer.json()["accepted"]) != number:
        raise RuntimeError(answer.text[:1000])
    speed = size / seconds / MEGABYTE
    what = f"upload of {number:,} {kind} files of 1 MB"
    return [
        Figure(
            what,
            speed,
            "MB/s",
            aim=100,
            limit=f"to hash, write and flush them, one after the other: {bare:.0f} MB/s",
        ),
        Figure(f"{what}: share of that", speed / bare, aim=0.8, floor=0.2),
        Figure(
            f"{what}: added memory of the API",
            (peak_memory(api) - before) / MEGABYTE,
            "MB",
            aim=64,
            floor=128,
            lower_is_better=True,
            limit=f"the request: {size / MEGABYTE:,.0f} MB",
        ),
    ]


# The service


def _trained(http: httpx.Client) -> str:
    """A dataset with a model of the default recipe that was trained for a few steps."""
    dataset = str(http.post("/datasets", json={"name": "bench", "scale": 4}).raise_for_status().json()["id"])
    for role, side in (("lr", 48), ("hr", 192)):
        parts = [("files", (f"{n}.png", png(picture(side, side, seed=n)))) for n in range(4)]
        http.post(f"/datasets/{dataset}/images?role={role}", files=parts).raise_for_status()
    job = http.post(f"/datasets/{dataset}/train", json={"preset": "default", "max_steps": 4}).raise_for_status().json()
    while job["status"] in ("queued", "running"):
        job = http.get(f"/jobs/{job['id']}?wait=20").json()
    if job["status"] != "succeeded":
        raise RuntimeError(str(job))
    return dataset


def _job(http: httpx.Client, dataset: str, image: bytes, samples: int) -> str:
    answer = http.post(
        f"/datasets/{dataset}/degrade", files={"files": ("a.png", image)}, data={"samples": str(samples)}
    )
    return str(answer.raise_for_status().json()["id"])


def _end(http: httpx.Client, job: str) -> None:
    http.post(f"/jobs/{job}/cancel")
    while http.get(f"/jobs/{job}?wait=20").json()["status"] == "running":
        pass


def _process_of_the_api(data_dir: Path) -> int:
    note = read_note(data_dir)
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
