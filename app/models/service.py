"""Model service."""

from __future__ import annotations

from http import HTTPStatus

from app.http.problems import ProblemError
from app.http.root_path import link
from app.http.schemas import Page, next_cursor
from app.lookup import get_dataset_or_404, get_model_or_404
from app.models.report import ReportRead, rename_metrics
from app.models.schemas import ModelDetailRead, ModelRead
from store.db.database import Session
from store.db.tables import Model
from store.model_files import REPORT
from store.repositories.models import ModelRepository
from store.store import Store


def get(store: Store, model_id: str) -> ModelDetailRead:
    with store.database.read() as session:
        model = get_model_or_404(session, model_id)
    return ModelDetailRead(**dict(_to_model_read(model)), history=rename_metrics(model.history))


def list_models(store: Store, cursor: str | None, limit: int, dataset: str | None) -> Page[ModelRead]:
    with store.database.read() as session:
        rows = ModelRepository(session).list_newest(before=cursor, limit=limit, dataset_id=dataset)
    return Page(items=[_to_model_read(row) for row in rows], next=next_cursor(rows, limit))


def get_report(store: Store, model_id: str) -> ReportRead:
    """Raises `ProblemError` (404) if the model has no report."""
    with store.database.read() as session:
        files = get_model_or_404(session, model_id).files
    if REPORT not in files:
        raise ProblemError(
            HTTPStatus.NOT_FOUND,
            "no_report",
            "The model has no report: it was trained by an older version, or the report failed. Train again to get "
            "one.",
        )
    return ReportRead.from_stored(store.blobs.read(files[REPORT]))


def find_file(store: Store, model_id: str, name: str) -> str:
    """Returns the SHA-256 of a model's file. Raises `ProblemError` (404) if there is none."""
    with store.database.read() as session:
        files = get_model_or_404(session, model_id).files
    if name not in files:
        raise ProblemError(
            HTTPStatus.NOT_FOUND, "file_not_found", f"The model has no file {name!r}; it has {', '.join(files)}."
        )
    return str(files[name])


def resolve_model(session: Session, dataset_id: str, model_id: str | None) -> Model:
    """Returns the named model, or the dataset's latest one. Raises `ProblemError` if there is none."""
    get_dataset_or_404(session, dataset_id)
    if model_id is not None:
        return get_model_or_404(session, model_id)
    model = ModelRepository(session).get_latest(dataset_id)
    if model is None:
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "no_model",
            f"No model has been trained for this dataset. Train one (POST /datasets/{dataset_id}/train) and wait "
            "until its job has succeeded.",
        )
    return model


def _to_model_read(model: Model) -> ModelRead:
    url = link(f"/models/{model.id}")
    return ModelRead(
        id=model.id,
        dataset=model.dataset_id,
        job=model.job_id,
        preset=model.preset,
        scale=model.scale,
        kernel_origin=model.kernel_origin,
        steps=model.steps,
        seconds=model.seconds,
        created=model.created_at,
        links={"self": url}
        | ({"report": f"{url}/report"} if REPORT in model.files else {})
        | {name: f"{url}/files/{name}" for name in model.files},
    )
