"""Jobs with `store=shards`: their tars, what is served from them, and workers that die or stop."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import datasets
import numpy as np
import pytest
import webdataset
from PIL import Image
from typer.testing import CliRunner

from config.settings import Settings
from fuzz.api import serving
from patina import AsyncClient, Client
from patina.cli.app import cli
from patina.cli.main import main  # noqa: F401 - registers all commands
from store.admin.backup import create_backup, restore
from store.admin.doctor import Finding, check
from store.db.migrate import migrate
from store.db.tables import Job
from store.files.gc import collect_garbage
from store.repositories.jobs import JobRepository
from store.repositories.schedule import ScheduleRepository
from store.store import Store
from tests.support.api import Api, as_parts, serve_api
from tests.support.blob_files import age
from tests.support.images import make_photos, make_png, read_tar
from tests.support.small_model import store_small_model
from tests.support.wait_until import wait_until
from worker.execute import execute_job
from worker.runtime.context import WorkerContext

PHOTOS = make_photos(3, 64)
WEBDATASET = {"format": "webdataset"}


@pytest.fixture
def api(redis_url: str, tmp_path: Path) -> Iterator[Api]:
    with serve_api(Settings(data_dir=tmp_path / "data", redis_url=redis_url, torch_threads=1)) as served:
        yield served


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of at most four samples; a worker takes about six at a time."""
    monkeypatch.setattr("store.repositories.schedule.FIRST_SAMPLES", {"degrade": 6})
    monkeypatch.setattr("worker.jobs.items.TAR_SECONDS", 0.0)
    monkeypatch.setattr("worker.jobs.result_files.SHARD_SAMPLES", 4)


def create_dataset(api: Api) -> str:
    """Creates a dataset with a small model."""
    dataset = api.create_dataset(scale=2)
    store_small_model(api.store, dataset)
    return dataset


def work(api: Api) -> None:
    """Runs shards as a worker process does, until none waits."""
    execute_job(WorkerContext(api.store, api.settings), "")


def degrade(api: Api, dataset: str, photos: dict[str, bytes] = PHOTOS, **fields: object) -> str:
    """Runs a job with shards to its end."""
    job = api.degrade(dataset, photos, **{"samples": 3, "seed": 7, "store": "shards", **fields})
    work(api)
    assert get(api, job).status == "succeeded"
    return job


def get(api: Api, job_id: str) -> Job:
    with api.store.database.read() as session:
        return session.get_one(Job, job_id)


def fetch(api: Api, job_id: str, **query: Any) -> bytes:
    response = api.http.get(f"/jobs/{job_id}/archive", params=query)
    assert response.status_code == 200, response.text
    return response.content


def read_results(api: Api, job_id: str, **query: Any) -> dict[str, bytes]:
    return read_tar(fetch(api, job_id, **{"format": "tar", **query}))


def list_shards(api: Api, job_id: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = api.http.get(f"/jobs/{job_id}/shards?limit=1000").json()["items"]
    return items


@pytest.mark.usefixtures("small_shards")
def test_the_bytes_are_those_of_files(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """One worker died with its part of the job, and two do the rest. One photo comes twice."""
    photos = {**make_photos(8, 64), "again.png": make_png(64, 64)}
    settings = Settings(data_dir=tmp_path, database_url=database_url, redis_url=redis_url, torch_threads=1)
    with serve_api(settings) as api:
        dataset = create_dataset(api)
        files = degrade(api, dataset, photos, store="files")
        job = api.degrade(dataset, photos, samples=3, seed=7, store="shards")
        with api.store.database.write() as session:
            assert ScheduleRepository(session).claim_next("warm", "dead", -1, workers=5)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: work(api), range(2)))
        with api.store.database.write() as session:
            assert len(JobRepository(session).requeue_expired_leases(3)) == 1
        work(api)
        done = get(api, job)
        assert (done.status, done.ok, done.done) == ("succeeded", 27, 27)
        expected, shards = read_results(api, files), list_shards(api, job)
        assert read_results(api, job) == expected
        assert sum(shard["samples"] for shard in shards) == 27
        assert max(shard["samples"] for shard in shards) == 4
        members: dict[str, bytes] = {}
        for shard in shards:
            data = api.http.get(shard["links"]["self"]).content
            assert len(data) == shard["size"]
            with tarfile.open(fileobj=io.BytesIO(data)) as opened:
                assert opened.getnames() == sorted(opened.getnames())
                assert {member.mtime for member in opened} == {0}
            assert not members.keys() & read_tar(data).keys()
            members |= read_tar(data)
        assert members == read_results(api, files, **WEBDATASET)
        assert read_results(api, job, **WEBDATASET) == members
        line = json.loads(members["again_2.json"])
        assert members["again_2.lr.png"] == expected[line["lr"]] == members["0_2.lr.png"]
        assert list(check(api.store, deep=True)) == []


@pytest.mark.usefixtures("small_shards")
def test_every_other_archive_has_the_same_files(api: Api) -> None:
    dataset = create_dataset(api)
    files, job = degrade(api, dataset, store="files"), degrade(api, dataset, validation=0.5)
    other = {"validation": 0.5}
    for query in ({"hr": True}, {"leave_out": "noise"}, {"split": "train"}, {"shard_size": 2, "shard": 1}):
        webdataset_query = {**WEBDATASET, **query}
        assert read_results(api, job, **webdataset_query) == read_results(api, files, **other, **webdataset_query)
        if "shard" not in query:
            assert read_results(api, job, **query) == read_results(api, files, **other, **query)
    with zipfile.ZipFile(io.BytesIO(fetch(api, job, format="zip"))) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == read_results(api, job)
    without_split = fetch(api, job, **WEBDATASET, validation=0)
    assert json.loads(read_tar(without_split)["0_0.json"])["split"] == "train"


def test_super_resolved_images_come_in_shards(api: Api) -> None:
    dataset = create_dataset(api)
    photos = {**make_photos(5, 64), "again.png": make_png(64, 64)}
    jobs = {}
    for store in ("files", "shards"):
        response = api.http.post("/sr", files=as_parts(photos), data={"dataset": dataset, "store": store})
        jobs[store] = response.json()["id"]
        work(api)
        assert (get(api, jobs[store]).status, get(api, jobs[store]).ok) == ("succeeded", 6)
    expected = read_results(api, jobs["files"])
    assert len(expected) == 7  # with the manifest
    assert read_results(api, jobs["shards"]) == expected
    assert sum(shard["samples"] for shard in list_shards(api, jobs["shards"])) == 6
    assert read_results(api, jobs["shards"], **WEBDATASET) == read_results(api, jobs["files"], **WEBDATASET)


@pytest.mark.usefixtures("small_shards")
def test_ranges_across_shards(api: Api) -> None:
    job = degrade(api, create_dataset(api))
    url = f"/jobs/{job}/archive?format=webdataset"
    whole = api.http.get(url)
    sizes = [shard["size"] for shard in list_shards(api, job)]
    assert int(whole.headers["content-length"]) == len(whole.content) == sum(sizes) - 1024 * (len(sizes) - 1)
    assert whole.headers["patina-samples"] == "9"
    etag = {"If-Range": whole.headers["etag"]}
    for start, stop in ((0, 1), (sizes[0] - 1500, sizes[0] + 700), (sizes[0] + 5, len(whole.content))):
        part = api.http.get(url, headers={**etag, "Range": f"bytes={start}-{stop - 1}"})
        assert (part.status_code, part.content) == (206, whole.content[start:stop])
    shard = list_shards(api, job)[1]["links"]["self"]
    data = api.http.get(shard).content
    part = api.http.get(shard, headers={"Range": "bytes=700-"})
    assert (part.status_code, part.content) == (206, data[700:])
    known = api.http.get(shard, headers={"If-None-Match": part.headers["etag"]})
    assert known.status_code == 304
    pages = [api.http.get(f"/jobs/{job}/shards?limit=2{cursor}").json() for cursor in ("", "&cursor=1")]
    assert [item["number"] for page in pages for item in page["items"]] == [0, 1, 2]
    assert [page["next"] for page in pages] == ["1", None]


def test_single_results_are_served_from_their_shard(api: Api) -> None:
    job = degrade(api, create_dataset(api))
    expected = read_results(api, job)
    results = api.http.get(f"/jobs/{job}/results").json()["items"]
    assert len(results) == 9
    etags = set()
    for result in results:
        name = f"{result['source'].removesuffix('.png')}_{result['sample']}"
        for kind, link in result["links"].items():
            answer, data = api.http.get(link), expected[f"{kind}/{name}.{'png' if kind == 'lr' else 'npy'}"]
            assert answer.content == data
            part = api.http.get(link, headers={"Range": "bytes=3-20"})
            assert (part.status_code, part.content) == (206, data[3:21])
            assert api.http.head(link).headers["content-length"] == str(len(data))
            etags.add(answer.headers["etag"])
    assert len(etags) == 27
    assert api.http.get(f"/jobs/{job}/shards/7").json()["code"] == "shard_not_found"
    files = degrade(api, get(api, job).dataset_id or "", store="files", samples=1)
    assert api.http.get(f"/jobs/{files}/shards").json()["code"] == "no_shards"


def test_a_damaged_shard_is_noticed_and_made_again(api: Api) -> None:
    job = degrade(api, create_dataset(api))
    expected = read_results(api, job)
    (shard,) = list_shards(api, job)
    path = api.store.blobs.path(shard["sha256"])
    data = bytearray(path.read_bytes())
    data[data.index(expected["lr/1_1.png"]) + 40] ^= 1
    path.write_bytes(data)
    assert api.http.get(f"/jobs/{job}/results/1/0/lr").content == expected["lr/1_0.png"], "it is intact"
    broken = api.http.get(f"/jobs/{job}/results/1/1/lr", headers={"Range": "bytes=0-3"})
    assert (broken.status_code, broken.json()["code"]) == (500, "blob_corrupt")
    for archive in ("tar", "webdataset"):
        assert bytes(1024) not in fetch(api, job, format=archive)[-1024:], "it breaks off"

    def repair(findings: Iterator[Finding]) -> None:
        for finding in list(findings):
            with api.store.database.write() as session:
                if finding.repair:
                    finding.repair(session)

    repair(check(api.store, deep=True))
    repair(check(api.store, deep=False))
    assert get(api, job).status == "queued"
    work(api)
    assert read_results(api, job) == expected
    assert list(check(api.store, deep=True)) == []


def test_what_nobody_names_is_deleted(api: Api) -> None:
    dataset = create_dataset(api)
    job = degrade(api, dataset)
    (shard,) = list_shards(api, job)
    orphan = api.store.blobs.put(b"of a worker that died before it recorded this")

    def collect() -> tuple[bool, bool]:
        for sha256 in list(api.store.blobs.iter_older_than(-60)):
            age(api.store.blobs, sha256, 100)
        collect_garbage(api.store.database, api.store.blobs, 50)
        return tuple(api.store.blobs.path(sha256).exists() for sha256 in (shard["sha256"], orphan))  # type: ignore[return-value]

    assert collect() == (True, False)
    api.http.delete(f"/jobs/{job}/results")
    with api.store.database.write() as session:
        assert JobRepository(session).expire() == [job]
    assert collect() == (False, False)
    assert api.http.get(f"/jobs/{job}/shards").json()["code"] == "results_expired"
    again = degrade(api, dataset)
    assert api.http.delete(f"/datasets/{dataset}").status_code == 204
    assert api.http.get(f"/jobs/{again}/shards").status_code == 404
    assert collect() == (False, False)


def test_a_backup_has_the_shards(api: Api, redis_url: str, tmp_path: Path) -> None:
    job = degrade(api, create_dataset(api))
    create_backup(api.store, tmp_path / "backup.tar")
    settings = Settings(data_dir=tmp_path / "other", redis_url=redis_url)
    with serve_api(settings) as other:
        restore(other.store, tmp_path / "backup.tar", replace=False)
        assert fetch(other, job, **WEBDATASET) == fetch(api, job, **WEBDATASET)
        assert list(check(other.store, deep=True)) == []


def test_a_canceled_job_keeps_what_is_finished(api: Api) -> None:
    """Its last shard is small, and a retry adds others."""
    dataset = create_dataset(api)
    expected = read_results(api, degrade(api, dataset, store="files", samples=60))
    job = api.degrade(dataset, PHOTOS, samples=60, seed=7, store="shards")
    worker = threading.Thread(target=work, args=(api,))
    worker.start()
    try:
        assert wait_until(lambda: any(api.store.blobs.temporary.glob("*/*.spool")))
        api.http.post(f"/jobs/{job}/cancel")
    finally:
        worker.join(60)
    if get(api, job).status == "canceled":
        kept = read_results(api, job)
        assert kept.keys() - {"manifest.jsonl"} <= expected.keys()
        api.http.post(f"/jobs/{job}/retry")
        work(api)
    assert read_results(api, job) == expected
    assert list(api.store.blobs.temporary.iterdir()) == []


@pytest.mark.usefixtures("small_shards")
def test_data_loaders_read_the_shards(api: Api, tmp_path: Path) -> None:
    photos = {"a.b/ä 1.png": make_png(64, 64, 1), "x.png": make_png(64, 64, 2)}
    job = degrade(api, create_dataset(api), photos)
    paths = []
    for shard in list_shards(api, job):
        paths.append(str(tmp_path / f"shard-{shard['number']:06}.tar"))
        Path(paths[-1]).write_bytes(api.http.get(shard["links"]["self"]).content)
    assert len(paths) == 2
    expected = read_results(api, job)
    read = {sample["__key__"]: sample for sample in webdataset.WebDataset(paths, shardshuffle=False).decode("rgb8")}
    loaded = datasets.load_dataset("webdataset", data_files=paths, split="train", cache_dir=str(tmp_path / "cache"))
    assert read.keys() == set(loaded["__key__"]) == {f"{name}_{n}" for name in ("a%2Eb/ä 1", "x") for n in range(3)}
    for row in loaded:
        line = row["json"]
        pixels = np.asarray(Image.open(io.BytesIO(expected[line["lr"]])))
        np.testing.assert_array_equal(np.asarray(row["lr.png"]), pixels)
        np.testing.assert_array_equal(read[row["__key__"]]["lr.png"], pixels)
        noise = np.load(io.BytesIO(expected[line["noise"]]))
        np.testing.assert_array_equal(read[row["__key__"]]["noise.npy"], noise)


def test_client_and_command_line_download_shards(redis_url: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", redis_url=redis_url, torch_threads=1)
    with serving(settings) as url, Client(url) as patina:
        store = Store.open(settings)
        dataset = patina.datasets.create("photos", scale=2)
        store_small_model(store, dataset.id)
        (tmp_path / "a.png").write_bytes(make_png(64, 64))
        job = dataset.degrade(tmp_path / "a.png", samples=2, store="shards")
        execute_job(WorkerContext(store, settings), job.id)
        store.close()
        job.wait()
        (shard,) = job.shards()
        (path,) = job.download_shards(tmp_path / "client")
        assert (path.name, path.stat().st_size, shard.samples) == ("shard-000000.tar", shard.size, 2)
        inode = path.stat().st_ino
        path.write_bytes(path.read_bytes()[:-1])
        job.download_shards(tmp_path / "client")
        assert path.stat().st_size == shard.size, "it was incomplete"
        (again,) = anyio.run(partial(download_async, url, job.id, tmp_path / "client"))
        assert again.stat().st_ino == path.stat().st_ino != inode, "it was complete"
        result = CliRunner().invoke(cli, ["jobs", job.id, "--out", str(tmp_path / "cli"), "--api", url])
        assert result.exit_code == 0, result.output
        assert "2 of 2 results are in" in result.output
        assert (tmp_path / "cli/shard-000000.tar").read_bytes() == path.read_bytes()


async def download_async(url: str, job: str, folder: Path) -> list[Path]:
    async with AsyncClient(url) as patina:
        return await (await patina.jobs.get(job)).download_shards(folder)


def test_migrated_blobs_are_found(bucket_url: str, redis_url: str, tmp_path: Path) -> None:
    """From a folder to a bucket, where single results and shards are read in parts."""
    from store.admin.migrate_blobs import migrate_blobs, open_target, switch_storage  # noqa: PLC0415
    from store.deployment import bind_storage  # noqa: PLC0415

    settings = Settings(data_dir=tmp_path / "data", redis_url=redis_url, torch_threads=1)
    with serve_api(settings) as api:
        bind_storage(api.store.blobs, api.store.database)
        job = degrade(api, create_dataset(api))
        expected = read_results(api, job)
    store = Store.open(settings)
    migrate(store.database)
    target = open_target(bucket_url, settings, store)
    migrate_blobs(store, target, lambda *_: None)
    switch_storage(store, target)
    store.close()
    with serve_api(settings.model_copy(update={"blobs_url": bucket_url})) as api:
        assert read_results(api, job) == expected
        link = f"/jobs/{job}/results/2/1/kernel"
        assert api.http.get(link).content == expected["kernel/2_1.npy"]
        assert api.http.get(link, headers={"Range": "bytes=1-5"}).content == b"NUMPY"
        again = degrade(api, get(api, job).dataset_id or "")
        assert read_results(api, again) == expected
        assert list(check(api.store, deep=True)) == []
