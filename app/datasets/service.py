"""What can be done with datasets."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path

from sqlalchemy.orm import Session

from app.lookup import get_dataset_or_404, held
from app.datasets.schemas import (
    TRAINING_PATCH,
    DatasetUpdate,
    DatasetCreate,
    DatasetRead,
    ImageRead,
    Role,
    TrainRequest,
    ImageUploadResponse,
)
from app.http.idempotency import Once
from app.http.problems import ProblemError, not_found
from app.http.schemas import Page, next_cursor
from app.jobs.schemas import JobRead
from app.jobs.service import accept, to_job_read, check_queue_capacity
from app.ingest.files import ReceivedFile
from app.ingest.images import MinimumSide, ingest_images
from config.settings import Settings
from imaging.image_files import ImageRefusedError
from store.db.tables import Dataset, Image, Job
from store.files.blobs import BlobDamagedError, BlobLostError
from store.repositories.datasets import DatasetRepository
from store.repositories.jobs import JobRepository
from store.repositories.models import ModelRepository
from store.store import Store


def create(store: Store, wanted: DatasetCreate, once: Once) -> DatasetRead:
    with store.database.write() as session:
        datasets = DatasetRepository(session)
        dataset, _ = once.make(session, Dataset, lambda: datasets.create(wanted.name, wanted.scale))
        return _out(datasets, ModelRepository(session), [dataset])[0]


def get(store: Store, dataset_id: str) -> DatasetRead:
    with store.database.read() as session:
        datasets = DatasetRepository(session)
        return _out(datasets, ModelRepository(session), [get_dataset_or_404(session, dataset_id)])[0]


def page(store: Store, cursor: str | None, limit: int) -> Page[DatasetRead]:
    with store.database.read() as session:
        datasets = DatasetRepository(session)
        rows = datasets.page(before=cursor, limit=limit)
        items = _out(datasets, ModelRepository(session), rows)
    return Page(items=items, next=next_cursor(rows, limit))


def change(store: Store, dataset_id: str, wanted: DatasetUpdate) -> DatasetRead:
    with store.database.write() as session:
        datasets = DatasetRepository(session)
        get_dataset_or_404(session, dataset_id)
        datasets.share(dataset_id, wanted.shared)
        session.expire_all()
        return _out(datasets, ModelRepository(session), [get_dataset_or_404(session, dataset_id)])[0]


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
        get_dataset_or_404(session, dataset_id)


def add_images(
    store: Store,
    settings: Settings,
    dataset_id: str,
    role: Role,
    files: Sequence[ReceivedFile],
    folder: Path,
    record: Callable[[Session, ImageUploadResponse], None] = lambda *_: None,
) -> ImageUploadResponse:
    """`record` is called in the transaction that adds them."""
    with store.database.read() as session:
        scale = get_dataset_or_404(session, dataset_id).scale
    taken, rejected = ingest_images(files, folder, store, settings, _minimum_side(role, scale))
    with store.database.write() as session:
        held(session, dataset_id)
        rows = DatasetRepository(session).add_images(dataset_id, role, taken)
        answer = ImageUploadResponse(accepted=[_image_out(row) for row in rows], rejected=rejected)
        record(session, answer)
    return answer


def images(store: Store, dataset_id: str, role: Role | None, cursor: str | None, limit: int) -> Page[ImageRead]:
    with store.database.read() as session:
        datasets = DatasetRepository(session)
        get_dataset_or_404(session, dataset_id)
        rows = datasets.images(dataset_id, role=role, after=cursor, limit=limit)
    return Page(items=[_image_out(row) for row in rows], next=next_cursor(rows, limit))


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


def train(store: Store, settings: Settings, dataset_id: str, wanted: TrainRequest, once: Once) -> JobRead:
    def make(session: Session) -> Job:
        dataset = held(session, dataset_id)
        _require_images(dataset)
        check_queue_capacity(session, settings)
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


def _out(datasets: DatasetRepository, models: ModelRepository, rows: Sequence[Dataset]) -> list[DatasetRead]:
    ids = [row.id for row in rows]
    trained, jobs = models.ids_of(ids), datasets.last_jobs(ids)
    return [
        DatasetRead(
            id=row.id,
            name=row.name,
            scale=row.scale,
            shared=row.shared,
            images={Role.lr: row.lr_images, Role.hr: row.hr_images},
            models=trained[row.id],
            last_job=to_job_read(jobs[row.id]) if row.id in jobs else None,
            created=row.created,
        )
        for row in rows
    ]


def _image_out(row: Image) -> ImageRead:
    return ImageRead(
        id=row.id, name=row.name, sha256=row.sha256, width=row.width, height=row.height, role=Role(row.role)
    )
