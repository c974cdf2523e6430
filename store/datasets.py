"""Queries on datasets and their images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from store.ids import new_id
from store.tables import Dataset, Image, Job


@dataclass(frozen=True)
class NewImage:
    """An image file whose blob is in place."""

    name: str
    sha256: str
    width: int
    height: int


class DatasetRepository:
    def __init__(self, session: Session):
        self.session = session

    def create(self, name: str, scale: int) -> Dataset:
        dataset = Dataset(id=new_id(), name=name, scale=scale)
        self.session.add(dataset)
        self.session.flush()
        return dataset

    def get(self, dataset_id: str) -> Dataset | None:
        return self.session.get(Dataset, dataset_id)

    def page(self, *, before: str | None, limit: int) -> Sequence[Dataset]:
        """The newest first, those older than `before`."""
        query = select(Dataset).order_by(Dataset.id.desc()).limit(limit)
        if before is not None:
            query = query.where(Dataset.id < before)
        return self.session.scalars(query).all()

    def delete(self, dataset_id: str) -> None:
        """With its images, jobs, samples, models and checkpoints; their blobs are left to the reaper."""
        self.session.execute(delete(Dataset).where(Dataset.id == dataset_id))

    def image_counts(self, dataset_ids: Sequence[str]) -> dict[tuple[str, str], int]:
        """The number of images by (dataset id, role); what has none is left out."""
        rows = self.session.execute(
            select(Image.dataset_id, Image.role, func.count())
            .where(Image.dataset_id.in_(dataset_ids))
            .group_by(Image.dataset_id, Image.role)
        )
        return {(dataset_id, role): count for dataset_id, role, count in rows}

    def last_jobs(self, dataset_ids: Sequence[str]) -> dict[str, Job]:
        """The latest job of each dataset that has one."""
        newest = select(func.max(Job.id)).where(Job.dataset_id.in_(dataset_ids)).group_by(Job.dataset_id)
        jobs = self.session.scalars(select(Job).where(Job.id.in_(newest)))
        return {job.dataset_id: job for job in jobs if job.dataset_id}

    def add_images(self, dataset_id: str, role: str, images: Iterable[NewImage]) -> list[Image]:
        """One row for each different content; a content that is there already gives the row that is there."""
        images = list(images)
        known = {
            image.sha256: image
            for image in self.session.scalars(
                select(Image).where(
                    Image.dataset_id == dataset_id,
                    Image.role == role,
                    Image.sha256.in_({image.sha256 for image in images}),
                )
            )
        }
        rows = []
        for image in images:
            if image.sha256 not in known:
                known[image.sha256] = Image(
                    id=new_id(),
                    dataset_id=dataset_id,
                    role=role,
                    name=image.name,
                    sha256=image.sha256,
                    width=image.width,
                    height=image.height,
                )
                self.session.add(known[image.sha256])
            rows.append(known[image.sha256])
        self.session.flush()
        return rows

    def images(
        self, dataset_id: str, *, role: str | None = None, after: str | None = None, limit: int | None = None
    ) -> Sequence[Image]:
        """In the order of their arrival, those after the image `after`."""
        query = select(Image).where(Image.dataset_id == dataset_id).order_by(Image.id).limit(limit)
        if role is not None:
            query = query.where(Image.role == role)
        if after is not None:
            query = query.where(Image.id > after)
        return self.session.scalars(query).all()
