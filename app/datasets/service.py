"""What can be done with datasets."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path

from sqlalchemy.orm import Session

from app.datasets.locking import found_dataset, held
from app.datasets.schemas import (
    TRAINING_PATCH,
    DatasetChange,
    DatasetIn,
    DatasetOut,
    ImageOut,
    Role,
    TrainIn,
    UploadOut,
)
from app.http.idempotency import Once
from app.http.problems import ProblemError, not_found
from app.http.schemas import Page, cursor_after
from app.jobs.schemas import JobOut
from app.jobs.service import accept, job_out, require_place
from app.uploads.files import ReceivedFile
from app.uploads.images import MinimumSide, take_images
from config.settings import Settings
from imaging.image_files import ImageRefusedError
from store.db.tables import Dataset, Image, Job
from store.files.blobs import BlobDamagedError, BlobLostError
from store.repositories.datasets import DatasetRepository
from store.repositories.jobs import JobRepository
from store.repositories.models import ModelRepository
from store.store import Store


def create(store: Store, wanted: DatasetIn, once: Once) -> DatasetOut:
    with store.database.write() as session:
        datasets = DatasetRepository(session)
        dataset, _ = once.make(session, Dataset, lambda: datasets.create(wanted.name, wanted.scale))
        return _out(datasets, ModelRepository(session), [dataset])[0]


def get(store: Store, dataset_id: str) -> DatasetOut:
    with store.database.read() as session:
        datasets = DatasetRepository(session)
        return _out(datasets, ModelRepository(session), [found_dataset(session, dataset_id)])[0]


def page(store: Store, cursor: str | None, limit: int) -> Page[DatasetOut]:
    with store.database.read() as session:
        datasets = DatasetRepository(session)
        rows = datasets.page(before=cursor, limit=limit)
        items = _out(datasets, ModelRepository(session), rows)
    return Page(items=items, next=cursor_after(rows, limit))


def change(store: Store, dataset_id: str, wanted: DatasetChange) -> DatasetOut:
    with store.database.write() as session:
        datasets = DatasetRepository(session)
        found_dataset(session, dataset_id)
        datasets.share(dataset_id, wanted.shared)
        session.expire_all()
        return _out(datasets, ModelRepository(session), [found_dataset(session, dataset_id)])[0]


def delete(store: Store, dataset_id: str) -> None:
    """What there is a million of goes first and bit by bit, so that others need not wait for the end of it."""
    some = True
    while some:
        began = time.monotonic()
        with store.database.write() as session:
            datasets = _not_busy(session, dataset_id)
            some = datasets.delete_some(dataset_id)
            if not some:
                datasets.delete(dataset_id)
        if some:
            time.sleep(time.monotonic() - began)  # half of the time is others'


def _not_busy(session: Session, dataset_id: str) -> DatasetRepository:
    """Raises `ProblemError` where there is no such dataset, or jobs are at work on it.

    None is accepted for it until the transaction's end.
    """
    datasets = DatasetRepository(session)
    if datasets.lock(dataset_id) is None:
        raise not_found("dataset", dataset_id)
    if active := JobRepository(session).active_of_dataset(dataset_id):
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "dataset_busy",
            f"{len(active)} jobs work on this dataset. Cancel them first (POST /jobs/{{id}}/cancel) or wait.",
            jobs=[job.id for job in active],
        )
    return datasets


def require(store: Store, dataset_id: str) -> None:
    """Raises `ProblemError` where there is no such dataset."""
    with store.database.read() as session:
        found_dataset(session, dataset_id)


def add_images(
    store: Store,
    settings: Settings,
    dataset_id: str,
    role: Role,
    files: Sequence[ReceivedFile],
    folder: Path,
    record: Callable[[Session, UploadOut], None] = lambda *_: None,
) -> UploadOut:
    """`record` is called in the transaction that adds them."""
    with store.database.read() as session:
        scale = found_dataset(session, dataset_id).scale
    taken, rejected = take_images(files, folder, store, settings, _minimum_side(role, scale))
    with store.database.write() as session:
        held(session, dataset_id)
        rows = DatasetRepository(session).add_images(dataset_id, role, taken)
        answer = UploadOut(accepted=[_image_out(row) for row in rows], rejected=rejected)
        record(session, answer)
    return answer


def images(store: Store, dataset_id: str, role: Role | None, cursor: str | None, limit: int) -> Page[ImageOut]:
    with store.database.read() as session:
        datasets = DatasetRepository(session)
        found_dataset(session, dataset_id)
        rows = datasets.images(dataset_id, role=role, after=cursor, limit=limit)
    return Page(items=[_image_out(row) for row in rows], next=cursor_after(rows, limit))


def thumbnail(store: Store, dataset_id: str, image_id: str) -> bytes:
    """Raises `ProblemError` where there is no such image, or none can be made of it."""
    with store.database.read() as session:
        image = DatasetRepository(session).image(dataset_id, image_id)
    if image is None:
        raise not_found("image", image_id)
    try:
        return store.decoders.thumbnail(store.blobs.verified(image.sha256))
    except (ImageRefusedError, BlobLostError, BlobDamagedError) as error:
        raise ProblemError(
            HTTPStatus.NOT_FOUND, "no_thumbnail", "The photo is lost or damaged: `patina doctor` says how to mend it."
        ) from error


def train(store: Store, settings: Settings, dataset_id: str, wanted: TrainIn, once: Once) -> JobOut:
    def make(session: Session) -> Job:
        dataset = held(session, dataset_id)
        _require_images(dataset)
        require_place(session, settings)
        return JobRepository(session).create(
            "train",
            dataset_id=dataset_id,
            model_id=None,
            parameters=wanted.model_dump(mode="json") | {"scale": dataset.scale},
            unit="steps",
            total=wanted.max_steps or 0,
            keep_seconds=settings.result_seconds,
        )

    return accept(store, once, make)


def _require_images(dataset: Dataset) -> None:
    for role, what, images in (
        (Role.lr, "real low-resolution", dataset.lr_images),
        (Role.hr, "clean high-resolution", dataset.hr_images),
    ):
        if not images:
            raise ProblemError(
                HTTPStatus.CONFLICT,
                f"no_{role}_images",
                f"The dataset has no {what} images. Add some: POST /datasets/{dataset.id}/images?role={role}.",
            )


def _minimum_side(role: Role, scale: int) -> MinimumSide:
    if role is Role.lr:
        return MinimumSide(TRAINING_PATCH, f"a training patch of {TRAINING_PATCH}×{TRAINING_PATCH}")
    side = TRAINING_PATCH * scale
    return MinimumSide(side, f"a training patch of {side}×{side} (×{scale} of {TRAINING_PATCH}×{TRAINING_PATCH})")


def _out(datasets: DatasetRepository, models: ModelRepository, rows: Sequence[Dataset]) -> list[DatasetOut]:
    ids = [row.id for row in rows]
    trained, jobs = models.ids_of(ids), datasets.last_jobs(ids)
    return [
        DatasetOut(
            id=row.id,
            name=row.name,
            scale=row.scale,
            shared=row.shared,
            images={Role.lr: row.lr_images, Role.hr: row.hr_images},
            models=trained[row.id],
            last_job=job_out(jobs[row.id]) if row.id in jobs else None,
            created=row.created,
        )
        for row in rows
    ]


def _image_out(row: Image) -> ImageOut:
    return ImageOut(
        id=row.id, name=row.name, sha256=row.sha256, width=row.width, height=row.height, role=Role(row.role)
    )
