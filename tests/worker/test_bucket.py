"""A worker that shares a database, a queue and a bucket with the API, and no folder."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import datasets
import httpx
import pytest

from config.settings import Settings
from store.db.tables import Job
from store.deployment import bind_storage
from store.store import Store
from tests.support.api import Api, serve_api
from tests.support.images import make_photos, read_tar
from tests.support.s3 import S3Server
from tests.support.s3_proxy import S3Proxy, s3_proxy
from tests.support.small_model import store_small_model
from tests.support.wait_until import wait_until
from worker.execute import execute_job
from worker.runtime.context import WorkerContext

PHOTOS = make_photos(3, 64)
WAITING = "storage_unavailable"


@pytest.fixture
def proxy(s3_server: S3Server, bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Proxy]:
    """Is between all stores that are opened later and the bucket. They give up soon."""
    monkeypatch.setattr("store.files.bucket.RETRY_SECONDS", 0.3)
    monkeypatch.setattr("worker.runtime.outcome.PAUSE_SECONDS", 0.2)
    with s3_proxy(s3_server.url) as opened:
        monkeypatch.setenv("AWS_ENDPOINT_URL", opened.url)
        yield opened


@pytest.fixture
def settings(bucket_url: str, postgresql_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "api", database_url=postgresql_url, redis_url=redis_url, blobs_url=bucket_url)


@pytest.fixture
def api(settings: Settings) -> Iterator[Api]:
    with serve_api(settings) as served:
        bind_storage(served.store.blobs, served.store.database)
        yield served


def submit(api: Api) -> str:
    """Stores a small model and submits a job of nine samples. Returns the job's id."""
    dataset = api.create_dataset(scale=2)
    store_small_model(api.store, dataset)
    return api.degrade(dataset, PHOTOS, samples=3, seed=7)


def work(settings: Settings, job_id: str) -> Job:
    """Runs a job once, as a worker with these settings, and returns its record."""
    store = Store.open(settings)
    execute_job(WorkerContext(store, settings), job_id)
    with store.database.read() as session:
        job = session.get_one(Job, job_id)
    store.close()
    return job


def test_a_worker_needs_no_shared_folder(api: Api, settings: Settings, tmp_path: Path) -> None:
    job_id = submit(api)
    elsewhere = settings.model_copy(update={"data_dir": tmp_path / "worker"})
    job = work(elsewhere, job_id)
    assert (job.status, job.ok, job.failed) == ("succeeded", 9, 0)
    archive = read_tar(api.http.get(f"/jobs/{job_id}/archive?format=tar").content)
    assert len(archive) == 28
    for folder in (settings.data_dir, elsewhere.data_dir):
        assert not (folder / "blobs").exists()
    result = f"/jobs/{job_id}/results/0/0/lr"
    assert api.http.get(result).content == archive["lr/0_0.png"]
    assert api.http.get(result, headers={"Range": "bytes=1-3"}).content == b"PNG"


@pytest.mark.parametrize("busy", [False, True], ids=["away", "throttling"])
def test_an_outage_makes_a_job_wait(proxy: S3Proxy, api: Api, settings: Settings, tmp_path: Path, busy: bool) -> None:
    job_id = submit(api)
    worker = settings.model_copy(update={"data_dir": tmp_path / "worker"})
    proxy.shut(busy=busy)
    working = threading.Thread(target=work, args=(worker, job_id))
    working.start()
    assert wait_until(lambda: (api.http.get(f"/jobs/{job_id}").json()["error"] or {}).get("code") == WAITING)
    dataset = api.http.get(f"/jobs/{job_id}").json()["dataset"]
    answer = api.http.post(f"/datasets/{dataset}/images?role=lr", files={"files": PHOTOS["0.png"]})
    assert (answer.status_code, answer.json()["code"]) == (503, WAITING)
    assert api.http.get("/ready").status_code == 503
    assert proxy.refused > 3
    proxy.open = True
    working.join(20)
    job = api.http.get(f"/jobs/{job_id}").json()
    assert (job["status"], job["counts"], job["error"]) == ("succeeded", {"ok": 9, "failed": 0}, None)
    assert api.http.get("/ready").status_code == 200


def test_throttling_is_retried_inside(proxy: S3Proxy, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.files.bucket.RETRY_SECONDS", 20)
    store = Store.open(api.settings)
    proxy.shut(busy=True)

    def open_after_two() -> None:
        wait_until(lambda: proxy.refused >= 2)
        proxy.open = True

    opener = threading.Thread(target=open_after_two)
    opener.start()
    sha256 = store.blobs.put(b"patina")
    opener.join()
    assert store.blobs.read(sha256) == b"patina"
    store.close()


def test_results_can_be_fetched_from_the_bucket(api: Api, settings: Settings) -> None:
    job_id = submit(api)
    work(settings, job_id)
    direct = api.http.get(f"/jobs/{job_id}/results/1/2/kernel")
    redirect = api.http.get(f"/jobs/{job_id}/results/1/2/kernel?redirect=true", follow_redirects=False)
    assert redirect.status_code == 307
    fetched = httpx.get(redirect.headers["location"])
    assert fetched.content == direct.content


def test_shards_are_read_from_the_bucket(
    api: Api, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.jobs.result_files.SHARD_SAMPLES", 5)
    files = submit(api)
    work(settings, files)
    dataset = api.http.get(f"/jobs/{files}").json()["dataset"]
    job_id = api.degrade(dataset, PHOTOS, samples=3, seed=7, store="shards")
    assert work(settings.model_copy(update={"data_dir": tmp_path / "worker"}), job_id).ok == 9
    expected = read_tar(api.http.get(f"/jobs/{files}/archive?format=webdataset").content)
    shards = api.http.get(f"/jobs/{job_id}/shards").json()["items"]
    urls = []
    for shard in shards:
        redirect = api.http.get(f"{shard['links']['self']}?redirect=true", follow_redirects=False)
        assert redirect.status_code == 307
        urls.append(redirect.headers["location"])
        assert httpx.get(urls[-1], headers={"Range": "bytes=512-600"}).status_code == 206
        single = api.http.get(shard["links"]["self"], headers={"Range": "bytes=512-600"})
        assert single.content == httpx.get(urls[-1]).content[512:601]
    members = {name: data for url in urls for name, data in read_tar(httpx.get(url).content).items()}
    assert members == expected
    result = api.http.get(f"/jobs/{job_id}/results/1/2/kernel?redirect=true", follow_redirects=False)
    assert result.content == members["1_2.kernel.npy"], "a part of an object cannot be redirected to"
    with monkeypatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "0")
        rows = datasets.load_dataset("webdataset", data_files=urls, split="train", streaming=True)
        assert sorted(row["__key__"] for row in rows) == [f"{photo}_{n}" for photo in range(3) for n in range(3)]
