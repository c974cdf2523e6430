"""Accepts super-resolution jobs."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from sqlalchemy.orm import Session

from app.lookup import held
from app.http.idempotency import Once
from app.http.problems import ProblemError
from app.jobs.output_names import assign_output_names
from app.jobs.schemas import JobRead
from app.jobs.service import accept, precheck_capacity, to_job_read, check_queue_capacity
from app.models.service import get_model_or_404, resolve_model
from app.sr.schemas import SrRequest
from app.ingest.files import ReceivedFile
from app.ingest.images import MinimumSide, ingest_images
from config.settings import Settings
from store.db.tables import Job
from store.repositories.jobs import JobRepository
from store.store import Store


def require(store: Store, settings: Settings, once_key: str | None) -> None:
    """Raises `ProblemError` where a request need not be received: there is no place for a job."""
    with store.database.read() as session:
        precheck_capacity(session, settings, once_key)


def super_resolve(
    store: Store, settings: Settings, wanted: SrRequest, files: Sequence[ReceivedFile], folder: Path, once: Once
) -> JobRead:
    with store.database.read() as session:
        if before := once.made_before(session, Job):
            return to_job_read(before)
    if (wanted.dataset is None) == (wanted.model is None):
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "dataset_or_model",
            "Name the dataset whose EDSR shall be used, or a model: one of the two.",
        )
    with store.database.read() as session:
        if wanted.dataset is not None:
            model = resolve_model(session, wanted.dataset, None)
        else:
            model = get_model_or_404(session, wanted.model or "")
    taken, rejected = ingest_images(files, folder, store, settings, MinimumSide(1, "super-resolution"))
    items = assign_output_names(taken, rejected)

    def make(session: Session) -> Job:
        held(session, model.dataset_id)
        get_model_or_404(session, model.id)  # it may have been deleted while the files came in
        check_queue_capacity(session, settings)
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
