"""Repeated requests with an Idempotency-Key create one record."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from app.datasets import service
from app.datasets.schemas import DatasetCreate
from app.degrade.schemas import DegradeRequest
from app.degrade.service import DegradeSubmission
from app.http.idempotency import IdempotentRequest
from app.http.problems import ProblemError
from app.sr.schemas import SrRequest
from app.sr.service import SrSubmission
from store.repositories.datasets import DatasetRepository
from store.repositories.idempotency import IdempotencyRepository
from store.store import Store
from tests.support.api import Api, as_parts
from tests.support.images import make_png
from tests.support.store_factories import create_ended_training

Send = Callable[[Api, str, int, str], Any]


def create_dataset(api: Api, dataset: str, variant: int, key: str) -> Any:
    return api.http.post("/datasets", json={"name": f"{variant}", "scale": 4}, headers={"Idempotency-Key": key})


def train(api: Api, dataset: str, variant: int, key: str) -> Any:
    return api.http.post(f"/datasets/{dataset}/train", json={"seed": variant}, headers={"Idempotency-Key": key})


def degrade(api: Api, dataset: str, variant: int, key: str) -> Any:
    files = as_parts({"a_png": make_png(40, 40, variant)})
    return api.http.post(f"/datasets/{dataset}/degrade", files=files, headers={"Idempotency-Key": key})


def super_resolve(api: Api, dataset: str, variant: int, key: str) -> Any:
    files, data = as_parts({"a_png": make_png(40, 40, variant)}), {"dataset": dataset}
    return api.http.post("/sr", files=files, data=data, headers={"Idempotency-Key": key})


def continue_training(api: Api, dataset: str, variant: int, key: str) -> Any:
    """Continues one of two trainings that were finished early."""
    jobs = sorted(job["id"] for job in api.http.get("/jobs", params={"dataset": dataset}).json()["items"])
    early = [job for job in jobs if api.http.get(f"/jobs/{job}").json()["ended_early"]] or create_ended_early(
        api, dataset
    )
    return api.http.post(f"/jobs/{early[variant - 1]}/continue", headers={"Idempotency-Key": key})


def create_ended_early(api: Api, dataset: str) -> list[str]:
    return [create_ended_training(api.store, dataset) for _ in range(2)]


ALL_ENDPOINTS = pytest.mark.parametrize("send", [create_dataset, train, degrade, super_resolve, continue_training])


@pytest.fixture
def dataset(api: Api) -> str:
    created = api.create_dataset()
    api.create_model(created)
    for role in ("lr", "hr"):
        api.upload(created, role, a_png=make_png(128, 128))
    return created


@ALL_ENDPOINTS
def test_a_key_creates_one_record_and_rejects_other_requests(api: Api, dataset: str, send: Send) -> None:
    first, again = send(api, dataset, 1, "k"), send(api, dataset, 1, "k")
    assert first.is_success, first.text
    assert (again.status_code, again.json()["id"]) == (first.status_code, first.json()["id"])
    assert send(api, dataset, 1, '"k"').json()["id"] == first.json()["id"], "structured headers are quoted"

    before = api.find_traces()
    other = send(api, dataset, 2, "k")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    traces = api.find_traces()
    assert (traces["jobs"], traces["temporary"]) == (before["jobs"], before["temporary"])
    assert send(api, dataset, 2, "l").json()["id"] != first.json()["id"]


def test_a_repeated_request_returns_the_current_job(api: Api, dataset: str) -> None:
    job = degrade(api, dataset, 1, "k").json()["id"]
    api.http.post(f"/jobs/{job}/cancel")
    again = degrade(api, dataset, 1, "k")
    assert (again.json()["id"], again.json()["status"]) == (job, "canceled")
    assert again.headers["location"] == f"/jobs/{job}"


def test_a_rejected_request_does_not_use_up_its_key(api: Api) -> None:
    dataset = api.create_dataset()
    assert train(api, dataset, 1, "k").json()["code"] == "no_lr_images"
    for role in ("lr", "hr"):
        api.upload(dataset, role, a_png=make_png(128, 128))
    assert train(api, dataset, 1, "k").status_code == 202


def test_a_key_is_deleted_with_its_record(api: Api) -> None:
    first = create_dataset(api, "", 1, "k").json()["id"]
    api.http.delete(f"/datasets/{first}")
    again = create_dataset(api, "", 1, "k")
    assert again.status_code == 201
    assert again.json()["id"] != first


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_an_invalid_key_is_rejected(api: Api, key: str) -> None:
    assert create_dataset(api, "", 1, key).json()["code"] == "invalid_request"


def test_concurrent_equal_requests_create_one_record(store: Store) -> None:
    payload = DatasetCreate(name="photos", scale=4)
    barrier, responses = threading.Barrier(8), list[Any]()

    def send(number: int) -> None:
        barrier.wait()
        try:
            responses.append(service.create(store, payload, IdempotentRequest.create("k", number % 2)).id)
        except ProblemError as error:
            responses.append(error.code)
        except Exception as error:  # a thread's error would be lost
            responses.append(error)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.database.read() as session:
        (created,) = DatasetRepository(session).list_newest(before=None, limit=10)
    assert sorted(responses) == sorted([created.id] * 4 + ["idempotency_key_reused"] * 4)


def test_old_keys_are_purged(store: Store) -> None:
    payload = DatasetCreate(name="photos", scale=4)
    first = service.create(store, payload, IdempotentRequest.create("k", 1)).id
    with store.database.write() as session:
        assert IdempotencyRepository(session).purge(60) == 0
    assert service.create(store, payload, IdempotentRequest.create("k", 1)).id == first
    time.sleep(0.05)
    with store.database.write() as session:
        assert IdempotencyRepository(session).purge(0.01) == 1
    assert service.create(store, payload, IdempotentRequest.create("k", 2)).id != first


def test_openapi_describes_the_key_of_every_creating_endpoint(api: Api) -> None:
    paths = api.http.get("/openapi.json").json()["paths"]
    described = {
        path
        for path, operations in paths.items()
        for parameter in operations.get("post", {}).get("parameters", [])
        if parameter["name"] == "Idempotency-Key" and "idempotency_key_reused" in parameter["description"]
    }
    assert described == {
        "/datasets",
        "/datasets/{dataset_id}/train",
        "/datasets/{dataset_id}/degrade",
        "/sr",
        "/jobs/{job_id}/continue",
    }


def test_fields_added_later_do_not_change_the_digest_unless_set(api: Api) -> None:
    """A client may repeat a request after an update of the service."""
    sr, degrade = SrSubmission(api.store, api.settings), DegradeSubmission(api.store, api.settings, "d")
    before = {"dataset": "d", "model": None, "tile": None, "format": "zip"}
    assert sr.describe(SrRequest(dataset="d")) == before
    assert sr.describe(SrRequest.model_validate({"dataset": "d", "format": "tar"})) == before | {"format": "tar"}
    changed = sr.describe(SrRequest.model_validate({"dataset": "d", "format": "jpeg", "quality": 80}))
    assert changed == before | {"image_format": "jpeg", "quality": 80}
    assert not {"inputs", "frames", "depth"} & degrade.describe(DegradeRequest()).keys()
    assert degrade.describe(DegradeRequest.model_validate({"frames": "all"}))["frames"] == "all"
