"""Trainings and reports: watch, finish early, continue, save."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect

from tests.support.page_driver import PageDriver


def test_watch_finish_and_continue_a_training(driver: PageDriver, dataset: str) -> None:
    page = driver.open(f"datasets/{dataset}")
    page.get_by_label("Minutes").fill("0.5")  # a short training also has a quick report
    page.get_by_role("button", name="Train").click()
    job_id = driver.wait_for_job_id()
    expect(page.get_by_role("img", name=re.compile("^Estimate fitting: "))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^Kernel: .* by .* pixels"))).to_have_count(24)
    patches = page.get_by_role("button", name=re.compile("^Patch "))
    expect(patches).to_have_count(24)
    expect(page.get_by_text("real", exact=True)).to_have_count(0)
    patches.nth(2).click()
    expect(patches.nth(2)).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Show which are real").click()
    expect(page.get_by_text("real", exact=True)).to_have_count(12)
    expect(page.get_by_text(re.compile(r"\d+ of 24 patches correct"))).to_be_visible()
    expect(page.get_by_label("Log")).to_contain_text("job started")

    page.get_by_role("button", name="Finish now").click()
    page.get_by_role("link", name="View report").wait_for()
    expect(page.get_by_role("button", name="Continue training")).to_be_visible()
    expect(page.get_by_label("Log")).to_contain_text("model saved")
    assert driver.service.get_job(job_id)["ended_early"]
    page.get_by_role("button", name="Continue training").click()
    page.wait_for_url(lambda url: "/jobs/" in url and job_id not in url)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("h1 .pill")).to_have_text("canceled")


def test_job_is_polled_without_event_streams(driver: PageDriver, dataset: str) -> None:
    driver.page.route("**/events", lambda route: route.abort())
    job_id = driver.service.train(dataset, max_steps=2)
    page = driver.open(f"jobs/{job_id}")
    expect(page.locator("h1 .pill")).to_have_text("succeeded")
    expect(page.get_by_label("Log")).to_contain_text("model saved")


def test_report_is_shown_and_saved(driver: PageDriver, trained: str, tmp_path: Path) -> None:
    model = driver.service.get_job(trained)["model"]
    page = driver.open(f"models/{model}")
    expect(page.get_by_text(re.compile("There are only [23] clean photos to learn from.*Add some"))).to_be_visible()
    for chart in (
        "Kernel sigmas: 128 points",
        "Kernel sigma and orientation",
        "Mean transfer function",
        "Noise and brightness",
        "Noise histogram",
        "Noise autocorrelation",
    ):
        expect(page.get_by_role("img", name=re.compile(f"^{chart}"))).to_be_visible()

    with page.expect_download() as download:
        page.get_by_role("button", name="Save as HTML").click()
    saved = tmp_path / "report.html"
    download.value.save_as(saved)
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", re.sub(r"<a .*?>", "", saved.read_text()))
    offline = page.context.browser.new_page() if page.context.browser else page
    offline.route(re.compile("^http"), lambda route: route.abort())
    offline.goto(saved.as_uri())
    expect(offline.get_by_role("img", name=re.compile("^Mean transfer function"))).to_be_visible()
    widths = offline.evaluate("[...document.querySelectorAll('.kernels img')].map((image) => image.naturalWidth)")
    assert widths == [24] * 24
    offline.close()

    with page.expect_download() as download:
        page.get_by_role("button", name="Save as PNG").click()
    picture = tmp_path / "report.png"
    download.value.save_as(picture)
    with Image.open(picture) as image:
        assert image.width == 2160
        assert image.height > 1000
        colors = image.convert("RGB").getcolors(1 << 24)
    assert colors is not None
    assert len(colors) > 100
