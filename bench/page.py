"""Load time and size of the page, and the smoothness of its long lists, in a real Chromium.

python -m bench.page

The script scrolls through 10,000 photos of a dataset and through 1,000 jobs, by some hundred pixels a frame. A page of
plain text is the reference.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from bench.files import encode_png
from bench.measure import Metric, Summary, run
from config.settings import Settings
from patina import Client
from patina.local.session import temporary_service
from store.repositories.jobs import JobRepository
from store.store import Store
from tests.support import chromium

SIZE = (1280, 860)
SIDE = 48  # of a photo, in pixels
TIMEOUT_MS = 120_000
TEXT = "data:text/html," + "<p>One line of many.</p>" * 500
# Scrolls to the end of the list and resolves to the milliseconds between painted frames.
SCROLL = """({ pixels, last }) => new Promise((resolve) => {
    const frames = [];
    let before = performance.now();
    const step = (now) => {
        frames.push(now - before);
        before = now;
        scrollBy(0, pixels);
        const end = scrollY + innerHeight >= document.body.scrollHeight - 1;
        const shown = [...document.querySelectorAll(".virtual > li")].map((each) => Number(each.ariaPosInSet));
        const there = last === null || Math.max(...shown) >= last;
        if (end && there) resolve(frames.slice(2)); else requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
})"""


def measure(options: argparse.Namespace) -> list[Metric]:
    photos, jobs, rounds = (1000, 100, 3) if options.quick else (10_000, 1000, 10)
    executable = chromium.find_chromium()
    if executable is None:
        raise SystemExit(chromium.NOT_FOUND)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        with temporary_service(Path(folder) / "data", embedded=True) as url:
            dataset = _create_records(url, Path(folder), photos, jobs)
            views = [_load_first_view(browser, f"{url}/#/datasets") for _ in range(rounds)]
            metrics = [
                Metric(
                    "first view, empty cache",
                    Summary.from_values([view[0] for view in views]),
                    "s",
                    1,
                    3,
                    True,
                ),
                Metric("first view: bytes loaded", views[0][1] / 1000, "kB", 300, 300, lower_is_better=True),
            ]
            lists = {
                f"{photos:,} photos": (f"{url}/#/datasets/{dataset}", photos),
                f"{jobs:,} jobs": (f"{url}/#/jobs", jobs),
            }
            plain = _record_frames(browser, TEXT, None, 100)
            for name, (view, last) in lists.items():
                frames = _record_frames(browser, view, last, 500 if options.quick else 1000)
                limit = f"page of text {_get_p99(plain):.0f}, longest {max(plain):.0f}; longest here {max(frames):.0f}"
                metrics.append(
                    Metric(f"{name}: frame time, 99th percentile", _get_p99(frames), "ms", 50, 300, True, f"{limit} ms")
                )
                late = 100 * sum(frame > 100 for frame in frames) / len(frames)
                metrics.append(Metric(f"{name}: frames later than 100 ms", late, "%", 0.5, 50, lower_is_better=True))
        browser.close()
    return metrics


def _create_records(url: str, folder: Path, photos: int, jobs: int) -> str:
    """Creates a dataset of photos and many canceled jobs. Returns the dataset's id."""
    random = np.random.default_rng(0)
    archive = folder / "photos.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for number in range(photos):
            zipped.writestr(f"{number:05d}.png", encode_png(random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)))
    with Client(url) as patina:
        dataset = patina.datasets.create("bench", 4)
        dataset.upload("lr", archive)
    store = Store.open(Settings(data_dir=folder / "data"))
    with store.database.write() as session:
        repository = JobRepository(session)
        for _ in range(jobs):
            job = repository.create("sr", dataset_id=None, model_id=None, parameters={}, unit="images", total=1)
            repository.request_cancel(job.id)
    store.close()
    return dataset.id


def _load_first_view(browser: Browser, view: str) -> tuple[float, int]:
    """Returns the seconds until the content shows and the bytes received, with an empty cache."""
    with _open_page(browser) as page:
        sizes: list[int] = []
        devtools = page.context.new_cdp_session(page)
        devtools.send("Network.enable")
        devtools.on("Network.loadingFinished", lambda ended: sizes.append(int(ended["encodedDataLength"])))
        began = time.perf_counter()
        page.goto(view)
        page.locator("a.card").first.wait_for()
        seconds = time.perf_counter() - began
        page.wait_for_load_state("networkidle")
        return seconds, sum(sizes)


def _record_frames(browser: Browser, view: str, last: int | None, pixels: int) -> list[float]:
    with _open_page(browser) as page:
        page.goto(view)
        page.locator("li, p").first.wait_for()
        page.wait_for_load_state("networkidle")
        frames: list[float] = page.evaluate(SCROLL, {"pixels": pixels, "last": last})
        return frames


def _get_p99(frames: list[float]) -> float:
    return float(np.percentile(frames, 99))


@contextmanager
def _open_page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": SIZE[0], "height": SIZE[1]})
    context.set_default_timeout(TIMEOUT_MS)
    yield context.new_page()
    context.close()


if __name__ == "__main__":
    run(__doc__, measure)
