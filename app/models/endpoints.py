"""Model endpoints."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from app.http.dependencies import StoreDep
from app.http.problems import problem_responses
from app.http.ranges import RANGE_RESPONSES, Redirect, respond_with_file
from app.http.schemas import Cursor, Id, Limit, Page
from app.models import service
from app.models.report import ReportRead
from app.models.schemas import ModelDetailRead, ModelRead
from store.files.stored_file import StoredFile

router = APIRouter(prefix="/models", tags=["models"])
NOT_FOUND = problem_responses(HTTPStatus.NOT_FOUND)


@router.get("", summary="List models, newest first")
def list_models(
    store: StoreDep, cursor: Cursor = None, limit: Limit = 100, dataset: Id | None = None
) -> Page[ModelRead]:
    return service.list_models(store, cursor, limit, dataset)


@router.get("/{model_id}", summary="Get a model with its training curves", responses=NOT_FOUND)
def get_model(model_id: Id, store: StoreDep) -> ModelDetailRead:
    return service.get(store, model_id)


@router.get("/{model_id}/report", summary="Get a model's report: metrics and alarms", responses=NOT_FOUND)
def get_model_report(model_id: Id, store: StoreDep) -> ReportRead:
    return service.get_report(store, model_id)


@router.get(
    "/{model_id}/files/{name}",
    summary="Get a model's file",
    response_class=StreamingResponse,
    responses=NOT_FOUND | RANGE_RESPONSES,
)
def get_model_file(model_id: Id, name: str, store: StoreDep, request: Request, redirect: Redirect = False) -> Response:
    sha256 = service.find_file(store, model_id, name)
    if not redirect:
        store.blobs.verified_path(sha256)  # a model is useless in part: better an error than a download that breaks off
    return respond_with_file(
        request.headers,
        store.blobs,
        StoredFile(sha256),
        media_type="application/octet-stream",
        name=name,
        redirect=redirect,
    )
