"""The client against a stub server, and its schemas against the service's."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import anyio
import httpx
import pytest
from pydantic import BaseModel

from app.datasets.schemas import DatasetRead, ImageUploadResponse
from app.jobs.schemas import JobRead
from app.models.report import ReportRead
from app.models.schemas import ModelDetailRead
from app.webhooks.schemas import DeliveryRead, WebhookCreated
from patina import AsyncClient, Client
from patina.client import AsyncDataset, AsyncJob, AsyncModel, AsyncWebhook, Dataset, Job, Model, Webhook
from patina.client._sync.connection import Connection
from patina.client._sync.tus import send_resumable
from patina.errors import JobError, ServiceError, ServiceUnavailableError
from patina.schemas import Delivery, Event, Report, Upload

JOB: dict[str, Any] = JobRead.model_config["json_schema_extra"]["example"]  # type: ignore[index,assignment]
DATASET: dict[str, Any] = DatasetRead.model_config["json_schema_extra"]["example"]  # type: ignore[index,assignment]
IMAGE: dict[str, Any] = ImageUploadResponse.model_config["json_schema_extra"]["example"]["accepted"][0]  # type: ignore[index,call-overload,assignment]
PNG = b"\x89PNG\r\n\x1a\n"  # what a file starts with that is sent
EMPTY_LIST: dict[str, Any] = {"items": [], "next": None}
DATABASE_UNAVAILABLE: dict[str, Any] = {
    "status": 503,
    "code": "database_unavailable",
    "detail": "Database unavailable. Retry later.",
}


class StubServer(ThreadingHTTPServer):
    """Sends the given responses in order and repeats the last one. Records the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.responses: list[tuple[int, bytes]] = []
        self.requests: list[tuple[str, bytes]] = []
        self.tokens: list[str | None] = []
        self.idempotency_keys: list[str | None] = []
        self.last_event_ids: list[str | None] = []

    def respond(self, *responses: tuple[int, object]) -> None:
        """Sets the responses, each a status and a body. Status 0 closes the connection without a response."""
        self.responses = [
            (status, body if isinstance(body, bytes) else json.dumps(body).encode()) for status, body in responses
        ]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: StubServer

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((f"{self.command} {self.path}", body))
        self.server.tokens.append(self.headers.get("Authorization"))
        self.server.idempotency_keys.append(self.headers.get("Idempotency-Key"))
        self.server.last_event_ids.append(self.headers.get("Last-Event-ID"))
        responses = self.server.responses
        status, content = responses.pop(0) if len(responses) > 1 else responses[0]
        if status == 0:
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _respond  # noqa: N815 - names from the base class

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[StubServer]:
    with StubServer() as stub:
        Thread(target=stub.serve_forever, args=(0.01,), daemon=True).start()
        yield stub
        stub.shutdown()


def test_error_has_the_services_message_and_code(server: StubServer) -> None:
    problem = {"type": "urn:patina:problem:no_model", "status": 409, "code": "no_model", "detail": "Train it first."}
    server.respond((200, DATASET), (409, problem))
    with Client(server.url) as patina, pytest.raises(ServiceError, match="Train it first") as refused:
        patina.datasets.get("d").degrade(source="d")
    assert (refused.value.status, refused.value.code, refused.value.problem) == (409, "no_model", problem)


def test_other_servers_are_recognized(server: StubServer) -> None:
    server.respond((404, b"<html>not here</html>"))
    with Client(server.url) as patina, pytest.raises(ServiceError, match="Is that a Patina service"):
        patina.jobs.get("j")


def test_no_service_is_reported_with_a_hint() -> None:
    with Client("http://127.0.0.1:9") as patina, pytest.raises(ServiceUnavailableError, match="patina up") as error:
        patina.jobs.get("j")
    assert not error.value.request_sent


def test_proxy_is_not_used_for_this_computer(server: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    server.respond((200, JOB))
    with Client(server.url) as patina:
        assert patina.jobs.get("j").id == JOB["id"]


def test_url_and_token_come_from_the_environment(server: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATINA_API", server.url)
    monkeypatch.setenv("PATINA_TOKEN", "from the environment")
    server.respond((200, JOB))
    for client in (Client(), Client(token="a token")):
        client.jobs.get("j")
        client.close()
    assert server.tokens == ["Bearer from the environment", "Bearer a token"]


def test_broken_connection_is_reported(server: StubServer) -> None:
    server.respond((0, b""))
    with Client(server.url) as patina, pytest.raises(ServiceUnavailableError, match="broke"):
        patina.jobs.get("j")


def respond_with_interrupted_job(server: StubServer) -> None:
    failed = JOB | {"status": "failed", "error": {"code": "out_of_memory", "message": "Use smaller tiles."}}
    server.respond((200, JOB), (0, b""), (200, JOB), (200, failed))


def test_wait_survives_an_interruption_and_says_why_a_job_failed(server: StubServer) -> None:
    respond_with_interrupted_job(server)
    statuses: list[str] = []
    with Client(server.url) as patina, pytest.raises(JobError, match="failed: Use smaller tiles") as error:
        patina.jobs.get(JOB["id"]).wait(lambda job: statuses.append(job.status))
    assert error.value.job == JOB["id"]
    assert statuses == ["running", "running", "failed"]


def test_async_wait_does_the_same(server: StubServer) -> None:
    respond_with_interrupted_job(server)
    statuses: list[str] = []

    async def follow() -> None:
        async with AsyncClient(server.url) as patina:
            job = await patina.jobs.get(JOB["id"])
            await job.wait(lambda job: statuses.append(job.status))

    with pytest.raises(JobError, match="failed: Use smaller tiles"):
        anyio.run(follow)
    assert statuses == ["running", "running", "failed"]


def test_calls_update_the_job(server: StubServer) -> None:
    server.respond((200, JOB), (200, JOB | {"status": "canceled"}))
    with Client(server.url) as patina:
        job = patina.jobs.get(JOB["id"])
        assert job.unfinished
        assert job.cancel() is job
        assert job.status == "canceled"


def test_events_resume_after_a_broken_connection(server: StubServer) -> None:
    def encode(kind: str, number: str, data: object) -> bytes:
        return f"event: {kind}\nid: {number}\ndata: {json.dumps(data)}\n\n".encode()

    def log_line(number: int) -> bytes:
        event = {"number": number, "time": JOB["created"], "data": {"message": f"line {number}"}}
        return encode("log", str(number), event)

    cut_off = log_line(2)[:-30]
    change = f"event: job\ndata: {json.dumps(JOB | {'status': 'succeeded'})}\n\n".encode()
    server.respond(
        (200, JOB),
        (200, b": keep-alive\n\n" + log_line(1) + cut_off),
        (200, log_line(2) + change + encode("end", "2-end", {})),
    )
    with Client(server.url) as patina:
        job = patina.jobs.get(JOB["id"])
        assert [event.data["message"] for event in job.events()] == ["line 1", "line 2"]
        assert job.status == "succeeded"
    assert server.last_event_ids == [None, None, "1"]


EVENT: dict[str, Any] = {"number": 1, "time": JOB["created"], "data": {"message": "“a\u2028b\x85c.png”"}}
# JSON may contain these characters unescaped, and lines may end with a carriage return.
STREAM = (
    f"event: log\r\nid: 1\r\ndata: {json.dumps(EVENT, ensure_ascii=False)}\r\n\r\nevent: end\ndata: {{}}\n\n".encode()
)


def test_event_lines_end_only_at_line_feeds(server: StubServer) -> None:
    async def receive() -> list[Event]:
        async with AsyncClient(server.url) as patina:
            return [event async for event in (await patina.jobs.get(JOB["id"])).events()]

    server.respond((200, JOB), (200, STREAM))
    with Client(server.url) as patina:
        (event,) = patina.jobs.get(JOB["id"]).events()
    assert event.data == EVENT["data"]
    server.respond((200, JOB), (200, STREAM))
    assert anyio.run(receive) == [event]


def test_events_may_arrive_one_byte_at_a_time() -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            return httpx.Response(200, content=(STREAM[at : at + 1] for at in range(len(STREAM))))
        return httpx.Response(200, json=JOB)

    with Client() as patina:
        patina._http._transport = httpx.MockTransport(respond)
        assert [event.data for event in patina.jobs.get(JOB["id"]).events()] == [EVENT["data"]]


def test_calls_survive_a_database_restart(server: StubServer) -> None:
    stream = f"event: job\ndata: {json.dumps(JOB | {'status': 'succeeded'})}\n\nevent: end\ndata: {{}}\n\n".encode()
    succeeded = JOB | {"status": "succeeded"}
    with Client(server.url) as patina:
        server.respond((200, JOB), (503, DATABASE_UNAVAILABLE), (200, succeeded))
        assert patina.jobs.get(JOB["id"]).wait().status == "succeeded"
        server.respond((200, JOB), (503, DATABASE_UNAVAILABLE), (200, stream))
        assert list(patina.jobs.get(JOB["id"]).events()) == []
        server.respond((200, DATASET), (503, DATABASE_UNAVAILABLE), (202, JOB))
        assert patina.datasets.get("d").train().id == JOB["id"]
        assert server.idempotency_keys[-1] == server.idempotency_keys[-2] is not None
        server.respond((503, DATABASE_UNAVAILABLE))
        with pytest.raises(ServiceUnavailableError, match=re.escape(DATABASE_UNAVAILABLE["detail"])):
            patina.jobs.get(JOB["id"])


def test_resumable_upload_survives_a_database_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of request fails once."""
    monkeypatch.setattr("patina.client.photo_files.PART_BYTES", 3)
    (tmp_path / "large.zip").write_bytes(b"abcdefgh")
    received, failures = bytearray(), ["POST", "PATCH", "HEAD", "GET"]

    def respond(request: httpx.Request) -> httpx.Response:
        if request.method in failures and (request.method != "PATCH" or received):
            failures.remove(request.method)
            return httpx.Response(503, json=DATABASE_UNAVAILABLE)
        if request.method == "PATCH":
            assert int(request.headers["Upload-Offset"]) == len(received)
            received.extend(request.content)
        outcome: dict[str, Any] = {"problem": None, "result": {"accepted": [], "rejected": []}}
        headers = {"Location": "/uploads/u", "Upload-Offset": str(len(received))}
        return httpx.Response(200, headers=headers, json=outcome)

    monkeypatch.setattr("patina.client.http.RETRY_DELAYS", (0, 0, 0))
    with httpx.Client(transport=httpx.MockTransport(respond), base_url="http://patina") as http:
        send_resumable(Connection(http), "/datasets/d/uploads", ("large.zip", tmp_path / "large.zip"), {}, role="lr")
    assert (bytes(received), failures) == (b"abcdefgh", [])


def test_unset_options_are_not_sent(server: StubServer) -> None:
    server.respond((200, DATASET), (202, JOB))
    with Client(server.url) as patina:
        patina.datasets.get("d").train(preset=None, max_minutes=0.5, seed=0)
    assert server.requests[1] == (f"POST /datasets/{DATASET['id']}/train", b'{"max_minutes":0.5,"seed":0}')


def test_retried_post_keeps_its_idempotency_key(server: StubServer, tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(PNG + bytes(2_000_000))
    server.respond((200, DATASET), (0, b""), (202, JOB))
    with Client(server.url) as patina:
        assert patina.datasets.get("d").degrade(tmp_path).id == JOB["id"]
    assert server.requests[1][1].count(bytes(1000)) == server.requests[2][1].count(bytes(1000))
    assert server.idempotency_keys[0] is None
    assert server.idempotency_keys[1] == server.idempotency_keys[2] is not None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(40):
        (tmp_path / f"{number:02}.png").write_bytes(PNG + b"picture %d" % number)
    return tmp_path


def test_upload_sends_batches_and_collects_rejected_files(server: StubServer, folder: Path) -> None:
    """One batch is rejected completely, and one is sent again after the connection broke."""
    rejected = [{"name": "x.png", "code": "corrupt_image", "message": "Not an image."}]
    problem = {"code": "corrupt_image", "detail": "All of them.", "rejected": rejected}
    result = {"accepted": [IMAGE], "rejected": rejected}
    server.respond((200, DATASET), (200, EMPTY_LIST), (0, b""), (422, problem), (200, result))
    progress: list[tuple[int, int]] = []
    with Client(server.url) as patina:
        upload = patina.datasets.get("d").upload("lr", folder, progress=lambda *sent: progress.append(sent))
    assert len(upload.accepted) == 1
    assert [file.code for file in upload.rejected] == ["corrupt_image"] * 2
    assert progress[0] == (0, 40)
    assert progress[1] in [(8, 40), (32, 40)]
    assert progress[2:] == [(40, 40)]
    batches = [body.count(b"filename=") for request, body in server.requests if request.startswith("POST")]
    assert sorted(batches) in [[8, 8, 32], [8, 32, 32]]


def test_upload_fails_if_no_file_can_be_used(server: StubServer, folder: Path) -> None:
    rejected = [{"name": "x.png", "code": "corrupt_image", "message": "Not an image."}]
    problem = {"code": "corrupt_image", "detail": "Not one.", "rejected": rejected}
    server.respond((200, DATASET), (200, EMPTY_LIST), (422, problem))
    with Client(server.url) as patina, pytest.raises(ServiceError, match="Not one"):
        patina.datasets.get("d").upload("lr", folder)


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_upload_skips_what_the_dataset_has(
    server: StubServer, folder: Path, client: type[Client | AsyncClient]
) -> None:
    present = [IMAGE | {"sha256": hashlib.sha256(PNG + b"picture %d" % number).hexdigest()} for number in range(39)]
    server.respond(
        (200, DATASET),
        (200, {"items": present[:20], "next": "more"}),
        (200, {"items": present[20:], "next": None}),
        (200, {"accepted": [IMAGE], "rejected": []}),
    )

    async def send() -> Upload:
        async with AsyncClient(server.url) as patina:
            return await (await patina.datasets.get("d")).upload("lr", folder)

    if client is AsyncClient:
        upload = anyio.run(send)
    else:
        with Client(server.url) as patina:
            upload = patina.datasets.get("d").upload("lr", folder)
    assert (upload.already_present, len(upload.accepted)) == (39, 1)
    assert b"picture 39" in server.requests[-1][1]
    assert server.requests[-1][1].count(b"filename=") == 1


def test_async_upload_raises_the_first_error_itself(server: StubServer, folder: Path) -> None:
    server.respond((200, DATASET), (200, EMPTY_LIST), (403, {"code": "forbidden", "detail": "Not yours."}))

    async def send() -> None:
        async with AsyncClient(server.url) as patina:
            await (await patina.datasets.get("d")).upload("lr", folder)

    with pytest.raises(ServiceError, match="Not yours"):
        anyio.run(send)


def test_progress_counts_the_photos_of_one_request(server: StubServer, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(PNG + bytes(200_000))
    server.respond((200, DATASET), (202, JOB))
    progress: list[tuple[int, int]] = []
    with Client(server.url) as patina:
        patina.datasets.get("d").degrade(tmp_path, samples=2, progress=lambda *sent: progress.append(sent))
    assert progress == [(1, 3), (2, 3), (3, 3)]
    assert server.requests[1][1].count(b'name="files"') == 3


def test_list_reads_all_pages(server: StubServer) -> None:
    server.respond((200, {"items": [JOB, JOB], "next": "more"}), (200, {"items": [JOB], "next": None}))
    with Client(server.url) as patina:
        assert len(patina.jobs.list(kind="sr")) == 3
    assert [request for request, _ in server.requests] == [
        "GET /jobs?kind=sr&limit=100",
        "GET /jobs?kind=sr&limit=100&cursor=more",
    ]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Webhook, WebhookCreated),
        (Delivery, DeliveryRead),
        (Job, JobRead),
        (Dataset, DatasetRead),
        (Upload, ImageUploadResponse),
        (Model, ModelDetailRead),
        (Report, ReportRead),
        (AsyncWebhook, WebhookCreated),
        (AsyncJob, JobRead),
        (AsyncDataset, DatasetRead),
        (AsyncModel, ModelDetailRead),
    ],
)
def test_schemas_match_the_services(ours: type[BaseModel], theirs: type[BaseModel]) -> None:
    example = theirs.model_config["json_schema_extra"]["example"]  # type: ignore[index]
    ours.model_validate(example)
    assert set(ours.model_fields) - {"already_present"} <= set(theirs.model_fields)


def test_client_does_not_import_torch() -> None:
    code = "import patina, sys; patina.Client; patina.AsyncClient; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sync_client_is_generated_from_the_async_one() -> None:
    script = Path(__file__).parents[2] / "scripts/unasync.py"
    check = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout + check.stderr
