"""Concurrent requests on the same records: a dataset is deleted while a job is accepted for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.datasets import service as datasets
from app.datasets.schemas import Role, TrainRequest
from app.degrade import service as degrade
from app.degrade.schemas import DegradeRequest
from app.degrade.service import DegradeSubmission
from app.http.idempotency import IdempotentRequest
from app.http.problems import ProblemError
from app.ingest.files import ReceivedFile
from app.ingest.multipart import ReceivedForm
from app.jobs import commit, lifecycle, limits
from app.jobs.output_names import assign_output_names
from app.jobs.schemas import JobRead
from app.jobs.service import get_many
from app.jobs.submit import accept
from app.uploads import service as uploads
from config.settings import Settings
from store.db.tables import Job
from store.repositories.datasets import DatasetRepository, NewImage
from store.repositories.jobs import JobRepository
from store.repositories.models import ModelRepository
from store.repositories.uploads import DatasetTarget
from store.store import Store
from tests.support.images import make_png
from tests.support.store_factories import create_ended_training, create_model

NO_KEY = IdempotentRequest.create(None)
BLOCKED_SECONDS = 0.5  # enough for a call to wait for the database


class BackgroundCall(threading.Thread):
    """Runs a call while a transaction is open, and keeps its outcome."""

    def __init__(self, call: Callable[[], Any]):
        super().__init__()
        self._call = call
        self._outcome: Any = None

    def run(self) -> None:
        try:
            self._outcome = self._call()
        except ProblemError as error:
            self._outcome = error.code
        except Exception as error:  # a thread's error would be lost
            self._outcome = error

    def outcome(self) -> Any:
        self.join(30)
        return self._outcome


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def dataset(store: Store) -> str:
    """A dataset with photos and a model."""
    photo = store.blobs.put(make_png(128, 128))
    with store.database.write() as session:
        created = DatasetRepository(session).create("photos", 4)
        for role in Role:
            DatasetRepository(session).add_images(created.id, role, [NewImage("a.png", photo, 128, 128)])
        create_model(session, created.id)
    return created.id


def create_files(folder: Path) -> list[ReceivedFile]:
    photo = folder / "a.png"
    photo.write_bytes(make_png(130, 130))
    return [ReceivedFile("a.png", photo, "0" * 64)]


def degrade_photos(
    store: Store,
    settings: Settings,
    dataset: str,
    folder: Path,
    files: list[ReceivedFile],
    request: DegradeRequest | None = None,
) -> JobRead:
    form = ReceivedForm(folder, files)
    return accept(DegradeSubmission(store, settings, dataset), request or DegradeRequest(), form, NO_KEY)


@pytest.mark.parametrize(
    "action", ["train", "degrade", "degrade its photos", "upload", "upload in parts", "retry", "continue"]
)
def test_no_work_is_accepted_for_a_dataset_being_deleted(
    store: Store, settings: Settings, dataset: str, tmp_path: Path, action: str
) -> None:
    with store.database.write() as session:
        other = DatasetRepository(session).create("other", 4).id
    stopped, ended = create_ended_training(store, dataset, "failed"), create_ended_training(store, dataset, "succeeded")
    files = create_files(tmp_path)
    with store.database.read() as session:
        model = ModelRepository(session).get_latest(dataset)
        assert model is not None
    from_dataset = DegradeRequest(source=dataset, model=model.id)
    calls: dict[str, Callable[[], Any]] = {
        "train": lambda: datasets.train(store, settings, dataset, TrainRequest(), NO_KEY),
        "degrade": lambda: degrade_photos(store, settings, dataset, tmp_path, files),
        "degrade its photos": lambda: degrade_photos(store, settings, other, tmp_path, [], from_dataset),
        "upload": lambda: datasets.add_images(store, settings, dataset, Role.lr, files, tmp_path),
        "upload in parts": lambda: uploads.create(store, settings, DatasetTarget(dataset, "lr"), 10, ""),
        "retry": lambda: lifecycle.retry(store, settings, stopped),
        "continue": lambda: lifecycle.resume_training(store, settings, ended, NO_KEY),
    }
    call = BackgroundCall(calls[action])
    with store.database.write() as session:
        DatasetRepository(session).lock_exclusive(dataset)
        while DatasetRepository(session).delete_batch(dataset):
            pass
        DatasetRepository(session).delete(dataset)
        call.start()
        time.sleep(BLOCKED_SECONDS)
    assert call.outcome() in ("dataset_not_found", "job_not_found", "model_not_found")


def test_a_photo_that_arrives_twice_at_once_is_one(
    store: Store, settings: Settings, dataset: str, tmp_path: Path
) -> None:
    files = create_files(tmp_path)
    call = BackgroundCall(lambda: datasets.add_images(store, settings, dataset, Role.lr, files, tmp_path))
    with store.database.write() as session:
        image = NewImage("another name.png", files[0].sha256, 130, 130)
        (first,) = DatasetRepository(session).add_images(dataset, "lr", [image])
        call.start()
        time.sleep(BLOCKED_SECONDS)
    (second,) = call.outcome().accepted
    assert (second.id, second.name) == (first.id, "another name.png")
    assert datasets.get(store, dataset).images == {Role.lr: 2, Role.hr: 1}


@pytest.mark.parametrize("action", ["train", "degrade", "retry", "continue"])
def test_the_last_place_in_the_queue_is_given_once(
    store: Store, settings: Settings, dataset: str, tmp_path: Path, action: str
) -> None:
    settings = settings.model_copy(update={"max_queued_jobs": 1})
    stopped, ended = create_ended_training(store, dataset, "failed"), create_ended_training(store, dataset, "succeeded")
    files = create_files(tmp_path)
    calls: dict[str, Callable[[], Any]] = {
        "train": lambda: datasets.train(store, settings, dataset, TrainRequest(), NO_KEY),
        "degrade": lambda: degrade_photos(store, settings, dataset, tmp_path, files),
        "retry": lambda: lifecycle.retry(store, settings, stopped),
        "continue": lambda: lifecycle.resume_training(store, settings, ended, NO_KEY),
    }
    call = BackgroundCall(calls[action])
    with store.database.write() as session:
        limits.check_capacity(session, settings)
        call.start()
        time.sleep(BLOCKED_SECONDS)
        JobRepository(session).create("train", dataset_id=dataset, model_id=None, parameters={}, unit="steps", total=9)
    assert call.outcome() == "queue_full"


def test_training_with_expiring_checkpoints_is_not_continued(store: Store, settings: Settings, dataset: str) -> None:
    ended = create_ended_training(store, dataset, "succeeded")
    call = BackgroundCall(lambda: lifecycle.resume_training(store, settings, ended, NO_KEY))
    with store.database.write() as session:
        session.get_one(Job, ended).retention_seconds = -1
        session.flush()
        assert JobRepository(session).expire() == [ended]
        call.start()
        time.sleep(BLOCKED_SECONDS)
    assert call.outcome() == "checkpoint_expired"


def test_a_half_deleted_dataset_is_not_a_source(
    store: Store, settings: Settings, dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.database.read() as session:
        model = ModelRepository(session).get_latest(dataset)
        assert model is not None
    with store.database.write() as session:
        source = DatasetRepository(session).create("source", 4).id
        photos = [NewImage(f"{n}.png", store.blobs.put(b"%d" % n), 128, 128) for n in range(3)]
        DatasetRepository(session).add_images(source, Role.hr, photos)

    def delete_half(*_: Any) -> None:
        with store.database.write() as session:
            DatasetRepository(session).delete_batch(source, limit=2)

    monkeypatch.setattr(degrade, "assign_output_names", _call_before(assign_output_names, delete_half))
    request = DegradeRequest(source=source, model=model.id)
    with pytest.raises(ProblemError) as error:
        degrade_photos(store, settings, dataset, tmp_path, [], request)
    assert error.value.code == "dataset_not_found"


@pytest.mark.parametrize("action", ["train", "retry"])
def test_a_dataset_is_not_deleted_while_a_job_is_accepted(
    store: Store, settings: Settings, dataset: str, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = create_ended_training(store, dataset, "failed")
    accepting, deletion_rejected = threading.Event(), threading.Event()

    def block(*_: Any) -> None:
        """Runs just before the transaction is committed."""
        accepting.set()
        deletion_rejected.wait(BLOCKED_SECONDS)

    for module in (commit, lifecycle):
        monkeypatch.setattr(module, "to_job_read", _call_before(module.to_job_read, block))
    call = BackgroundCall(
        lambda: (
            lifecycle.retry(store, settings, stopped).id
            if action == "retry"
            else datasets.train(store, settings, dataset, TrainRequest(), NO_KEY).id
        )
    )
    call.start()
    assert accepting.wait(30)
    with pytest.raises(ProblemError, match="use this dataset"):
        datasets.delete(store, dataset)
    deletion_rejected.set()
    assert get_many(store, [call.outcome()])


def _call_before(call: Callable[..., Any], before: Callable[[], None]) -> Callable[..., Any]:
    def both(*arguments: Any, **keywords: Any) -> Any:
        before()
        return call(*arguments, **keywords)

    return both
