"""A training whose photos, decoded, do not fit on the disk is not begun: it waits, or fails where they never would."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from config.settings import Settings
from store.db.tables import Job
from store.files.capacity import Room
from store.repositories.datasets import DatasetRepository, NewImage
from store.repositories.jobs import JobRepository
from store.store import Store
from worker.jobs.train import require_room_for_photos, supervise
from worker.runtime import outcome as conclusion
from worker.runtime.context import WorkerContext
from worker.runtime.lease import Lease

SIDE = 50_000  # a photo then has more pixels than 32 bits count
NEEDED = 2 * 3 * SIDE * SIDE


class Disk(Room):
    """As large, and as empty, as is said."""

    def __init__(self, left: int, ever: int):
        super().__init__([], None, 0)
        self.sizes = left, ever

    def left_on_disk(self) -> int:
        return self.sizes[0]

    def ever_on_disk(self) -> int:
        return self.sizes[1]


@pytest.fixture
def job(store: Store, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A training of two large photos that a worker has just taken."""
    monkeypatch.setattr(conclusion, "PAUSE_SECONDS", 0.01)
    with store.database.write() as session:
        datasets, jobs = DatasetRepository(session), JobRepository(session)
        dataset = datasets.create("large", 4).id
        for role in ("lr", "hr"):
            datasets.add_images(dataset, role, [NewImage("a.png", role * 32, SIDE, SIDE)])
        made = jobs.create("train", dataset_id=dataset, model_id=None, parameters={}, unit="steps", total=1)
        claimed = jobs.claim(made.id, "a worker", 60)
        assert claimed is not None
        return claimed


def after_a_try(store: Store, job: Job, tmp_path: Path, disk: Disk) -> Job:
    context = WorkerContext(replace(store, room=disk), Settings(data_dir=tmp_path))
    supervise(context, job, Lease(store, context.settings, job.id, job.attempt, threading.Event()))
    with store.database.read() as session:
        found = JobRepository(session).get(job.id)
        assert found is not None
        assert found.error is not None
        assert found.error["code"] == "photos_too_large"
        assert "14.0 GiB" in found.error["message"], "so much is needed"
        return found


def test_it_waits_for_room_and_loses_nothing_by_it(store: Store, job: Job, tmp_path: Path) -> None:
    waiting = after_a_try(store, job, tmp_path, Disk(left=NEEDED - 1, ever=NEEDED))
    assert (waiting.status, waiting.deaths) == ("queued", 0)
    assert job.id in store.queue.queued_ids()
    with store.database.write() as session:
        begun = JobRepository(session).claim(job.id, "a worker", 60)
    assert begun is not None
    assert begun.error is None
    require_room_for_photos(replace(store, room=Disk(left=NEEDED, ever=NEEDED)), begun)  # there is now


def test_it_fails_where_the_whole_disk_is_too_small(store: Store, job: Job, tmp_path: Path) -> None:
    failed = after_a_try(store, job, tmp_path, Disk(left=10, ever=NEEDED - 1))
    assert failed.status == "failed"


def test_the_photos_of_an_attempt_that_was_killed_give_way(store: Store, job: Job) -> None:
    killed = store.blobs.temporary / "of-one-that-was-killed"
    (killed / "hr").mkdir(parents=True)
    os.utime(killed, (0, 0))

    class TakenByIt(Disk):
        def left_on_disk(self) -> int:
            return 0 if killed.exists() else NEEDED

    require_room_for_photos(replace(store, room=TakenByIt(0, NEEDED)), job)


def test_one_that_has_its_model_needs_none(store: Store, job: Job) -> None:
    job.model_id = "made by the attempt before"
    require_room_for_photos(replace(store, room=Disk(left=0, ever=0)), job)
