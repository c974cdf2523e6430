"""A job followed while it runs: by many, by some who are cut off, and to its early end."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, takewhile

import httpx
from PIL import Image

from tests.pictures import photos, png
from tests.sse import Told, parsed
from tests.worker.service import Service

LISTENERS = 60  # more than the API has threads


def follow(service: Service, path: str, last: str | None = None, most: int | None = None) -> list[Told]:
    """What is told, to the end or to so many events."""
    headers = {"Last-Event-ID": last} if last else {}
    with httpx.stream("GET", f"{service.http.base_url}{path}", headers=headers, timeout=60) as answer:
        return list(islice(parsed(answer.iter_lines()), most))


def until_told_of(service: Service, job_id: str) -> bool:
    """Whether those who listen to all jobs are told of this one, within a minute."""
    end = time.monotonic() + 60
    with httpx.stream("GET", f"{service.http.base_url}/jobs/events", timeout=60) as answer:
        in_time = takewhile(lambda _: time.monotonic() < end, answer.iter_lines())
        return any(told.data.get("id") == job_id for told in parsed(in_time))


def test_a_training_is_followed_ended_early_and_gone_on_with(service: Service) -> None:
    dataset = service.dataset(lr=photos(3, 48), hr=photos(3, 160, seed=10))
    job_id = service.train(dataset, max_steps=2000)
    first = follow(service, f"/jobs/{job_id}/events", most=8)
    service.until_at_work(job_id, done=1)
    assert service.http.post(f"/jobs/{job_id}/finish").status_code == 202
    rest = follow(service, f"/jobs/{job_id}/events", last=first[-1].id)

    ended = service.job(job_id)
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
    assert "model kept" in messages
    assert "job ended" in messages

    model = service.http.get(f"/models/{ended['model']}").json()
    gallery = service.http.get(model["links"]["gallery.json"]).json()
    patches = Image.open(io.BytesIO(service.http.get(model["links"]["patches.png"]).content))
    assert patches.size == (gallery["columns"] * gallery["side"], len(gallery["real"]) // 6 * gallery["side"])
    preview = service.http.get(f"/jobs/{job_id}/preview/gallery.json").json()
    assert preview["step"] <= gallery["step"] == ended["progress"]["done"]
    assert len(gallery["kernels"]) == 24

    further = service.http.post(f"/jobs/{job_id}/continue").json()
    going_on = service.until_at_work(further["id"], done=ended["progress"]["done"])
    assert going_on["id"] != job_id
    assert not service.logged(job=job_id, event="job is no longer ours"), "its worker knows by now that it has ended"
    service.http.post(f"/jobs/{further['id']}/cancel")
    service.until_finished(further["id"])
    assert any(line["step"] == ended["progress"]["done"] for line in service.logged(event="going on from a checkpoint"))


def test_many_listen_and_the_service_answers_all_the_same(service: Service, dataset: str) -> None:
    job_id = service.train(dataset, max_steps=100_000)
    with ThreadPoolExecutor(LISTENERS + 1) as pool:
        listeners = [pool.submit(follow, service, f"/jobs/{job_id}/events") for _ in range(LISTENERS)]
        everyone = pool.submit(until_told_of, service, job_id)
        try:
            service.until_at_work(job_id, done=1)
            assert service.http.get("/health").status_code == 200
            assert everyone.result()
        finally:  # or those who listen would be waited for without end
            service.http.post(f"/jobs/{job_id}/cancel")
        heard = [listener.result() for listener in listeners]
    assert all(events[-1].kind == "end" for events in heard)
    assert all([job.data["status"] for job in events if job.kind == "job"][-1] == "canceled" for events in heard)


def test_what_a_worker_says_of_an_image_is_kept(service: Service, dataset: str) -> None:
    files = {"good.png": png(40, 40), "bad.png": png(40, 40, 9)[:-200]}
    job_id = service.degrade(dataset, files)
    events = follow(service, f"/jobs/{job_id}/events")
    lines = [event.data["data"] for event in events if event.kind == "log"]
    failed = next(line for line in lines if line["message"] == "image failed")
    assert (failed["level"], failed["image"], failed["code"]) == ("warning", "bad.png", "corrupt_image")
