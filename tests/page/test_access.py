"""Every view for everyone: no serious finding of axe, on a desk and on a phone, light and dark; by keyboard alone."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import expect

from tests.page.conftest import PHONE, WIDE, Desk
from tests.pictures import png


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("desk", [WIDE, PHONE], indirect=True, ids=["wide", "phone"])
def test_no_view_keeps_anybody_out(
    desk: Desk, dataset: str, trained: str, tmp_path: Path, scheme: Literal["light", "dark"]
) -> None:
    (tmp_path / "clean.png").write_bytes(png(120, 160, 4))
    desk.page.emulate_media(color_scheme=scheme)
    views = [
        "datasets",
        f"datasets/{dataset}",
        "try",
        "jobs",
        f"jobs/{trained}",
        f"models/{desk.service.job(trained)['model']}",
    ]
    found = {}
    for view in views:
        page = desk.open(view)
        if view == "try":
            page.get_by_label("Choose a file").set_input_files(tmp_path / "clean.png")
            page.get_by_role("heading", name="Sample 1").wait_for()
        if view == f"jobs/{trained}":
            page.get_by_role("button", name="Patch 1", exact=True).wait_for()
        found[view] = desk.barriers()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{view} is wider than the screen"
    assert {view: barriers for view, barriers in found.items() if barriers} == {}


def test_a_dataset_is_made_with_keys_alone(desk: Desk) -> None:
    page = desk.open("datasets")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
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
