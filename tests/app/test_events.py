"""The event stream and the history of a job."""

from __future__ import annotations

from typing import Any

import pytest

from store.model_files import GALLERY
from store.repositories.events import EventRepository, NewEvent
from store.repositories.jobs import JobRepository
from store.repositories.models import PreviewRepository
from tests.support.api import Api
from tests.support.sse import ParsedEvent, parse_events
from tests.support.store_factories import create_job

LINES = 7


@pytest.fixture(autouse=True)
def _no_last_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker runs that could still write log lines."""
    monkeypatch.setattr("app.jobs.events.LAST_LINES_SECONDS", 0.01)


@pytest.fixture
def ended(api: Api) -> str:
    """A canceled job with seven log lines."""
    with api.store.database.write() as session:
        job = create_job(session, "train", dataset_id=api.create_dataset(), total=4)
    with api.store.database.write() as session:
        lines = [NewEvent("log", {"level": "info", "message": f"line {n}"}) for n in range(LINES)]
        EventRepository(session).add(job.id, lines[:3])
        EventRepository(session).add(job.id, lines[3:])
        JobRepository(session).request_cancel(job.id)
    return job.id


def read_events(api: Api, job_id: str, last: str | None = None) -> list[ParsedEvent]:
    headers = [(b"Last-Event-ID", last.encode("latin-1"))] if last else []
    response = api.http.get(f"/jobs/{job_id}/events", headers=headers)
    assert response.headers["content-type"].startswith("text/event-stream")
    return list(parse_events(response.text.splitlines()))


def test_events_come_in_order_and_end_with_the_job(api: Api, ended: str) -> None:
    events = read_events(api, ended)
    assert [event.kind for event in events] == ["log"] * LINES + ["job", "end"]
    assert [event.data["data"]["message"] for event in events[:LINES]] == [f"line {n}" for n in range(LINES)]
    assert [event.id for event in events[:LINES]] == [str(n) for n in range(1, LINES + 1)]
    assert events[LINES].data == api.http.get(f"/jobs/{ended}").json()


def test_a_stream_resumes_after_the_last_event_id(api: Api, ended: str) -> None:
    assert [event.data["data"]["message"] for event in read_events(api, ended, last="5")[:2]] == ["line 5", "line 6"]
    last = read_events(api, ended)[-1].id
    assert api.http.get(f"/jobs/{ended}/events", headers={"Last-Event-ID": last}).status_code == 204
    for last in ("nonsense", "9" * 25, "9" * 5000, "-1", "\u00b2"):
        assert read_events(api, ended, last=last)[0].id == "1", last


def test_history_pages_equal_the_stream(api: Api, ended: str) -> None:
    seen: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = api.http.get(f"/jobs/{ended}/history", params={"limit": 3, **({"cursor": cursor} if cursor else {})})
        seen += page.json()["items"]
        cursor = page.json()["next"]
        if cursor is None:
            break
    assert [item["number"] for item in seen] == list(range(1, LINES + 1))
    assert [item["data"] for item in seen] == [event.data["data"] for event in read_events(api, ended)[:LINES]]
    for cursor in ("x", "9" * 25, "-1"):
        response = api.http.get(f"/jobs/{ended}/history", params={"cursor": cursor})
        assert (response.status_code, response.json()["code"]) == (422, "bad_cursor"), cursor


@pytest.mark.parametrize("path", ["events", "history", "preview/gallery.json"])
def test_events_of_an_unknown_job_answer_404(api: Api, path: str) -> None:
    assert api.http.get(f"/jobs/nothing/{path}").json()["code"] == "job_not_found"


def test_finish_and_continue_need_a_fitting_training(api: Api, ended: str) -> None:
    assert api.http.post(f"/jobs/{ended}/finish").json()["code"] == "training_not_running"
    assert api.http.post(f"/jobs/{ended}/continue").json()["code"] == "not_ended_early"
    assert api.http.get(f"/jobs/{ended}/preview/gallery.json").json()["code"] == "no_preview"


def test_a_corrupt_preview_is_not_served(api: Api, ended: str) -> None:
    sha256 = api.store.blobs.put(b"{}")
    with api.store.database.write() as session:
        PreviewRepository(session).put(ended, step=1, files={GALLERY: sha256})
    path = f"/jobs/{ended}/preview/{GALLERY}"
    assert api.http.get(path).content == b"{}"
    api.store.blobs.path(sha256).write_bytes(b"[]")
    assert api.http.get(path).json()["code"] == "blob_corrupt"
