"""The client's errors, against a server that answers what the test says; its answers, against the service's schemas."""

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
from app.models.report import ReportOut
from app.models.schemas import ModelDetailRead
from app.webhooks.schemas import DeliveryRead, WebhookCreated
from patina import AsyncClient, Client
from patina.client.datasets import Dataset
from patina.client.drivers import SyncDriver
from patina.client.jobs import Job
from patina.client.models import Model
from patina.client.schemas import Delivery, Event, Report, Upload
from patina.client.tus import send_in_parts
from patina.client.webhooks import Webhook
from patina.errors import JobError, LostServiceError, ServiceError

JOB: dict[str, Any] = JobRead.model_config["json_schema_extra"]["example"]  # type: ignore[index,assignment]
DATASET: dict[str, Any] = DatasetRead.model_config["json_schema_extra"]["example"]  # type: ignore[index,assignment]
EXAMPLE_IMAGE: dict[str, Any] = ImageUploadResponse.model_config["json_schema_extra"]["example"]["accepted"][0]  # type: ignore[index,call-overload,assignment]
NOTHING_HELD: dict[str, Any] = {"items": [], "next": None}
DATABASE_AWAY: dict[str, Any] = {"status": 503, "code": "database_away", "detail": "The database is away. Wait."}


class Answering(ThreadingHTTPServer):
    """Gives the answers in order, the last one for ever; keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, bytes]] = []
        self.asked: list[tuple[str, bytes]] = []
        self.tokens: list[str | None] = []
        self.keys: list[str | None] = []
        self.resumed: list[str | None] = []

    def says(self, *answers: tuple[int, object]) -> None:
        self.answers = [
            (status, body if isinstance(body, bytes) else json.dumps(body).encode()) for status, body in answers
        ]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Answering

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((f"{self.command} {self.path}", body))
        self.server.tokens.append(self.headers.get("Authorization"))
        self.server.keys.append(self.headers.get("Idempotency-Key"))
        self.server.resumed.append(self.headers.get("Last-Event-ID"))
        status, content = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        if status == 0:
            return  # hangs up without a word
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - names that the base class looks for

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Answering]:
    with Answering() as answering:
        Thread(target=answering.serve_forever, args=(0.01,), daemon=True).start()
        yield answering
        answering.shutdown()


def test_a_refusal_comes_in_the_services_own_words(server: Answering) -> None:
    problem = {"type": "urn:patina:problem:no_model", "status": 409, "code": "no_model", "detail": "Train it first."}
    server.says((200, DATASET), (409, problem))
    with Client(server.url) as patina, pytest.raises(ServiceError, match="Train it first") as refused:
        patina.datasets.get("d").degrade(source="d")
    assert (refused.value.status, refused.value.code, refused.value.problem) == (409, "no_model", problem)


def test_something_that_is_no_patina_is_named_so(server: Answering) -> None:
    server.says((404, b"<html>not here</html>"))
    with Client(server.url) as patina, pytest.raises(ServiceError, match="Is that a Patina service"):
        patina.jobs.get("j")


def test_nobody_there() -> None:
    with Client("http://127.0.0.1:9") as patina, pytest.raises(LostServiceError, match="patina up"):
        patina.jobs.get("j")


def test_a_proxy_is_not_asked_for_what_is_here(server: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    server.says((200, JOB))
    with Client(server.url) as patina:
        assert patina.jobs.get("j").id == JOB["id"]


def test_the_service_and_the_token_may_come_from_the_environment(
    server: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATINA_API", server.url)
    monkeypatch.setenv("PATINA_TOKEN", "from the environment")
    server.says((200, JOB))
    for client in (Client(), Client(token="a token")):
        client.jobs.get("j")
        client.close()
    assert server.tokens == ["Bearer from the environment", "Bearer a token"]


def test_a_broken_connection(server: Answering) -> None:
    server.says((0, b""))
    with Client(server.url) as patina, pytest.raises(LostServiceError, match="broke"):
        patina.jobs.get("j")


def waiting(server: Answering) -> None:
    failed = JOB | {"status": "failed", "error": {"code": "out_of_memory", "message": "Use smaller tiles."}}
    server.says((200, JOB), (0, b""), (200, JOB), (200, failed))


def test_waits_over_an_interruption_and_says_why_a_job_failed(server: Answering) -> None:
    waiting(server)
    seen: list[str] = []
    with Client(server.url) as patina, pytest.raises(JobError, match="failed: Use smaller tiles") as error:
        patina.jobs.get(JOB["id"]).wait(lambda job: seen.append(job.status))
    assert error.value.job == JOB["id"]
    assert seen == ["running", "running", "failed"]


def test_awaits_the_same(server: Answering) -> None:
    waiting(server)
    seen: list[str] = []

    async def follow() -> None:
        async with AsyncClient(server.url) as patina:
            job = await patina.jobs.get(JOB["id"])
            await job.wait(lambda job: seen.append(job.status))

    with pytest.raises(JobError, match="failed: Use smaller tiles"):
        anyio.run(follow)
    assert seen == ["running", "running", "failed"]


def test_a_job_knows_what_has_become_of_it(server: Answering) -> None:
    server.says((200, JOB), (200, JOB | {"status": "canceled"}))
    with Client(server.url) as patina:
        job = patina.jobs.get(JOB["id"])
        assert job.unfinished
        assert job.cancel() is job
        assert job.status == "canceled"


def test_events_go_on_where_the_connection_broke(server: Answering) -> None:
    def lines(kind: str, number: str, data: object) -> bytes:
        return f"event: {kind}\nid: {number}\ndata: {json.dumps(data)}\n\n".encode()

    def happened(number: int) -> bytes:
        event = {"number": number, "time": JOB["created"], "data": {"message": f"line {number}"}}
        return lines("log", str(number), event)

    begun = happened(2)[:-30]  # cut off within an event
    change = f"event: job\ndata: {json.dumps(JOB | {'status': 'succeeded'})}\n\n".encode()
    server.says(
        (200, JOB),
        (200, b": keep-alive\n\n" + happened(1) + begun),
        (200, happened(2) + change + lines("end", "2-end", {})),
    )
    with Client(server.url) as patina:
        job = patina.jobs.get(JOB["id"])
        assert [event.data["message"] for event in job.events()] == ["line 1", "line 2"]
        assert job.status == "succeeded"
    assert server.resumed == [None, None, "1"]


EVENT: dict[str, Any] = {"number": 1, "time": JOB["created"], "data": {"message": "“a\u2028b\x85c.png”"}}
# Raw, as JSON may have them; and lines may end with a carriage return, too.
STREAM = (
    f"event: log\r\nid: 1\r\ndata: {json.dumps(EVENT, ensure_ascii=False)}\r\n\r\nevent: end\ndata: {{}}\n\n".encode()
)


def test_events_lines_end_at_line_feeds_alone(server: Answering) -> None:
    async def awaited() -> list[Event]:
        async with AsyncClient(server.url) as patina:
            return [event async for event in (await patina.jobs.get(JOB["id"])).events()]

    server.says((200, JOB), (200, STREAM))
    with Client(server.url) as patina:
        (event,) = patina.jobs.get(JOB["id"]).events()
    assert event.data == EVENT["data"]
    server.says((200, JOB), (200, STREAM))
    assert anyio.run(awaited) == [event]


def test_events_come_whole_however_the_connection_cuts_them() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            return httpx.Response(200, content=(STREAM[at : at + 1] for at in range(len(STREAM))))
        return httpx.Response(200, json=JOB)

    with Client() as patina:
        patina._http._transport = httpx.MockTransport(answer)
        assert [event.data for event in patina.jobs.get(JOB["id"]).events()] == [EVENT["data"]]


def test_waiting_outlives_a_database_that_is_started_again(server: Answering) -> None:
    stream = f"event: job\ndata: {json.dumps(JOB | {'status': 'succeeded'})}\n\nevent: end\ndata: {{}}\n\n".encode()
    done = JOB | {"status": "succeeded"}
    with Client(server.url) as patina:
        server.says((200, JOB), (503, DATABASE_AWAY), (200, done))
        assert patina.jobs.get(JOB["id"]).wait().status == "succeeded"
        server.says((200, JOB), (503, DATABASE_AWAY), (200, stream))
        assert list(patina.jobs.get(JOB["id"]).events()) == []
        server.says((200, DATASET), (503, DATABASE_AWAY), (202, JOB))
        assert patina.datasets.get("d").train().id == JOB["id"]
        assert server.keys[-1] == server.keys[-2] is not None
        server.says((503, DATABASE_AWAY))
        with pytest.raises(LostServiceError, match=re.escape(DATABASE_AWAY["detail"])):
            patina.jobs.get(JOB["id"])


def test_an_upload_in_parts_outlives_a_database_that_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patina.client.tus.PART_BYTES", 3)
    (tmp_path / "large.zip").write_bytes(b"abcdefgh")
    came, restarts = bytearray(), ["POST", "PATCH", "HEAD", "GET"]  # each is answered so once

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method in restarts and (request.method != "PATCH" or came):
            restarts.remove(request.method)
            return httpx.Response(503, json=DATABASE_AWAY)
        if request.method == "PATCH":
            assert int(request.headers["Upload-Offset"]) == len(came)
            came.extend(request.content)
        told: dict[str, Any] = {"problem": None, "result": {"accepted": [], "rejected": []}}
        headers = {"Location": "/uploads/u", "Upload-Offset": str(len(came))}
        return httpx.Response(200, headers=headers, json=told)

    monkeypatch.setattr("patina.client.http.PAUSES", (0, 0, 0))
    with httpx.Client(transport=httpx.MockTransport(answer), base_url="http://patina") as http:
        SyncDriver(http).run(send_in_parts("d", "lr", ("large.zip", tmp_path / "large.zip")))
    assert (bytes(came), restarts) == (b"abcdefgh", [])


def test_leaves_to_the_service_what_is_not_given(server: Answering) -> None:
    server.says((200, DATASET), (202, JOB))
    with Client(server.url) as patina:
        patina.datasets.get("d").train(preset=None, max_minutes=0.5, seed=0)
    assert server.asked[1] == (f"POST /datasets/{DATASET['id']}/train", b'{"max_minutes":0.5,"seed":0}')


def test_what_is_made_is_made_once_though_the_connection_break(server: Answering, tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(bytes(2_000_000))
    server.says((200, DATASET), (0, b""), (202, JOB))
    with Client(server.url) as patina:
        assert patina.datasets.get("d").degrade(tmp_path).id == JOB["id"]
    assert server.asked[1][1].count(bytes(1000)) == server.asked[2][1].count(bytes(1000))
    assert server.keys[0] is None
    assert server.keys[1] == server.keys[2] is not None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(40):
        (tmp_path / f"{number:02}.png").write_bytes(b"picture %d" % number)
    return tmp_path


def test_uploads_in_batches_and_gathers_what_was_refused(server: Answering, folder: Path) -> None:
    rejected = [{"name": "x.png", "code": "corrupt_image", "message": "Not an image."}]
    problem = {"code": "corrupt_image", "detail": "All of them.", "rejected": rejected}
    taken = {"accepted": [EXAMPLE_IMAGE], "rejected": rejected}
    # One batch is refused whole, and one is sent again after the connection broke.
    server.says((200, DATASET), (200, NOTHING_HELD), (0, b""), (422, problem), (200, taken))
    progress: list[tuple[int, int]] = []
    with Client(server.url) as patina:
        answer = patina.datasets.get("d").upload("lr", folder, progress=lambda *at: progress.append(at))
    assert len(answer.accepted) == 1
    assert [file.code for file in answer.rejected] == ["corrupt_image"] * 2
    assert progress[0] == (0, 40)
    assert progress[1] in [(8, 40), (32, 40)]
    assert progress[2:] == [(40, 40)]
    batches = [body.count(b"filename=") for asked, body in server.asked if asked.startswith("POST")]
    assert sorted(batches) in [[8, 8, 32], [8, 32, 32]]


def test_an_upload_of_which_nothing_can_be_used_is_refused(server: Answering, folder: Path) -> None:
    rejected = [{"name": "x.png", "code": "corrupt_image", "message": "Not an image."}]
    problem = {"code": "corrupt_image", "detail": "Not one.", "rejected": rejected}
    server.says((200, DATASET), (200, NOTHING_HELD), (422, problem))
    with Client(server.url) as patina, pytest.raises(ServiceError, match="Not one"):
        patina.datasets.get("d").upload("lr", folder)


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_what_a_dataset_holds_is_not_sent_again(
    server: Answering, folder: Path, client: type[Client | AsyncClient]
) -> None:
    held = [EXAMPLE_IMAGE | {"sha256": hashlib.sha256(b"picture %d" % number).hexdigest()} for number in range(39)]
    server.says(
        (200, DATASET),
        (200, {"items": held[:20], "next": "more"}),
        (200, {"items": held[20:], "next": None}),
        (200, {"accepted": [EXAMPLE_IMAGE], "rejected": []}),
    )

    async def send() -> Upload:
        async with AsyncClient(server.url) as patina:
            return await (await patina.datasets.get("d")).upload("lr", folder)

    if client is AsyncClient:
        answer = anyio.run(send)
    else:
        with Client(server.url) as patina:
            answer = patina.datasets.get("d").upload("lr", folder)
    assert (answer.present, len(answer.accepted)) == (39, 1)
    assert b"picture 39" in server.asked[-1][1]
    assert server.asked[-1][1].count(b"filename=") == 1


def test_tells_how_many_photos_of_one_request_are_sent(server: Answering, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(bytes(200_000))
    server.says((200, DATASET), (202, JOB))
    progress: list[tuple[int, int]] = []
    with Client(server.url) as patina:
        patina.datasets.get("d").degrade(tmp_path, samples=2, progress=lambda *at: progress.append(at))
    assert progress == [(1, 3), (2, 3), (3, 3)]
    assert server.asked[1][1].count(b'name="files"') == 3


def test_follows_a_list_to_its_end(server: Answering) -> None:
    server.says((200, {"items": [JOB, JOB], "next": "more"}), (200, {"items": [JOB], "next": None}))
    with Client(server.url) as patina:
        assert len(patina.jobs.list(kind="sr")) == 3
    assert [path for path, _ in server.asked] == [
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
        (Report, ReportOut),
    ],
)
def test_understands_what_the_service_documents(ours: type[BaseModel], theirs: type[BaseModel]) -> None:
    example = theirs.model_config["json_schema_extra"]["example"]  # type: ignore[index]
    ours.model_validate(example)
    assert set(ours.model_fields) - {"present"} <= set(theirs.model_fields)


def test_the_client_brings_no_torch() -> None:
    code = "import patina, sys; patina.Client; patina.AsyncClient; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
