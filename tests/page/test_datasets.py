"""Datasets made and filled by dropping files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from app.page.endpoints import FILES
from store.repositories.datasets import DatasetRepository, NewImage
from store.store import Store
from tests.page.conftest import PHONE, Desk
from tests.pictures import photos, png, zipped

MOST_BYTES = 300_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve photos in a folder within a folder, one that is cut off, and what a system left there."""
    inner = tmp_path / "old phone" / "2009"
    inner.mkdir(parents=True)
    for name, data in photos(12, 40).items():
        (inner / name).write_bytes(data)
    (inner / "cut.png").write_bytes(png(40, 40, 99)[:700])
    (inner / ".DS_Store").write_bytes(b"x")
    return tmp_path / "old phone"


def test_a_dropped_folder_becomes_a_dataset_and_what_is_refused_is_named(desk: Desk, folder: Path) -> None:
    page = desk.open("datasets")
    desk.drop(page.locator(".drop"), folder)
    expect(page.get_by_text("13 files ready to be sent.")).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("old phone")
    page.get_by_role("radio", name="×2").check()
    page.get_by_role("button", name="Make the dataset").click()
    expect(page.get_by_role("heading", name="old phone", level=1)).to_be_visible()
    expect(page.get_by_text("12 photos taken, 1 refused.")).to_be_visible()
    expect(page.locator(".refused")).to_contain_text("cut.png The image is damaged or cut off")
    expect(page.get_by_role("tab", name="Real photos (12)")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("png, 40 × 40$"))).to_have_count(12)
    made = desk.service.http.get(f"/datasets/{page.url.rpartition('/')[2]}").json()
    assert (made["scale"], made["images"]["lr"]) == (2, 12)
    expect(page.get_by_role("button", name="Train")).to_be_disabled()


def test_an_upload_survives_a_lost_connection(desk: Desk, tmp_path: Path) -> None:
    dataset = desk.service.dataset()
    page = desk.open(f"datasets/{dataset}")
    lost: list[Route] = []

    def lose_the_first(route: Route) -> None:
        if len(lost) < 4:
            lost.append(route)
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/images?role=hr", lose_the_first)
    (tmp_path / "clean.zip").write_bytes(zipped(photos(3, 160)))
    for number in range(8):
        (tmp_path / f"{number}.png").write_bytes(png(140, 140, number))
    place = page.get_by_role("group", name="Drop clean photos here")
    desk.drop(place, tmp_path / "clean.zip", *(tmp_path / f"{number}.png" for number in range(8)))
    expect(page.get_by_text("11 photos taken.")).to_be_visible()
    assert len(lost) == 4
    # The same again, chosen and not dropped: nothing is doubled.
    page.get_by_label("Choose files: Drop clean photos here").set_input_files(tmp_path / "3.png")
    expect(page.get_by_text("1 photo taken.")).to_be_visible()
    assert desk.service.http.get(f"/datasets/{dataset}").json()["images"]["hr"] == 11


def test_a_large_file_goes_on_where_its_upload_broke_off_even_on_another_day(desk: Desk, tmp_path: Path) -> None:
    dataset = desk.service.dataset()
    page = desk.open(f"datasets/{dataset}")
    archive = tmp_path / "clean.zip"
    archive.write_bytes(zipped({f"{number}.png": png(1500, 1500, number) for number in range(4)}))
    assert 16 * 2**20 < archive.stat().st_size < 32 * 2**20  # two parts
    offsets: list[str | None] = []

    def lose_all_but_the_first(route: Route) -> None:
        if route.request.method == "PATCH":
            offsets.append(route.request.headers.get("upload-offset"))
        if offsets[1:]:
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/uploads/*", lose_all_but_the_first)
    choose = page.get_by_label("Choose files: Drop clean photos here")
    choose.set_input_files(archive)
    expect(page.get_by_text("The connection was lost.")).to_be_visible()
    page.reload()
    page.unroute("**/uploads/*")
    page.on("request", lambda asked: offsets.append(asked.headers.get("upload-offset")))
    choose.set_input_files(archive)
    expect(page.get_by_text("4 photos taken.")).to_be_visible()
    assert {offset for offset in offsets if offset} == {"0", "16777216"}
    assert offsets.count("0") == 1
    assert desk.service.http.get(f"/datasets/{dataset}").json()["images"]["hr"] == 4
    (tmp_path / "film.bin").write_bytes(bytes(9 * 2**20))
    choose.set_input_files(tmp_path / "film.bin")
    expect(page.locator(".refused")).to_contain_text("film.bin")


def test_a_large_file_is_sent_where_the_browser_keeps_nothing(desk: Desk, tmp_path: Path) -> None:
    dataset = desk.service.dataset()
    desk.page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } })"
    )
    page = desk.open(f"datasets/{dataset}")
    archive = tmp_path / "clean.zip"
    archive.write_bytes(zipped({f"{number}.png": png(1500, 1500, number) for number in range(2)}))
    assert archive.stat().st_size > 8 * 2**20
    page.get_by_label("Choose files: Drop clean photos here").set_input_files(archive)
    expect(page.get_by_text("2 photos taken.")).to_be_visible()


# To the end, again and again, for the list grows, until the photo of that number or a later one is made.
SCROLLED_TO = """(number) => {
    scrollTo(0, document.body.scrollHeight);
    return [...document.querySelectorAll(".virtual > li")].some((each) => each.ariaPosInSet >= number);
}"""


def test_ten_thousand_photos_are_a_list_of_which_a_screenful_is_made(desk: Desk) -> None:
    dataset = desk.service.dataset()
    store = Store.open(desk.service.settings)
    with store.database.write() as session:
        images = [NewImage(f"{number}.png", f"{number:064x}", 40, 40) for number in range(10_000)]
        DatasetRepository(session).add_images(dataset, "lr", images)
    store.close()
    page = desk.open(f"datasets/{dataset}")
    expect(page.get_by_role("tab", name="Real photos (10,000)")).to_be_visible()
    items = page.locator(".virtual > li")
    for number in (500, 1000, 1500):
        page.wait_for_function(SCROLLED_TO, arg=number)
        assert items.count() < 400
    assert page.locator("*").count() < 2000


FLUNG_TO_THE_END = """() => new Promise((resolve) => {
    const step = () => {
        scrollBy(0, 3000);
        if (scrollY + innerHeight < document.body.scrollHeight - 1) requestAnimationFrame(step); else resolve();
    };
    step();
})"""


@pytest.mark.parametrize("desk", [PHONE], indirect=True)
def test_photos_that_only_fly_past_are_not_fetched(desk: Desk) -> None:
    dataset = desk.service.dataset(lr=photos(300, 32))
    page = desk.open(f"datasets/{dataset}")
    page.locator(".virtual img").first.wait_for()
    page.evaluate(FLUNG_TO_THE_END)
    last = page.locator('.virtual > li[aria-posinset="300"] img')
    page.wait_for_function("(picture) => picture.naturalWidth > 0", arg=last.element_handle())
    fetched = {url for url in desk.asked if url.endswith("/thumbnail")}
    assert 30 < len(fetched) < 200


def test_a_dataset_is_deleted_only_after_a_question(desk: Desk) -> None:
    dataset = desk.service.dataset()
    page = desk.open(f"datasets/{dataset}")
    page.get_by_role("button", name="Delete").click()
    page.keyboard.press("Escape")
    assert desk.service.http.get(f"/datasets/{dataset}").status_code == 200
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    page.wait_for_url("**/#/datasets")
    assert desk.service.http.get(f"/datasets/{dataset}").status_code == 404


def test_the_page_is_light_and_needs_nobody_else(desk: Desk) -> None:
    desk.open("datasets")
    assert sum(file.stat().st_size for file in FILES.values()) < MOST_BYTES
    answer = desk.service.http.get("/")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "<style" not in answer.text
    assert "<script>" not in answer.text
    assert desk.service.http.get("/page/__init__.py").status_code == 404
