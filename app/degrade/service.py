"""Accepts degrade jobs."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from sqlalchemy.orm import Session

from app.lookup import get_dataset_or_404, held
from app.datasets.schemas import Role
from app.degrade.crops import count_crops, cut
from app.degrade.schemas import DegradeRequest
from app.http.idempotency import Once
from app.http.problems import ProblemError, not_found
from app.http.schemas import RejectedFile
from app.jobs.output_names import assign_output_names
from app.jobs.schemas import JobRead
from app.jobs.service import accept, precheck_capacity, to_job_read, check_queue_capacity
from app.models.service import get_model_or_404, resolve_model
from app.ingest.files import ReceivedFile
from app.ingest.images import MinimumSide, ingest_images
from config.settings import Settings
from store.db.tables import Image, Job
from store.repositories.datasets import DatasetRepository, NewImage
from store.repositories.jobs import JobRepository
from store.store import Store


def require(store: Store, settings: Settings, dataset_id: str, once_key: str | None) -> None:
    """Raises `ProblemError` where a request need not be received: there is no such dataset, or no place for a job."""
    with store.database.read() as session:
        get_dataset_or_404(session, dataset_id)
        precheck_capacity(session, settings, once_key)


def degrade(
    store: Store,
    settings: Settings,
    dataset_id: str,
    wanted: DegradeRequest,
    files: Sequence[ReceivedFile],
    folder: Path,
    once: Once,
) -> JobRead:
    with store.database.read() as session:
        if before := once.made_before(session, Job):
            return to_job_read(before)
    if wanted.samples > settings.max_samples:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "too_many_samples",
            f"At most {settings.max_samples} samples are drawn for each image; ask for fewer, or raise "
            "PATINA_MAX_SAMPLES.",
        )
    if files and wanted.source is not None:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "files_and_source", "Send either files or a source, not both."
        )
    with store.database.read() as session:
        model = resolve_model(session, dataset_id, wanted.model)
    if wanted.crop and wanted.crop % model.scale:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "crop_does_not_fit",
            f"A square's side is a multiple of the scale, {model.scale}; {wanted.crop} is not.",
        )

    def require_not_too_many(sizes: Sequence[tuple[int, int]]) -> None:
        squares = count_crops(sizes, wanted.crop, wanted.crop_step or wanted.crop) if wanted.crop else len(sizes)
        if squares > settings.max_items:
            raise _too_many_items(squares, settings.max_items)

    if wanted.source is not None:
        images: Sequence[NewImage] | Sequence[Image] = _images_of_source(store, settings, wanted.source)
        require_not_too_many([(image.height, image.width) for image in images])
        rejected: list[RejectedFile] = []
    else:
        minimum = _minimum_side(wanted, model.scale)
        images, rejected = ingest_images(files, folder, store, settings, minimum, require_not_too_many)
    items = assign_output_names(images, rejected)
    if wanted.crop:
        sizes = {image.sha256: (image.height, image.width) for image in images}
        items = cut(items, sizes, wanted.crop, wanted.crop_step or wanted.crop)

    def make(session: Session) -> Job:
        held(session, dataset_id)
        get_model_or_404(session, model.id)  # it may have been deleted while the files came in
        # The images' blobs stay with it; of one that is being deleted some may be gone already.
        if wanted.source is not None and held(session, wanted.source).hr_images < len(images):
            raise not_found("dataset", wanted.source)
        check_queue_capacity(session, settings)
        jobs = JobRepository(session)
        job = jobs.create(
            "degrade",
            dataset_id=dataset_id,
            model_id=model.id,
            parameters=wanted.model_dump(mode="json", exclude={"model"}, exclude_none=True)
            | {"scale": model.scale, "kernel_origin": model.kernel_origin},
            unit="samples",
            total=len(items) * wanted.samples,
            keep_seconds=settings.result_seconds,
        )
        jobs.add_items(job.id, items)
        return job

    return accept(store, once, make)


def _too_many_items(items: int, most: int) -> ProblemError:
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "too_many_items",
        f"The job would work on {items:,} images or squares of them; at most {most:,} are allowed. Send less at a "
        "time, cut larger squares or further apart, or raise PATINA_MAX_ITEMS.",
    )


def _images_of_source(store: Store, settings: Settings, source_id: str) -> Sequence[Image]:
    with store.database.read() as session:
        datasets = DatasetRepository(session)
        source = get_dataset_or_404(session, source_id)
        if source.hr_images > settings.max_items:  # before they are read
            raise _too_many_items(source.hr_images, settings.max_items)
        images = datasets.images(source_id, role=Role.hr)
    if not images:
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "no_hr_images",
            f"The source dataset has no clean images. Add some: POST /datasets/{source_id}/images?role=hr.",
        )
    return images


def _minimum_side(wanted: DegradeRequest, scale: int) -> MinimumSide:
    if wanted.crop:
        return MinimumSide(wanted.crop, f"a square of {wanted.crop}×{wanted.crop}")
    return MinimumSide(scale, f"one low-resolution pixel at scale {scale}")
