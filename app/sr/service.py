"""Validates super-resolution requests and prepares their jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar

from app.http.idempotency import describe_payload
from app.http.problems import ProblemError
from app.ingest.images import MinimumSide, describe_warnings, ingest_all, require_accepted
from app.ingest.multipart import ReceivedForm
from app.ingest.options import Transparency
from app.inputs.service import check_source, get_files, take
from app.jobs.commit import NewJob
from app.jobs.output_names import assign_output_names
from app.jobs.schemas import Kind
from app.lookup import get_model_or_404, lock_dataset_or_404
from app.models.service import resolve_model
from app.sr.schemas import SR_FIELDS_ADDED, SrRequest
from config.settings import Settings
from store.db.database import Session
from store.db.tables import Model
from store.repositories.samples import NewItem
from store.sr_options import ImageFormat
from store.store import Store


@dataclass(frozen=True)
class SrSubmission:
    """Implements `app.jobs.submit.Submission`."""

    store: Store
    settings: Settings
    target: ClassVar[tuple[str, ...]] = (Kind.sr,)
    schema: ClassVar[type[SrRequest]] = SrRequest

    def describe(self, payload: SrRequest) -> dict[str, Any]:
        fields = describe_payload(payload, SR_FIELDS_ADDED)
        # Before results had formats, `format` was that of the archive.
        fields |= {"format": payload.archive.value, "image_format": payload.format.value}
        return {name: value for name, value in fields.items() if name != "archive" and value != ImageFormat.png}

    def precheck(self, session: Session) -> None:
        """The URL names no record."""

    def validate(self, payload: SrRequest, form: ReceivedForm) -> Callable[[Session], NewJob]:
        if (payload.dataset is None) == (payload.model is None):
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY, "dataset_or_model", "Name either a dataset or a model, not both."
            )
        check_source(files=bool(form.files), inputs=payload.inputs)
        with self.store.database.read() as session:
            if payload.dataset is not None:
                model = resolve_model(session, payload.dataset, None)
            else:
                model = get_model_or_404(session, payload.model or "")
        minimum = MinimumSide(1, "super-resolution")
        if payload.inputs is not None:
            files = get_files(self.store, payload.inputs, minimum)
        else:
            files = ingest_all(
                form.files,
                form.folder,
                self.store,
                self.settings,
                minimum,
                options=payload.to_read_options(),
                transparency=Transparency.keep,
            )
            require_accepted(files)
        parameters = payload.to_parameters() | {"scale": model.scale, **describe_warnings(files)}
        return partial(_prepare, payload, model, parameters, assign_output_names(files, archive=form.only_name))


def _prepare(
    payload: SrRequest,
    model: Model,
    parameters: dict[str, Any],
    items: Sequence[tuple[str, NewItem]],
    session: Session,
) -> NewJob:
    if payload.inputs is not None:
        take(session, payload.inputs)
    lock_dataset_or_404(session, model.dataset_id)
    get_model_or_404(session, model.id)  # it may have been deleted while the files arrived
    return NewJob(
        Kind.sr,
        dataset_id=model.dataset_id,
        model_id=model.id,
        parameters=parameters,
        unit="images",
        total=len(items),
        items=items,
        priority=payload.priority,
    )
