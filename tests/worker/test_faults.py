"""Processes that are really killed: every job is finished in the end, nothing twice and nothing missing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from redis import Redis

from store.files.blobs import Blobs
from store.repositories.models import CheckpointRepository
from store.store import Store
from tests.pictures import photos
from tests.worker.service import Service, running_service

WARM_WORKER, TRAIN_WORKER, TRAIN_CHILD = ("worker", "warm"), ("worker", "train"), ("worker.jobs.train_main",)


def damage(file: Path) -> None:
    """Changes one bit in its middle."""
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // 2)
        byte = opened.read(1)[0]
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([byte ^ 1]))


def without_manifest(members: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in members.items() if name != "manifest.jsonl"}


def test_a_degrade_job_outlives_its_worker(service: Service, dataset: str) -> None:
    def work() -> str:
        return service.degrade(dataset, photos(3, 1500), samples=100, seed=1)

    undisturbed = service.until_finished(work())["id"]
    job_id = work()
    service.until_at_work(job_id, 10)
    service.kill(*WARM_WORKER)
    job = service.until_finished(job_id)
    assert job["status"] == "succeeded"
    assert job["attempt"] == 2
    assert job["counts"] == {"ok": 300, "failed": 0}
    members = service.archive(job_id)
    lines = [json.loads(line) for line in members["manifest.jsonl"].splitlines()]
    assert sorted((line["source"], line["sample"]) for line in lines) == [
        (f"{image}.png", sample) for image in range(3) for sample in range(100)
    ]
    assert without_manifest(members) == without_manifest(service.archive(undisturbed))


def test_an_sr_job_outlives_its_worker(service: Service, dataset: str) -> None:
    def work() -> str:
        return service.sr(dataset, photos(8, 150), tile=64)

    undisturbed = service.until_finished(work())["id"]
    job_id = work()
    service.until_at_work(job_id, 1)
    service.kill(*WARM_WORKER)
    job = service.until_finished(job_id)
    assert (job["status"], job["attempt"], job["counts"]) == ("succeeded", 2, {"ok": 8, "failed": 0})
    assert without_manifest(service.archive(job_id)) == without_manifest(service.archive(undisturbed))


def start_training(service: Service, dataset: str) -> str:
    return service.train(dataset, max_steps=40, seed=2)


def weights(service: Service, job_id: str) -> list[bytes]:
    job = service.until_finished(job_id)
    assert job["status"] == "succeeded", job
    names = ("degrader.safetensors", "sr.safetensors")
    return [service.http.get(f"/models/{job['model']}/files/{name}").content for name in names]


@pytest.fixture(scope="module")
def unbroken_weights(service: Service, dataset: str) -> list[bytes]:
    return weights(service, start_training(service, dataset))


@pytest.mark.parametrize("victim", [TRAIN_WORKER, TRAIN_CHILD])
def test_a_training_goes_on_from_its_checkpoint_to_the_same_weights(
    service: Service, dataset: str, unbroken_weights: list[bytes], victim: tuple[str, ...]
) -> None:
    job_id = start_training(service, dataset)
    service.until_logged(job=job_id, event="checkpoint kept")
    child = psutil.Process(service.pid(*TRAIN_CHILD))
    service.kill(*victim)
    resumed = weights(service, job_id)
    assert not child.is_running()  # which knows it from another process that has got its number since
    assert service.job(job_id)["attempt"] == 2
    assert service.logged(job=job_id, event="going on from a checkpoint")
    assert resumed == unbroken_weights


def test_a_training_process_without_its_parent_ends_before_it_has_loaded_anything() -> None:
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "worker.jobs.train_main",
        "a-job",
        "1",
        "1",
    ]  # 1 is not its parent
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "torch" not in ended.stderr


def test_a_worker_that_is_told_to_leave_hands_its_job_back_at_once(service: Service, dataset: str) -> None:
    job_id = service.degrade(dataset, photos(2, 1500), samples=150)
    service.until_at_work(job_id, 5)
    os.kill(service.pid(*WARM_WORKER), signal.SIGTERM)
    job = service.until_finished(job_id)
    assert (job["status"], job["attempt"], job["counts"]["ok"]) == ("succeeded", 2, 300)
    assert service.logged(job=job_id, event="job given back")
    assert not service.logged(job=job_id, event="worker died, job taken back")


def test_a_worker_that_was_frozen_past_its_lease_changes_nothing_when_it_wakes(service: Service, dataset: str) -> None:
    job_id = service.degrade(dataset, photos(2, 1500), samples=150)
    service.until_at_work(job_id, 5)
    frozen = service.pid(*WARM_WORKER)
    os.kill(frozen, signal.SIGSTOP)
    service.until_job(job_id, lambda job: job["status"] != "running")
    os.kill(frozen, signal.SIGCONT)
    job = service.until_finished(job_id)
    assert (job["status"], job["attempt"], job["counts"]) == ("succeeded", 2, {"ok": 300, "failed": 0})


def test_jobs_outlive_the_loss_of_the_whole_queue(service: Service, dataset: str) -> None:
    blocking = service.degrade(dataset, photos(1, 2400), samples=150)
    service.until_at_work(blocking, 1)
    os.kill(worker := service.pid(*WARM_WORKER), signal.SIGSTOP)
    waiting = [service.degrade(dataset, photos(1, 40), samples=1) for _ in range(3)]
    Redis.from_url(service.settings.redis).flushall()
    os.kill(worker, signal.SIGCONT)
    for job_id in (blocking, *waiting):
        assert service.until_finished(job_id)["status"] == "succeeded"
    for job_id in waiting:
        assert service.until_logged(job=job_id, event="job put on the queue", process="reaper")


def test_the_queue_starts_anew_when_its_file_is_lost_or_damaged(service: Service, dataset: str) -> None:
    folder, worker = service.settings.data_dir / "valkey", service.pid(*WARM_WORKER)
    for lost in (True, False):
        before = service.degrade(dataset, photos(1, 40), samples=1)
        next(child for child in psutil.Process(service.process.pid).children() if "valkey" in child.name()).kill()
        if lost:
            shutil.rmtree(folder)
        else:
            damage(next((folder / "appendonlydir").glob("*.base.*")))
        after = service.degrade(dataset, photos(1, 40), samples=1)
        assert [service.until_finished(job_id)["status"] for job_id in (before, after)] == ["succeeded"] * 2
        told = service.logged(event="the queue's file cannot be read, starting with an empty queue")
        assert bool(told) == (not lost)
    assert service.pid(*WARM_WORKER) == worker, "and nobody needs to load its networks again"


def test_an_image_that_changed_on_disk_is_named_and_nothing_is_made_of_it(service: Service, dataset: str) -> None:
    blobs, files = Blobs(service.settings.data_dir), photos(2, 300, seed=50)
    os.kill(worker := service.pid(*WARM_WORKER), signal.SIGSTOP)
    job_id = service.degrade(dataset, files, samples=2)
    damage(blobs.path(hashlib.sha256(files["0.png"]).hexdigest()))
    os.kill(worker, signal.SIGCONT)
    job = service.until_finished(job_id)
    assert (job["status"], job["counts"]) == ("succeeded", {"ok": 2, "failed": 2})
    results = service.http.get(f"/jobs/{job_id}/results").json()["items"]
    assert [result["code"] for result in results] == ["image_damaged"] * 2 + [None] * 2
    again = service.until_finished(service.degrade(dataset, files, samples=2))
    assert again["counts"] == {"ok": 4, "failed": 0}


def test_a_result_that_changed_on_disk_is_not_handed_out(service: Service, dataset: str) -> None:
    files = photos(1, 60, seed=60)

    def work() -> str:
        return str(service.until_finished(service.degrade(dataset, files, samples=1, seed=9))["id"])

    job_id = work()
    whole = service.archive(job_id)
    damage(Blobs(service.settings.data_dir).path(hashlib.sha256(whole["lr/0_0.png"]).hexdigest()))
    with pytest.raises(httpx.TransportError):
        service.archive(job_id)
    work()
    assert service.archive(job_id) == whole, "the same request makes the same bytes, and so mends it"


@pytest.mark.parametrize("damaged", [1, 2])
def test_a_training_whose_checkpoint_changed_on_disk_goes_on_from_the_one_before(
    service: Service, dataset: str, unbroken_weights: list[bytes], damaged: int
) -> None:
    job_id = start_training(service, dataset)
    service.until(lambda: len(service.logged(job=job_id, event="checkpoint kept")) >= 2)
    child = service.pid(*TRAIN_CHILD)
    os.kill(child, signal.SIGSTOP)
    store = Store.open(service.settings)
    with store.database.read() as session:
        checkpoints = CheckpointRepository(session).of_job(job_id)
    store.close()
    steps = [checkpoint.step for checkpoint in checkpoints]
    assert len(steps) == 2
    newest, before = (store.blobs.path(checkpoint.sha256) for checkpoint in checkpoints)
    os.truncate(newest, newest.stat().st_size // 2)
    if damaged == 2:
        damage(before)
    os.kill(child, signal.SIGKILL)
    assert weights(service, job_id) == unbroken_weights
    events = service.http.get(f"/jobs/{job_id}/history", params={"limit": 1000}).json()["items"]
    told = [event["data"] for event in events if event["kind"] == "log"]
    assert [line["step"] for line in told if line["message"] == "checkpoint lost"] == steps[:damaged]
    resumed = [line["step"] for line in told if line["message"] == "going on from a checkpoint"]
    assert resumed == steps[damaged:]
    assert bool(resumed) != any(line["message"] == "no checkpoint is left, beginning anew" for line in told)


def test_the_next_start_goes_on_with_what_was_unfinished(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with running_service(data_dir) as service:
        dataset = service.dataset()
        service.model(dataset)
        job_id = service.degrade(dataset, photos(2, 1500), samples=150)
        service.until_at_work(job_id, 5)
    with running_service(data_dir) as service:
        job = service.until_finished(job_id)
        assert (job["status"], job["attempt"], job["counts"]) == ("succeeded", 2, {"ok": 300, "failed": 0})
