"""Accepts super-resolution jobs."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from sqlalchemy.orm import Session

from app.datasets.locking import held
from app.http.idempotency import Once
from app.http.problems import ProblemError
from app.jobs.output_names import with_stems
from app.jobs.schemas import JobOut
from app.jobs.service import accept, expect_place, job_out, require_place
from app.models.service import found_model, model_of_dataset
from app.sr.schemas import SrIn
from app.uploads.files import ReceivedFile
from app.uploads.images import MinimumSide, take_images
from config.settings import Settings
from store.db.tables import Job
from store.repositories.jobs import JobRepository
from store.store import Store


def require(store: Store, settings: Settings, once_key: str | None) -> None:
    """Raises `ProblemError` where a request need not be received: there is no place for a job."""
    with store.database.read() as session:
        expect_place(session, settings, once_key)


def super_resolve(
    store: Store, settings: Settings, wanted: SrIn, files: Sequence[ReceivedFile], folder: Path, once: Once
) -> JobOut:
    with store.database.read() as session:
        if before := once.made_before(session, Job):
            return job_out(before)
    if (wanted.dataset is None) == (wanted.model is None):
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "dataset_or_model",
            "Name the dataset whose EDSR shall be used, or a model: one of the two.",
        )
    with store.database.read() as session:
        if wanted.dataset is not None:
            model = model_of_dataset(session, wanted.dataset, None)
        else:
            model = found_model(session, wanted.model or "")
    taken, rejected = take_images(files, folder, store, settings, MinimumSide(1, "super-resolution"))
    items = with_stems(taken, rejected)

    def make(session: Session) -> Job:
        held(session, model.dataset_id)
        found_model(session, model.id)  # it may have been deleted while the files came in
        require_place(session, settings)
        jobs = JobRepository(session)
        job = jobs.create(
            "sr",
            dataset_id=model.dataset_id,
            model_id=model.id,
            parameters=wanted.model_dump(mode="json", include={"tile", "format"}) | {"scale": model.scale},
            unit="images",
            total=len(items),
            keep_seconds=settings.result_seconds,
        )
        jobs.add_items(job.id, items)
        return job

    return accept(store, once, make)
