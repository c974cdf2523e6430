"""A training whose decoded photos do not fit on the disk waits, or fails if they never would."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from config.settings import Settings
from store.db.tables import Job
from store.files.quota import StorageQuota
from store.repositories.datasets import DatasetRepository, NewImage
from store.repositories.jobs import JobRepository
from store.store import Store
from tests.support.store_factories import create_claimed_job
from worker.jobs.train import check_disk_space_for_photos, run_training_process
from worker.runtime import outcome
from worker.runtime.context import WorkerContext
from worker.runtime.lease import Lease

SIDE = 50_000  # a photo has more pixels than 32 bits can count
NEEDED = 2 * 3 * SIDE * SIDE


class Disk(StorageQuota):
    """A disk of the given capacity and free space, in bytes."""

    def __init__(self, available: int, capacity: int):
        super().__init__([], None, 0)
        self.sizes = available, capacity

    def available_on_disk(self) -> int:
        return self.sizes[0]

    def capacity(self) -> int:
        return self.sizes[1]


@pytest.fixture
def job(store: Store, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A claimed training on two large photos."""
    monkeypatch.setattr(outcome, "PAUSE_SECONDS", 0.01)
    with store.database.write() as session:
        datasets = DatasetRepository(session)
        dataset = datasets.create("large", 4).id
        for role in ("lr", "hr"):
            datasets.add_images(dataset, role, [NewImage("a.png", role * 32, SIDE, SIDE)])
        return create_claimed_job(session, "train", dataset_id=dataset)


def run_attempt(store: Store, job: Job, tmp_path: Path, disk: Disk) -> Job:
    context = WorkerContext(replace(store, quota=disk), Settings(data_dir=tmp_path))
    run_training_process(context, job, Lease(store, context.settings, job.id, job.attempt, threading.Event()))
    with store.database.read() as session:
        found = JobRepository(session).get(job.id)
        assert found is not None
        assert found.error is not None
        assert found.error["code"] == "photos_too_large"
        assert "14.0 GiB" in found.error["message"], "the needed space"
        return found


def test_a_training_waits_for_disk_space(store: Store, job: Job, tmp_path: Path) -> None:
    waiting = run_attempt(store, job, tmp_path, Disk(available=NEEDED - 1, capacity=NEEDED))
    assert waiting.status == "queued"
    assert job.id in store.queue.queued_ids()
    with store.database.write() as session:
        claimed = JobRepository(session).claim(job.id, "a worker", 60)
    assert claimed is not None
    assert claimed.error is None
    check_disk_space_for_photos(replace(store, quota=Disk(available=NEEDED, capacity=NEEDED)), claimed)


def test_a_training_fails_if_the_whole_disk_is_too_small(store: Store, job: Job, tmp_path: Path) -> None:
    failed = run_attempt(store, job, tmp_path, Disk(available=10, capacity=NEEDED - 1))
    assert failed.status == "failed"


def test_decoded_photos_of_a_killed_attempt_are_deleted(store: Store, job: Job) -> None:
    killed = store.blobs.temporary / "of-a-killed-attempt"
    (killed / "hr").mkdir(parents=True)
    os.utime(killed, (0, 0))

    class DiskWithScratch(Disk):
        def available_on_disk(self) -> int:
            return 0 if killed.exists() else NEEDED

    check_disk_space_for_photos(replace(store, quota=DiskWithScratch(0, NEEDED)), job)


def test_a_job_that_has_its_model_needs_no_space(store: Store, job: Job) -> None:
    job.model_id = "of an earlier attempt"
    check_disk_space_for_photos(replace(store, quota=Disk(available=0, capacity=0)), job)
