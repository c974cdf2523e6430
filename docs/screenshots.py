"""Takes the screenshots of the page for the docs, with photos from a simulated camera.

    PYTHONPATH=. python docs/screenshots.py --minutes 5

Starts a service in a temporary folder, trains on the demo's photos, and opens the page in the tests' Chromium. Writes
docs/pictures/*.png with 256 colors, to keep them small.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from patina import Client
from patina.demo.camera import Camera
from patina.demo.run import SEED, save_photos, take_photos
from patina.local.session import temporary_service
from tests.support import chromium

SIZE = {"width": 1100, "height": 760}
TIMEOUT_MS = 15 * 60_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "pictures")
    options = parser.parse_args()
    executable = chromium.find_chromium()
    if executable is None:
        raise SystemExit(chromium.NOT_FOUND)
    options.out.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        photos = take_photos(Camera(), np.random.default_rng(SEED))
        folders = save_photos(photos, Path(folder))
        clean = folders["hr"] / "cat.png"
        with temporary_service(Path(folder) / "data", embedded=True) as url, Client(url) as patina:
            dataset = patina.datasets.create("photos of an old phone", 4)
            dataset.upload("lr", folders["lr"])
            dataset.upload("hr", folders["hr"])
            browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
            page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
            page.set_default_timeout(TIMEOUT_MS)
            expect.set_options(timeout=TIMEOUT_MS)
            _take_all(page, f"{url}/#/datasets/{dataset.id}", options.minutes, clean, options.out)
            browser.close()


def _take_all(page: Page, dataset: str, minutes: float, clean: Path, out: Path) -> None:
    page.goto(dataset)
    expect(page.get_by_role("tab", name="Real photos (56)")).to_be_visible()
    page.wait_for_load_state("networkidle")
    _take_screenshot(page, out / "dataset.png")

    page.get_by_label("Minutes").fill(f"{minutes:g}")
    page.get_by_role("button", name="Train").click()
    page.get_by_role("img", name="Kernel: ").first.wait_for()
    page.wait_for_timeout(minutes * 60_000 * 0.6)
    _take_screenshot(page, out / "training.png")
    page.get_by_role("link", name="View report").click()

    page.wait_for_url("**/#/models/*")
    page.get_by_role("button", name="Save as PNG").wait_for()
    page.get_by_role("img", name="Kernel: ").first.wait_for()
    _take_screenshot(page, out / "report.png")
    page.get_by_role("link", name="Try it").first.click()
    page.locator("input[type=file]").set_input_files(clean)
    page.get_by_role("heading", name="Sample 2").wait_for()
    first = page.get_by_role("heading", name="Sample 1")
    first.evaluate("(heading) => { heading.scrollIntoView(); scrollBy(0, -90); }")
    page.wait_for_timeout(1000)
    _take_screenshot(page, out / "try.png")


def _take_screenshot(page: Page, file: Path) -> None:
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        quantized = picture.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    quantized.save(file, optimize=True)
    print(f"{file}: {file.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
