"""Fixtures: the page in a real browser, on a real service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Request, expect, sync_playwright

from tests.support import chromium
from tests.support.page_driver import DESKTOP, PageDriver
from tests.support.running_service import Service, running_service

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


expect.set_options(timeout=TIMEOUT_MS)


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
    dataset = service.create_photo_dataset()
    service.create_model(dataset)
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
