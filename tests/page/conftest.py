"""The page in a real browser, on a real service."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Request, expect, sync_playwright

from tests.page import chromium
from tests.pictures import make_photos
from tests.worker.service import Service, running_service

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 60_000
WIDE, PHONE = (1280, 860), (390, 844)


expect.set_options(timeout=PATIENCE_MS)


@dataclass
class Desk:
    """A page, and what it asked for meanwhile."""

    page: Page
    service: Service
    url: str
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, view: str) -> Page:
        self.page.goto(f"{self.url}/#/{view}")
        self.page.locator("main h1").wait_for()
        return self.page

    def job_here(self) -> str:
        """The id of the job that is shown, once it is."""
        self.page.wait_for_url("**/#/jobs/*")
        return self.page.url.rpartition("/")[2]

    def drop(self, on: Locator, *paths: Path) -> None:
        """Lets go of files or folders over a place, as a hand would."""
        on.scroll_into_view_if_needed()
        box = on.bounding_box()
        assert box
        at = {"x": box["x"] + 20, "y": box["y"] + 12}
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        devtools = self.page.context.new_cdp_session(self.page)
        for kind in ("dragEnter", "dragOver", "drop"):
            devtools.send("Input.dispatchDragEvent", {"type": kind, **at, "data": data})

    def barriers(self) -> list[str]:
        """What axe finds that would keep somebody out."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']}: {each['help']} {node['target']}"
            for each in found
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]


@pytest.fixture(scope="package")  # no longer: it keeps an event loop in this thread
def browser() -> Iterator[Browser]:
    path = chromium.find()
    if path is None:
        pytest.skip(chromium.NONE)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("page") / "data") as running:
        yield running


@pytest.fixture(scope="package")
def dataset(service: Service) -> str:
    """Photos, and a model with random weights; one that was trained has a report, too."""
    dataset = service.dataset(lr=make_photos(3, 48), hr=make_photos(3, 160, seed=10))
    service.model(dataset)
    return dataset


@pytest.fixture(scope="package")
def trained(service: Service, dataset: str) -> str:
    """The id of a training that has ended with a model."""
    return str(service.wait_until_finished(service.train(dataset, max_steps=3))["id"])


@pytest.fixture
def desk(browser: Browser, service: Service, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """Light, and wide unless the test asks for another size."""
    width, height = getattr(request, "param", WIDE)
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="light")
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    made = Desk(page, service, str(service.http.base_url).rstrip("/"))

    def note(asked: Request) -> None:
        made.asked.append(asked.url)

    page.on("request", note)
    # A request that breaks off because its view is left is no fault.
    page.on("pageerror", lambda error: made.complaints.append(str(error)) if error.name != "AbortError" else None)
    page.on("console", lambda said: made.complaints.append(said.text) if "Content Security" in said.text else None)
    yield made
    context.close()
    assert made.complaints == []
    assert [url for url in made.asked if not url.startswith((made.url, "blob:", "data:"))] == []
