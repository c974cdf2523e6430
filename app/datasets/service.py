"""What can be done with datasets."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from app.datasets.schemas import DatasetIn, DatasetOut, ImageOut, Role, TrainIn, UploadOut
from app.jobs.schemas import JobOut
from app.jobs.service import job_out, submit
from app.problems import ProblemError, not_found
from app.schemas import PATCH, Page, cursor_after
from app.uploads.images import MinimumSide, take_images
from app.uploads.multipart import ReceivedFile
from config.settings import Settings
from store.datasets import DatasetRepository
from store.jobs import JobRepository
from store.store import Store
from store.tables import Dataset, Image
from store.trained import ModelRepository


def create(store: Store, wanted: DatasetIn) -> DatasetOut:
    with store.database.write() as session:
        datasets = DatasetRepository(session)
        return _out(datasets, ModelRepository(session), [datasets.create(wanted.name, wanted.scale)])[0]


def get(store: Store, dataset_id: str) -> DatasetOut:
    with store.database.read() as session:
        datasets = DatasetRepository(session)
        return _out(datasets, ModelRepository(session), [_found(datasets, dataset_id)])[0]


def page(store: Store, cursor: str | None, limit: int) -> Page[DatasetOut]:
    with store.database.read() as session:
        datasets = DatasetRepository(session)
        rows = datasets.page(before=cursor, limit=limit)
        items = _out(datasets, ModelRepository(session), rows)
    return Page(items=items, next=cursor_after(rows, limit))


def delete(store: Store, dataset_id: str) -> None:
    with store.database.write() as session:
        datasets = DatasetRepository(session)
        _found(datasets, dataset_id)
        if active := JobRepository(session).active_of_dataset(dataset_id):
            raise ProblemError(
                HTTPStatus.CONFLICT,
                "dataset_busy",
                f"{len(active)} jobs work on this dataset. Cancel them first (POST /jobs/{{id}}/cancel) or wait.",
                jobs=[job.id for job in active],
            )
        datasets.delete(dataset_id)


def require(store: Store, dataset_id: str) -> None:
    """Raises `ProblemError` where there is no such dataset."""
    with store.database.read() as session:
        _found(DatasetRepository(session), dataset_id)


def add_images(
    store: Store, settings: Settings, dataset_id: str, role: Role, files: Sequence[ReceivedFile], folder: Path
) -> UploadOut:
    with store.database.read() as session:
        scale = _found(DatasetRepository(session), dataset_id).scale
    taken, rejected = take_images(files, folder, store.blobs, settings, _minimum_side(role, scale))
    with store.database.write() as session:
        datasets = DatasetRepository(session)
        _found(datasets, dataset_id)
        rows = datasets.add_images(dataset_id, role, taken)
    return UploadOut(accepted=[_image_out(row) for row in rows], rejected=rejected)


def images(store: Store, dataset_id: str, role: Role | None, cursor: str | None, limit: int) -> Page[ImageOut]:
    with store.database.read() as session:
        datasets = DatasetRepository(session)
        _found(datasets, dataset_id)
        rows = datasets.images(dataset_id, role=role, after=cursor, limit=limit)
    return Page(items=[_image_out(row) for row in rows], next=cursor_after(rows, limit))


def train(store: Store, dataset_id: str, wanted: TrainIn) -> JobOut:
    with store.database.write() as session:
        datasets = DatasetRepository(session)
        dataset = _found(datasets, dataset_id)
        counts = datasets.image_counts([dataset_id])
        for role, what in ((Role.lr, "real low-resolution"), (Role.hr, "clean high-resolution")):
            if not counts.get((dataset_id, role)):
                raise ProblemError(
                    HTTPStatus.CONFLICT,
                    f"no_{role}_images",
                    f"The dataset has no {what} images. Add some: POST /datasets/{dataset_id}/images?role={role}.",
                )
        job = JobRepository(session).create(
            "train",
            dataset_id=dataset_id,
            model_id=None,
            parameters=wanted.model_dump(mode="json") | {"scale": dataset.scale},
            unit="steps",
            total=wanted.max_steps or 0,
        )
        answer = job_out(job)
    submit(store, answer)
    return answer


def _minimum_side(role: Role, scale: int) -> MinimumSide:
    if role is Role.lr:
        return MinimumSide(PATCH, f"a training patch of {PATCH}×{PATCH}")
    side = PATCH * scale
    return MinimumSide(side, f"a training patch of {side}×{side} (×{scale} of {PATCH}×{PATCH})")


def _found(datasets: DatasetRepository, dataset_id: str) -> Dataset:
    dataset = datasets.get(dataset_id)
    if dataset is None:
        raise not_found("dataset", dataset_id)
    return dataset


def _out(datasets: DatasetRepository, models: ModelRepository, rows: Sequence[Dataset]) -> list[DatasetOut]:
    ids = [row.id for row in rows]
    counts, trained, jobs = datasets.image_counts(ids), models.ids_of(ids), datasets.last_jobs(ids)
    return [
        DatasetOut(
            id=row.id,
            name=row.name,
            scale=row.scale,
            images={role: counts.get((row.id, role), 0) for role in Role},
            models=trained[row.id],
            last_job=job_out(jobs[row.id]) if row.id in jobs else None,
            created=row.created,
        )
        for row in rows
    ]


def _image_out(row: Image) -> ImageOut:
    return ImageOut(
        id=row.id, name=row.name, sha256=row.sha256, width=row.width, height=row.height, role=Role(row.role)
    )
