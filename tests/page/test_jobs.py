"""Jobs: list, follow, cancel, retry."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from store.repositories.jobs import JobRepository
from store.store import Store
from tests.support.images import make_photos, make_png
from tests.support.page_driver import PageDriver
from tests.support.store_factories import create_job

JOBS = 1000


def test_follow_cancel_and_retry_a_job(driver: PageDriver, dataset: str) -> None:
    page = driver.open("jobs")
    job_id = driver.service.degrade(dataset, make_photos(8, 1500), samples=1000)
    row = page.locator(f'a[href="#/jobs/{job_id}"]')
    expect(row).to_contain_text(re.compile("of 8,000 samples · .* per second · .* left"))
    row.click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("h1 .pill")).to_have_text("canceled")
    expect(page.get_by_role("cell", name="0.png").first).to_be_visible()
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("h1 .pill")).to_have_text("running")
    page.get_by_role("button", name="Cancel").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download .zip").click()
    assert download.value.suggested_filename == f"{job_id}.zip"


def test_failed_image_and_log_are_shown(driver: PageDriver, dataset: str) -> None:
    job_id = driver.service.degrade(dataset, {"good.png": make_png(40, 40), "bad.png": make_png(40, 40, 9)[:-200]})
    page = driver.open(f"jobs/{job_id}")
    expect(page.get_by_role("row", name=re.compile("bad.png .* The image is damaged"))).to_be_visible()
    expect(page.get_by_label("Log")).to_contain_text("image failed")
    expect(page.get_by_label("Log")).to_contain_text("job ended")


def test_list_of_a_thousand_jobs_is_virtual(driver: PageDriver) -> None:
    store = Store.open(driver.service.settings)
    with store.database.write() as session:
        for _ in range(JOBS):
            JobRepository(session).request_cancel(create_job(session, "sr").id)
    store.close()
    page = driver.open("jobs")
    page.get_by_label("Kind").select_option("sr")
    rows = page.locator(".virtual > li")
    last = page.locator(f'.virtual > li[aria-posinset="{JOBS}"]')
    for _ in range(400):  # scroll to the end of the loaded part
        if last.count():
            break
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        page.wait_for_timeout(50)
        assert rows.count() < 60
    assert last.count()
