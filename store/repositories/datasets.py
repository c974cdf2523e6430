"""Queries on datasets and their images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Text, cast, delete, func, select, tuple_, update
from sqlalchemy.orm import Session

from store.db.access import caller_of
from store.db.statements import execute_counted, insert_rows, list_newest
from store.db.tables import Dataset, Image, Item, Job, Sample, now
from store.ids import new_id
from store.repositories.jobs import ACTIVE

COUNT_LOCK = {"key_share": True}  # other transactions can still refer to the row
MAX_BIND_PARAMS = 10_000  # of one statement; databases take 32,766 (SQLite) and 65,535 (PostgreSQL)
DELETE_BATCH = 5_000  # records in one transaction, which blocks other writers
JOB_BATCH = 100


@dataclass(frozen=True)
class NewImage:
    """An image file whose blob is stored.

    `opaque` is its part without transparency: top, left, height, width in pixels; None if that is too small to use.
    `warnings` are a code and a message each. Neither is stored.
    """

    name: str
    sha256: str
    width: int
    height: int
    compression: dict[str, Any] | None = None  # of `FileCompression.to_json`
    opaque: tuple[int, int, int, int] | None = None
    warnings: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class PlannedImages:
    """A row for each image, and the values of those rows that are new."""

    images: list[Image]
    new: list[dict[str, Any]]


class DatasetRepository:
    def __init__(self, session: Session):
        self.session = session

    def create(self, name: str, scale: int) -> Dataset:
        dataset = Dataset(id=new_id(), name=name, scale=scale, owner=caller_of(self.session).token)
        self.session.add(dataset)
        self.session.flush()
        return dataset

    def get(self, dataset_id: str) -> Dataset | None:
        return self.session.get(Dataset, dataset_id)

    def lock_shared(self, dataset_id: str) -> Dataset | None:
        """Returns the dataset, which with its images' blobs nobody can delete until the transaction ends; or None."""
        lock = {"read": True, "key_share": True}
        return self.session.get(Dataset, dataset_id, with_for_update=lock, populate_existing=True)

    def lock_exclusive(self, dataset_id: str) -> Dataset | None:
        """Returns the dataset once nobody else has locked it, None if it is gone. Required for its deletion."""
        return self.session.get(Dataset, dataset_id, with_for_update=True, populate_existing=True)

    def set_shared(self, dataset_id: str, shared: bool) -> None:
        self.session.execute(update(Dataset).where(Dataset.id == dataset_id).values(shared=shared))

    def list_newest(self, *, before: str | None, limit: int) -> Sequence[Dataset]:
        return list_newest(self.session, Dataset, before=before, limit=limit)

    def delete(self, dataset_id: str) -> None:
        """Deletes the dataset with its images, jobs, samples, models and checkpoints. Their blobs become garbage."""
        self.session.execute(delete(Dataset).where(Dataset.id == dataset_id))

    def delete_batch(self, dataset_id: str, limit: int = DELETE_BATCH) -> bool:
        """Deletes about `limit` records of ended jobs, then of images. Returns False when nothing of both is left.

        The rest stays consistent: a job whose results are being deleted is marked as expired.
        """
        ended = select(Job.id).where(Job.dataset_id == dataset_id, Job.status.not_in(ACTIVE)).limit(JOB_BATCH)
        if jobs := list(self.session.scalars(ended)):
            expire = update(Job).where(Job.id.in_(jobs), Job.expired_at.is_(None)).values(expired_at=now())
            execute_counted(self.session, expire)
            left = limit - self._delete_of_jobs(jobs, Sample, limit)
            left -= self._delete_of_jobs(jobs, Item, left)
            if left:
                execute_counted(self.session, delete(Job).where(Job.id.in_(jobs)))
            return True
        batch = select(Image.id, Image.role).where(Image.dataset_id == dataset_id).limit(limit)
        images = {row.id: row.role for row in self.session.execute(batch)}
        if not images:
            return False
        roles = Counter(images.values())
        counts = {"lr_images": Dataset.lr_images - roles["lr"], "hr_images": Dataset.hr_images - roles["hr"]}
        execute_counted(self.session, update(Dataset).where(Dataset.id == dataset_id).values(counts))
        execute_counted(self.session, delete(Image).where(Image.id.in_(images)))
        return True

    def _delete_of_jobs(self, jobs: Sequence[str], table: type[Sample | Item], limit: int) -> int:
        key = table.__table__.primary_key
        batch = select(*key).where(table.job_id.in_(jobs)).limit(limit)
        return execute_counted(self.session, delete(table).where(tuple_(*key).in_(batch)))

    def latest_jobs(self, dataset_ids: Sequence[str]) -> dict[str, Job]:
        """Returns the latest job of each dataset that has one."""
        # One lookup in an index for each dataset, however many jobs it has.
        ids = select(Job.id).where(Job.dataset_id == Dataset.id).order_by(Job.id.desc()).limit(1).correlate(Dataset)
        newest = select(ids.scalar_subquery()).where(Dataset.id.in_(dataset_ids))
        jobs = self.session.scalars(select(Job).where(Job.id.in_(newest)))
        return {job.dataset_id: job for job in jobs if job.dataset_id}

    def add_images(self, dataset_id: str, role: str, images: Sequence[NewImage]) -> list[Image]:
        """Adds one row for each new content, and returns one row for each image: the same content has the same row."""
        dataset = self._lock_images(dataset_id)
        planned = self.plan_images(dataset_id, role, images)
        self._insert(dataset, role, planned)
        return planned.images

    def plan_images(self, dataset_id: str, role: str, images: Sequence[NewImage]) -> PlannedImages:
        """Prepares what `add_images` does. This needs no transaction, for which all who write to SQLite would wait."""
        known = self._find_images(dataset_id, role, [image.sha256 for image in images])
        time_now, new = self.session.scalar(select(now())), list[dict[str, Any]]()
        for image in images:
            if image.sha256 not in known:
                row = {
                    "id": new_id(),
                    "dataset_id": dataset_id,
                    "role": role,
                    "name": image.name,
                    "sha256": image.sha256,
                    "width": image.width,
                    "height": image.height,
                    "compression": image.compression,
                    "findings": None,
                    "perceptual_hash": None,
                    "created_at": time_now,
                }
                new.append(row)
                known[image.sha256] = Image(**row)
        return PlannedImages([known[image.sha256] for image in images], new)

    def insert_images(self, dataset_id: str, role: str, planned: PlannedImages) -> None:
        """Adds the new rows. Raises `DuplicateError`, when the transaction ends, if some were added meanwhile."""
        self._insert(self._lock_images(dataset_id), role, planned)

    def _insert(self, dataset: Dataset, role: str, planned: PlannedImages) -> None:
        insert_rows(self.session, Image, planned.new)
        if role == "lr":
            dataset.lr_images += len(planned.new)
        else:
            dataset.hr_images += len(planned.new)
        self.session.flush()

    def _lock_images(self, dataset_id: str) -> Dataset:
        """Others who add to this dataset wait until the transaction ends: the same image may come twice at once."""
        return self.session.get_one(Dataset, dataset_id, with_for_update=COUNT_LOCK, populate_existing=True)

    def _find_images(self, dataset_id: str, role: str, sha256s: Sequence[str]) -> dict[str, Image]:
        found: dict[str, Image] = {}
        for start in range(0, len(sha256s), MAX_BIND_PARAMS):
            query = select(Image).where(
                Image.dataset_id == dataset_id,
                Image.role == role,
                Image.sha256.in_(sha256s[start : start + MAX_BIND_PARAMS]),
            )
            found |= {image.sha256: image for image in self.session.scalars(query)}
        return found

    def find_in_other_role(self, dataset_id: str, images: Iterable[Image]) -> set[str]:
        """Returns the ids of those of its images whose content it also has in the other role."""
        found = set[str]()
        for role, other in (("lr", "hr"), ("hr", "lr")):
            ids = {image.sha256: image.id for image in images if image.role == role}
            found |= {ids[sha256] for sha256 in self._find_images(dataset_id, other, list(ids))}
        return found

    def list_with_findings(self, dataset_id: str, limit: int) -> Sequence[Image]:
        """Returns images that were checked and have findings, in the order of their arrival."""
        query = select(Image).where(Image.dataset_id == dataset_id, cast(Image.findings, Text) != "[]")
        return self.session.scalars(query.order_by(Image.id).limit(limit)).all()

    def count_unchecked(self, dataset_id: str) -> int:
        query = select(func.count()).select_from(Image).where(Image.dataset_id == dataset_id, Image.findings.is_(None))
        return int(self.session.scalar(query) or 0)

    def list_unchecked(self, dataset_id: str | None, *, max_pixels: int, after: str, limit: int) -> Sequence[Image]:
        """Returns images without findings and with at most this many pixels, of one dataset or of all."""
        pixels = cast(Image.width, BigInteger) * Image.height
        query = select(Image).where(Image.findings.is_(None), Image.id > after, pixels <= max_pixels)
        if dataset_id is not None:
            query = query.where(Image.dataset_id == dataset_id)
        return self.session.scalars(query.order_by(Image.id).limit(limit)).all()

    def record_findings(self, image_id: str, findings: list[dict[str, Any]], perceptual_hash: str) -> None:
        values = {"findings": findings, "perceptual_hash": perceptual_hash}
        self.session.execute(update(Image).where(Image.id == image_id).values(values))

    def get_image(self, dataset_id: str, image_id: str) -> Image | None:
        image = self.session.get(Image, image_id)
        return image if image and image.dataset_id == dataset_id else None

    def count_pixels(self, dataset_id: str) -> int:
        """Returns the number of pixels of all its images."""
        pixels = func.sum(cast(Image.width, BigInteger) * Image.height)  # one image may exceed a 32-bit integer
        return int(self.session.scalar(select(pixels).where(Image.dataset_id == dataset_id)) or 0)

    def list_images(
        self, dataset_id: str, *, role: str | None = None, after: str | None = None, limit: int | None = None
    ) -> Sequence[Image]:
        """Returns images in the order of their arrival, those after the image `after`."""
        query = select(Image).where(Image.dataset_id == dataset_id).order_by(Image.id).limit(limit)
        if role is not None:
            query = query.where(Image.role == role)
        if after is not None:
            query = query.where(Image.id > after)
        return self.session.scalars(query).all()
