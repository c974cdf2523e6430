"""Dataset service."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path

from app.datasets.photo_checks import check_now, read_checks, to_image_reads
from app.datasets.schemas import (
    TRAINING_PATCH,
    DatasetCreate,
    DatasetRead,
    DatasetUpdate,
    ImageRead,
    ImageUploadResponse,
    PhotoChecks,
    Role,
    TrainRead,
    TrainRequest,
)
from app.http.idempotency import IdempotentRequest
from app.http.problems import ProblemError, not_found
from app.http.schemas import Page, RejectedFile, next_cursor
from app.ingest.files import ReceivedFile
from app.ingest.images import MinimumSide, ingest_all, list_warnings, require_accepted
from app.ingest.options import DEFAULTS, ReadOptions
from app.jobs.commit import NewJob, commit
from app.jobs.mapping import to_job_read
from app.jobs.schemas import Kind
from app.lookup import get_dataset_or_404, get_model_or_404, lock_dataset_or_404
from config.settings import Settings
from imaging.rejections import ImageRejected
from store.db.database import Session
from store.db.tables import Dataset, Image, Model
from store.errors import BlobCorrupt, BlobMissing, DuplicateError
from store.repositories.datasets import DatasetRepository, NewImage
from store.repositories.jobs import JobRepository
from store.repositories.models import ModelRepository
from store.store import Store

CHECK_SECONDS = 5.0  # for which a request to train checks photos


def create(store: Store, payload: DatasetCreate, request: IdempotentRequest) -> DatasetRead:
    with store.database.write() as session:
        datasets = DatasetRepository(session)
        dataset, _ = request.get_or_create(session, Dataset, lambda: datasets.create(payload.name, payload.scale))
        return _to_dataset_reads(session, [dataset])[0]


def get(store: Store, dataset_id: str) -> DatasetRead:
    with store.database.read() as session:
        return _to_dataset_reads(session, [get_dataset_or_404(session, dataset_id)])[0]


def list_datasets(store: Store, cursor: str | None, limit: int) -> Page[DatasetRead]:
    with store.database.read() as session:
        rows = DatasetRepository(session).list_newest(before=cursor, limit=limit)
        items = _to_dataset_reads(session, rows)
    return Page(items=items, next=next_cursor(rows, limit))


def update(store: Store, dataset_id: str, payload: DatasetUpdate) -> DatasetRead:
    with store.database.write() as session:
        get_dataset_or_404(session, dataset_id)
        DatasetRepository(session).set_shared(dataset_id, payload.shared)
        session.expire_all()
        return _to_dataset_reads(session, [get_dataset_or_404(session, dataset_id)])[0]


def delete(store: Store, dataset_id: str) -> None:
    """Deletes a dataset. Its samples, possibly millions, go first and in batches, so that others can write too."""
    more = True
    while more:
        started = time.monotonic()
        with store.database.write() as session:
            _lock_idle(session, dataset_id)
            datasets = DatasetRepository(session)
            more = datasets.delete_batch(dataset_id)
            if not more:
                datasets.delete(dataset_id)
        if more:
            time.sleep(time.monotonic() - started)  # leaves half of the time to other writers


def _lock_idle(session: Session, dataset_id: str) -> None:
    """Locks the dataset until the transaction ends, so that no job is accepted for it.

    Raises `ProblemError` if there is no such dataset or if it has queued or running jobs.
    """
    if DatasetRepository(session).lock_exclusive(dataset_id) is None:
        raise not_found("dataset", dataset_id)
    if active := JobRepository(session).list_active(dataset_id):
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "dataset_busy",
            f"{len(active)} jobs use this dataset. Cancel them (POST /jobs/{{id}}/cancel) or wait.",
            jobs=[job.id for job in active],
        )


def require(store: Store, dataset_id: str) -> None:
    """Raises `ProblemError` (404) if there is no such dataset."""
    with store.database.read() as session:
        get_dataset_or_404(session, dataset_id)


def add_images(
    store: Store,
    settings: Settings,
    dataset_id: str,
    role: Role,
    files: Sequence[ReceivedFile],
    folder: Path,
    options: ReadOptions = DEFAULTS,
    record: Callable[[Session, ImageUploadResponse], None] = lambda *_: None,
) -> ImageUploadResponse:
    """Ingests the files and adds their images to the dataset. `record` is called in the same transaction."""
    with store.database.read() as session:
        scale = get_dataset_or_404(session, dataset_id).scale
    outcomes = ingest_all(files, folder, store, settings, _minimum_side(role, scale), options=options)
    require_accepted(outcomes)
    accepted = [file for file in outcomes if isinstance(file, NewImage)]
    rejected = [file for file in outcomes if isinstance(file, RejectedFile)]

    def respond(session: Session, images: Sequence[Image]) -> ImageUploadResponse:
        warnings = list_warnings(outcomes)
        return ImageUploadResponse(accepted=to_image_reads(session, images), rejected=rejected, warnings=warnings)

    with store.database.read() as session:
        planned = DatasetRepository(session).plan_images(dataset_id, role, accepted)
        response = respond(session, planned.images)
    try:
        with store.database.write() as session:
            lock_dataset_or_404(session, dataset_id)
            DatasetRepository(session).insert_images(dataset_id, role, planned)
            record(session, response)
    except DuplicateError:  # another request has added the same images meanwhile
        with store.database.write() as session:
            lock_dataset_or_404(session, dataset_id)
            response = respond(session, DatasetRepository(session).add_images(dataset_id, role, accepted))
            record(session, response)
    return response


def list_images(store: Store, dataset_id: str, role: Role | None, cursor: str | None, limit: int) -> Page[ImageRead]:
    with store.database.read() as session:
        get_dataset_or_404(session, dataset_id)
        rows = DatasetRepository(session).list_images(dataset_id, role=role, after=cursor, limit=limit)
        items = to_image_reads(session, rows)
    return Page(items=items, next=next_cursor(rows, limit))


def create_thumbnail(store: Store, dataset_id: str, image_id: str) -> bytes:
    """Returns a WebP. Raises `ProblemError` (404) if the image does not exist or cannot be read."""
    with store.database.read() as session:
        image = DatasetRepository(session).get_image(dataset_id, image_id)
    if image is None:
        raise not_found("image", image_id)
    try:
        return store.decoders.thumbnail(store.blobs.verified_path(image.sha256))
    except (ImageRejected, BlobMissing, BlobCorrupt) as error:
        raise ProblemError(
            HTTPStatus.NOT_FOUND,
            "no_thumbnail",
            "The image file is missing or corrupt. Run `patina doctor` to repair it.",
        ) from error


def train(
    store: Store, settings: Settings, dataset_id: str, payload: TrainRequest, request: IdempotentRequest
) -> TrainRead:
    """Checks photos that were not checked yet, for a few seconds, and submits the training."""
    checks = None
    if payload.photo_checks is not PhotoChecks.off:
        check_now(store, dataset_id, CHECK_SECONDS)
        checks = read_checks(store, dataset_id)

    def prepare(session: Session) -> NewJob:
        dataset = lock_dataset_or_404(session, dataset_id)
        _require_images(dataset)
        if payload.warm_start is not None:
            _require_scale(get_model_or_404(session, payload.warm_start), dataset)
        return NewJob(
            Kind.train,
            dataset_id=dataset_id,
            model_id=None,
            parameters=payload.model_dump(mode="json", exclude={"priority"}) | {"scale": dataset.scale},
            unit="steps",
            total=payload.max_steps or 0,
            priority=payload.priority,
        )

    job = commit(store, settings, request, prepare)
    return TrainRead(**job.model_dump(), photo_checks=checks)


def _require_images(dataset: Dataset) -> None:
    """Raises `ProblemError` (409) if the dataset has no images of one of the roles."""
    for role, description, count in (
        (Role.lr, "real low-resolution", dataset.lr_images),
        (Role.hr, "clean high-resolution", dataset.hr_images),
    ):
        if not count:
            raise ProblemError(
                HTTPStatus.CONFLICT,
                f"no_{role}_images",
                f"The dataset has no {description} images. Add some: POST /datasets/{dataset.id}/images?role={role}.",
            )


def _require_scale(model: Model, dataset: Dataset) -> None:
    """Raises `ProblemError` (422) if a training on the dataset cannot start from the model."""
    if model.scale != dataset.scale:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "warm_start_incompatible",
            f"The model {model.id} has the scale {model.scale}, the dataset {dataset.scale}. Name another model, or "
            "omit `warm_start`.",
        )


def _minimum_side(role: Role, scale: int) -> MinimumSide:
    if role is Role.lr or scale == 1:
        return MinimumSide(TRAINING_PATCH, f"a training patch of {TRAINING_PATCH}×{TRAINING_PATCH}")
    side = TRAINING_PATCH * scale
    return MinimumSide(side, f"a training patch of {side}×{side} (×{scale} of {TRAINING_PATCH}×{TRAINING_PATCH})")


def _to_dataset_reads(session: Session, rows: Sequence[Dataset]) -> list[DatasetRead]:
    ids = [row.id for row in rows]
    models, jobs = ModelRepository(session).list_ids(ids), DatasetRepository(session).latest_jobs(ids)
    return [
        DatasetRead(
            id=row.id,
            name=row.name,
            scale=row.scale,
            shared=row.shared,
            images={Role.lr: row.lr_images, Role.hr: row.hr_images},
            models=models[row.id],
            last_job=to_job_read(jobs[row.id]) if row.id in jobs else None,
            created=row.created_at,
        )
        for row in rows
    ]
