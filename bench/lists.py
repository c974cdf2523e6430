"""Lists and counts over HTTP with a million samples, a million images and 100,000 jobs in the database.

python -m bench.lists

Runs on SQLite and on PostgreSQL, which is the server at PATINA_TEST_POSTGRESQL_URL or else the wheel of the tests.
The requests are the worst cases: pages far from the start, and filters that match hardly anything.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx
from sqlalchemy import create_engine, make_url, text

from bench.measure import Metric, Summary, compute_ratio, run, time_interleaved
from bench.records import SAMPLES_PER_ITEM, Size, fill, format_id
from bench.services.postgresql import run_postgresql
from patina.local.up import require_free_port

START_SECONDS = 60

_Target = tuple[httpx.Client, dict[str, str]]  # an API, and the path of each request


def measure(options: argparse.Namespace) -> list[Metric]:
    large = Size(10_000, 50_000, 50_000) if options.quick else Size(100_000, 1_000_000, 1_000_000)
    small = Size(1000, 1000, 1000)
    metrics: list[Metric] = []
    for kind, database in (("SQLite", _sqlite), ("PostgreSQL", _postgresql)):
        with tempfile.TemporaryDirectory() as folder, database(Path(folder)) as urls, ExitStack() as stack:
            apis = []
            for size, url in zip((small, large), urls, strict=True):
                fill(url, size)
                apis.append(stack.enter_context(_api(Path(folder), url)))
            metrics += _measure_lists(
                kind, (apis[0], _list_paths(small)), (apis[1], _list_paths(large)), 5 if options.quick else 20
            )
    return metrics


def _measure_lists(kind: str, small: _Target, large: _Target, rounds: int) -> list[Metric]:
    metrics, growth = [], {}
    for call in large[1]:
        works = {
            size: partial(_get, http, calls[call]) for size, (http, calls) in {"small": small, "large": large}.items()
        }
        taken = time_interleaved(works, rounds)
        times = compute_ratio(taken["large"], taken["small"])
        if call != "/metrics":  # it counts all jobs, and is scraped a few times a minute
            growth[call] = times.median
        milliseconds = Summary.from_values([1000 * seconds for seconds in taken["large"]])
        limit = f"{times} times the time with a thousand of each"
        metrics.append(
            Metric(f"{kind}: `GET {call}`", milliseconds, "ms", target=50, lower_is_better=True, limit=limit)
        )
    worst = max(growth, key=lambda call: growth[call])
    # A factor of 2 may be the machine. A list that grows with the records takes a hundred times as long.
    worst_growth = Metric(f"{kind}: largest growth of any list", growth[worst], "times", 3, 5, True, f"`{worst}`")
    return [*metrics, worst_growth]


def _get(http: httpx.Client, path: str) -> None:
    http.get(path).raise_for_status()


def _list_paths(size: Size) -> dict[str, str]:
    half = size.jobs // 2
    return {
        "/jobs": "/jobs",
        "/jobs?cursor=… (in the middle)": f"/jobs?cursor={format_id('job', half)}",
        "/jobs?status=failed": "/jobs?status=failed",
        "/jobs?status=succeeded": "/jobs?status=succeeded",
        "/jobs?kind=train": "/jobs?kind=train",
        "/jobs?kind=train&status=failed": "/jobs?kind=train&status=failed",
        "/jobs?dataset=…&status=failed": f"/jobs?dataset={format_id('set', 0)}&status=failed",
        "/jobs?dataset=…&kind=train": f"/jobs?dataset={format_id('set', 0)}&kind=train",
        "/jobs/{id}/results": f"/jobs/{format_id('job', size.jobs - 1)}/results",
        "/jobs/{id}/results?cursor=… (near the end)": f"/jobs/{format_id('job', size.jobs - 1)}/results"
        f"?cursor={size.samples // SAMPLES_PER_ITEM - 2}.0",
        "/datasets": "/datasets",
        "/datasets/{id}": f"/datasets/{format_id('set', 0)}",
        "/datasets/{id}/images?cursor=… (in the middle)": f"/datasets/{format_id('set', 0)}/images"
        f"?cursor={format_id('img', size.images // 2)}",
        "/datasets/{id}/images?role=lr&cursor=…": f"/datasets/{format_id('set', 0)}/images"
        f"?role=lr&cursor={format_id('img', size.images // 2)}",
        "/metrics": "/metrics",
    }


# The service


@contextmanager
def _sqlite(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields the URLs of two empty databases."""
    yield f"sqlite:///{folder / 'small.sqlite'}", f"sqlite:///{folder / 'large.sqlite'}"


@contextmanager
def _postgresql(_: Path) -> Iterator[tuple[str, str]]:
    url = os.environ.get("PATINA_TEST_POSTGRESQL_URL")
    with ExitStack() as stack:
        if url is None:
            url = stack.enter_context(run_postgresql()).url
        server_url = make_url(url).set(drivername="postgresql+psycopg")
        engine = create_engine(server_url, isolation_level="AUTOCOMMIT")
        stack.callback(engine.dispose)
        names = "patina_bench_small", "patina_bench_large"
        with engine.connect() as connection:
            for name in names:
                connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
                connection.execute(text(f"CREATE DATABASE {name}"))
        small, large = (server_url.set(database=name).render_as_string(hide_password=False) for name in names)
        yield small, large
        with engine.connect() as connection:
            for name in names:
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@contextmanager
def _api(folder: Path, database: str) -> Iterator[httpx.Client]:
    """Runs the API alone. Lists need no worker."""
    port = require_free_port("127.0.0.1", 0)
    environment = os.environ | {
        "PATINA_DATA_DIR": str(folder),
        "PATINA_DATABASE_URL": database,
        "PATINA_PORT": str(port),
        "PATINA_LOG_LEVEL": "ERROR",
    }
    process = subprocess.Popen([sys.executable, "-m", "app"], env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as http:
            give_up = time.monotonic() + START_SECONDS
            while not _is_up(http):
                if time.monotonic() > give_up:
                    raise RuntimeError("The API did not start. See its log above.")
                time.sleep(0.1)
            yield http
    finally:
        process.terminate()
        process.wait()


def _is_up(http: httpx.Client) -> bool:
    try:
        return http.get("/health").is_success
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    run(__doc__, measure)
