"""The view that degrades or super-resolves one image."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pillow_heif
from playwright.sync_api import Page, expect

from tests.support.images import make_png
from tests.support.page_driver import PageDriver

PIXELS = "(name) => document.querySelector(`.pane[aria-label^=${name}] canvas`).toDataURL()"
CHANGED = f"([name, before]) => ({PIXELS})(name) !== before"


def read_pixels(page: Page, pane: str) -> str:
    """Returns the content of the first pane with that name, as a data URL."""
    return str(page.evaluate(PIXELS, pane))


def test_degrade_a_clean_image(driver: PageDriver, dataset: str, tmp_path: Path) -> None:
    (tmp_path / "clean.png").write_bytes(make_png(120, 160, 4))
    page = driver.open("try")
    driver.drop(page.locator(".drop"), tmp_path / "clean.png")
    expect(page.get_by_role("heading", name="Sample 2")).to_be_visible()
    for pane in ("Clean, 160 × 120", "Degraded, 40 × 30", re.compile(r"Kernel, (21 × 21|24 × 24) taps"), "Noise, "):
        expect(page.get_by_role("img", name=pane).first).to_be_visible()
    before = read_pixels(page, "Degraded")
    page.get_by_role("button", name="New seed").click()
    page.wait_for_function(CHANGED, arg=["Degraded", before])
    # Zooming one pane by key zooms the others, but not the kernel's.
    clean, kernel = read_pixels(page, "Clean"), read_pixels(page, "Kernel")
    page.get_by_role("img", name="Noise, ").last.press("+")
    page.wait_for_function(CHANGED, arg=["Clean", clean])
    assert read_pixels(page, "Kernel") == kernel


def test_super_resolve_a_photo(driver: PageDriver, dataset: str, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(make_png(40, 50, 4))
    page = driver.open("try?task=sr")
    page.get_by_label("Choose a file").set_input_files(tmp_path / "photo.png")
    expect(page.get_by_role("heading", name="50 × 40 → 200 × 160")).to_be_visible()
    divider = page.get_by_role("slider")
    divider.focus()
    for _ in range(20):
        divider.press("ArrowRight")
    assert page.locator(".slider .handle").evaluate("(handle) => handle.style.left") == "60%"
    assert "60%" in page.locator(".slider canvas").nth(1).evaluate("(canvas) => canvas.style.clipPath")


def test_a_photo_that_no_browser_shows_has_a_result(driver: PageDriver, dataset: str, tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 40 * 50 * 3).astype(np.uint16)
    pillow_heif.from_bytes("RGB;16", (50, 40), deep.tobytes()).save(tmp_path / "photo.heic", quality=90)
    page = driver.open("try?task=sr")
    page.get_by_label("Choose a file").set_input_files(tmp_path / "photo.heic")
    expect(page.get_by_role("img", name="Super-resolved, 200 × 160")).to_be_visible()
    expect(page.get_by_text("The image has 10 bits per channel; 0 to 1023 became 0 to 255.")).to_be_visible()


def test_arrow_keys_select_tabs(driver: PageDriver, dataset: str) -> None:
    page = driver.open("try")
    degrade, sr = page.get_by_role("tab").all()
    degrade.focus()
    for key, selected in (("ArrowRight", sr), ("ArrowRight", degrade), ("ArrowLeft", sr), ("Home", degrade)):
        page.keyboard.press(key)
        expect(selected).to_be_focused()
        expect(selected).to_have_attribute("aria-selected", "true")
        expect(page.get_by_text("Drop a real, low-resolution photo here")).to_be_visible(visible=selected is sr)
    page.keyboard.press("Tab")
    expect(sr).not_to_be_focused()


def test_file_that_is_no_image_is_rejected(driver: PageDriver, dataset: str, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_bytes(b"hello there")
    page = driver.open("try")
    driver.drop(page.locator(".drop"), tmp_path / "notes.png")
    expect(page.get_by_role("alert")).to_contain_text("The file is not a PNG, JPEG, WebP")
