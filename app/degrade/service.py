"""Accepts degrade jobs."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from app.datasets.schemas import Role
from app.degrade.schemas import DegradeIn
from app.jobs.items import with_stems
from app.jobs.schemas import JobOut
from app.jobs.service import job_out, submit
from app.models.service import found_model, model_of_dataset
from app.problems import ProblemError, not_found
from app.uploads.images import MinimumSide, take_images
from app.uploads.multipart import ReceivedFile
from config.settings import Settings
from store.datasets import DatasetRepository
from store.jobs import JobRepository, NewItem
from store.store import Store


def degrade(
    store: Store,
    settings: Settings,
    dataset_id: str,
    wanted: DegradeIn,
    files: Sequence[ReceivedFile],
    folder: Path,
) -> JobOut:
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
        model = model_of_dataset(session, dataset_id, wanted.model)
    if wanted.source is not None:
        items = _items_of_source(store, wanted.source)
    else:
        minimum = MinimumSide(model.scale, f"one low-resolution pixel at scale {model.scale}")
        taken, rejected = take_images(files, folder, store.blobs, settings, minimum)
        items = with_stems(taken, rejected)
    with store.database.write() as session:
        found_model(session, model.id)  # it may have been deleted while the files came in
        jobs = JobRepository(session)
        job = jobs.create(
            "degrade",
            dataset_id=dataset_id,
            model_id=model.id,
            parameters=wanted.model_dump(mode="json", include={"samples", "seed", "format", "source"}),
            unit="samples",
            total=len(items) * wanted.samples,
        )
        jobs.add_items(job.id, items)
        answer = job_out(job)
    submit(store, answer)
    return answer


def _items_of_source(store: Store, source_id: str) -> list[tuple[str, NewItem]]:
    with store.database.read() as session:
        datasets = DatasetRepository(session)
        if datasets.get(source_id) is None:
            raise not_found("dataset", source_id)
        images = datasets.images(source_id, role=Role.hr)
    if not images:
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "no_hr_images",
            f"The source dataset has no clean images. Add some: POST /datasets/{source_id}/images?role=hr.",
        )
    return with_stems(images, [])
