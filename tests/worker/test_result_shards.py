"""Jobs with `store=shards`: their tars, what is served from them, and workers that die."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings
from store.admin.doctor import check
from store.db.tables import Job
from store.repositories.jobs import JobRepository
from store.repositories.schedule import ScheduleRepository
from tests.support.api import Api, serve_api
from tests.support.images import make_photos, read_tar
from tests.support.small_model import store_small_model
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
    dataset = api.create_dataset(scale=2)
    store_small_model(api.store, dataset)
    return dataset


def work(api: Api) -> None:
    """Runs shards as a worker process does, until none waits."""
    execute_job(WorkerContext(api.store, api.settings), "")


def get(api: Api, job_id: str) -> Job:
    with api.store.database.read() as session:
        return session.get_one(Job, job_id)


def read_results(api: Api, job_id: str, **query: Any) -> dict[str, bytes]:
    return read_tar(api.http.get(f"/jobs/{job_id}/archive", params={"format": "tar", **query}).content)


def list_shards(api: Api, job_id: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = api.http.get(f"/jobs/{job_id}/shards?limit=1000").json()["items"]
    return items


def test_the_bytes_are_those_of_files(api: Api, dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker died with its part of the job, one comes back later, and two do the rest."""
    files = api.degrade(dataset, PHOTOS, samples=3, seed=7)
    work(api)
    monkeypatch.setattr("store.repositories.schedule.FIRST_SAMPLES", {"degrade": 6})
    monkeypatch.setattr("worker.jobs.items.TAR_SECONDS", 0.0)
    monkeypatch.setattr("worker.jobs.result_files.SHARD_SAMPLES", 4)
    job = api.degrade(dataset, PHOTOS, samples=3, seed=7, store="shards")
    with api.store.database.write() as session:
        assert ScheduleRepository(session).claim_next("warm", "dead", -1, workers=5)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: work(api), range(2)))
    with api.store.database.write() as session:
        assert len(JobRepository(session).requeue_expired_leases(3)) == 1
    work(api)
    done = get(api, job)
    assert (done.status, done.ok, done.done) == ("succeeded", 27, 27)
    expected, found = read_results(api, files), read_results(api, job)
    assert found["manifest.jsonl"] == expected["manifest.jsonl"]
    assert found == expected
    shards = list_shards(api, job)
    assert sum(shard["samples"] for shard in shards) == 27
    assert max(shard["samples"] for shard in shards) == 4
    members: dict[str, bytes] = {}
    for shard in shards:
        data = api.http.get(shard["links"]["self"]).content
        with tarfile.open(fileobj=io.BytesIO(data)) as opened:
            names = opened.getnames()
        assert names == sorted(names)
        assert not members.keys() & names
        members |= read_tar(data)
    webdataset = {"format": "webdataset"}
    assert members == read_results(api, files, **webdataset)
    assert read_results(api, job, **webdataset) == members
    assert list(check(api.store, deep=True)) == []
    line = json.loads(members["3_2.json"])
    assert members["3_2.lr.png"] == expected[line["lr"]]
