"""Real faults: every job is finished in the end, with no result twice or missing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest
from redis import Redis

from store.files.folder_blobs import blob_path
from store.repositories.models import CheckpointRepository
from store.store import Store
from tests.support.images import make_photos
from tests.support.running_service import Service, running_service

INFERENCE_WORKER, TRAIN_WORKER, TRAIN_CHILD = ("worker", "warm"), ("worker", "train"), ("worker.jobs.train_main",)


def freeze(process: int, service: Service) -> None:
    """Freezes a process while it does not hold SQLite's lock, which would block all others."""
    while True:
        os.kill(process, signal.SIGSTOP)
        with closing(sqlite3.connect(service.settings.data_dir / "patina.sqlite", timeout=1)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                os.kill(process, signal.SIGCONT)
                time.sleep(0.05)
            else:
                connection.execute("ROLLBACK")
                return


def flip_bit(file: Path) -> None:
    """Changes one bit in the middle of a file."""
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // 2)
        byte = opened.read(1)[0]
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([byte ^ 1]))


def without_manifest(members: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in members.items() if name != "manifest.jsonl"}


def test_a_degrade_job_survives_its_worker(service: Service, dataset: str) -> None:
    def start() -> str:
        return service.degrade(dataset, make_photos(3, 1500), samples=100, seed=1)

    undisturbed = service.wait_until_finished(start())["id"]
    job_id = start()
    service.wait_until_running(job_id, 10)
    service.kill(*INFERENCE_WORKER)
    job = service.wait_until_finished(job_id)
    assert job["status"] == "succeeded"
    assert job["attempt"] == 2
    assert job["counts"] == {"ok": 300, "failed": 0}
    members = service.read_archive(job_id)
    lines = [json.loads(line) for line in members["manifest.jsonl"].splitlines()]
    assert sorted((line["source"], line["sample"]) for line in lines) == [
        (f"{image}.png", sample) for image in range(3) for sample in range(100)
    ]
    assert without_manifest(members) == without_manifest(service.read_archive(undisturbed))


def test_a_job_with_shards_survives_its_worker(service: Service, dataset: str) -> None:
    """It is killed with an unfinished shard, after others were finished."""

    def start(store: str) -> str:
        return service.degrade(dataset, make_photos(5, 48), samples=500, seed=1, store=store)

    files = service.wait_until_finished(start("files"))["id"]
    job_id = start("shards")
    service.wait_until_running(job_id, 500)
    temporary = service.settings.data_dir / "tmp"
    service.wait_until(lambda: list(temporary.glob("*/*.spool")))
    service.kill(*INFERENCE_WORKER)
    assert list(temporary.glob("*/*.spool"))
    job = service.wait_until_finished(job_id)
    assert (job["status"], job["counts"]) == ("succeeded", {"ok": 2500, "failed": 0})
    assert service.find_logs(job=job_id, event="lease expired, job requeued")
    assert service.read_archive(job_id) == service.read_archive(files)
    shards = service.http.get(f"/jobs/{job_id}/shards").json()["items"]
    assert sum(shard["samples"] for shard in shards) == 2500
    stored = [shard["sha256"] for shard in shards]
    assert all(blob_path(service.settings.data_dir, sha256).exists() for sha256 in stored)


def test_an_sr_job_survives_its_worker(service: Service, dataset: str) -> None:
    def start() -> str:
        return service.sr(dataset, make_photos(40, 150), tile=64)

    undisturbed = service.wait_until_finished(start())["id"]
    job_id = start()
    service.wait_until_running(job_id, 1)
    service.kill(*INFERENCE_WORKER)
    job = service.wait_until_finished(job_id)
    assert (job["status"], job["counts"]) == ("succeeded", {"ok": 40, "failed": 0})
    assert job["attempt"] >= 2
    assert without_manifest(service.read_archive(job_id)) == without_manifest(service.read_archive(undisturbed))


def start_training(service: Service, dataset: str) -> str:
    return service.train(dataset, max_steps=40, seed=2)


def weights(service: Service, job_id: str) -> list[bytes]:
    job = service.wait_until_finished(job_id)
    assert job["status"] == "succeeded", job
    names = ("degrader.safetensors", "sr.safetensors")
    return [service.http.get(f"/models/{job['model']}/files/{name}").content for name in names]


@pytest.fixture(scope="module")
def uninterrupted_weights(service: Service, dataset: str) -> list[bytes]:
    return weights(service, start_training(service, dataset))


@pytest.mark.parametrize("victim", [TRAIN_WORKER, TRAIN_CHILD])
def test_a_killed_training_resumes_to_the_same_weights(
    service: Service, dataset: str, uninterrupted_weights: list[bytes], victim: tuple[str, ...]
) -> None:
    job_id = start_training(service, dataset)
    service.wait_until_logged(job=job_id, event="checkpoint saved")
    child = psutil.Process(service.find_pid(*TRAIN_CHILD))
    service.kill(*victim)
    resumed = weights(service, job_id)
    assert not child.is_running()  # psutil recognizes another process that reuses the id
    assert service.get_job(job_id)["attempt"] == 2
    assert service.find_logs(job=job_id, event="resuming from checkpoint")
    assert resumed == uninterrupted_weights


def test_orphaned_training_process_exits_before_loading_torch() -> None:
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
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "torch" not in result.stderr


def test_a_worker_requeues_its_job_on_sigterm(service: Service, dataset: str) -> None:
    job_id = service.degrade(dataset, make_photos(2, 1500), samples=150)
    service.wait_until_running(job_id, 5)
    os.kill(service.find_pid(*INFERENCE_WORKER), signal.SIGTERM)
    job = service.wait_until_finished(job_id)
    assert (job["status"], job["attempt"], job["counts"]["ok"]) == ("succeeded", 2, 300)
    assert service.find_logs(job=job_id, event="job requeued")
    assert not service.find_logs(job=job_id, event="lease expired, job requeued")


def test_a_frozen_worker_changes_nothing_when_it_resumes(service: Service, dataset: str) -> None:
    """It was frozen for longer than its lease, and another worker has the job."""
    job_id = service.degrade(dataset, make_photos(2, 1500), samples=150)
    service.wait_until_running(job_id, 5)
    frozen = service.find_pid(*INFERENCE_WORKER)
    freeze(frozen, service)
    service.wait_for_job(job_id, lambda job: job["status"] != "running")
    os.kill(frozen, signal.SIGCONT)
    job = service.wait_until_finished(job_id)
    assert (job["status"], job["attempt"], job["counts"]) == ("succeeded", 2, {"ok": 300, "failed": 0})


def test_jobs_survive_the_loss_of_the_whole_queue(service: Service, dataset: str) -> None:
    blocking = service.degrade(dataset, make_photos(1, 2400), samples=150)
    service.wait_until_running(blocking, 1)
    freeze(worker := service.find_pid(*INFERENCE_WORKER), service)
    waiting = [service.degrade(dataset, make_photos(1, 40), samples=1) for _ in range(3)]
    Redis.from_url(service.settings.redis).flushall()
    for job_id in waiting:  # before the worker can take them without the queue
        assert service.wait_until_logged(job=job_id, event="missing job re-enqueued", process="reaper")
    os.kill(worker, signal.SIGCONT)
    for job_id in (blocking, *waiting):
        assert service.wait_until_finished(job_id)["status"] == "succeeded"


def test_the_queue_restarts_empty_without_a_usable_file(service: Service, dataset: str) -> None:
    folder, worker = service.settings.data_dir / "valkey", service.find_pid(*INFERENCE_WORKER)
    children = psutil.Process(service.process.pid).children
    for lost in (True, False):
        before = service.degrade(dataset, make_photos(1, 40), samples=1)
        file = service.wait_until(lambda: list((folder / "appendonlydir").glob("*.base.*")))[0]
        service.wait_until(lambda: [child for child in children() if "valkey" in child.name()])[0].kill()
        if lost:
            shutil.rmtree(folder)
        else:
            flip_bit(file)
        after = service.degrade(dataset, make_photos(1, 40), samples=1)
        assert [service.wait_until_finished(job_id)["status"] for job_id in (before, after)] == ["succeeded"] * 2
        warning = {"event": "the queue's file cannot be read, starting with an empty queue"}
        # A worker that is busy finds waiting jobs in the database, so they may be done before the queue is back.
        assert service.find_logs(**warning) == [] if lost else service.wait_until_logged(**warning)
    assert service.find_pid(*INFERENCE_WORKER) == worker, "the worker kept its loaded models"


def test_a_corrupt_image_fails_with_a_code(service: Service, dataset: str) -> None:
    files = make_photos(2, 300, seed=50)
    freeze(worker := service.find_pid(*INFERENCE_WORKER), service)
    job_id = service.degrade(dataset, files, samples=2)
    flip_bit(blob_path(service.settings.data_dir, hashlib.sha256(files["0.png"]).hexdigest()))
    os.kill(worker, signal.SIGCONT)
    job = service.wait_until_finished(job_id)
    assert (job["status"], job["counts"]) == ("succeeded", {"ok": 2, "failed": 2})
    results = service.http.get(f"/jobs/{job_id}/results").json()["items"]
    assert [result["code"] for result in results] == ["stored_image_corrupt"] * 2 + [None] * 2
    again = service.wait_until_finished(service.degrade(dataset, files, samples=2))
    assert again["counts"] == {"ok": 4, "failed": 0}


def test_a_corrupt_result_is_not_served(service: Service, dataset: str) -> None:
    files = make_photos(1, 60, seed=60)

    def run_job() -> str:
        return str(service.wait_until_finished(service.degrade(dataset, files, samples=1, seed=9))["id"])

    job_id = run_job()
    intact = service.read_archive(job_id)
    flip_bit(blob_path(service.settings.data_dir, hashlib.sha256(intact["lr/0_0.png"]).hexdigest()))
    with pytest.raises(httpx.TransportError):
        service.read_archive(job_id)
    run_job()
    assert service.read_archive(job_id) == intact, "the same request generates the same bytes, which repairs it"


@pytest.mark.parametrize("damaged", [1, 2])
def test_a_training_skips_corrupt_checkpoints(
    service: Service, dataset: str, uninterrupted_weights: list[bytes], damaged: int
) -> None:
    job_id = start_training(service, dataset)
    service.wait_until(lambda: len(service.find_logs(job=job_id, event="checkpoint saved")) >= 2)
    child = service.find_pid(*TRAIN_CHILD)
    freeze(child, service)
    store = Store.open(service.settings)
    with store.database.read() as session:
        checkpoints = CheckpointRepository(session).list_for_job(job_id)
    store.close()
    steps = [checkpoint.step for checkpoint in checkpoints]
    assert len(steps) == 2
    newest, previous = (store.blobs.path(checkpoint.sha256) for checkpoint in checkpoints)
    os.truncate(newest, newest.stat().st_size // 2)
    if damaged == 2:
        flip_bit(previous)
    os.kill(child, signal.SIGKILL)
    assert weights(service, job_id) == uninterrupted_weights
    events = service.http.get(f"/jobs/{job_id}/history", params={"limit": 1000}).json()["items"]
    lines = [event["data"] for event in events if event["kind"] == "log"]
    assert [line["step"] for line in lines if line["message"] == "checkpoint unreadable"] == steps[:damaged]
    resumed = [line["step"] for line in lines if line["message"] == "resuming from checkpoint"]
    assert resumed == steps[damaged:]
    assert bool(resumed) != any(line["message"] == "no usable checkpoint, starting over" for line in lines)


def test_a_restarted_service_continues_unfinished_jobs(tmp_path: Path) -> None:
    """The job is long enough that it cannot end before the service is stopped, even on a busy machine."""
    data_dir = tmp_path / "data"
    with running_service(data_dir) as service:
        dataset = service.create_dataset()
        service.create_model(dataset)
        job_id = service.degrade(dataset, make_photos(2, 1500), samples=500)
        service.wait_until_running(job_id, 1)
    with running_service(data_dir) as service:
        job = service.wait_until_finished(job_id)
        assert (job["status"], job["counts"]) == ("succeeded", {"ok": 1000, "failed": 0})
        assert job["attempt"] > 1, "the service was stopped in the middle"
