"""Server-sent events of running jobs: many listeners, interrupted listeners, and an early finish."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, takewhile

import httpx
from PIL import Image

from tests.support.images import make_png
from tests.support.running_service import Service
from tests.support.sse import ParsedEvent, parse_events

NUM_LISTENERS = 60  # more than the API has threads


def follow(service: Service, path: str, last: str | None = None, limit: int | None = None) -> list[ParsedEvent]:
    """Returns the events up to the end of the stream or the limit."""
    headers = {"Last-Event-ID": last} if last else {}
    with httpx.stream("GET", f"{service.http.base_url}{path}", headers=headers, timeout=60) as answer:
        return list(islice(parse_events(answer.iter_lines()), limit))


def wait_for_event_of(service: Service, job_id: str) -> bool:
    """Returns whether the stream of all jobs has an event of this job within a minute."""
    deadline = time.monotonic() + 60
    with httpx.stream("GET", f"{service.http.base_url}/jobs/events", timeout=60) as answer:
        in_time = takewhile(lambda _: time.monotonic() < deadline, answer.iter_lines())
        return any(event.data.get("id") == job_id for event in parse_events(in_time))


def test_a_training_is_followed_finished_early_and_continued(service: Service) -> None:
    dataset = service.create_photo_dataset()
    job_id = service.train(dataset, max_steps=2000)
    first = follow(service, f"/jobs/{job_id}/events", limit=8)
    service.wait_until_running(job_id, done=1)
    assert service.http.post(f"/jobs/{job_id}/finish").status_code == 202
    rest = follow(service, f"/jobs/{job_id}/events", last=first[-1].id)

    ended = service.get_job(job_id)
    assert ended["status"] == "succeeded"
    assert 1 <= ended["progress"]["done"] < 2000
    assert rest[-1].kind == "end"
    assert rest[-2].kind == "job" or rest[-2].kind == "log"
    numbered = [event for event in first + rest if event.kind not in ("job", "end")]
    history = service.http.get(f"/jobs/{job_id}/history").json()["items"]
    assert [int(event.id) for event in numbered] == [item["number"] for item in history]
    assert [item["number"] for item in history] == list(range(1, len(history) + 1))
    assert {"log", "metrics", "preview"} == {item["kind"] for item in history}
    messages = [item["data"]["message"] for item in history if item["kind"] == "log"]
    assert messages[0] == "job started"
    assert "model saved" in messages
    assert "job ended" in messages

    model = service.http.get(f"/models/{ended['model']}").json()
    gallery = service.http.get(model["links"]["gallery.json"]).json()
    patches = Image.open(io.BytesIO(service.http.get(model["links"]["patches.png"]).content))
    assert patches.size == (gallery["columns"] * gallery["side"], len(gallery["real"]) // 6 * gallery["side"])
    preview = service.http.get(f"/jobs/{job_id}/preview/gallery.json").json()
    assert preview["step"] <= gallery["step"] == ended["progress"]["done"]
    assert len(gallery["kernels"]) == 24

    further = service.http.post(f"/jobs/{job_id}/continue").json()
    continued = service.wait_until_running(further["id"], done=ended["progress"]["done"])
    assert continued["id"] != job_id
    assert not service.find_logs(job=job_id, event="lease lost"), "its worker knows by now that it ended"
    service.http.post(f"/jobs/{further['id']}/cancel")
    service.wait_until_finished(further["id"])
    assert any(
        line["step"] == ended["progress"]["done"] for line in service.find_logs(event="resuming from checkpoint")
    )


def test_many_listeners_do_not_block_the_api(service: Service, dataset: str) -> None:
    job_id = service.train(dataset, max_steps=100_000)
    with ThreadPoolExecutor(NUM_LISTENERS + 1) as pool:
        listeners = [pool.submit(follow, service, f"/jobs/{job_id}/events") for _ in range(NUM_LISTENERS)]
        all_jobs = pool.submit(wait_for_event_of, service, job_id)
        try:
            service.wait_until_running(job_id, done=1)
            assert service.http.get("/health").status_code == 200
            assert all_jobs.result()
        finally:  # otherwise the listeners would never end
            service.http.post(f"/jobs/{job_id}/cancel")
        streams = [listener.result() for listener in listeners]
    assert all(events[-1].kind == "end" for events in streams)
    assert all([job.data["status"] for job in events if job.kind == "job"][-1] == "canceled" for events in streams)


def test_a_log_line_about_an_image_becomes_an_event(service: Service, dataset: str) -> None:
    files = {"good.png": make_png(40, 40), "bad.png": make_png(40, 40, 9)[:-200]}
    job_id = service.degrade(dataset, files)
    events = follow(service, f"/jobs/{job_id}/events")
    lines = [event.data["data"] for event in events if event.kind == "log"]
    failed = next(line for line in lines if line["message"] == "image failed")
    assert (failed["level"], failed["image"], failed["code"]) == ("warning", "bad.png", "corrupt_image")
