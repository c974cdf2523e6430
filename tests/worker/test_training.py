"""A training as its process runs it: what it saves, and when."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from app.models.report import ReportRead
from config.settings import Settings
from store.db.tables import Job, Shard
from store.errors import LeaseLostError
from store.model_files import REPORT
from store.repositories.datasets import DatasetRepository, NewImage
from store.repositories.jobs import JobRepository
from store.repositories.models import CheckpointRepository, ModelRepository
from store.store import Store
from tests.support.images import make_png
from tests.support.store_factories import create_claimed_job
from tests.support.sync_checks import record_unsynced
from training.progress import Checkpoint
from worker.jobs.train_process import Throttle, TrainingAttempt
from worker.runtime.outcome import run_and_record

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def job(store: Store) -> Job:
    """A claimed training of one step."""
    with store.database.write() as session:
        datasets = DatasetRepository(session)
        dataset = datasets.create("photos", 4).id
        for role, side in (("lr", 48), ("hr", 160)):
            images = [NewImage(f"{n}.png", store.blobs.put(make_png(side, side, n)), side, side) for n in range(4)]
            datasets.add_images(dataset, role, images)
        parameters = {"preset": "default", "scale": 4, "seed": 0, "max_steps": 1, "max_minutes": None}
        parameters["photo_checks"] = "leave_out"
        return create_claimed_job(session, "train", dataset_id=dataset, parameters=parameters)


def forget_progress(store: Store, job: Job) -> Job:
    with store.database.write() as session:
        session.execute(update(Shard).values(progressed_at=None))
    return job


def read_progress_time(store: Store, job: Job) -> float | None:
    with store.database.read() as session:
        return session.scalars(select(Shard.progressed_at).where(Shard.job_id == job.id)).one()


def start_attempt(store: Store, job: Job) -> TrainingAttempt:
    return TrainingAttempt(store, Settings(data_dir=store.blobs.root.parent), job, threading.Event())


def test_blobs_are_on_disk_before_a_record_names_them(store: Store, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced = record_unsynced(store, monkeypatch)
    start_attempt(store, job).run()
    assert unsynced
    assert not any(unsynced)
    with store.database.read() as session:
        model = ModelRepository(session).get(session.get_one(Job, job.id).model_id or "")
        assert len(CheckpointRepository(session).list_for_job(job.id)) == 1
    assert model is not None
    checks = ReportRead.from_stored(store.blobs.read(model.files[REPORT])).photo_checks
    assert {role: selection.used for role, selection in checks.items()} == {"lr": 4, "hr": 4}
    assert checks["hr"].warnings["noisy"] == 4  # all are, so they stay


class FakeCheckpoint:
    """Stands in for a `Checkpoint`."""

    step, seconds = 1, 1.0

    def save(self, path: Path) -> None:
        path.write_bytes(b"weights")


def test_an_attempt_that_lost_its_lease_saves_nothing(store: Store, job: Job) -> None:
    with store.database.write() as session:
        jobs = JobRepository(session)
        jobs.release(job.id, job.attempt)
        assert jobs.claim(job.id, "another worker", 60)
    for save in (
        start_attempt(store, job).run,
        lambda: start_attempt(store, job)._on_checkpoint(cast(Checkpoint, FakeCheckpoint())),
    ):
        with pytest.raises(LeaseLostError):
            save()
    with store.database.read() as session:
        assert not CheckpointRepository(session).list_for_job(job.id)
        assert session.get_one(Job, job.id).model_id is None


def test_an_attempt_after_a_saved_model_only_records_the_outcome(store: Store, job: Job) -> None:
    with store.database.write() as session:
        JobRepository(session).set_model(job.id, job.attempt, "a model")
    job.model_id = "a model"
    run_and_record(store, job.id, job.attempt, start_attempt(store, job).run)
    with store.database.read() as session:
        ended = session.get_one(Job, job.id)
        assert (ended.status, ended.model_id, ended.done) == ("succeeded", "a model", 0)


def test_unreadable_photos_are_skipped_and_logged(store: Store, job: Job, tmp_path: Path) -> None:
    with store.database.write() as session:
        damaged, lost, undecodable, _ = DatasetRepository(session).list_images(job.dataset_id or "", role="lr")
        undecodable.sha256 = store.blobs.put(make_png(48, 48)[:-100])
    store.blobs.path(damaged.sha256).write_bytes(b"something else")
    store.blobs.path(lost.sha256).unlink()
    attempt = start_attempt(store, job)
    with capture_logs() as logs:
        attempt.selections = attempt._select_photos()
        photos = attempt._decode_photos("lr", tmp_path / "decoded")
    assert len(photos) == 1
    skipped = [line["name"] for line in logs if line["event"] == "photo skipped"]
    assert skipped == [damaged.name, lost.name, undecodable.name]


def test_a_training_that_reads_photos_is_not_stalled(store: Store, job: Job, tmp_path: Path) -> None:
    """Thousands of photos take longer than PATINA_STALL_SECONDS before the first step."""
    start_attempt(store, forget_progress(store, job))._select_photos()
    assert read_progress_time(store, job)
    attempt = start_attempt(store, job)
    attempt.selections = attempt._select_photos()
    attempt.note_throttle = Throttle()
    forget_progress(store, job)
    attempt._decode_photos("lr", tmp_path / "decoded")
    assert read_progress_time(store, job)
