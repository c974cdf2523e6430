"""Traces, received by a collector that speaks OTLP: one trace from the request to the worker."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from config import tracing
from config.settings import Settings
from store.repositories.jobs import JobRepository
from tests.support.api import serve_api
from tests.support.images import make_png
from worker.execute import execute_job
from worker.runtime.context import WorkerContext

TRACE = "0af7651916cd43dd8448eb211c80319c"
CLIENT_SPAN = "b7ad6b7169203331"


class Collector:
    """What processes have sent: (service name, span)."""

    def __init__(self) -> None:
        self.received: list[tuple[str, Span]] = []

    def add(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            (service,) = [
                item.value.string_value for item in resource.resource.attributes if item.key == "service.name"
            ]
            self.received += [(service, span) for scope in resource.scope_spans for span in scope.spans]

    def find(self, name: str) -> Span:
        (span,) = [span for _, span in self.received if span.name == name]
        return span


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            collector.add(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    monkeypatch.setattr(tracing, "_tracer", None)
    yield collector
    server.shutdown()
    thread.join()
    server.server_close()


def test_one_trace_leads_from_the_request_to_the_worker(tmp_path: Path, redis_url: str, collector: Collector) -> None:
    settings = Settings(data_dir=tmp_path, redis_url=redis_url, traces=True)
    flush = tracing.configure_tracing(settings, "api")
    with serve_api(settings) as api:
        dataset = api.create_dataset()
        api.create_model(dataset)
        headers = {"traceparent": f"00-{TRACE}-{CLIENT_SPAN}-01"}
        parts = [("files", ("a.png", make_png(40, 40)))]
        job = api.http.post(f"/datasets/{dataset}/degrade", files=parts, headers=headers).json()["id"]
        # The model has no usable file, so the job fails at once. Its trace has a shard all the same.
        execute_job(WorkerContext(api.store, settings), job)
        with api.store.database.read() as session:
            record = JobRepository(session).get(job)
            assert record is not None
            assert record.status == "failed"
            assert record.error
    flush()
    request, queued, shard = (
        collector.find(name) for name in ("POST /datasets/{dataset_id}/degrade", "queued", "degrade shard")
    )
    assert {span.trace_id.hex() for span in (request, queued, shard)} == {TRACE}
    assert request.parent_span_id.hex() == CLIENT_SPAN
    assert queued.parent_span_id == shard.parent_span_id == request.span_id
    assert (request.kind, shard.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CONSUMER)
    attributes = {item.key: item.value for item in (*request.attributes, *shard.attributes)}
    assert attributes["http.route"].string_value == "/datasets/{dataset_id}/degrade"
    assert attributes["http.response.status_code"].int_value == 202
    assert attributes["patina.job"].string_value == job
    assert attributes["patina.status"].string_value == "failed"
    assert attributes["patina.code"].string_value == record.error["code"]
    assert request.start_time_unix_nano < shard.start_time_unix_nano < shard.end_time_unix_nano
    assert {service for service, _ in collector.received} == {"patina-api"}


def test_a_client_cannot_send_an_invalid_trace(tmp_path: Path, redis_url: str, collector: Collector) -> None:
    settings = Settings(data_dir=tmp_path, redis_url=redis_url, traces=True)
    flush = tracing.configure_tracing(settings, "api")
    with serve_api(settings) as api:
        assert api.http.get("/health", headers={"traceparent": "00-what-ever-ff"}).status_code == 200
    flush()
    assert len(collector.find("GET /health").trace_id) == 16


def test_without_the_setting_nothing_is_traced(tmp_path: Path, redis_url: str, collector: Collector) -> None:
    settings = Settings(data_dir=tmp_path, redis_url=redis_url)
    tracing.configure_tracing(settings, "api")()
    with serve_api(settings) as api:
        api.http.get("/health", headers={"traceparent": f"00-{TRACE}-{CLIENT_SPAN}-01"})
        assert tracing.current_traceparent() is None
    assert collector.received == []


def test_the_api_does_not_import_the_exporter() -> None:
    # The SDK is another matter: the Redis client imports it where it is installed.
    program = "import app.main, sys; sys.exit('opentelemetry.exporter' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(tracing.MissingTracesError, match=r"pip install 'patina\[otel\]'"):
        tracing.configure_tracing(Settings(traces=True), "api")
