"""Resumable uploads with an independent tus client, over broken connections, to processes that are killed."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import anyio
import httpx
import pytest
from fastapi import Request
from sqlalchemy import update
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError, TusUploadFailed

from app.datasets.schemas import Role
from app.ingest.multipart import BATCH_BYTES
from app.uploads import receive, service
from config.settings import Settings
from patina import AsyncClient, Client
from patina.schemas import Upload as UploadResult
from store.db.tables import Upload
from store.repositories.uploads import DatasetTarget
from store.store import Store
from tests.support.api import Api, AuthApi, serve_api
from tests.support.images import make_png, make_tar, make_zip
from tests.support.proxy import find_free_port
from tests.support.wait_until import wait_until
from worker.maintenance.expire_uploads import ExpireUploads

TUS = {"Tus-Resumable": "1.0.0"}
START_SECONDS = 60


@dataclass
class ApiProcess:
    """`python -m app`, which can be killed and restarted at the same address."""

    environment: dict[str, str]
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        return Path(self.environment["PATINA_DATA_DIR"])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-P", "-m", "app"], env=self.environment)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                httpx.get(f"{self.url}/health")
            except httpx.HTTPError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError("the API did not start")

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def dataset(self) -> str:
        return str(httpx.post(f"{self.url}/datasets", json={"name": "photos", "scale": 4}).json()["id"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, valkey_url: str) -> Iterator[ApiProcess]:
    port = find_free_port()
    folder = tmp_path_factory.mktemp("running")
    ours = {
        "PATINA_DATA_DIR": str(folder),
        "PATINA_REDIS_URL": valkey_url,
        "PATINA_PORT": str(port),
        "PATINA_LEASE_SECONDS": "1",  # that the upload of a killed API stays locked
    }
    api = ApiProcess({name: value for name, value in os.environ.items() if not name.startswith("PATINA_")} | ours, port)
    api.start()
    yield api
    api.kill()


def sender(creation: str | None, data: bytes, name: str = "photos.zip", **how: Any) -> Any:
    client = TusClient(creation or "")
    return client.uploader(file_stream=io.BytesIO(data), metadata={"filename": name}, retry_delay=0, **how)


def large_archive(count: int = 2, filler: int = 20_000_000) -> bytes:
    """An archive with `count` images and `filler` other bytes."""
    return make_zip({f"{n}.png": make_png(40, 40, n) for n in range(count)} | {"notes.bin": os.urandom(filler)})


@contextmanager
def breaking_connection(port: int, after: int) -> Iterator[int]:
    """A port that forwards to `port`. The first two connections with more than `after` bytes break there."""
    breaks_left = 2

    def pump(source: socket.socket, target: socket.socket, may_break: bool) -> None:
        nonlocal breaks_left
        num_bytes = 0
        try:
            while data := source.recv(65536):
                num_bytes += len(data)
                if may_break and breaks_left and num_bytes > after:
                    breaks_left -= 1
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # close alone does not wake the other thread's read
            end.close()

    def serve() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", port))
            for source, target, may_break in ((client, server, True), (server, client, False)):
                threading.Thread(target=pump, args=(source, target, may_break), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
    assert breaks_left == 0, "no connection broke"


def test_an_upload_survives_broken_connections(running: ApiProcess) -> None:
    data = large_archive()
    with breaking_connection(running.port, after=7_000_000) as port:
        upload = sender(f"http://127.0.0.1:{port}/datasets/{running.dataset()}/uploads?role=lr", data, retries=5)
        upload.upload()
    upload_read = httpx.get(f"{running.url}/uploads/{upload.url.rpartition('/')[2]}").json()
    assert upload_read["status"] == "accepted"
    assert upload_read["received"] == upload_read["length"] == len(data)
    assert [image["name"] for image in upload_read["result"]["accepted"]] == ["photos.zip/0.png", "photos.zip/1.png"]
    assert [file["code"] for file in upload_read["result"]["rejected"]] == ["not_an_image"]
    assert upload_read["problem"] is None


@pytest.mark.parametrize("awaited", [False, True])
def test_our_client_resumes_after_a_broken_connection(
    running: ApiProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, awaited: bool
) -> None:
    monkeypatch.setattr("patina.client.photo_files.MAX_BATCH_BYTES", 10_000_000)
    monkeypatch.setattr("patina.client.http.RETRY_DELAYS", (0, 0, 0))
    (tmp_path / "photos.zip").write_bytes(large_archive())
    (tmp_path / "nothing.zip").write_bytes(large_archive(count=0))
    dataset = running.dataset()

    async def send(url: str, name: str) -> UploadResult:
        async with AsyncClient(url) as patina:
            return await (await patina.datasets.get(dataset)).upload("lr", tmp_path / name)

    def send_sync(url: str, name: str) -> UploadResult:
        if awaited:
            return anyio.run(send, url, name)
        with Client(url) as patina:
            return patina.datasets.get(dataset).upload("lr", tmp_path / name)

    with breaking_connection(running.port, after=7_000_000) as port:
        response = send_sync(f"http://127.0.0.1:{port}", "photos.zip")
    assert [image.name for image in response.accepted] == ["photos.zip/0.png", "photos.zip/1.png"]
    assert [file.code for file in response.rejected] == ["not_an_image"]
    response = send_sync(running.url, "nothing.zip")
    assert (response.accepted, [file.code for file in response.rejected]) == ([], ["not_an_image"])


def test_an_upload_resumes_after_the_api_was_killed(running: ApiProcess) -> None:
    data, dataset = large_archive(), running.dataset()
    url = f"{running.url}/datasets/{dataset}/uploads?role=lr"
    created = httpx.post(url, headers=TUS | {"Upload-Length": str(len(data))})
    at = running.url + created.headers["location"]
    with socket.create_connection(("127.0.0.1", running.port)) as connection:
        head = (
            f"PATCH {created.headers['location']} HTTP/1.1\r\nHost: 127.0.0.1\r\nTus-Resumable: 1.0.0\r\n"
            f"Upload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        connection.sendall(head.encode() + data[:15_000_000])
        deadline = time.monotonic() + START_SECONDS
        while (received := httpx.get(at).json()["received"]) == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        busy = httpx.patch(
            at, headers=TUS | {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}, content=b"x"
        )
        assert (busy.status_code, busy.json()["code"]) == (423, "upload_busy")
        running.kill()
    file = running.folder / "uploads" / at.rpartition("/")[2]
    with file.open("ab") as opened:  # bytes that were not counted may be anything
        opened.write(b"not what was sent")
    running.start()
    upload = sender(None, data, url=at)
    assert upload.offset >= received > 5_000_000
    upload.upload()
    assert len(httpx.get(at).json()["result"]["accepted"]) == 2
    assert not file.exists()


def test_a_write_during_shutdown_is_stored_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(BATCH_BYTES)
    upload = service.create(api.store, api.settings, DatasetTarget(api.create_dataset(), Role.lr), 2 * BATCH_BYTES, "")

    class Sending:
        async def stream(self) -> AsyncIterator[bytes]:
            yield data
            await asyncio.sleep(60)

    async def cancel_during_write() -> None:
        part = receive._Part(api.store, api.settings, upload)
        write = part.file.write

        def write_slowly(data: bytes) -> None:
            time.sleep(0.5)
            write(data)

        monkeypatch.setattr(part.file, "write", write_slowly)
        sending = asyncio.create_task(receive._write(cast(Request, Sending()), part))
        await asyncio.sleep(0.2)
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending

    with service.lock_upload(api.store, upload.id):
        asyncio.run(cancel_during_write())
    assert (api.settings.data_dir / "uploads" / upload.id).read_bytes() == data
    assert service.get_offset(api.store, service.get(api.store, upload.id)) == BATCH_BYTES


def test_a_complete_upload_is_ingested_after_a_crash(running: ApiProcess) -> None:
    """The process was killed between the last byte and the record of the images."""
    data, url = make_png(40, 40), f"{running.url}/datasets/{running.dataset()}/uploads?role=lr"
    upload = sender(url, data, "a.png")
    upload.upload(stop_at=len(data) - 1)
    running.kill()
    store = Store.open(Settings(data_dir=running.folder, redis_url=running.environment["PATINA_REDIS_URL"]))
    with store.partial_uploads.open(upload.url.rpartition("/")[2], len(data) - 1) as opened:
        opened.write(data[-1:])
    with store.database.write() as session:
        session.get_one(Upload, upload.url.rpartition("/")[2]).received = len(data)
    store.close()
    running.start()
    again = sender(None, data, url=upload.url)
    assert again.offset == len(data) - 1
    again.upload()
    (image,) = httpx.get(upload.url).json()["result"]["accepted"]
    assert image["name"] == "a.png"
    assert list((running.folder / "uploads").iterdir()) == []


def test_a_real_client_gets_the_reason(running: ApiProcess) -> None:
    url = f"{running.url}/datasets/{running.dataset()}/uploads?role=lr"
    with pytest.raises(TusUploadFailed) as rejected:
        sender(url, b"hello there", "a.png", chunk_size=5).upload()
    assert b"not_an_image" in rejected.value.response_content
    with pytest.raises(TusCommunicationError) as unknown:
        sender(f"{running.url}/datasets/nowhere/uploads?role=lr", b"hello").upload()
    assert unknown.value.status_code == 404


# The following tests need no process of their own.


def begin(api: Api, dataset: str, data: bytes, name: str = "a.png", role: str = "lr") -> Any:
    headers_sent = {
        "Upload-Length": str(len(data)),
        "Upload-Metadata": f"filename {base64.b64encode(name.encode()).decode()}",
    }
    return api.http.post(f"/datasets/{dataset}/uploads", params={"role": role}, headers=TUS | headers_sent)


def send(api: Api, at: str, data: bytes, start: int = 0, kind: str = "application/offset+octet-stream") -> Any:
    return api.http.patch(at, content=data, headers=TUS | {"Upload-Offset": str(start), "Content-Type": kind})


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("a.png", make_png(64, 64)[:-300], "corrupt_image"),
        ("a.png", b"hello there", "not_an_image"),
        ("a.png", make_png(31, 64), "image_too_small"),
        ("a.zip", make_zip({"../../x.png": make_png(64, 64)}), "unsafe_path"),
        ("a.zip", make_zip({f"{n}.txt": b"x" for n in range(3)}), "not_an_image"),
        ("a.tar", make_tar({"a.png": make_png(300, 300)})[:5000], "corrupt_archive"),
        ("a.png", b"", "empty_file"),
        ("a.png", make_png(40, 40) + bytes(10_000_000), "file_too_large"),
    ],
)
def test_rejections_equal_those_of_a_single_request(api: Api, name: str, data: bytes, code: str) -> None:
    dataset = api.create_dataset()
    before = api.find_traces()
    single = api.http.post(f"/datasets/{dataset}/images?role=lr", files=[("files", (name, data))])
    assert single.json()["code"] == code
    created = begin(api, dataset, data, name)
    response = created
    if data:
        assert created.status_code == 201, created.text
        response = send(api, created.headers["location"], data)
        assert api.http.get(created.headers["location"]).json()["problem"] == single.json()
        again = send(api, created.headers["location"], b"", len(data))
        assert again.json() == single.json()
    assert response.status_code == 422
    assert response.json() == single.json()
    assert response.headers["tus-resumable"] == "1.0.0"
    assert api.find_traces() == before
    assert api.store.partial_uploads.list_ids() == set()


def test_a_file_too_large_for_an_image_is_rejected_early(
    api: Api,
) -> None:
    dataset = api.create_dataset()
    photo, archive = (data + bytes(10_000_000) for data in (make_png(64, 64), make_zip({"a.png": make_png(64, 64)})))
    at = begin(api, dataset, photo).headers["location"]
    assert send(api, at, photo[:300]).status_code == 204
    rejected = send(api, at, photo[300:600], 300)
    assert (rejected.status_code, rejected.json()["code"]) == (422, "file_too_large")
    assert api.http.get(at).json()["status"] == "rejected"
    assert api.store.partial_uploads.list_ids() == set()
    at = begin(api, dataset, archive, "a.zip").headers["location"]
    assert send(api, at, archive[:300]).status_code == send(api, at, archive[300:600], 300).status_code == 204


def test_the_same_image_uploaded_twice_is_one(api: Api) -> None:
    dataset, data = api.create_dataset(), make_png(64, 48)
    (known,) = api.upload(dataset, "lr", a_png=data).json()["accepted"]
    at = begin(api, dataset, data).headers["location"]
    first = send(api, at, data[:100])
    assert (first.status_code, first.headers["upload-offset"]) == (204, "100")
    head = api.http.head(at, headers=TUS)
    assert (head.headers["upload-offset"], head.headers["upload-length"]) == ("100", str(len(data)))
    assert head.headers["upload-metadata"] == "filename YS5wbmc="
    assert head.headers["cache-control"] == "no-store"
    assert api.http.get(at).json()["status"] == "receiving"
    last = send(api, at, data[100:], 100)
    assert (last.status_code, last.headers["upload-offset"]) == (204, str(len(data)))
    assert "GMT" in last.headers["upload-expires"]
    assert api.http.get(at).json()["result"] == {"accepted": [known], "rejected": [], "warnings": []}
    assert api.http.get(f"/datasets/{dataset}").json()["images"] == {"lr": 1, "hr": 0}
    assert send(api, at, b"", len(data)).status_code == 204, "the first response may have been lost"


def test_the_tus_protocol(api: Api) -> None:
    dataset, data = api.create_dataset(), make_png(64, 64)
    capabilities = api.http.options(f"/datasets/{dataset}/uploads")
    assert capabilities.status_code == 204
    assert capabilities.headers["tus-version"] == "1.0.0"
    assert capabilities.headers["tus-extension"] == "creation,expiration,termination"
    assert int(capabilities.headers["tus-max-size"]) == api.settings.max_upload_bytes
    at = begin(api, dataset, data).headers["location"]

    def problem(response: Any) -> tuple[int, str]:
        assert response.headers["tus-resumable"] == "1.0.0"
        return response.status_code, response.json()["code"]

    no_length = api.http.post(f"/datasets/{dataset}/uploads?role=lr", headers=TUS)
    assert (no_length.status_code, no_length.headers["tus-resumable"]) == (422, "1.0.0")
    other = api.http.patch(at, headers={"Tus-Resumable": "0.2.2"})
    assert problem(other) == (412, "unsupported_tus_version")
    assert other.headers["tus-version"] == "1.0.0"
    assert problem(send(api, at, data, 7)) == (409, "offset_mismatch")
    assert problem(send(api, at, data, kind="image/png")) == (415, "not_a_part")
    assert problem(send(api, at, data + b"more")) == (413, "length_exceeded")
    assert problem(send(api, "/uploads/nowhere", data)) == (404, "upload_not_found")
    assert problem(begin(api, "nowhere", data)) == (404, "dataset_not_found")
    assert problem(
        api.http.post(
            f"/datasets/{dataset}/uploads?role=lr",
            headers=TUS | {"Upload-Length": "7", "Upload-Metadata": "filename a.png"},
        )
    ) == (400, "bad_metadata")
    as_post = TUS | {"X-HTTP-Method-Override": "PATCH", "Content-Type": "application/offset+octet-stream"}
    head = api.http.head(at, headers=TUS).headers["upload-offset"]
    part = data[int(head) : int(head) + 7]
    assert api.http.post(at, content=part, headers=as_post | {"Upload-Offset": head}).status_code == 204
    assert problem(api.http.post(at, content=part, headers=as_post)) == (409, "offset_mismatch")
    assert api.http.post(at, headers=TUS).json()["code"] == "invalid_request"
    assert api.http.post(at, headers=TUS | {"X-HTTP-Method-Override": "DELETE"}).status_code == 204
    assert api.http.head(at, headers=TUS).status_code == 404
    assert api.store.partial_uploads.list_ids() == set()


def test_received_bytes_count_against_the_limits(tmp_path: Path, redis_url: str) -> None:
    settings = Settings(data_dir=tmp_path, redis_url=redis_url, max_upload_bytes=150_000, max_storage_bytes=120_000)
    with serve_api(settings) as api:
        dataset = api.create_dataset()
        assert begin(api, dataset, bytes(150_001)).json()["code"] == "upload_too_large"
        assert begin(api, dataset, bytes(120_001)).json()["code"] == "storage_full"
        at = begin(api, dataset, bytes(110_000)).headers["location"]
        assert send(api, at, bytes(100_000)).status_code == 204
        assert begin(api, dataset, bytes(110_000)).json()["code"] == "storage_full"
        assert api.upload(dataset, "lr", a_png=bytes(110_000)).json()["code"] == "storage_full"
        api.http.delete(at, headers=TUS)
        assert wait_until(lambda: begin(api, dataset, bytes(110_000)).is_success)


def test_abandoned_uploads_expire_and_datasets_delete_theirs(tmp_path: Path, redis_url: str) -> None:
    settings = Settings(data_dir=tmp_path, redis_url=redis_url)
    with serve_api(settings) as api:
        dataset, data = api.create_dataset(), make_png(64, 64)
        at = begin(api, dataset, data).headers["location"]
        send(api, at, data[:100])
        duty = ExpireUploads(api.store, settings)
        duty.run()
        assert api.http.get(at).json()["received"] == 100
        with api.store.database.write() as session:
            session.execute(update(Upload).values(expires_at=0))
        duty.run()
        assert api.http.get(at).json()["code"] == "upload_not_found"
        at = begin(api, dataset, data).headers["location"]
        send(api, at, data[:100])
        assert api.http.delete(f"/datasets/{dataset}").status_code == 204
        assert send(api, at, data[100:], 100).status_code == 404
        duty.run()
        assert api.store.partial_uploads.list_ids() == set()


def test_an_upload_belongs_to_its_token(auth_api: AuthApi) -> None:
    dataset, data = auth_api.create_dataset("alice"), make_png(64, 64)
    path = f"/datasets/{dataset}/uploads?role=lr"

    def call(who: str, method: str, at: str, **headers: str) -> Any:
        token = {"Authorization": f"Bearer {auth_api.get_token(who)}"}
        return auth_api.http.request(method, at, headers=TUS | token | headers)

    def begin_as(who: str) -> Any:
        return call(who, "POST", path, **{"Upload-Length": str(len(data))})

    assert begin_as("bob").json()["code"] == "dataset_not_found"
    auth_api.call("alice", "PATCH", f"/datasets/{dataset}", json={"shared": True})
    assert begin_as("bob").json()["code"] == "forbidden"
    auth_api.get_token("eve", "read")
    assert begin_as("eve").json()["code"] == "insufficient_scope"
    at = begin_as("alice").headers["location"]
    for method in ("HEAD", "GET", "DELETE"):
        assert call("bob", method, at).status_code == 404
    assert call("alice", "GET", at).json()["received"] == 0
    auth_api.get_token("boss", "admin")
    assert call("boss", "DELETE", at).status_code == 204
