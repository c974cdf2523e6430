"""Datasets: create, upload, browse, delete."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Route, expect

from app.page.endpoints import FILES
from store.repositories.datasets import DatasetRepository, NewImage
from store.store import Store
from tests.support.images import encode_image, make_photos, make_picture, make_png, make_zip
from tests.support.page_driver import PHONE, PageDriver
from tests.support.scenes import make_scene

MAX_BYTES = 300_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A nested folder with twelve photos, a truncated one, and a hidden system file."""
    inner = tmp_path / "old phone" / "2009"
    inner.mkdir(parents=True)
    for name, data in make_photos(12, 40).items():
        (inner / name).write_bytes(data)
    (inner / "cut.png").write_bytes(make_png(40, 40, 99)[:700])
    (inner / ".DS_Store").write_bytes(b"x")
    return tmp_path / "old phone"


def test_drop_folder_creates_a_dataset(driver: PageDriver, folder: Path) -> None:
    """Rejected files are listed with the reason."""
    page = driver.open("datasets")
    driver.drop(page.locator(".drop"), folder)
    expect(page.get_by_text("13 files ready to upload.")).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("old phone")
    page.get_by_role("radio", name="×2").check()
    page.get_by_role("button", name="Create dataset").click()
    expect(page.get_by_role("heading", name="old phone", level=1)).to_be_visible()
    expect(page.get_by_text("12 photos accepted, 1 rejected.")).to_be_visible()
    expect(page.locator(".rejected")).to_contain_text("cut.png The image is damaged or cut off")
    expect(page.get_by_role("tab", name="Real photos (12)")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("png, 40 × 40$"))).to_have_count(12)
    created = driver.service.http.get(f"/datasets/{page.url.rpartition('/')[2]}").json()
    assert (created["scale"], created["images"]["lr"]) == (2, 12)
    expect(page.get_by_role("button", name="Train")).to_be_disabled()


def test_upload_survives_a_lost_connection(driver: PageDriver, tmp_path: Path) -> None:
    dataset = driver.service.create_dataset()
    page = driver.open(f"datasets/{dataset}")
    dropped: list[Route] = []

    def drop_first_requests(route: Route) -> None:
        if len(dropped) < 4:
            dropped.append(route)
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/images?role=hr", drop_first_requests)
    (tmp_path / "clean.zip").write_bytes(make_zip(make_photos(3, 160)))
    for number in range(8):
        (tmp_path / f"{number}.png").write_bytes(make_png(140, 140, number))
    zone = page.get_by_role("group", name="Drop clean photos here")
    driver.drop(zone, tmp_path / "clean.zip", *(tmp_path / f"{number}.png" for number in range(8)))
    expect(page.get_by_text("11 photos accepted.")).to_be_visible()
    assert len(dropped) == 4
    # The same file again, now chosen: it is not duplicated.
    page.get_by_label("Choose files: Drop clean photos here").set_input_files(tmp_path / "3.png")
    expect(page.get_by_text("1 photo accepted.")).to_be_visible()
    assert driver.service.http.get(f"/datasets/{dataset}").json()["images"]["hr"] == 11


def test_large_file_resumes_after_a_reload(driver: PageDriver, tmp_path: Path) -> None:
    dataset = driver.service.create_dataset()
    page = driver.open(f"datasets/{dataset}")
    archive = tmp_path / "clean.zip"
    archive.write_bytes(make_zip({f"{number}.png": make_png(1500, 1500, number) for number in range(4)}))
    assert 16 * 2**20 < archive.stat().st_size < 32 * 2**20  # two parts
    offsets: list[str | None] = []

    def drop_all_but_first(route: Route) -> None:
        if route.request.method == "PATCH":
            offsets.append(route.request.headers.get("upload-offset"))
        if offsets[1:]:
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/uploads/*", drop_all_but_first)
    chooser = page.get_by_label("Choose files: Drop clean photos here")
    chooser.set_input_files(archive)
    expect(page.get_by_text("Connection lost.")).to_be_visible()
    page.reload()
    page.unroute("**/uploads/*")
    page.on("request", lambda request: offsets.append(request.headers.get("upload-offset")))
    chooser.set_input_files(archive)
    expect(page.get_by_text("4 photos accepted.")).to_be_visible()
    assert {offset for offset in offsets if offset} == {"0", "16777216"}
    assert offsets.count("0") == 1
    assert driver.service.http.get(f"/datasets/{dataset}").json()["images"]["hr"] == 4
    (tmp_path / "film.bin").write_bytes(bytes(9 * 2**20))
    chooser.set_input_files(tmp_path / "film.bin")
    expect(page.locator(".rejected")).to_contain_text("film.bin")


def test_warnings_are_shown_and_all_frames_can_be_taken(driver: PageDriver, tmp_path: Path) -> None:
    frames = [Image.fromarray(make_picture(40, 40, seed)) for seed in range(3)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    page = driver.open(f"datasets/{driver.service.create_dataset()}")
    card = page.get_by_role("region", name="Real photos")
    chooser = page.get_by_label("Choose files: Drop real photos here")
    chooser.set_input_files(tmp_path / "moving.gif")
    expect(card.get_by_text("1 photo accepted.")).to_be_visible()
    expect(card.locator(".rejected")).to_contain_text("moving.gif The file has 3 frames")
    card.get_by_label("All frames of animations").check()
    chooser.set_input_files(tmp_path / "moving.gif")
    expect(card.get_by_text("3 photos accepted.")).to_be_visible()
    expect(card.locator(".rejected")).to_contain_text("moving.0001.png The file has 3 frames")


def test_what_is_wrong_with_photos_is_on_their_thumbnails(driver: PageDriver, tmp_path: Path) -> None:
    photos = {f"{seed}.png": make_scene(200, 200, seed) for seed in range(3)}
    for name, pixels in {**photos, "blank.png": np.full((200, 200, 3), 90, np.uint8)}.items():
        (tmp_path / name).write_bytes(encode_image(pixels))
    page = driver.open(f"datasets/{driver.service.create_dataset()}")
    page.get_by_label("Choose files: Drop real photos here").set_input_files(sorted(tmp_path.iterdir()))
    summary = page.get_by_role("region", name="Photos").get_by_role("status")
    expect(summary).to_contain_text("Real photos: 1 of one color. 1 real photo will be left out of trainings.")
    marks = page.get_by_role("img", name=re.compile("^Left out of trainings. The photo has one flat color"))
    expect(marks).to_have_count(1)
    thumbnail = page.locator(".thumb").filter(has=marks)
    expect(thumbnail.get_by_role("img", name="blank.png, 200 × 200")).to_be_visible()
    assert driver.find_accessibility_violations() == []


def test_large_file_uploads_without_local_storage(driver: PageDriver, tmp_path: Path) -> None:
    dataset = driver.service.create_dataset()
    driver.page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } })"
    )
    page = driver.open(f"datasets/{dataset}")
    archive = tmp_path / "clean.zip"
    archive.write_bytes(make_zip({f"{number}.png": make_png(1500, 1500, number) for number in range(2)}))
    assert archive.stat().st_size > 8 * 2**20
    page.get_by_label("Choose files: Drop clean photos here").set_input_files(archive)
    expect(page.get_by_text("2 photos accepted.")).to_be_visible()


# Scrolls to the end of the growing list until that item is in the document.
SCROLLED_TO = """(number) => {
    scrollTo(0, document.body.scrollHeight);
    return [...document.querySelectorAll(".virtual > li")].some((item) => item.ariaPosInSet >= number);
}"""


def test_list_of_ten_thousand_photos_is_virtual(driver: PageDriver) -> None:
    dataset = driver.service.create_dataset()
    store = Store.open(driver.service.settings)
    with store.database.write() as session:
        images = [NewImage(f"{number}.png", f"{number:064x}", 40, 40) for number in range(10_000)]
        DatasetRepository(session).add_images(dataset, "lr", images)
    store.close()
    page = driver.open(f"datasets/{dataset}")
    expect(page.get_by_role("tab", name="Real photos (10,000)")).to_be_visible()
    items = page.locator(".virtual > li")
    for number in (500, 1000, 1500):
        page.wait_for_function(SCROLLED_TO, arg=number)
        assert items.count() < 400
    assert page.locator("*").count() < 2000


FAST_SCROLL_TO_END = """() => new Promise((resolve) => {
    const step = () => {
        scrollBy(0, 3000);
        if (scrollY + innerHeight < document.body.scrollHeight - 1) requestAnimationFrame(step); else resolve();
    };
    step();
})"""


@pytest.mark.parametrize("driver", [PHONE], indirect=True)
def test_fast_scrolling_fetches_no_thumbnails(driver: PageDriver) -> None:
    dataset = driver.service.create_dataset(lr=make_photos(300, 32))
    page = driver.open(f"datasets/{dataset}")
    page.get_by_role("tab", name="Real photos (300)").scroll_into_view_if_needed()
    page.locator(".virtual img").first.wait_for()
    page.evaluate(FAST_SCROLL_TO_END)
    last = page.locator('.virtual > li[aria-posinset="300"] img')
    page.wait_for_function("(picture) => picture.naturalWidth > 0", arg=last.element_handle())
    fetched = {url for url in driver.requests if url.endswith("/thumbnail")}
    assert 30 < len(fetched) < 200


def test_delete_dataset_asks_first(driver: PageDriver) -> None:
    dataset = driver.service.create_dataset()
    page = driver.open(f"datasets/{dataset}")
    page.get_by_role("button", name="Delete").click()
    page.keyboard.press("Escape")
    assert driver.service.http.get(f"/datasets/{dataset}").status_code == 200
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url("**/#/datasets")
    assert driver.service.http.get(f"/datasets/{dataset}").status_code == 404


def test_page_is_small_and_self_contained(driver: PageDriver) -> None:
    driver.open("datasets")
    assert sum(file.stat().st_size for file in FILES.values()) < MAX_BYTES
    response = driver.service.http.get("/")
    assert "default-src 'self'" in response.headers["content-security-policy"]
    assert "<style" not in response.text
    assert "<script>" not in response.text
    assert driver.service.http.get("/page/__init__.py").status_code == 404
