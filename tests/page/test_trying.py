"""Degrading and super-resolving in the page."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.page.conftest import Desk
from tests.pictures import png

PIXELS = "(name) => document.querySelector(`.pane[aria-label^=${name}] canvas`).toDataURL()"
CHANGED = f"([name, before]) => ({PIXELS})(name) !== before"


def pixels(page: Page, pane: str) -> str:
    """What the first pane of that name shows now."""
    return str(page.evaluate(PIXELS, pane))


def test_a_clean_image_is_degraded_and_seen_with_kernel_and_noise(desk: Desk, dataset: str, tmp_path: Path) -> None:
    (tmp_path / "clean.png").write_bytes(png(120, 160, 4))
    page = desk.open("try")
    desk.drop(page.locator(".drop"), tmp_path / "clean.png")
    expect(page.get_by_role("heading", name="Sample 2")).to_be_visible()
    for pane in ("Clean, 160 × 120", "Degraded, 40 × 30", re.compile(r"Kernel, (21 × 21|24 × 24) taps"), "Noise, "):
        expect(page.get_by_role("img", name=pane).first).to_be_visible()
    before = pixels(page, "Degraded")
    page.get_by_role("button", name="New seed").click()
    page.wait_for_function(CHANGED, arg=["Degraded", before])
    # Zoom by key in one pane moves those beside it; a kernel has no place in the image.
    clean, kernel = pixels(page, "Clean"), pixels(page, "Kernel")
    page.get_by_role("img", name="Noise, ").last.press("+")
    page.wait_for_function(CHANGED, arg=["Clean", clean])
    assert pixels(page, "Kernel") == kernel


def test_a_photo_is_super_resolved_and_compared(desk: Desk, dataset: str, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png(40, 50, 4))
    page = desk.open("try?task=sr")
    page.get_by_label("Choose a file").set_input_files(tmp_path / "photo.png")
    expect(page.get_by_role("heading", name="50 × 40 → 200 × 160")).to_be_visible()
    border = page.get_by_role("slider")
    border.focus()
    for _ in range(20):
        border.press("ArrowRight")
    assert page.locator(".slider .handle").evaluate("(handle) => handle.style.left") == "60%"
    assert "60%" in page.locator(".slider canvas").nth(1).evaluate("(canvas) => canvas.style.clipPath")


def test_tabs_are_chosen_by_arrows_and_are_one_stop_of_the_tab_key(desk: Desk, dataset: str) -> None:
    page = desk.open("try")
    degrade, restore = page.get_by_role("tab").all()
    degrade.focus()
    for key, chosen in (("ArrowRight", restore), ("ArrowRight", degrade), ("ArrowLeft", restore), ("Home", degrade)):
        page.keyboard.press(key)
        expect(chosen).to_be_focused()
        expect(chosen).to_have_attribute("aria-selected", "true")
        expect(page.get_by_text("Drop a real, low-resolution photo here")).to_be_visible(visible=chosen is restore)
    page.keyboard.press("Tab")
    expect(restore).not_to_be_focused()


def test_a_file_that_is_no_image_is_refused_in_words(desk: Desk, dataset: str, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_bytes(b"hello there")
    page = desk.open("try")
    desk.drop(page.locator(".drop"), tmp_path / "notes.png")
    expect(page.get_by_role("alert")).to_contain_text("The file is not a PNG, JPEG, WebP, TIFF or BMP image")
