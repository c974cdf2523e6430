"""Several workers on one job, and a worker that leaves a large job for a small one of somebody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from config.settings import Settings
from store.db.access import Caller
from store.db.tables import Job, Shard
from store.errors import LeaseLostError
from store.repositories.datasets import DatasetRepository, NewImage
from store.repositories.jobs import JobRepository, Progress
from store.repositories.samples import NewSample, SampleRepository
from store.repositories.schedule import ScheduleRepository
from store.store import Store
from tests.support.api import Api, serve_api
from tests.support.images import make_photos, read_tar
from tests.support.small_model import store_small_model
from tests.support.wait_until import wait_until
from worker.execute import execute_job
from worker.runtime.context import WorkerContext

PHOTOS = make_photos(9, 64)


@pytest.fixture
def api(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Api]:
    settings = Settings(data_dir=tmp_path, database_url=database_url, redis_url=redis_url, torch_threads=1)
    with serve_api(settings) as served:
        yield served


@pytest.fixture
def dataset(api: Api) -> str:
    """A dataset with a small model."""
    dataset = api.create_dataset(scale=2)
    store_small_model(api.store, dataset)
    return dataset


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every claim takes one image."""
    monkeypatch.setattr("store.repositories.schedule.FIRST_SAMPLES", {"degrade": 1})
    monkeypatch.setattr("worker.jobs.items.SHARD_SECONDS", 0.0)


def work(api: Api, job_id: str = "") -> None:
    """Runs shards as a worker process does, until none waits."""
    execute_job(WorkerContext(api.store, api.settings), job_id)


def get(api: Api, job_id: str) -> Job:
    with api.store.database.read() as session:
        return session.get_one(Job, job_id)


def read_results(api: Api, job_id: str) -> dict[str, bytes]:
    return read_tar(api.http.get(f"/jobs/{job_id}/archive?format=tar").content)


def list_items(api: Api, job_id: str) -> list[tuple[Any, ...]]:
    with api.store.database.read() as session:
        items = SampleRepository(session).list_items(job_id)
        return [(item.position, item.name, item.output_name, item.sha256, item.crop, item.code) for item in items]


def add_images(store: Store, dataset: str, count: int) -> None:
    """Adds records of images without files."""
    with store.database.write() as session:
        images = [NewImage(f"photo {n % 5}.png", f"{n:064x}", 60 + 40 * (n % 3), 100) for n in range(count)]
        DatasetRepository(session).add_images(dataset, "hr", images)


def degrade(api: Api, dataset: str, **fields: object) -> Any:
    return api.http.post(f"/datasets/{dataset}/degrade", data={"source": dataset, **fields})


@pytest.mark.usefixtures("small_shards")
def test_the_bytes_do_not_depend_on_the_workers(api: Api, dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker died with a shard, and one was frozen and comes back; three others do the rest."""
    with monkeypatch.context() as patch:
        patch.setattr("store.repositories.schedule.FIRST_SAMPLES", {"degrade": 1000})
        alone = api.degrade(dataset, PHOTOS, samples=2, seed=7)
        work(api)
    assert get(api, alone).attempt == 1
    job = api.degrade(dataset, PHOTOS, samples=2, seed=7)
    with api.store.database.write() as session:
        schedule = ScheduleRepository(session)
        dead, frozen = (schedule.claim_next("warm", name, -1, workers=5) for name in ("dead", "frozen"))
    assert dead is not None
    assert frozen is not None
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: work(api), range(3)))
    assert get(api, job).status != "succeeded"
    with api.store.database.write() as session:
        assert len(JobRepository(session).requeue_expired_leases(3)) == 2
    work(api)
    late, progress = [NewSample(frozen.start, 0, {"lr": "0" * 64})], Progress(None, None, 1.0, None)
    with pytest.raises(LeaseLostError), api.store.database.write() as session:
        JobRepository(session).record(job, frozen.job.attempt, progress, late)
    done = get(api, job)
    assert (done.status, done.ok, done.attempt) == ("succeeded", 18, 2 + 9)
    expected, found = read_results(api, alone), read_results(api, job)
    del expected["manifest.jsonl"], found["manifest.jsonl"]
    assert found == expected
    assert len(found) == 18 * 3


@pytest.mark.parametrize("crop", [{}, {"crop": 50, "crop_step": 30}], ids=["images", "crops"])
def test_listed_items_are_those_of_a_small_request(
    api: Api, dataset: str, crop: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker lists them, and another one goes on where it was killed."""
    add_images(api.store, dataset, 23)
    small = degrade(api, dataset, source_from=2, source_to=20, **crop).json()
    api.http.post(f"/jobs/{small['id']}/cancel")
    monkeypatch.setattr("app.degrade.service.MAX_INLINE_ITEMS", 3)
    monkeypatch.setattr("worker.jobs.expand.CHUNK_ITEMS", 4)
    monkeypatch.setattr("worker.jobs.expand.READ_IMAGES", 5)
    large = degrade(api, dataset, source_from=2, source_to=20, **crop).json()
    assert large["progress"]["total"] == small["progress"]["total"] >= 18
    assert list_items(api, large["id"]) == []

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("worker.jobs.expand.enqueue", die)
        with pytest.raises(KeyboardInterrupt):
            work(api)
    listed = list_items(api, large["id"])
    assert 4 <= len(listed) < len(list_items(api, small["id"]))
    with api.store.database.write() as session:
        session.execute(update(Shard).where(Shard.status == "running").values(lease_until=0))
        JobRepository(session).requeue_expired_leases(3)
    work(api)
    assert list_items(api, large["id"]) == list_items(api, small["id"])
    ended = get(api, large["id"])
    assert (ended.status, (ended.error or {})["code"], ended.done) == ("failed", "all_failed", ended.total), "no files"


def test_images_deleted_before_they_are_listed(api: Api, dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.degrade.service.MAX_INLINE_ITEMS", 3)
    source = api.create_dataset()
    add_images(api.store, source, 5)
    job = degrade(api, dataset, source=source).json()["id"]
    assert api.http.delete(f"/datasets/{source}").status_code == 204
    work(api)
    assert (get(api, job).error or {})["code"] == "source_deleted"


def test_a_range_must_exist(api: Api, dataset: str) -> None:
    add_images(api.store, dataset, 3)
    assert degrade(api, dataset, source_from=3).json()["code"] == "empty_source_range"
    assert degrade(api, dataset, source_from=2).json()["progress"]["total"] == 1
    answer = api.http.post(f"/datasets/{dataset}/degrade", data={"source_from": 1}, files={"files": PHOTOS["0.png"]})
    assert answer.json()["code"] == "range_without_source"


def test_a_small_job_of_another_owner_goes_first(api: Api, dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only worker has begun a large job, in one shard."""
    monkeypatch.setattr("worker.runtime.lease.LOOK_EVERY_SECONDS", 0.0)
    monkeypatch.setattr("store.repositories.schedule.UNNOTICED_SECONDS", 0.0)
    api.settings = api.settings.model_copy(update={"lease_seconds": 0.2})
    large = api.degrade(dataset, PHOTOS, samples=100)
    worker = threading.Thread(target=work, args=(api,))
    worker.start()
    try:
        assert wait_until(lambda: get(api, large).done > 0)
        with api.store.as_caller(Caller("somebody else", is_admin=False)).database.write() as session:
            parameters = get(api, large).parameters | {"samples": 1}
            fields: dict[str, Any] = {"model_id": get(api, large).model_id, "parameters": parameters, "num_items": 1}
            small = JobRepository(session).create("degrade", dataset_id=None, unit="samples", total=1, **fields).id
        assert wait_until(lambda: get(api, small).finished_at is not None)
        assert get(api, large).status in ("queued", "running"), "it goes on afterwards"
    finally:
        worker.join(60)
    ended = get(api, large)
    assert (ended.status, ended.ok) == ("succeeded", 900)
    assert ended.attempt >= 2
