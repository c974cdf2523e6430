"""Requests that meet in the records: a dataset that is deleted, and work that is accepted for it at that moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.datasets import service as datasets
from app.datasets.schemas import Role, TrainRequest
from app.degrade import service as degrading
from app.degrade.schemas import DegradeRequest
from app.http.idempotency import Once
from app.http.problems import ProblemError
from app.jobs import service as jobs
from app.jobs.output_names import assign_output_names
from app.uploads import service as uploads
from app.ingest.files import ReceivedFile
from config.settings import Settings
from store.db.tables import Job
from store.repositories.datasets import DatasetRepository, NewImage
from store.repositories.jobs import JobRepository
from store.repositories.models import CheckpointRepository, ModelRepository
from store.store import Store
from tests.pictures import png

NOT_AGAIN = Once.of(None)
WAITING_SECONDS = 0.5  # by then what waits for the records does so


class Meanwhile(threading.Thread):
    """Calls while a transaction is open, and keeps what comes of it."""

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
    """With photos and a model."""
    photo = store.blobs.put(png(128, 128))
    with store.database.write() as session:
        made = DatasetRepository(session).create("photos", 4)
        for role in Role:
            DatasetRepository(session).add_images(made.id, role, [NewImage("a.png", photo, 128, 128)])
        ModelRepository(session).create(
            dataset_id=made.id,
            job_id="a-training",
            preset="default",
            scale=4,
            kernel_origin=(-8, -8),
            steps=1,
            seconds=1.0,
            files={},
            history=[],
        )
    return made.id


def training(store: Store, dataset: str, status: str) -> str:
    """One that has ended so, early."""
    with store.database.write() as session:
        repository = JobRepository(session)
        job = repository.create("train", dataset_id=dataset, model_id=None, parameters={}, unit="steps", total=9)
        claimed = repository.claim(job.id, "a worker", 60)
        assert claimed is not None
        repository.request_finish(job.id)
        CheckpointRepository(session).put(job.id, step=1, seconds=1.0, sha256=store.blobs.put(b"checkpoint"))
        repository.finish(job.id, claimed.attempt, status)
    return job.id


@pytest.mark.parametrize(
    "what", ["train", "degrade", "degrade its photos", "upload", "upload in parts", "retry", "continue"]
)
def test_work_for_a_dataset_that_is_deleted_in_this_moment(
    store: Store, settings: Settings, dataset: str, tmp_path: Path, what: str
) -> None:
    with store.database.write() as session:
        other = DatasetRepository(session).create("other", 4).id
    stopped, ended = training(store, dataset, "failed"), training(store, dataset, "succeeded")
    photo = tmp_path / "a.png"
    photo.write_bytes(png(130, 130))
    files = [ReceivedFile("a.png", photo, "0" * 64)]
    with store.database.read() as session:
        model = ModelRepository(session).latest(dataset)
        assert model is not None
    sourced = DegradeRequest(source=dataset, model=model.id)
    calls: dict[str, Callable[[], Any]] = {
        "train": lambda: datasets.train(store, settings, dataset, TrainRequest(), NOT_AGAIN),
        "degrade": lambda: degrading.degrade(store, settings, dataset, DegradeRequest(), files, tmp_path, NOT_AGAIN),
        "degrade its photos": lambda: degrading.degrade(store, settings, other, sourced, [], tmp_path, NOT_AGAIN),
        "upload": lambda: datasets.add_images(store, settings, dataset, Role.lr, files, tmp_path),
        "upload in parts": lambda: uploads.begin(store, settings, dataset, Role.lr, 10, ""),
        "retry": lambda: jobs.retry(store, settings, stopped),
        "continue": lambda: jobs.go_on(store, settings, ended, NOT_AGAIN),
    }
    meanwhile = Meanwhile(calls[what])
    with store.database.write() as session:
        DatasetRepository(session).lock(dataset)
        while DatasetRepository(session).delete_some(dataset):
            pass
        DatasetRepository(session).delete(dataset)
        meanwhile.start()
        time.sleep(WAITING_SECONDS)
    assert meanwhile.outcome() in ("dataset_not_found", "job_not_found", "model_not_found")


@pytest.mark.parametrize("what", ["train", "degrade", "retry", "continue"])
def test_of_two_jobs_for_one_place_in_the_queue_one_is_refused(
    store: Store, settings: Settings, dataset: str, tmp_path: Path, what: str
) -> None:
    settings = settings.model_copy(update={"max_queued_jobs": 1})
    stopped, ended = training(store, dataset, "failed"), training(store, dataset, "succeeded")
    photo = tmp_path / "a.png"
    photo.write_bytes(png(130, 130))
    files = [ReceivedFile("a.png", photo, "0" * 64)]
    calls: dict[str, Callable[[], Any]] = {
        "train": lambda: datasets.train(store, settings, dataset, TrainRequest(), NOT_AGAIN),
        "degrade": lambda: degrading.degrade(store, settings, dataset, DegradeRequest(), files, tmp_path, NOT_AGAIN),
        "retry": lambda: jobs.retry(store, settings, stopped),
        "continue": lambda: jobs.go_on(store, settings, ended, NOT_AGAIN),
    }
    meanwhile = Meanwhile(calls[what])
    with store.database.write() as session:
        jobs.check_queue_capacity(session, settings)
        meanwhile.start()
        time.sleep(WAITING_SECONDS)
        JobRepository(session).create("train", dataset_id=dataset, model_id=None, parameters={}, unit="steps", total=9)
    assert meanwhile.outcome() == "queue_full"


def test_a_training_whose_checkpoints_expire_in_this_moment_is_not_continued(
    store: Store, settings: Settings, dataset: str
) -> None:
    ended = training(store, dataset, "succeeded")
    meanwhile = Meanwhile(lambda: jobs.go_on(store, settings, ended, NOT_AGAIN))
    with store.database.write() as session:
        session.get_one(Job, ended).keep_seconds = -1
        session.flush()
        assert JobRepository(session).expire() == [ended]
        meanwhile.start()
        time.sleep(WAITING_SECONDS)
    assert meanwhile.outcome() == "checkpoint_expired"


def test_photos_of_a_dataset_that_is_half_deleted_are_not_degraded(
    store: Store, settings: Settings, dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.database.read() as session:
        model = ModelRepository(session).latest(dataset)
        assert model is not None
    with store.database.write() as session:
        source = DatasetRepository(session).create("source", 4).id
        photos = [NewImage(f"{n}.png", store.blobs.put(b"%d" % n), 128, 128) for n in range(3)]
        DatasetRepository(session).add_images(source, Role.hr, photos)

    def half_deleted(*_: Any) -> None:
        with store.database.write() as session:
            DatasetRepository(session).delete_some(source, most=2)

    monkeypatch.setattr(degrading, "assign_output_names", _then(assign_output_names, half_deleted))
    wanted = DegradeRequest(source=source, model=model.id)
    with pytest.raises(ProblemError) as refused:
        degrading.degrade(store, settings, dataset, wanted, [], tmp_path, NOT_AGAIN)
    assert refused.value.code == "dataset_not_found"


@pytest.mark.parametrize("what", ["train", "retry"])
def test_a_dataset_is_not_deleted_under_work_that_is_accepted_in_this_moment(
    store: Store, settings: Settings, dataset: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = training(store, dataset, "failed")
    accepting, decided = threading.Event(), threading.Event()

    def last_thing_before_the_end(*_: Any) -> None:
        accepting.set()
        decided.wait(WAITING_SECONDS)

    monkeypatch.setattr(jobs, "to_job_read", _then(jobs.to_job_read, last_thing_before_the_end))
    accepted = Meanwhile(
        lambda: (
            jobs.retry(store, settings, stopped).id
            if what == "retry"
            else datasets.train(store, settings, dataset, TrainRequest(), NOT_AGAIN).id
        )
    )
    accepted.start()
    assert accepting.wait(30)
    with pytest.raises(ProblemError, match="work on this dataset"):
        datasets.delete(store, dataset)
    decided.set()
    assert jobs.get_all(store, [accepted.outcome()])


def _then(call: Callable[..., Any], after: Callable[[], None]) -> Callable[..., Any]:
    def both(*arguments: Any) -> Any:
        after()
        return call(*arguments)

    return both
