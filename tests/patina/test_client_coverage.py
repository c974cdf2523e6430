"""All that the service's API can do can be done with the client: every call of its document is made here, for real."""

from __future__ import annotations

import re
from pathlib import Path

import anyio
import httpx
import pytest

from app.webhooks.schemas import EXAMPLE
from patina import AsyncClient, Client
from patina.client.flow import Sync
from patina.client.http import bound
from patina.client.schemas import Event
from patina.client.webhooks import Webhook
from patina.errors import JobError, ServiceError
from tests.patina.conftest import Trained, photos

LEFT_OUT = {
    "GET /datasets/{dataset_id}/images/{image_id}/thumbnail",  # small pictures for the page
    "OPTIONS /datasets/{dataset_id}/uploads",  # the client knows what the service speaks,
    "HEAD /uploads/{upload_id}",  # asks where it was only when the connection broke,
    "DELETE /uploads/{upload_id}",  # and lets what it gave up expire
    "GET /health",  # these three are for those who watch over a service
    "GET /ready",
    "GET /metrics",
}


def test_a_training_is_followed_ended_early_and_gone_on_with_by_calls_that_reach_all_of_the_api(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    with Client(trained.url) as patina:
        patina._http.event_hooks = {"request": [lambda request: asked.append(f"{request.method} {request.url.path}")]}
        dataset = patina.datasets.create("reached", scale=4)
        lr = photos(tmp_path / "lr", 3, (48, 40))
        dataset.upload("lr", lr)
        with monkeypatch.context() as patch:
            patch.setattr("patina.client.uploads.BATCH_BYTES", 1)  # every file is a large one
            dataset.upload("hr", trained.hr)
        assert {photo.name for photo in dataset.photos("lr")} == {"0.png", "1.png", "2.png"}

        training = dataset.train(max_steps=100_000)
        next(job for job in patina.jobs.changes() if job.id == training.id)
        heard: list[Event] = []
        for event in training.events():
            heard.append(event)
            if event.kind == "preview" and training.unfinished:
                previews = training.preview(tmp_path / "preview")
                training.finish()
        assert all(file.stat().st_size for file in previews)
        assert (training.status, training.ended_early) == ("succeeded", True)
        assert [event.number for event in heard] == list(range(1, len(heard) + 1))
        assert {event.kind for event in heard} == {"log", "metrics", "preview"}
        assert training.history() == heard
        assert anyio.run(events_of, trained.url, training.id) == heard

        further = training.go_on()
        for _ in range(2):
            further.cancel()
            with pytest.raises(JobError, match="canceled"):
                further.wait()
            further.retry()
        further.cancel()

        model = patina.models.get(training.model or "")
        assert model.history
        assert model.report().alarms
        model.download(tmp_path, "sr.safetensors")
        assert [each.id for each in patina.models.list(dataset=dataset.id)] == [model.id]
        assert {job.id for job in patina.jobs.list(dataset=dataset.id)} == {training.id, further.id}

        results_are_fetched_one_by_one_and_all_at_once(patina, trained.job, tmp_path)
        webhooks_are_asked_for(patina)
        dataset.sr(lr / "0.png").wait()
        dataset.degrade(lr / "0.png").wait()
        assert dataset.share().shared
        further.refresh()
        if further.unfinished:
            with pytest.raises(JobError):
                further.wait()
        assert dataset.id in [each.id for each in patina.datasets.list()]
        assert patina.datasets.get(dataset.id).models == [model.id]
        dataset.delete()
    assert unreached(trained.url, asked) == LEFT_OUT


def results_are_fetched_one_by_one_and_all_at_once(patina: Client, job_id: str, folder: Path) -> None:
    job = patina.jobs.get(job_id)
    line = job.download(folder / "all")[0]
    first = job.results(limit=1)[0]
    assert (first.source, first.status) == (line["source"], "ok")
    assert job.fetch(first, "lr", folder / "one.png").read_bytes() == (folder / "all" / line["lr"]).read_bytes()
    job.download(folder / "some", leave_out=["kernel", "noise"], validation=1, split="validation")
    assert {file.name for file in (folder / "some").iterdir()} == {"lr", "manifest.jsonl"}


def webhooks_are_asked_for(patina: Client) -> None:
    """This service is told to call nobody."""
    with pytest.raises(ServiceError) as refused:
        patina.webhooks.create("https://example.com/patina", ["job.failed"])
    assert refused.value.code == "webhooks_off"
    assert patina.webhooks.list() == []
    unknown = bound(patina.webhooks, Webhook[Sync].model_validate(EXAMPLE))
    for call in (unknown.deliveries, unknown.delete):
        with pytest.raises(ServiceError) as missing:
            call()
        assert missing.value.status == 404


async def events_of(url: str, job: str) -> list[Event]:
    async with AsyncClient(url) as patina:
        return [event async for event in (await patina.jobs.get(job)).events()]


def unreached(url: str, asked: list[str]) -> set[str]:
    """The operations of the service's document that none of the requests was for."""
    paths = httpx.get(f"{url}/openapi.json").json()["paths"]
    operations = {f"{method.upper()} {path}" for path, calls in paths.items() for method in calls}
    # What is named in full, such as /jobs/events, is not the job of that name.
    plain = {operation for operation in operations if "{" not in operation}
    patterns = {operation: re.sub(r"\\{\w+\\}", "[^/]+", re.escape(operation)) for operation in operations - plain}
    reached = plain & set(asked)
    for request in set(asked) - plain:
        reached |= {operation for operation, pattern in patterns.items() if re.fullmatch(pattern, request)}
    return operations - reached
