"""The client covers the API: this test sends every request of the OpenAPI document to a real service."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import anyio
import httpx
import pytest

from app.webhooks.schemas import EXAMPLE
from patina import AsyncClient, Client
from patina.client import Dataset, Webhook
from patina.errors import JobError, ServiceError
from patina.schemas import Event
from tests.support.images import save_photos
from tests.support.local_service import TrainedModel

NOT_USED = {
    "GET /datasets/{dataset_id}/images/{image_id}/thumbnail",  # for the page
    "OPTIONS /datasets/{dataset_id}/uploads",  # the client knows the tus extensions
    "HEAD /uploads/{upload_id}",  # only after a broken connection
    "DELETE /uploads/{upload_id}",  # abandoned uploads expire
    "GET /inputs/{inputs_id}",  # creating them again with the same key says as much
    "DELETE /inputs/{inputs_id}",  # a job takes them, or they expire
    "GET /health",  # for monitoring, as are the next three
    "GET /health/workers",
    "GET /ready",
    "GET /metrics",
}


def test_client_calls_cover_the_api(trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training is followed, finished early and resumed; its model is used, and everything is deleted."""
    requests: list[str] = []
    with Client(trained.url) as patina:
        patina._http.event_hooks = {
            "request": [lambda request: requests.append(f"{request.method} {request.url.path}")]
        }
        dataset = patina.datasets.create("covered", scale=4)
        lr = save_photos(tmp_path / "lr", 3, (48, 40))
        dataset.upload("lr", lr)
        with monkeypatch.context() as patch:
            patch.setattr("patina.client.photo_files.MAX_BATCH_BYTES", 1)  # every file is large
            dataset.upload("hr", trained.hr)
        assert {photo.name for photo in dataset.photos("lr")} == {"0.png", "1.png", "2.png"}
        checks = dataset.checks()
        assert checks.checked + checks.unchecked == sum(dataset.refresh().images.values())

        training = dataset.train(max_steps=100_000)
        next(job for job in patina.jobs.changes() if job.id == training.id)
        events: list[Event] = []
        for event in training.events():
            events.append(event)
            if event.kind == "preview" and training.unfinished:
                previews = training.preview(tmp_path / "preview")
                training.finish()
        assert all(file.stat().st_size for file in previews)
        assert (training.status, training.ended_early) == ("succeeded", True)
        assert [event.number for event in events] == list(range(1, len(events) + 1))
        assert {event.kind for event in events} == {"log", "metrics", "preview"}
        assert training.history() == events
        assert anyio.run(collect_events, trained.url, training.id) == events

        resumed = training.resume()
        for _ in range(2):
            resumed.cancel()
            with pytest.raises(JobError, match="canceled"):
                resumed.wait()
            resumed.retry()
        resumed.cancel()

        model = patina.models.get(training.model or "")
        assert model.history
        assert model.report().alarms
        model.download(tmp_path, "sr.safetensors")
        assert [item.id for item in patina.models.list(dataset=dataset.id)] == [model.id]
        assert {job.id for job in patina.jobs.list(dataset=dataset.id)} == {training.id, resumed.id}

        check_results(patina, trained.job, tmp_path)
        check_webhooks(patina)
        check_submissions(dataset, lr, monkeypatch)
        assert dataset.share().shared
        resumed.refresh()
        if resumed.unfinished:
            with pytest.raises(JobError):
                resumed.wait()
        assert dataset.id in [item.id for item in patina.datasets.list()]
        assert patina.datasets.get(dataset.id).models == [model.id]
        dataset.delete()
    assert list_unused_operations(trained.url, requests) == NOT_USED


def check_results(patina: Client, job_id: str, folder: Path) -> None:
    job = patina.jobs.get(job_id)
    line = job.download(folder / "all")[0]
    first = job.results(limit=1)[0]
    assert (first.source, first.status) == (line["source"], "ok")
    assert job.fetch(first, "lr", folder / "one.png").read_bytes() == (folder / "all" / line["lr"]).read_bytes()
    job.download(folder / "some", leave_out=["kernel", "noise"], validation=1, split="validation")
    assert {file.name for file in (folder / "some").iterdir()} == {"lr", "manifest.jsonl"}


def check_submissions(dataset: Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one request, in parts, and with a file that is so large that it is sent in parts itself."""
    dataset.degrade(folder / "0.png").wait()
    with monkeypatch.context() as patch:
        patch.setattr("patina.client.photo_files.MAX_BATCH_FILES", 2)
        job = dataset.sr(folder).wait()
    with monkeypatch.context() as patch:
        patch.setattr("patina.client.photo_files.MAX_BATCH_BYTES", 1)
        assert dataset.sr(folder / "0.png").wait().counts["ok"] == 1
    assert job.counts["ok"] == 3
    job.delete_results()
    check_shards(dataset, folder / "0.png", folder.parent / "shards")


def check_shards(dataset: Dataset, photo: Path, folder: Path) -> None:
    """A second call replaces what is incomplete, and leaves the rest alone."""
    job = dataset.degrade(photo, samples=2, store="shards").wait()
    (shard,) = job.shards()
    (path,) = job.download_shards(folder)
    assert (path.name, path.stat().st_size, shard.samples) == ("shard-000000.tar", shard.size, 2)
    with tarfile.open(path) as opened:
        assert {"0_0.lr.png", "0_1.json"} < set(opened.getnames())
    whole, inode = path.read_bytes(), path.stat().st_ino
    job.download_shards(folder)
    assert path.stat().st_ino == inode
    path.write_bytes(whole[:-1])
    job.download_shards(folder)
    assert path.read_bytes() == whole


def check_webhooks(patina: Client) -> None:
    """Webhooks are disabled in this service."""
    with pytest.raises(ServiceError) as refused:
        patina.webhooks.create("https://example.com/patina", ["job.failed"])
    assert refused.value.code == "webhooks_disabled"
    assert patina.webhooks.list() == []
    unknown = Webhook.model_validate(EXAMPLE).bind(patina.webhooks._connection)
    for call in (unknown.deliveries, unknown.delete):
        with pytest.raises(ServiceError) as missing:
            call()
        assert missing.value.status == 404


async def collect_events(url: str, job: str) -> list[Event]:
    async with AsyncClient(url) as patina:
        return [event async for event in (await patina.jobs.get(job)).events()]


def list_unused_operations(url: str, requests: list[str]) -> set[str]:
    """Returns the operations of the OpenAPI document that no request used."""
    paths = httpx.get(f"{url}/openapi.json").json()["paths"]
    operations = {f"{method.upper()} {path}" for path, calls in paths.items() for method in calls}
    # /jobs/events, for example, also matches the pattern of one job.
    plain = {operation for operation in operations if "{" not in operation}
    patterns = {operation: re.sub(r"\\{\w+\\}", "[^/]+", re.escape(operation)) for operation in operations - plain}
    used = plain & set(requests)
    for request in set(requests) - plain:
        used |= {operation for operation, pattern in patterns.items() if re.fullmatch(pattern, request)}
    return operations - used
