"""Calls on datasets."""

from __future__ import annotations

from http import HTTPStatus

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from app.datasets import service
from app.datasets.schemas import DatasetIn, DatasetOut, ImageOut, Role, TrainIn, UploadOut
from app.dependencies import SettingsOfApp, StoreOfApp
from app.jobs.responses import accept_headers
from app.jobs.schemas import JobOut
from app.problems import problem_responses
from app.schemas import Cursor, Limit, Page
from app.uploads.documentation import FILES_BODY
from app.uploads.multipart import receive_form

router = APIRouter(prefix="/datasets", tags=["datasets"])
NOT_FOUND = problem_responses(HTTPStatus.NOT_FOUND)


@router.post("", status_code=HTTPStatus.CREATED, summary="Make a dataset")
def create_dataset(wanted: DatasetIn, store: StoreOfApp) -> DatasetOut:
    return service.create(store, wanted)


@router.get("", summary="All datasets, the newest first")
def list_datasets(store: StoreOfApp, cursor: Cursor = None, limit: Limit = 100) -> Page[DatasetOut]:
    return service.page(store, cursor, limit)


@router.get("/{dataset_id}", summary="A dataset, its images counted", responses=NOT_FOUND)
def get_dataset(dataset_id: str, store: StoreOfApp) -> DatasetOut:
    return service.get(store, dataset_id)


@router.delete(
    "/{dataset_id}",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Delete a dataset with its images, models and jobs",
    responses=problem_responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
def delete_dataset(dataset_id: str, store: StoreOfApp) -> None:
    service.delete(store, dataset_id)


@router.post(
    "/{dataset_id}/images",
    summary="Add images, or archives of images",
    responses=problem_responses(
        HTTPStatus.NOT_FOUND, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    ),
    openapi_extra=FILES_BODY,
)
async def add_images(
    dataset_id: str, role: Role, request: Request, store: StoreOfApp, settings: SettingsOfApp
) -> UploadOut:
    """Streams the files to disk. Each one that is refused is named with a code; if all are, the answer is 422."""
    await to_thread.run_sync(service.require, store, dataset_id)
    with store.blobs.scratch() as folder:
        form = await receive_form(request, folder, max_bytes=settings.max_upload_bytes)
        return await to_thread.run_sync(service.add_images, store, settings, dataset_id, role, form.files, folder)


@router.get("/{dataset_id}/images", summary="A dataset's images", responses=NOT_FOUND)
def list_images(
    dataset_id: str, store: StoreOfApp, role: Role | None = None, cursor: Cursor = None, limit: Limit = 100
) -> Page[ImageOut]:
    return service.images(store, dataset_id, role, cursor, limit)


@router.post(
    "/{dataset_id}/train",
    status_code=HTTPStatus.ACCEPTED,
    summary="Learn the degradation and, jointly, the EDSR",
    responses=problem_responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.BAD_REQUEST),
)
def train(dataset_id: str, wanted: TrainIn, response: Response, store: StoreOfApp) -> JobOut:
    job = service.train(store, dataset_id, wanted)
    response.headers.update(accept_headers(job))
    return job
