"""What can be asked of models."""

from __future__ import annotations

from http import HTTPStatus

from sqlalchemy.orm import Session

from app.lookup import get_dataset_or_404
from app.http.problems import ProblemError, not_found
from app.http.schemas import Page, next_cursor
from app.models.report import ReportOut
from app.models.schemas import ModelDetailRead, ModelRead
from store.db.tables import Model
from store.repositories.models import REPORT, ModelRepository
from store.store import Store


def get(store: Store, model_id: str) -> ModelDetailRead:
    with store.database.read() as session:
        model = get_model_or_404(session, model_id)
    return ModelDetailRead(**dict(_out(model)), history=model.history)


def page(store: Store, cursor: str | None, limit: int, dataset: str | None) -> Page[ModelRead]:
    with store.database.read() as session:
        rows = ModelRepository(session).page(before=cursor, limit=limit, dataset_id=dataset)
    return Page(items=[_out(row) for row in rows], next=next_cursor(rows, limit))


def report(store: Store, model_id: str) -> ReportOut:
    """Raises `ProblemError` where there is none."""
    with store.database.read() as session:
        files = get_model_or_404(session, model_id).files
    if REPORT not in files:
        raise ProblemError(
            HTTPStatus.NOT_FOUND,
            "no_report",
            "The model has no report: it was made before there were any, or making it failed. Train again to get one.",
        )
    return ReportOut.model_validate_json(store.blobs.read(files[REPORT]))


def file(store: Store, model_id: str, name: str) -> str:
    """The SHA-256 of a model's file. Raises `ProblemError` where there is none."""
    with store.database.read() as session:
        files = get_model_or_404(session, model_id).files
    if name not in files:
        raise ProblemError(
            HTTPStatus.NOT_FOUND, "file_not_found", f"The model has no file {name!r}; it has {', '.join(files)}."
        )
    return str(files[name])


def get_model_or_404(session: Session, model_id: str) -> Model:
    model = ModelRepository(session).get(model_id)
    if model is None:
        raise not_found("model", model_id)
    return model


def resolve_model(session: Session, dataset_id: str, model_id: str | None) -> Model:
    """The model that is named, or the dataset's latest. Raises `ProblemError` where there is none."""
    get_dataset_or_404(session, dataset_id)
    if model_id is not None:
        return get_model_or_404(session, model_id)
    model = ModelRepository(session).latest(dataset_id)
    if model is None:
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "no_model",
            f"Nothing has been trained for this dataset yet. Train it first: POST /datasets/{dataset_id}/train, and "
            "wait until that job has succeeded.",
        )
    return model


def _out(model: Model) -> ModelRead:
    here = f"/models/{model.id}"
    return ModelRead(
        id=model.id,
        dataset=model.dataset_id,
        job=model.job_id,
        preset=model.preset,
        scale=model.scale,
        kernel_origin=model.kernel_origin,
        steps=model.steps,
        seconds=model.seconds,
        created=model.created,
        links={"self": here}
        | ({"report": f"{here}/report"} if REPORT in model.files else {})
        | {name: f"{here}/files/{name}" for name in model.files},
    )
