"""The client's errors, against a server that answers what the test says; its answers, against the service's schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from pydantic import BaseModel

from app.datasets.schemas import DatasetOut, UploadOut
from app.jobs.schemas import JobOut
from app.models.report import ReportOut
from app.models.schemas import ModelOut
from patina.answers import Dataset, Job, Model, Report, Upload
from patina.client import Client
from patina.errors import JobError, LostServiceError, ServiceError

JOB: dict[str, Any] = JobOut.model_config["json_schema_extra"]["example"]  # type: ignore[index,assignment]


class Answering(ThreadingHTTPServer):
    """Gives the answers in order, the last one for ever; keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, bytes]] = []
        self.asked: list[tuple[str, bytes]] = []

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
    server.says((409, problem))
    with Client(server.url) as patina, pytest.raises(ServiceError, match="Train it first") as refused:
        patina.train("d")
    assert (refused.value.status, refused.value.code) == (409, "no_model")


def test_something_that_is_no_patina_is_named_so(server: Answering) -> None:
    server.says((404, b"<html>not here</html>"))
    with Client(server.url) as patina, pytest.raises(ServiceError, match="Is that a Patina service"):
        patina.job("j")


def test_nobody_there() -> None:
    with Client("http://127.0.0.1:9") as patina, pytest.raises(LostServiceError, match="patina up"):
        patina.job("j")


def test_a_proxy_is_not_asked_for_what_is_here(server: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    server.says((200, JOB))
    with Client(server.url) as patina:
        assert patina.job("j").id == JOB["id"]


def test_a_broken_connection(server: Answering) -> None:
    server.says((0, b""))
    with Client(server.url) as patina, pytest.raises(LostServiceError, match="broke"):
        patina.job("j")


def test_waits_over_an_interruption_and_says_why_a_job_failed(server: Answering) -> None:
    failed = JOB | {"status": "failed", "error": {"code": "out_of_memory", "message": "Use smaller tiles."}}
    server.says((200, JOB), (0, b""), (200, JOB), (200, failed))
    seen: list[str] = []
    with Client(server.url) as patina, pytest.raises(JobError, match="failed: Use smaller tiles") as error:
        patina.wait(patina.job(JOB["id"]), lambda job: seen.append(job.status))
    assert error.value.job == JOB["id"]
    assert seen == ["running", "running", "failed"]


def test_leaves_to_the_service_what_is_not_given(server: Answering) -> None:
    server.says((202, JOB))
    with Client(server.url) as patina:
        patina.train("d", preset=None, max_minutes=0.5, seed=0)
    assert server.asked == [("POST /datasets/d/train", b'{"max_minutes":0.5,"seed":0}')]


def test_uploads_in_batches_and_gathers_what_was_refused(server: Answering, tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number:02}.png").write_bytes(b"not a picture")
    rejected = [{"name": "x.png", "code": "corrupt_image", "message": "Not an image."}]
    server.says((200, {"accepted": [], "rejected": rejected}))
    progress: list[tuple[int, int]] = []
    with Client(server.url) as patina:
        refused = patina.upload("d", "lr", [tmp_path], lambda *at: progress.append(at))
    assert [file.code for file in refused] == ["corrupt_image"] * 2
    assert progress == [(32, 40), (40, 40)]
    assert server.asked[1][0] == "POST /datasets/d/images?role=lr"
    assert b'filename="39.png"' in server.asked[1][1]


def test_tells_how_many_photos_of_one_request_are_sent(server: Answering, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(bytes(200_000))
    server.says((202, JOB))
    progress: list[tuple[int, int]] = []
    with Client(server.url) as patina:
        patina.degrade([tmp_path], dataset="d", samples=2, on_progress=lambda *at: progress.append(at))
    assert progress == [(1, 3), (2, 3), (3, 3)]
    assert server.asked[0][1].count(b'name="files"') == 3


def test_follows_a_list_to_its_end(server: Answering) -> None:
    server.says((200, {"items": [JOB, JOB], "next": "more"}), (200, {"items": [JOB], "next": None}))
    with Client(server.url) as patina:
        assert len(list(patina.jobs())) == 3
    assert [path for path, _ in server.asked] == ["GET /jobs?limit=100", "GET /jobs?limit=100&cursor=more"]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(Job, JobOut), (Dataset, DatasetOut), (Upload, UploadOut), (Model, ModelOut), (Report, ReportOut)],
)
def test_understands_what_the_service_documents(ours: type[BaseModel], theirs: type[BaseModel]) -> None:
    example = theirs.model_config["json_schema_extra"]["example"]  # type: ignore[index]
    ours.model_validate(example)
    assert set(ours.model_fields) <= set(theirs.model_fields)
