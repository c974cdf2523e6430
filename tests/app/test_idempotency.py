"""Requests that are sent again with their key: what they make is made once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from app.datasets import service
from app.datasets.schemas import DatasetCreate
from app.http.idempotency import IdempotentRequest
from app.http.problems import ProblemError
from store.repositories.datasets import DatasetRepository
from store.repositories.idempotency import IdempotencyRepository
from store.repositories.jobs import JobRepository
from store.repositories.models import CheckpointRepository
from store.store import Store
from tests.app.conftest import Api, as_parts
from tests.pictures import make_png

Send = Callable[[Api, str, int, str], Any]


def make_dataset(api: Api, dataset: str, variant: int, key: str) -> Any:
    return api.http.post("/datasets", json={"name": f"{variant}", "scale": 4}, headers={"Idempotency-Key": key})


def train(api: Api, dataset: str, variant: int, key: str) -> Any:
    return api.http.post(f"/datasets/{dataset}/train", json={"seed": variant}, headers={"Idempotency-Key": key})


def degrade(api: Api, dataset: str, variant: int, key: str) -> Any:
    files = as_parts({"a_png": make_png(40, 40, variant)})
    return api.http.post(f"/datasets/{dataset}/degrade", files=files, headers={"Idempotency-Key": key})


def super_resolve(api: Api, dataset: str, variant: int, key: str) -> Any:
    files, data = as_parts({"a_png": make_png(40, 40, variant)}), {"dataset": dataset}
    return api.http.post("/sr", files=files, data=data, headers={"Idempotency-Key": key})


def train_on(api: Api, dataset: str, variant: int, key: str) -> Any:
    """Goes on where one of two trainings was ended early."""
    jobs = sorted(job["id"] for job in api.http.get("/jobs", params={"dataset": dataset}).json()["items"])
    early = [job for job in jobs if api.http.get(f"/jobs/{job}").json()["ended_early"]] or ended_early(api, dataset)
    return api.http.post(f"/jobs/{early[variant - 1]}/continue", headers={"Idempotency-Key": key})


def ended_early(api: Api, dataset: str) -> list[str]:
    early = []
    for number in range(2):
        with api.store.database.write() as session:
            jobs = JobRepository(session)
            job = jobs.create("train", dataset_id=dataset, model_id=None, parameters={}, unit="steps", total=9)
            claimed = jobs.claim(job.id, "a worker", 60)
            assert claimed is not None
            jobs.request_finish(job.id)
            sha256 = api.store.blobs.put(b"checkpoint %d" % number)
            CheckpointRepository(session).put(job.id, step=1, seconds=1.0, sha256=sha256)
            jobs.finish(job.id, claimed.attempt, "succeeded")
            early.append(job.id)
    return early


ALL = pytest.mark.parametrize("send", [make_dataset, train, degrade, super_resolve, train_on])


@pytest.fixture
def dataset(api: Api) -> str:
    made = api.dataset()
    api.model(made)
    for role in ("lr", "hr"):
        api.upload(made, role, a_png=make_png(128, 128))
    return made


@ALL
def test_the_same_request_makes_one_record_and_another_with_its_key_is_refused(
    api: Api, dataset: str, send: Send
) -> None:
    first, again = send(api, dataset, 1, "k"), send(api, dataset, 1, "k")
    assert first.is_success, first.text
    assert (again.status_code, again.json()["id"]) == (first.status_code, first.json()["id"])
    assert send(api, dataset, 1, '"k"').json()["id"] == first.json()["id"], "as a structured header it is quoted"

    before = api.traces()
    other = send(api, dataset, 2, "k")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    traces = api.traces()
    assert (traces["jobs"], traces["temporary"]) == (before["jobs"], before["temporary"])
    assert send(api, dataset, 2, "l").json()["id"] != first.json()["id"]


def test_a_repeated_request_is_answered_with_the_job_as_it_is_now(api: Api, dataset: str) -> None:
    job = degrade(api, dataset, 1, "k").json()["id"]
    api.http.post(f"/jobs/{job}/cancel")
    again = degrade(api, dataset, 1, "k")
    assert (again.json()["id"], again.json()["status"]) == (job, "canceled")
    assert again.headers["location"] == f"/jobs/{job}"


def test_a_refused_request_leaves_its_key_free(api: Api) -> None:
    dataset = api.dataset()
    assert train(api, dataset, 1, "k").json()["code"] == "no_lr_images"
    for role in ("lr", "hr"):
        api.upload(dataset, role, a_png=make_png(128, 128))
    assert train(api, dataset, 1, "k").status_code == 202


def test_a_key_goes_with_what_it_made(api: Api) -> None:
    first = make_dataset(api, "", 1, "k").json()["id"]
    api.http.delete(f"/datasets/{first}")
    again = make_dataset(api, "", 1, "k")
    assert again.status_code == 201
    assert again.json()["id"] != first


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_that_cannot_be_one_is_refused(api: Api, key: str) -> None:
    assert make_dataset(api, "", 1, key).json()["code"] == "invalid_request"


def test_the_same_request_many_times_at_once_makes_one_record(store: Store) -> None:
    wanted = DatasetCreate(name="photos", scale=4)
    together, answers = threading.Barrier(8), list[Any]()

    def send(number: int) -> None:
        together.wait()
        try:
            answers.append(service.create(store, wanted, IdempotentRequest.create("k", number % 2)).id)
        except ProblemError as error:
            answers.append(error.code)
        except Exception as error:  # a thread's error would be lost
            answers.append(error)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.database.read() as session:
        (made,) = DatasetRepository(session).list_newest(before=None, limit=10)
    assert sorted(answers) == sorted([made.id] * 4 + ["idempotency_key_reused"] * 4)


def test_old_keys_are_forgotten(store: Store) -> None:
    wanted = DatasetCreate(name="photos", scale=4)
    first = service.create(store, wanted, IdempotentRequest.create("k", 1)).id
    with store.database.write() as session:
        assert IdempotencyRepository(session).purge(60) == 0
    assert service.create(store, wanted, IdempotentRequest.create("k", 1)).id == first
    time.sleep(0.05)
    with store.database.write() as session:
        assert IdempotencyRepository(session).purge(0.01) == 1
    assert service.create(store, wanted, IdempotentRequest.create("k", 2)).id != first


def test_the_documentation_describes_the_key_wherever_something_is_made(api: Api) -> None:
    paths = api.http.get("/openapi.json").json()["paths"]
    described = {
        path
        for path, calls in paths.items()
        for parameter in calls.get("post", {}).get("parameters", [])
        if parameter["name"] == "Idempotency-Key" and "idempotency_key_reused" in parameter["description"]
    }
    assert described == {
        "/datasets",
        "/datasets/{dataset_id}/train",
        "/datasets/{dataset_id}/degrade",
        "/sr",
        "/jobs/{job_id}/continue",
    }
