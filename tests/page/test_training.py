"""A training watched, ended early and judged by its report."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect

from tests.page.conftest import Desk


def test_a_training_is_watched_guessed_at_and_ended_with_its_model(desk: Desk, dataset: str) -> None:
    page = desk.open(f"datasets/{dataset}")
    page.get_by_label("Minutes").fill("0.5")  # a report looks the less the shorter the training is
    page.get_by_role("button", name="Train").click()
    job_id = desk.job_here()
    expect(page.get_by_role("img", name=re.compile("^Aiming: "))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^Kernel: .* by .* pixels"))).to_have_count(24)
    patches = page.get_by_role("button", name=re.compile("^Patch "))
    expect(patches).to_have_count(24)
    expect(page.get_by_text("real", exact=True)).to_have_count(0)
    patches.nth(2).click()
    expect(patches.nth(2)).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Show which are real").click()
    expect(page.get_by_text("real", exact=True)).to_have_count(12)
    expect(page.get_by_text(re.compile(r"\d+ of 24 patches told rightly"))).to_be_visible()
    expect(page.get_by_label("Log")).to_contain_text("job started")

    page.get_by_role("button", name="Stop and keep").click()
    page.get_by_role("link", name="Its report").wait_for()
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    expect(page.get_by_label("Log")).to_contain_text("model saved")
    assert desk.service.job(job_id)["ended_early"]
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url(lambda url: "/jobs/" in url and job_id not in url)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("h1 .pill")).to_have_text("canceled")


def test_what_happens_is_seen_where_streams_do_not_come_through(desk: Desk, dataset: str) -> None:
    desk.page.route("**/events", lambda route: route.abort())
    job_id = desk.service.train(dataset, max_steps=2)
    page = desk.open(f"jobs/{job_id}")
    expect(page.locator("h1 .pill")).to_have_text("succeeded")
    expect(page.get_by_label("Log")).to_contain_text("model saved")


def test_a_report_says_what_to_do_and_is_kept_as_one_file(desk: Desk, trained: str, tmp_path: Path) -> None:
    model = desk.service.job(trained)["model"]
    page = desk.open(f"models/{model}")
    expect(page.get_by_text(re.compile("There are only 3 clean photos to learn from.*Add some"))).to_be_visible()
    for drawing in (
        "Widths: 128 points",
        "Widths against orientation",
        "Mean transfer function",
        "Noise against brightness",
        "Noise, histogram",
        "Noise, correlation",
    ):
        expect(page.get_by_role("img", name=re.compile(f"^{drawing}"))).to_be_visible()

    with page.expect_download() as download:
        page.get_by_role("button", name="Save as HTML").click()
    kept = tmp_path / "report.html"
    download.value.save_as(kept)
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", re.sub(r"<a .*?>", "", kept.read_text()))
    alone = page.context.browser.new_page() if page.context.browser else page
    alone.route(re.compile("^http"), lambda route: route.abort())
    alone.goto(kept.as_uri())
    expect(alone.get_by_role("img", name=re.compile("^Mean transfer function"))).to_be_visible()
    widths = alone.evaluate("[...document.querySelectorAll('.kernels img')].map((image) => image.naturalWidth)")
    assert widths == [24] * 24
    alone.close()

    with page.expect_download() as download:
        page.get_by_role("button", name="Save as PNG").click()
    picture = tmp_path / "report.png"
    download.value.save_as(picture)
    with Image.open(picture) as image:
        assert image.width == 2160
        assert image.height > 1000
        colours = image.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert len(colours) > 100
