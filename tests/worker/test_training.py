"""A training as its own process runs it: what it keeps, when, and for whom."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import cast

import pytest
from structlog.testing import capture_logs

from config.settings import Settings
from store.db.tables import Job
from store.errors import LeaseLostError
from store.repositories.datasets import DatasetRepository, NewImage
from store.repositories.jobs import JobRepository
from store.repositories.models import CheckpointRepository, ModelRepository
from store.store import Store
from tests.pictures import png
from tests.sync_checks import watch_settling
from training.loop import Checkpoint
from worker.jobs.train_process import Training
from worker.runtime.outcome import conclude

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def job(store: Store) -> Job:
    """One of a single step that a worker has just taken."""
    with store.database.write() as session:
        datasets, jobs = DatasetRepository(session), JobRepository(session)
        dataset = datasets.create("photos", 4).id
        for role, side in (("lr", 48), ("hr", 160)):
            images = [NewImage(f"{n}.png", store.blobs.put(png(side, side, n)), side, side) for n in range(4)]
            datasets.add_images(dataset, role, images)
        parameters = {"preset": "default", "scale": 4, "seed": 0, "max_steps": 1, "max_minutes": None}
        made = jobs.create("train", dataset_id=dataset, model_id=None, parameters=parameters, unit="steps", total=1)
        claimed = jobs.claim(made.id, "a worker", 60)
        assert claimed is not None
        return claimed


def attempt(store: Store, job: Job) -> Training:
    return Training(store, Settings(data_dir=store.blobs.root.parent), job, threading.Event())


def test_all_that_it_keeps_is_on_the_disk_before_a_record_names_it(
    store: Store, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsettled = watch_settling(store, monkeypatch)
    attempt(store, job).run()
    assert unsettled
    assert not any(unsettled)
    with store.database.read() as session:
        assert ModelRepository(session).get(session.get_one(Job, job.id).model_id or "") is not None
        assert len(CheckpointRepository(session).of_job(job.id)) == 1


class Kept:
    """Stands in for a checkpoint."""

    step, seconds = 1, 1.0

    def save(self, path: Path) -> None:
        path.write_bytes(b"weights")


def test_an_attempt_that_has_lost_its_job_keeps_nothing(store: Store, job: Job) -> None:
    with store.database.write() as session:
        jobs = JobRepository(session)
        jobs.give_back(job.id, job.attempt)
        assert jobs.claim(job.id, "another worker", 60)
    for lost in (attempt(store, job).run, lambda: attempt(store, job)._keep_checkpoint(cast(Checkpoint, Kept()))):
        with pytest.raises(LeaseLostError):
            lost()
    with store.database.read() as session:
        assert not CheckpointRepository(session).of_job(job.id)
        assert session.get_one(Job, job.id).model_id is None


def test_one_that_died_between_its_model_and_its_end_is_only_ended(store: Store, job: Job) -> None:
    with store.database.write() as session:
        JobRepository(session).set_model(job.id, job.attempt, "a model")
    job.model_id = "a model"
    conclude(store, job.id, job.attempt, attempt(store, job).run)
    with store.database.read() as session:
        ended = session.get_one(Job, job.id)
        assert (ended.status, ended.model_id, ended.done) == ("succeeded", "a model", 0)


def test_photos_that_cannot_be_read_any_more_are_left_out_and_named(store: Store, job: Job, tmp_path: Path) -> None:
    with store.database.write() as session:
        damaged, lost, undecodable, _ = DatasetRepository(session).images(job.dataset_id or "", role="lr")
        undecodable.sha256 = store.blobs.put(png(48, 48)[:-100])
    store.blobs.path(damaged.sha256).write_bytes(b"something else")
    store.blobs.path(lost.sha256).unlink()
    with capture_logs() as logs:
        photos = attempt(store, job)._photos("lr", tmp_path / "decoded")
    assert len(photos) == 1
    left_out = [line["name"] for line in logs if line["event"] == "photo left out"]
    assert left_out == [damaged.name, lost.name, undecodable.name]
