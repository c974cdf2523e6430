"""What is too much, and what no database would take: refused with a code, and with nothing left behind."""

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

from app.http import body_limit as bodies
from config.settings import Settings
from store.repositories.jobs import JobRepository
from store.store import Store
from tests.app.conftest import Api, as_parts, serving
from tests.pictures import make_png, make_zip
from tests.wait_until import wait_until

PHOTO = make_png(40, 40)
AT_ONCE = 8


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
    with serving(settings) as api:
        yield api


def pieces(data: bytes) -> Iterator[bytes]:
    """A body whose length is not announced."""
    for start in range(0, len(data), 100):
        yield data[start : start + 100]


@pytest.mark.parametrize("announced", [True, False])
def test_json_that_is_too_large(limited: Api, announced: bool) -> None:
    data = b'{"scale": 4, "name": "' + b"n" * 600 + b'"}'
    answer = limited.http.post(
        "/datasets", content=data if announced else pieces(data), headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert "PATINA_MAX_JSON_BYTES" in answer.json()["detail"]


@pytest.mark.parametrize("announced", [True, False])
def test_an_upload_that_is_too_large(limited: Api, announced: bool) -> None:
    dataset = limited.dataset()
    before = limited.traces()
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.zip"\r\n\r\n'
    data = part + make_zip({"a.png": PHOTO}) + bytes(300_000) + b"\r\n--x--\r\n"
    answer = limited.http.post(
        f"/datasets/{dataset}/images?role=lr",
        content=data if announced else pieces(data),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "upload_too_large")
    assert limited.traces() == before


def test_a_file_that_is_too_large_fails_alone_and_an_archive_may_be_larger(limited: Api) -> None:
    dataset = limited.dataset()
    large = PHOTO + bytes(60_001 - len(PHOTO))
    archive = make_zip({"b.png": PHOTO, "notes.txt": bytes(60_000)})
    answer = limited.upload(dataset, "lr", a_png=large, b_zip=archive, c_png=make_png(40, 40, 1))
    assert answer.status_code == 200, answer.text
    assert [image["name"] for image in answer.json()["accepted"]] == ["b.zip/b.png", "c.png"]
    assert {file["name"]: file["code"] for file in answer.json()["rejected"]} == {
        "a.png": "file_too_large",
        "b.zip/notes.txt": "not_an_image",
    }


def test_too_many_files_and_fields(limited: Api) -> None:
    dataset = limited.dataset()
    limited.model(dataset)
    before = limited.traces()
    six = {f"{name}_png": PHOTO for name in "abcdef"}
    hidden = {"a_zip": make_zip({f"{n}.png": PHOTO for n in range(4)}), "b_png": PHOTO}
    for files in (six, hidden):
        answer = limited.upload(dataset, "lr", **files)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_many_files")
    fields = {f"field{n}": "x" for n in range(101)}
    refused = limited.http.post("/sr", files=as_parts({"a_png": PHOTO}), data=fields)
    assert (refused.status_code, refused.json()["code"]) == (413, "too_many_fields")
    assert limited.traces() == before


def test_more_squares_than_a_job_may_have_are_counted_and_not_made(limited: Api) -> None:
    dataset = limited.dataset()
    limited.model(dataset)
    limited.upload(dataset, "hr", a_png=make_png(128, 128))
    before = limited.traces()
    for fields in ({"crop": "32", "crop_step": "1"}, {"crop": "64", "crop_step": "32"}):
        for files, source in ((as_parts({"b_png": make_png(129, 128, 1)}), {}), ([], {"source": dataset})):
            answer = limited.http.post(f"/datasets/{dataset}/degrade", data=fields | source, files=files)
            assert (answer.status_code, answer.json()["code"]) == (422, "too_many_items"), answer.text
            assert "PATINA_MAX_ITEMS" in answer.json()["detail"]
    assert limited.traces() == before
    whole = limited.http.post(f"/datasets/{dataset}/degrade", data={"source": dataset, "crop": "64"})
    assert whole.json()["progress"]["total"] == 4


def test_a_full_queue_takes_no_further_job_until_one_is_done(limited: Api) -> None:
    dataset = limited.dataset()
    limited.model(dataset)
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
    assert first().json()["id"] == job.json()["id"]  # it takes no further place
    before = limited.traces()
    for call in calls.values():
        answer = call()
        assert (answer.status_code, answer.json()["code"]) == (429, "queue_full")
        assert int(answer.headers["retry-after"]) > 0
    assert limited.traces() == before
    limited.http.post(f"/jobs/{job.json()['id']}/cancel")
    assert calls["train"]().status_code == 202
    assert limited.http.post(f"/jobs/{job.json()['id']}/retry").json()["code"] == "queue_full"


@pytest.mark.parametrize("with_files", [True, False])
def test_a_form_s_field_that_is_too_large(limited: Api, with_files: bool) -> None:
    parts = as_parts({"a_png": PHOTO}) if with_files else None  # multipart, or else urlencoded
    answer = limited.http.post("/sr", files=parts, data={"dataset": "d" * (64 * 1024 + 1)})
    assert (answer.status_code, answer.json()["code"]) == (413, "field_too_large")


def test_full_storage_refuses_uploads_until_something_is_deleted(limited: Api) -> None:
    dataset = limited.dataset()
    sent = (limited.upload(dataset, "lr", a_png=make_png(128, 128, number)) for number in range(50))
    answers = list(takewhile(lambda answer: answer.status_code == 200, sent))
    assert len(answers) >= 2
    refused = limited.upload(dataset, "lr", a_png=make_png(128, 128, 99))
    assert (refused.status_code, refused.json()["code"]) == (413, "storage_full")
    packed = limited.upload(dataset, "lr", a_zip=make_zip({"a.png": bytes(100_000)}))
    assert packed.json()["code"] == "storage_full"
    store: Store = limited.store
    store.blobs.delete_older(list(store.blobs.older_than(-60)), -60)
    assert wait_until(lambda: limited.upload(dataset, "lr", a_png=make_png(128, 128, 99)).is_success)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("announced", [False, True])
def test_uploads_at_once_do_not_each_get_all_that_is_left(limited: Api, packed: bool, announced: bool) -> None:
    dataset = limited.dataset()
    several = threading.Barrier(AT_ONCE)

    def upload(number: int) -> Any:
        photo = make_png(128, 128, number)
        file = make_zip({"a.png": photo}) if packed else photo
        head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        data = head + file + b"\r\n--x--\r\n"
        several.wait()
        return limited.http.post(
            f"/datasets/{dataset}/images?role=lr",
            content=data if announced else pieces(data),
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(upload, range(AT_ONCE)))
    assert {answer.status_code for answer in answers} <= {200, 413}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 413} == {"storage_full"}
    blobs = limited.store.blobs
    assert sum(blobs.size(sha256) for sha256 in blobs.older_than(-60)) <= (limited.settings.max_storage_bytes or 0)
    blobs.delete_older(list(blobs.older_than(-60)), -60)
    three = {f"{name}_png": make_png(128, 128, seed) for seed, name in enumerate("abc", 50)}
    assert wait_until(lambda: limited.upload(dataset, "lr", **three).is_success), "what was refused keeps no room"


def test_a_disk_with_little_left_takes_nothing(tmp_path: Path, redis_url: str) -> None:
    with serving(Settings(data_dir=tmp_path, redis_url=redis_url, min_free_bytes=2**60)) as api:
        answer = api.upload(api.dataset(), "lr", a_png=PHOTO)
        assert (answer.status_code, answer.json()["code"]) == (413, "storage_full")


async def until_silence(app: ASGIApp, path: str, body: bytes, seconds: float, **headers: str) -> tuple[int, bytes]:
    """The answer to a client that announces more than it sends, and hangs up after so many seconds."""
    sent = list[Message]()
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": bool(headers)}]

    async def receive() -> Message:
        if waiting:
            return waiting.pop()
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


def test_a_client_that_falls_silent_holds_nothing(limited: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "READ_TIMEOUT_SECONDS", 0.1)
    dataset = limited.dataset()
    before, left = limited.traces(), limited.store.room.left()
    form = {"content_type": "multipart/form-data; boundary=x", "content_length": "140000"}
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n' + PHOTO
    json = {"content_type": "application/json", "content_length": "20"}
    for path, body, headers in ((f"/datasets/{dataset}/images?role=lr", part, form), ("/datasets", b"{", json)):
        status, said = anyio.run(partial(until_silence, limited.http.app, path, body, 30, **headers))
        assert (status, b'"read_timeout"' in said) == (408, True), said
    assert limited.traces() == before
    assert limited.store.room.left() >= left, "what it announced is others' again"


def test_a_client_that_listens_is_not_taken_for_a_silent_one(limited: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "READ_TIMEOUT_SECONDS", 0.1)
    with limited.store.database.write() as session:
        job = JobRepository(session).create(
            "train", dataset_id=limited.dataset(), model_id=None, parameters={}, unit="steps", total=1
        )
    status, said = anyio.run(until_silence, limited.http.app, f"/jobs/{job.id}/events", b"", 0.5)
    assert (status, said.count(b"event: job")) == (200, 1)


STRANGE = ["%00", "a%00b", "%ED%A0%80", "x" * 65, "%F0%9F%98%80", "a%20b", "'%3B--"]


@pytest.mark.parametrize("text", STRANGE)
def test_ids_that_no_record_can_have(api: Api, text: str) -> None:
    for path in ("datasets/{}", "datasets/{}/images", "jobs/{}", "jobs/{}/results", "models/{}", "models/{}/report"):
        assert api.http.get("/" + path.format(text)).status_code == 422
    for query in ("jobs?dataset={}", "jobs?cursor={}", "datasets?cursor={}", "models?cursor={}"):
        assert api.http.get("/" + query.format(text)).status_code == 422
    answer = api.http.post(f"/datasets/{api.dataset()}/degrade", data={"source": "a\0b", "model": "\0"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_numbers_that_no_record_can_have(api: Api) -> None:
    for number in (2**31, 10**30, -1):
        assert api.http.get(f"/jobs/nowhere/results/{number}/0/lr").status_code == 422
    for cursor in (f"{10**20}.0", "0.9999999999", "².1", "٣.١"):
        answer = api.http.get("/jobs/nowhere/results", params={"cursor": cursor})
        assert answer.status_code == 422, cursor


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
def test_json_that_no_database_would_take(api: Api, body: bytes) -> None:
    answer = api.http.post("/datasets", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["code"] in ("not_json", "invalid_request", "bad_request")


def test_a_preference_that_cannot_be_read_is_none(api: Api) -> None:
    dataset = api.dataset()
    api.model(dataset)
    for prefer in (b"wait=\xb2", b"wait=-1", b"wait=", b"=;=,,wait"):
        answer = api.http.post(
            "/sr", files=as_parts({"a_png": PHOTO}), data={"dataset": dataset}, headers=[(b"Prefer", prefer)]
        )
        assert answer.status_code == 202, prefer
