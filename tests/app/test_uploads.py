"""Files that come in parts, sent by a client that others wrote, over connections that break to processes that die."""

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
from typing import Any, BinaryIO, cast

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
from patina.schemas import Upload as Taken
from store.db.tables import Upload
from store.store import Store
from tests.app.conftest import Api, serving
from tests.app.test_tokens import Door, door  # noqa: F401 - a fixture
from tests.pictures import make_png, make_tar, make_zip
from tests.wait_until import wait_until
from worker.maintenance.expire_uploads import ExpireUploads

TUS = {"Tus-Resumable": "1.0.0"}
START_SECONDS = 60


@dataclass
class ApiProcess:
    """`python -m app`, which may be killed and started again at the same address."""

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
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            try:
                httpx.get(f"{self.url}/health")
            except httpx.HTTPError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError("the API does not start")

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def dataset(self) -> str:
        return str(httpx.post(f"{self.url}/datasets", json={"name": "photos", "scale": 4}).json()["id"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, valkey_url: str) -> Iterator[ApiProcess]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("running")
    ours = {"PATINA_DATA_DIR": str(folder), "PATINA_REDIS_URL": valkey_url, "PATINA_PORT": str(port)}
    api = ApiProcess({name: value for name, value in os.environ.items() if not name.startswith("PATINA_")} | ours, port)
    api.start()
    yield api
    api.kill()


def sender(creation: str | None, data: bytes, name: str = "photos.zip", **how: Any) -> Any:
    client = TusClient(creation or "")
    return client.uploader(file_stream=io.BytesIO(data), metadata={"filename": name}, retry_delay=0, **how)


def large_archive(count: int = 2, filler: int = 20_000_000) -> bytes:
    """With so many images, and so many bytes that are none."""
    return make_zip({f"{n}.png": make_png(40, 40, n) for n in range(count)} | {"notes.bin": os.urandom(filler)})


@contextmanager
def connection_that_breaks(port: int, after: int) -> Iterator[int]:
    """A port that leads to `port`; each of the first two connections of more than `after` bytes breaks there."""
    left = 2

    def pump(source: socket.socket, target: socket.socket, may_break: bool) -> None:
        nonlocal left
        passed = 0
        try:
            while data := source.recv(65536):
                passed += len(data)
                if may_break and left and passed > after:
                    left -= 1
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # closing alone tells nobody while the other thread reads
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
    assert left == 0, "nothing broke"


def test_an_archive_comes_through_connections_that_break(running: ApiProcess) -> None:
    data = large_archive()
    with connection_that_breaks(running.port, after=7_000_000) as port:
        upload = sender(f"http://127.0.0.1:{port}/datasets/{running.dataset()}/uploads?role=lr", data, retries=5)
        upload.upload()
    told = httpx.get(f"{running.url}/uploads/{upload.url.rpartition('/')[2]}").json()
    assert told["status"] == "accepted"
    assert told["received"] == told["length"] == len(data)
    assert [image["name"] for image in told["result"]["accepted"]] == ["photos.zip/0.png", "photos.zip/1.png"]
    assert [file["code"] for file in told["result"]["rejected"]] == ["not_an_image"]
    assert told["problem"] is None


@pytest.mark.parametrize("awaited", [False, True])
def test_our_own_client_goes_on_where_the_connection_broke(
    running: ApiProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, awaited: bool
) -> None:
    monkeypatch.setattr("patina.client.photo_files.MAX_BATCH_BYTES", 10_000_000)
    monkeypatch.setattr("patina.client.http.RETRY_DELAYS", (0, 0, 0))
    (tmp_path / "photos.zip").write_bytes(large_archive())
    (tmp_path / "nothing.zip").write_bytes(large_archive(count=0))
    dataset = running.dataset()

    async def send(url: str, name: str) -> Taken:
        async with AsyncClient(url) as patina:
            return await (await patina.datasets.get(dataset)).upload("lr", tmp_path / name)

    def sent(url: str, name: str) -> Taken:
        if awaited:
            return anyio.run(send, url, name)
        with Client(url) as patina:
            return patina.datasets.get(dataset).upload("lr", tmp_path / name)

    with connection_that_breaks(running.port, after=7_000_000) as port:
        answer = sent(f"http://127.0.0.1:{port}", "photos.zip")
    assert [image.name for image in answer.accepted] == ["photos.zip/0.png", "photos.zip/1.png"]
    assert [file.code for file in answer.rejected] == ["not_an_image"]
    answer = sent(running.url, "nothing.zip")
    assert (answer.accepted, [file.code for file in answer.rejected]) == ([], ["not_an_image"])


def test_an_api_that_is_killed_in_the_midst_goes_on_where_it_was(running: ApiProcess) -> None:
    data, dataset = large_archive(), running.dataset()
    url = f"{running.url}/datasets/{dataset}/uploads?role=lr"
    created = httpx.post(url, headers=TUS | {"Upload-Length": str(len(data))})
    at = running.url + created.headers["location"]
    with socket.create_connection(("127.0.0.1", running.port)) as hanging:
        head = (
            f"PATCH {created.headers['location']} HTTP/1.1\r\nHost: 127.0.0.1\r\nTus-Resumable: 1.0.0\r\n"
            f"Upload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        hanging.sendall(head.encode() + data[:15_000_000])
        give_up = time.monotonic() + START_SECONDS
        while (received := httpx.get(at).json()["received"]) == 0:
            assert time.monotonic() < give_up
            time.sleep(0.01)
        busy = httpx.patch(
            at, headers=TUS | {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}, content=b"x"
        )
        assert (busy.status_code, busy.json()["code"]) == (423, "upload_busy")
        running.kill()
    file = running.folder / "uploads" / at.rpartition("/")[2]
    with file.open("ab") as opened:  # what had come and was not counted may be anything
        opened.write(b"not what was sent")
    running.start()
    upload = sender(None, data, url=at)
    assert upload.offset >= received > 5_000_000
    upload.upload()
    assert len(httpx.get(at).json()["result"]["accepted"]) == 2
    assert not file.exists()


class SlowFile(io.FileIO):
    """A disk that takes its time."""

    def write(self, data: Any) -> int:
        time.sleep(0.5)
        return super().write(data)


def test_what_was_being_written_when_the_service_leaves_is_there_once(api: Api, tmp_path: Path) -> None:
    data = os.urandom(BATCH_BYTES)
    upload = service.create(api.store, api.settings, api.dataset(), Role.lr, 2 * BATCH_BYTES, "")

    class Sending:
        async def stream(self) -> AsyncIterator[bytes]:
            yield data
            await asyncio.sleep(60)

    async def leave_over_a_write(file: SlowFile) -> None:
        part = receive._Part(api.store, api.settings, upload, cast(BinaryIO, file))
        sending = asyncio.create_task(receive._write(cast(Request, Sending()), part))
        await asyncio.sleep(0.2)
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending

    path = api.store.unfinished.path(upload.id)
    path.touch()
    with SlowFile(path, "r+") as file:
        asyncio.run(leave_over_a_write(file))
    assert path.read_bytes() == data
    assert service.get_offset(api.store, service.get(api.store, upload.id)) == BATCH_BYTES


def test_images_that_a_process_died_over_are_taken_when_the_client_comes_back(running: ApiProcess) -> None:
    """As a process leaves it that is killed between the last byte and the record of the images."""
    data, url = make_png(40, 40), f"{running.url}/datasets/{running.dataset()}/uploads?role=lr"
    upload = sender(url, data, "a.png")
    upload.upload(stop_at=len(data) - 1)
    running.kill()
    store = Store.open(Settings(data_dir=running.folder, redis_url=running.environment["PATINA_REDIS_URL"]))
    with store.unfinished.path(upload.url.rpartition("/")[2]).open("ab") as opened:
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


def test_a_real_client_is_told_why(running: ApiProcess) -> None:
    url = f"{running.url}/datasets/{running.dataset()}/uploads?role=lr"
    with pytest.raises(TusUploadFailed) as refused:
        sender(url, b"hello there", "a.png", chunk_size=5).upload()
    assert b"not_an_image" in refused.value.response_content
    with pytest.raises(TusCommunicationError) as unknown:
        sender(f"{running.url}/datasets/nowhere/uploads?role=lr", b"hello").upload()
    assert unknown.value.status_code == 404


# What follows needs no process of its own.


def begin(api: Api, dataset: str, data: bytes, name: str = "a.png", role: str = "lr") -> Any:
    said = {"Upload-Length": str(len(data)), "Upload-Metadata": f"filename {base64.b64encode(name.encode()).decode()}"}
    return api.http.post(f"/datasets/{dataset}/uploads", params={"role": role}, headers=TUS | said)


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
def test_what_is_refused_is_refused_as_in_one_request_and_leaves_no_trace(
    api: Api, name: str, data: bytes, code: str
) -> None:
    dataset = api.dataset()
    before = api.traces()
    at_once = api.http.post(f"/datasets/{dataset}/images?role=lr", files=[("files", (name, data))])
    assert at_once.json()["code"] == code
    created = begin(api, dataset, data, name)
    answer = created
    if data:
        assert created.status_code == 201, created.text
        answer = send(api, created.headers["location"], data)
        assert api.http.get(created.headers["location"]).json()["problem"] == at_once.json()
        again = send(api, created.headers["location"], b"", len(data))
        assert again.json() == at_once.json()
    assert answer.status_code == 422
    assert answer.json() == at_once.json()
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert api.traces() == before
    assert list(api.store.unfinished.root.iterdir()) == []


def test_a_file_that_is_too_large_for_an_image_is_refused_when_its_beginning_shows_that_it_is_none_of_an_archive(
    api: Api,
) -> None:
    dataset = api.dataset()
    photo, packed = (data + bytes(10_000_000) for data in (make_png(64, 64), make_zip({"a.png": make_png(64, 64)})))
    at = begin(api, dataset, photo).headers["location"]
    assert send(api, at, photo[:300]).status_code == 204
    refused = send(api, at, photo[300:600], 300)
    assert (refused.status_code, refused.json()["code"]) == (422, "file_too_large")
    assert api.http.get(at).json()["status"] == "rejected"
    assert list(api.store.unfinished.root.iterdir()) == []
    at = begin(api, dataset, packed, "a.zip").headers["location"]
    assert send(api, at, packed[:300]).status_code == send(api, at, packed[300:600], 300).status_code == 204


def test_the_same_image_in_parts_and_at_once_is_one(api: Api) -> None:
    dataset, data = api.dataset(), make_png(64, 48)
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
    assert api.http.get(at).json()["result"] == {"accepted": [known], "rejected": []}
    assert api.http.get(f"/datasets/{dataset}").json()["images"] == {"lr": 1, "hr": 0}
    assert send(api, at, b"", len(data)).status_code == 204, "its answer may have been lost"


def test_the_protocol_is_held_to(api: Api) -> None:
    dataset, data = api.dataset(), make_png(64, 64)
    able = api.http.options(f"/datasets/{dataset}/uploads")
    assert able.status_code == 204
    assert able.headers["tus-version"] == "1.0.0"
    assert able.headers["tus-extension"] == "creation,expiration,termination"
    assert int(able.headers["tus-max-size"]) == api.settings.max_upload_bytes
    at = begin(api, dataset, data).headers["location"]

    def refused(answer: Any) -> tuple[int, str]:
        assert answer.headers["tus-resumable"] == "1.0.0"
        return answer.status_code, answer.json()["code"]

    unsaid = api.http.post(f"/datasets/{dataset}/uploads?role=lr", headers=TUS)
    assert (unsaid.status_code, unsaid.headers["tus-resumable"]) == (422, "1.0.0")
    other = api.http.patch(at, headers={"Tus-Resumable": "0.2.2"})
    assert refused(other) == (412, "unsupported_tus_version")
    assert other.headers["tus-version"] == "1.0.0"
    assert refused(send(api, at, data, 7)) == (409, "offset_mismatch")
    assert refused(send(api, at, data, kind="image/png")) == (415, "not_a_part")
    assert refused(send(api, at, data + b"more")) == (413, "length_exceeded")
    assert refused(send(api, "/uploads/nowhere", data)) == (404, "upload_not_found")
    assert refused(begin(api, "nowhere", data)) == (404, "dataset_not_found")
    assert refused(
        api.http.post(
            f"/datasets/{dataset}/uploads?role=lr",
            headers=TUS | {"Upload-Length": "7", "Upload-Metadata": "filename a.png"},
        )
    ) == (400, "bad_metadata")
    as_post = TUS | {"X-HTTP-Method-Override": "PATCH", "Content-Type": "application/offset+octet-stream"}
    head = api.http.head(at, headers=TUS).headers["upload-offset"]
    part = data[int(head) : int(head) + 7]
    assert api.http.post(at, content=part, headers=as_post | {"Upload-Offset": head}).status_code == 204
    assert refused(api.http.post(at, content=part, headers=as_post)) == (409, "offset_mismatch")
    assert api.http.post(at, headers=TUS).json()["code"] == "invalid_request"
    assert api.http.post(at, headers=TUS | {"X-HTTP-Method-Override": "DELETE"}).status_code == 204
    assert api.http.head(at, headers=TUS).status_code == 404
    assert list(api.store.unfinished.root.iterdir()) == []


def test_limits_hold_and_what_has_come_counts_as_taken(tmp_path: Path, redis_url: str) -> None:
    settings = Settings(data_dir=tmp_path, redis_url=redis_url, max_upload_bytes=150_000, max_storage_bytes=120_000)
    with serving(settings) as api:
        dataset = api.dataset()
        assert begin(api, dataset, bytes(150_001)).json()["code"] == "upload_too_large"
        assert begin(api, dataset, bytes(120_001)).json()["code"] == "storage_full"
        at = begin(api, dataset, bytes(110_000)).headers["location"]
        assert send(api, at, bytes(100_000)).status_code == 204
        assert begin(api, dataset, bytes(110_000)).json()["code"] == "storage_full"
        assert api.upload(dataset, "lr", a_png=bytes(110_000)).json()["code"] == "storage_full"
        api.http.delete(at, headers=TUS)
        assert wait_until(lambda: begin(api, dataset, bytes(110_000)).is_success)


def test_what_nobody_goes_on_with_expires_and_a_dataset_takes_its_uploads_along(tmp_path: Path, redis_url: str) -> None:
    settings = Settings(data_dir=tmp_path, redis_url=redis_url)
    with serving(settings) as api:
        dataset, data = api.dataset(), make_png(64, 64)
        at = begin(api, dataset, data).headers["location"]
        send(api, at, data[:100])
        duty = ExpireUploads(api.store, settings)
        duty.run()
        assert api.http.get(at).json()["received"] == 100
        with api.store.database.write() as session:
            session.execute(update(Upload).values(expires=0))
        duty.run()
        assert api.http.get(at).json()["code"] == "upload_not_found"
        at = begin(api, dataset, data).headers["location"]
        send(api, at, data[:100])
        assert api.http.delete(f"/datasets/{dataset}").status_code == 204
        assert send(api, at, data[100:], 100).status_code == 404
        duty.run()
        assert list(api.store.unfinished.root.iterdir()) == []


def test_an_upload_is_its_token_s_alone(door: Door) -> None:  # noqa: F811
    dataset, data = door.dataset("anna"), make_png(64, 64)
    path = f"/datasets/{dataset}/uploads?role=lr"

    def call(who: str, method: str, at: str, **headers: str) -> Any:
        token = {"Authorization": f"Bearer {door.token(who)}"}
        return door.http.request(method, at, headers=TUS | token | headers)

    def begin_as(who: str) -> Any:
        return call(who, "POST", path, **{"Upload-Length": str(len(data))})

    assert begin_as("bert").json()["code"] == "dataset_not_found"
    door.call("anna", "PATCH", f"/datasets/{dataset}", json={"shared": True})
    assert begin_as("bert").json()["code"] == "forbidden"
    door.token("eve", "read")
    assert begin_as("eve").json()["code"] == "insufficient_scope"
    at = begin_as("anna").headers["location"]
    for method in ("HEAD", "GET", "DELETE"):
        assert call("bert", method, at).status_code == 404
    assert call("anna", "GET", at).json()["received"] == 0
    door.token("boss", "admin")
    assert call("boss", "DELETE", at).status_code == 204
