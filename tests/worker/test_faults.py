"""Processes that are really killed: every job is finished in the end, nothing twice and nothing missing."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from redis import Redis

from tests.pictures import photos
from tests.worker.service import Service, running_service

WARM_WORKER, TRAIN_WORKER, TRAIN_CHILD = ("worker", "warm"), ("worker", "train"), ("worker.train_child",)


def without_manifest(members: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in members.items() if name != "manifest.jsonl"}


def test_a_degrade_job_outlives_its_worker(service: Service, dataset: str) -> None:
    def work() -> str:
        return service.degrade(dataset, photos(3, 300), samples=100, seed=1)

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
    while not service.logged(job=job_id, event="checkpoint kept"):
        time.sleep(0.05)
    child = psutil.Process(service.pid(*TRAIN_CHILD))
    service.kill(*victim)
    resumed = weights(service, job_id)
    assert not child.is_running()  # which knows it from another process that has got its number since
    assert service.job(job_id)["attempt"] == 2
    assert service.logged(job=job_id, event="going on from a checkpoint")
    assert resumed == unbroken_weights


def test_a_worker_that_is_told_to_leave_hands_its_job_back_at_once(service: Service, dataset: str) -> None:
    job_id = service.degrade(dataset, photos(2, 300), samples=150)
    service.until_at_work(job_id, 5)
    os.kill(service.pid(*WARM_WORKER), signal.SIGTERM)
    job = service.until_finished(job_id)
    assert (job["status"], job["attempt"], job["counts"]["ok"]) == ("succeeded", 2, 300)
    assert service.logged(job=job_id, event="job given back")
    assert not service.logged(job=job_id, event="worker died, job taken back")


def test_a_worker_that_was_frozen_past_its_lease_changes_nothing_when_it_wakes(service: Service, dataset: str) -> None:
    job_id = service.degrade(dataset, photos(2, 300), samples=150)
    service.until_at_work(job_id, 5)
    frozen = service.pid(*WARM_WORKER)
    os.kill(frozen, signal.SIGSTOP)
    while service.job(job_id)["status"] == "running":
        time.sleep(0.05)
    os.kill(frozen, signal.SIGCONT)
    job = service.until_finished(job_id)
    assert (job["status"], job["attempt"], job["counts"]) == ("succeeded", 2, {"ok": 300, "failed": 0})


def test_jobs_outlive_the_loss_of_the_whole_queue(service: Service, dataset: str) -> None:
    blocking = service.degrade(dataset, photos(1, 300), samples=150)
    service.until_at_work(blocking, 1)
    waiting = [service.degrade(dataset, photos(1, 40), samples=1) for _ in range(3)]
    Redis.from_url(service.settings.redis).flushall()
    for job_id in (blocking, *waiting):
        assert service.until_finished(job_id)["status"] == "succeeded"


def test_the_next_start_goes_on_with_what_was_unfinished(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with running_service(data_dir) as service:
        dataset = service.dataset()
        service.model(dataset)
        job_id = service.degrade(dataset, photos(2, 300), samples=150)
        service.until_at_work(job_id, 5)
    with running_service(data_dir) as service:
        job = service.until_finished(job_id)
        assert (job["status"], job["counts"]) == ("succeeded", {"ok": 300, "failed": 0})
