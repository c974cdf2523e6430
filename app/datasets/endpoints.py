"""Dataset endpoints."""

from __future__ import annotations

from http import HTTPStatus

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from app.auth.ownership import RequireDatasetOwner
from app.datasets import service
from app.datasets.photo_checks import read_checks
from app.datasets.schemas import (
    TRAIN_FIELDS_ADDED,
    DatasetCreate,
    DatasetRead,
    DatasetUpdate,
    ImageRead,
    ImageUploadResponse,
    PhotoChecksRead,
    Role,
    TrainRead,
    TrainRequest,
)
from app.http.dependencies import SettingsDep, StoreDep
from app.http.idempotency import IdempotencyKey, IdempotentRequest, describe_payload
from app.http.problems import problem_responses
from app.http.schemas import Cursor, Id, Limit, Page
from app.ingest.documentation import FILES_BODY
from app.ingest.fields import parse_fields
from app.ingest.multipart import receive_form
from app.ingest.options import ReadOptions
from app.jobs.responses import accept_headers

router = APIRouter(prefix="/datasets", tags=["datasets"])
NOT_FOUND = problem_responses(HTTPStatus.NOT_FOUND)


@router.post("", status_code=HTTPStatus.CREATED, summary="Create a dataset")
def create_dataset(payload: DatasetCreate, store: StoreDep, idempotency_key: IdempotencyKey = None) -> DatasetRead:
    request = IdempotentRequest.create(idempotency_key, "dataset", payload.model_dump(mode="json"))
    return service.create(store, payload, request)


@router.get("", summary="List datasets, newest first")
def list_datasets(store: StoreDep, cursor: Cursor = None, limit: Limit = 100) -> Page[DatasetRead]:
    return service.list_datasets(store, cursor, limit)


@router.get("/{dataset_id}", summary="Get a dataset and its image counts", responses=NOT_FOUND)
def get_dataset(dataset_id: Id, store: StoreDep) -> DatasetRead:
    return service.get(store, dataset_id)


@router.patch(
    "/{dataset_id}", summary="Share or unshare a dataset", responses=NOT_FOUND, dependencies=[RequireDatasetOwner]
)
def update_dataset(dataset_id: Id, payload: DatasetUpdate, store: StoreDep) -> DatasetRead:
    """Every token may see and use a shared dataset and its models. Only its owner may change it."""
    return service.update(store, dataset_id, payload)


@router.delete(
    "/{dataset_id}",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Delete a dataset with its images, models and jobs",
    responses=problem_responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    dependencies=[RequireDatasetOwner],
)
def delete_dataset(dataset_id: Id, store: StoreDep) -> None:
    service.delete(store, dataset_id)


@router.post(
    "/{dataset_id}/images",
    summary="Add images or archives of images",
    responses=problem_responses(HTTPStatus.NOT_FOUND, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    openapi_extra=FILES_BODY,
    dependencies=[RequireDatasetOwner],
)
async def add_images(
    dataset_id: Id, role: Role, request: Request, store: StoreDep, settings: SettingsDep
) -> ImageUploadResponse:
    """Streams the files to disk. Each rejected file is listed with a code; if all are rejected, the status is 422."""
    await to_thread.run_sync(service.require, store, dataset_id)
    async with receive_form(request, store, settings) as form:
        options = parse_fields(ReadOptions, form.fields)
        return await to_thread.run_sync(
            service.add_images, store, settings, dataset_id, role, form.files, form.folder, options
        )


@router.get("/{dataset_id}/images", summary="List a dataset's images", responses=NOT_FOUND)
def list_images(
    dataset_id: Id, store: StoreDep, role: Role | None = None, cursor: Cursor = None, limit: Limit = 100
) -> Page[ImageRead]:
    return service.list_images(store, dataset_id, role, cursor, limit)


@router.get("/{dataset_id}/checks", summary="Get what is wrong with a dataset's photos", responses=NOT_FOUND)
def get_photo_checks(dataset_id: Id, store: StoreDep) -> PhotoChecksRead:
    """Photos are checked soon after they arrived. A training leaves some out; see its field `photo_checks`."""
    return read_checks(store, dataset_id)


@router.get(
    "/{dataset_id}/images/{image_id}/thumbnail",
    summary="Get an image's thumbnail",
    response_class=Response,
    responses=NOT_FOUND,
)
def get_thumbnail(dataset_id: Id, image_id: Id, store: StoreDep) -> Response:
    """A WebP of at most 256 pixels per side. It never changes, so it may be cached forever."""
    thumbnail = service.create_thumbnail(store, dataset_id, image_id)
    return Response(
        thumbnail, media_type="image/webp", headers={"Cache-Control": "private, max-age=31536000, immutable"}
    )


@router.post(
    "/{dataset_id}/train",
    status_code=HTTPStatus.ACCEPTED,
    summary="Train the degradation and the EDSR",
    responses=problem_responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS),
    dependencies=[RequireDatasetOwner],
)
def train(
    dataset_id: Id,
    payload: TrainRequest,
    response: Response,
    store: StoreDep,
    settings: SettingsDep,
    idempotency_key: IdempotencyKey = None,
) -> TrainRead:
    """Checks the photos for a few seconds at most, unless `photo_checks` is `off`, and says what is wrong with them."""
    request = IdempotentRequest.create(
        idempotency_key, "train", dataset_id, describe_payload(payload, TRAIN_FIELDS_ADDED)
    )
    job = service.train(store, settings, dataset_id, payload, request)
    response.headers.update(accept_headers(job))
    return job
