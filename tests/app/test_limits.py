"""Requests beyond the limits, or with values no database can store, are rejected with a code and without a trace."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import sleep
from starlette.types import ASGIApp, Message

from app.http import body_limit
from config.settings import Settings
from store.repositories.jobs import JobRepository
from store.store import Store
from tests.support.api import Api, as_parts, serve_api
from tests.support.images import make_png, make_zip
from tests.support.wait_until import wait_until

PHOTO = make_png(40, 40)
CONCURRENCY = 8


@pytest.fixture
def limited(tmp_path: Path, redis_url: str) -> Iterator[Api]:
    settings = Settings(
        data_dir=tmp_path,
        redis_url=redis_url,
        max_json_bytes=500,
        max_file_bytes=60_000,
        max_upload_bytes=150_000,
        max_files=5,
        max_queued_jobs=1,
        max_storage_bytes=200_000,
        max_items=8,
    )
    with serve_api(settings) as api:
        yield api


def chunks(data: bytes) -> Iterator[bytes]:
    """A chunked body, without Content-Length."""
    for start in range(0, len(data), 100):
        yield data[start : start + 100]


@pytest.mark.parametrize("has_length", [True, False])
def test_json_that_is_too_large_is_rejected(limited: Api, has_length: bool) -> None:
    data = b'{"scale": 4, "name": "' + b"n" * 600 + b'"}'
    response = limited.http.post(
        "/datasets", content=data if has_length else chunks(data), headers={"Content-Type": "application/json"}
    )
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
    assert "PATINA_MAX_JSON_BYTES" in response.json()["detail"]


@pytest.mark.parametrize("has_length", [True, False])
def test_an_upload_that_is_too_large_is_rejected(limited: Api, has_length: bool) -> None:
    dataset = limited.create_dataset()
    before = limited.find_traces()
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.zip"\r\n\r\n'
    data = part + make_zip({"a.png": PHOTO}) + bytes(300_000) + b"\r\n--x--\r\n"
    response = limited.http.post(
        f"/datasets/{dataset}/images?role=lr",
        content=data if has_length else chunks(data),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert (response.status_code, response.json()["code"]) == (413, "upload_too_large")
    assert limited.find_traces() == before


def test_one_large_file_fails_alone_and_archives_may_be_larger(limited: Api) -> None:
    dataset = limited.create_dataset()
    large = PHOTO + bytes(60_001 - len(PHOTO))
    archive = make_zip({"b.png": PHOTO, "notes.txt": bytes(60_000)})
    response = limited.upload(dataset, "lr", a_png=large, b_zip=archive, c_png=make_png(40, 40, 1))
    assert response.status_code == 200, response.text
    assert [image["name"] for image in response.json()["accepted"]] == ["b.zip/b.png", "c.png"]
    assert {file["name"]: file["code"] for file in response.json()["rejected"]} == {
        "a.png": "file_too_large",
        "b.zip/notes.txt": "not_an_image",
    }


def test_too_many_files_or_fields_are_rejected(limited: Api) -> None:
    dataset = limited.create_dataset()
    limited.create_model(dataset)
    before = limited.find_traces()
    six = {f"{name}_png": PHOTO for name in "abcdef"}
    hidden = {"a_zip": make_zip({f"{n}.png": PHOTO for n in range(4)}), "b_png": PHOTO}
    for files in (six, hidden):
        response = limited.upload(dataset, "lr", **files)
        assert (response.status_code, response.json()["code"]) == (413, "too_many_files")
    fields = {f"field{n}": "x" for n in range(101)}
    rejected = limited.http.post("/sr", files=as_parts({"a_png": PHOTO}), data=fields)
    assert (rejected.status_code, rejected.json()["code"]) == (413, "too_many_fields")
    assert limited.find_traces() == before


def test_too_many_crops_are_rejected_before_they_are_made(limited: Api) -> None:
    dataset = limited.create_dataset()
    limited.create_model(dataset)
    limited.upload(dataset, "hr", a_png=make_png(128, 128))
    before = limited.find_traces()
    for fields in ({"crop": "32", "crop_step": "1"}, {"crop": "64", "crop_step": "32"}):
        for files, source in ((as_parts({"b_png": make_png(129, 128, 1)}), {}), ([], {"source": dataset})):
            response = limited.http.post(f"/datasets/{dataset}/degrade", data=fields | source, files=files)
            assert (response.status_code, response.json()["code"]) == (422, "too_many_items"), response.text
            assert "PATINA_MAX_ITEMS" in response.json()["detail"]
    assert limited.find_traces() == before
    whole = limited.http.post(f"/datasets/{dataset}/degrade", data={"source": dataset, "crop": "64"})
    assert whole.json()["progress"]["total"] == 4


def test_a_full_queue_rejects_jobs_until_one_ends(limited: Api) -> None:
    dataset = limited.create_dataset()
    limited.create_model(dataset)
    limited.upload(dataset, "lr", a_png=PHOTO)
    limited.upload(dataset, "hr", a_png=make_png(128, 128))
    parts = as_parts({"a_png": PHOTO})

    def first() -> Any:
        return limited.http.post(f"/datasets/{dataset}/degrade", files=parts, headers={"Idempotency-Key": "first"})

    calls: dict[str, Callable[[], Any]] = {
        "degrade": lambda: limited.http.post(f"/datasets/{dataset}/degrade", files=parts),
        "sr": lambda: limited.http.post("/sr", files=parts, data={"dataset": dataset}),
        "train": lambda: limited.http.post(f"/datasets/{dataset}/train", json={}),
    }
    job = first()
    assert job.status_code == 202, job.text
    assert first().json()["id"] == job.json()["id"]  # a replay takes no further place
    before = limited.find_traces()
    for call in calls.values():
        response = call()
        assert (response.status_code, response.json()["code"]) == (429, "queue_full")
        assert int(response.headers["retry-after"]) > 0
    assert limited.find_traces() == before
    limited.http.post(f"/jobs/{job.json()['id']}/cancel")
    assert calls["train"]().status_code == 202
    assert limited.http.post(f"/jobs/{job.json()['id']}/retry").json()["code"] == "queue_full"


@pytest.mark.parametrize("with_files", [True, False])
def test_a_form_field_that_is_too_large_is_rejected(limited: Api, with_files: bool) -> None:
    parts = as_parts({"a_png": PHOTO}) if with_files else None  # multipart, or else urlencoded
    response = limited.http.post("/sr", files=parts, data={"dataset": "d" * (64 * 1024 + 1)})
    assert (response.status_code, response.json()["code"]) == (413, "field_too_large")


def test_full_storage_rejects_uploads_until_space_is_freed(limited: Api) -> None:
    dataset = limited.create_dataset()
    uploads = (limited.upload(dataset, "lr", a_png=make_png(128, 128, number)) for number in range(50))
    responses = list(takewhile(lambda response: response.status_code == 200, uploads))
    assert len(responses) >= 2
    rejected = limited.upload(dataset, "lr", a_png=make_png(128, 128, 99))
    assert (rejected.status_code, rejected.json()["code"]) == (413, "storage_full")
    assert "PATINA_MAX_STORAGE_BYTES" in rejected.json()["detail"]
    packed = limited.upload(dataset, "lr", a_zip=make_zip({"a.png": bytes(100_000)}))
    assert packed.json()["code"] == "storage_full"
    store: Store = limited.store
    store.blobs.delete_older(list(store.blobs.iter_older_than(-60)), -60)
    assert wait_until(lambda: limited.upload(dataset, "lr", a_png=make_png(128, 128, 99)).is_success)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("has_length", [False, True])
def test_concurrent_uploads_share_the_free_storage(limited: Api, packed: bool, has_length: bool) -> None:
    dataset = limited.create_dataset()
    barrier = threading.Barrier(CONCURRENCY)

    def upload(number: int) -> Any:
        photo = make_png(128, 128, number)
        file = make_zip({"a.png": photo}) if packed else photo
        head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        data = head + file + b"\r\n--x--\r\n"
        barrier.wait()
        return limited.http.post(
            f"/datasets/{dataset}/images?role=lr",
            content=data if has_length else chunks(data),
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )

    with ThreadPoolExecutor(CONCURRENCY) as pool:
        responses = list(pool.map(upload, range(CONCURRENCY)))
    assert {response.status_code for response in responses} <= {200, 413}
    assert {response.json()["code"] for response in responses if response.status_code == 413} == {"storage_full"}
    blobs = limited.store.blobs
    assert sum(blobs.size(sha256) for sha256 in blobs.iter_older_than(-60)) <= (limited.settings.max_storage_bytes or 0)
    blobs.delete_older(list(blobs.iter_older_than(-60)), -60)
    three = {f"{name}_png": make_png(128, 128, seed) for seed, name in enumerate("abc", 50)}
    assert wait_until(lambda: limited.upload(dataset, "lr", **three).is_success), (
        "rejected uploads release their storage"
    )


def test_a_nearly_full_disk_accepts_nothing(tmp_path: Path, redis_url: str) -> None:
    with serve_api(Settings(data_dir=tmp_path, redis_url=redis_url, min_free_bytes=2**60)) as api:
        response = api.upload(api.create_dataset(), "lr", a_png=PHOTO)
        assert (response.status_code, response.json()["code"]) == (413, "storage_full")
        assert "PATINA_MIN_FREE_BYTES" in response.json()["detail"]


async def send_incomplete(app: ASGIApp, path: str, body: bytes, seconds: float, **headers: str) -> tuple[int, bytes]:
    """Returns the response to a client that announces more than it sends and disconnects after `seconds`."""
    sent = list[Message]()
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": bool(headers)}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await sleep(seconds)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    names = {"host": "127.0.0.1", **headers}
    route, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": "POST" if headers else "GET",
        "path": route,
        "query_string": query.encode(),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in names.items()],
    }
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def test_a_silent_client_times_out_and_frees_its_storage(limited: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limit, "READ_TIMEOUT_SECONDS", 0.1)
    dataset = limited.create_dataset()
    before, available = limited.find_traces(), limited.store.quota.available()
    form = {"content_type": "multipart/form-data; boundary=x", "content_length": "140000"}
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n' + PHOTO
    json = {"content_type": "application/json", "content_length": "20"}
    for path, body, headers in ((f"/datasets/{dataset}/images?role=lr", part, form), ("/datasets", b"{", json)):
        status, content = anyio.run(partial(send_incomplete, limited.http.app, path, body, 30, **headers))
        assert (status, b'"read_timeout"' in content) == (408, True), content
    assert limited.find_traces() == before
    assert limited.store.quota.available() >= available, "its reserved storage is released"


def test_an_event_stream_does_not_time_out(limited: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limit, "READ_TIMEOUT_SECONDS", 0.1)
    with limited.store.database.write() as session:
        job = JobRepository(session).create(
            "train", dataset_id=limited.create_dataset(), model_id=None, parameters={}, unit="steps", total=1
        )
    status, content = anyio.run(send_incomplete, limited.http.app, f"/jobs/{job.id}/events", b"", 0.5)
    assert (status, content.count(b"event: job")) == (200, 1)


INVALID_IDS = ["%00", "a%00b", "%ED%A0%80", "x" * 65, "%F0%9F%98%80", "a%20b", "'%3B--"]


@pytest.mark.parametrize("text", INVALID_IDS)
def test_ids_that_no_record_can_have_are_rejected(api: Api, text: str) -> None:
    for path in ("datasets/{}", "datasets/{}/images", "jobs/{}", "jobs/{}/results", "models/{}", "models/{}/report"):
        assert api.http.get("/" + path.format(text)).status_code == 422
    for query in ("jobs?dataset={}", "jobs?cursor={}", "datasets?cursor={}", "models?cursor={}"):
        assert api.http.get("/" + query.format(text)).status_code == 422
    response = api.http.post(f"/datasets/{api.create_dataset()}/degrade", data={"source": "a\0b", "model": "\0"})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


def test_numbers_that_no_record_can_have_are_rejected(api: Api) -> None:
    for number in (2**31, 10**30, -1):
        assert api.http.get(f"/jobs/nowhere/results/{number}/0/lr").status_code == 422
    for cursor in (f"{10**20}.0", "0.9999999999", "².1", "٣.١"):
        response = api.http.get("/jobs/nowhere/results", params={"cursor": cursor})
        assert response.status_code == 422, cursor


@pytest.mark.parametrize(
    "body",
    [
        rb'{"name": "a\u0000b", "scale": 4}',
        rb'{"name": "\ud800", "scale": 4}',
        rb'{"name": "a", "scale": 4, "\udfff": 1}',
        b'{"name": "a", "scale": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"name": "\xff", "scale": 4}',
        b'{"name": "a", "scale": NaN}',
    ],
)
def test_json_that_no_database_can_store_is_rejected(api: Api, body: bytes) -> None:
    response = api.http.post("/datasets", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422), response.text
    assert response.json()["code"] in ("not_json", "invalid_request", "bad_request")


def test_an_invalid_preference_is_ignored(api: Api) -> None:
    dataset = api.create_dataset()
    api.create_model(dataset)
    for prefer in (b"wait=\xb2", b"wait=-1", b"wait=", b"=;=,,wait"):
        response = api.http.post(
            "/sr", files=as_parts({"a_png": PHOTO}), data={"dataset": dataset}, headers=[(b"Prefer", prefer)]
        )
        assert response.status_code == 202, prefer
