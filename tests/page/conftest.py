"""Fixtures: the page in a real browser, on a real service."""

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
TIMEOUT_MS = 60_000
DESKTOP, PHONE = (1280, 860), (390, 844)


expect.set_options(timeout=TIMEOUT_MS)


@dataclass
class PageDriver:
    """A browser page with the URLs that it requested and the errors that it raised."""

    page: Page
    service: Service
    url: str
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, view: str) -> Page:
        self.page.goto(f"{self.url}/#/{view}")
        self.page.locator("main h1").wait_for()
        return self.page

    def wait_for_job_id(self) -> str:
        """Waits until a job is shown and returns its id."""
        self.page.wait_for_url("**/#/jobs/*")
        return self.page.url.rpartition("/")[2]

    def drop(self, target: Locator, *paths: Path) -> None:
        """Drops files or folders onto an element, as a mouse does."""
        target.scroll_into_view_if_needed()
        box = target.bounding_box()
        assert box
        position = {"x": box["x"] + 20, "y": box["y"] + 12}
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        devtools = self.page.context.new_cdp_session(self.page)
        for kind in ("dragEnter", "dragOver", "drop"):
            devtools.send("Input.dispatchDragEvent", {"type": kind, **position, "data": data})

    def find_accessibility_violations(self) -> list[str]:
        """Returns axe's serious and critical findings."""
        violations = Axe().run(self.page).response["violations"]
        return [
            f"{violation['id']}: {violation['help']} {node['target']}"
            for violation in violations
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        ]


@pytest.fixture(scope="package")  # not the session: it keeps an event loop in this thread
def browser() -> Iterator[Browser]:
    path = chromium.find_chromium()
    if path is None:
        pytest.skip(chromium.NOT_FOUND)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("page") / "data") as service:
        yield service


@pytest.fixture(scope="package")
def dataset(service: Service) -> str:
    """A dataset with photos and a model of random weights. Only a trained model has a report."""
    dataset = service.dataset(lr=make_photos(3, 48), hr=make_photos(3, 160, seed=10))
    service.model(dataset)
    return dataset


@pytest.fixture(scope="package")
def trained(service: Service, dataset: str) -> str:
    """The id of a training that succeeded."""
    return str(service.wait_until_finished(service.train(dataset, max_steps=3))["id"])


@pytest.fixture
def driver(browser: Browser, service: Service, request: pytest.FixtureRequest) -> Iterator[PageDriver]:
    """A light page, of desktop size unless the test asks for another. It must raise no error and stay on its host."""
    width, height = getattr(request, "param", DESKTOP)
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="light")
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    driver = PageDriver(page, service, str(service.http.base_url).rstrip("/"))

    def record(sent: Request) -> None:
        driver.requests.append(sent.url)

    page.on("request", record)
    # A view that is left aborts its requests; that is no error.
    page.on("pageerror", lambda error: driver.errors.append(str(error)) if error.name != "AbortError" else None)
    page.on("console", lambda line: driver.errors.append(line.text) if "Content Security" in line.text else None)
    yield driver
    context.close()
    assert driver.errors == []
    assert [url for url in driver.requests if not url.startswith((driver.url, "blob:", "data:"))] == []
