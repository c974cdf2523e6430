"""Jobs as they are listed, followed and steered."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from store.repositories.jobs import JobRepository
from store.store import Store
from tests.page.conftest import Desk
from tests.pictures import photos, png

JOBS = 1000


def test_a_job_appears_goes_on_is_canceled_and_taken_up_again(desk: Desk, dataset: str) -> None:
    page = desk.open("jobs")
    job_id = desk.service.degrade(dataset, photos(1, 2400), samples=600)
    row = page.locator(f'a[href="#/jobs/{job_id}"]')
    expect(row).to_contain_text(re.compile("of 600 samples · .* a second · .* left"))
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


def test_a_failed_image_is_named_and_the_log_is_there(desk: Desk, dataset: str) -> None:
    job_id = desk.service.degrade(dataset, {"good.png": png(40, 40), "bad.png": png(40, 40, 9)[:-200]})
    page = desk.open(f"jobs/{job_id}")
    expect(page.get_by_role("row", name=re.compile("bad.png .* The image is damaged"))).to_be_visible()
    expect(page.get_by_label("Log")).to_contain_text("image failed")
    expect(page.get_by_label("Log")).to_contain_text("job ended")


def test_a_thousand_jobs_are_a_list_of_which_a_screenful_is_made(desk: Desk) -> None:
    store = Store.open(desk.service.settings)
    with store.database.write() as session:
        jobs = JobRepository(session)
        for _ in range(JOBS):
            job = jobs.create("sr", dataset_id=None, model_id=None, parameters={}, unit="images", total=1)
            jobs.request_cancel(job.id)
    store.close()
    page = desk.open("jobs")
    page.get_by_label("Kind").select_option("sr")
    rows = page.locator(".virtual > li")
    last = page.locator(f'.virtual > li[aria-posinset="{JOBS}"]')
    for _ in range(400):  # each time at the end of what has come so far
        if last.count():
            break
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        page.wait_for_timeout(50)
        assert rows.count() < 60
    assert last.count()
