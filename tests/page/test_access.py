"""Accessibility of every view: axe on desktop and phone, light and dark; keyboard only."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import expect

from tests.support.images import make_png
from tests.support.page_driver import DESKTOP, PHONE, PageDriver


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("driver", [DESKTOP, PHONE], indirect=True, ids=["desktop", "phone"])
def test_views_are_accessible(
    driver: PageDriver, dataset: str, trained: str, tmp_path: Path, scheme: Literal["light", "dark"]
) -> None:
    (tmp_path / "clean.png").write_bytes(make_png(120, 160, 4))
    driver.page.emulate_media(color_scheme=scheme)
    views = [
        "datasets",
        f"datasets/{dataset}",
        "try",
        "jobs",
        f"jobs/{trained}",
        f"models/{driver.service.get_job(trained)['model']}",
    ]
    violations = {}
    for view in views:
        page = driver.open(view)
        if view == "try":
            page.get_by_label("Choose a file").set_input_files(tmp_path / "clean.png")
            page.get_by_role("heading", name="Sample 1").wait_for()
        if view == f"jobs/{trained}":
            page.get_by_role("button", name="Patch 1", exact=True).wait_for()
        violations[view] = driver.find_accessibility_violations()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{view} is wider than the screen"
    assert {view: found for view, found in violations.items() if found} == {}


def test_create_dataset_by_keyboard(driver: PageDriver) -> None:
    page = driver.open("datasets")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    for _ in range(50):
        if page.evaluate("document.activeElement.name === 'name'"):
            break
        page.keyboard.press("Tab")
    page.keyboard.type("by keys")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="by keys")).to_be_visible()
    expect(page.locator("main")).to_be_focused()
    assert page.title() == "by keys – Patina"
