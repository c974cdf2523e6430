"""Queries on datasets and their images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, CursorResult, Delete, Update, cast, delete, func, select, tuple_, update
from sqlalchemy.orm import Session

from store.db.access import caller_of
from store.db.tables import Dataset, Image, Item, Job, Sample, now
from store.ids import new_id
from store.repositories.jobs import ACTIVE

FOR_COUNTING = {"key_share": True}  # a lock that lets others refer to the row meanwhile
PARAMETERS = 10_000  # of one statement; databases take 32,766 (SQLite) and 65,535 (PostgreSQL)
DELETED_AT_ONCE = 5_000  # records in one transaction, which others wait for
JOBS_AT_ONCE = 100


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
        dataset = Dataset(id=new_id(), name=name, scale=scale, owner=caller_of(self.session).token)
        self.session.add(dataset)
        self.session.flush()
        return dataset

    def get(self, dataset_id: str) -> Dataset | None:
        return self.session.get(Dataset, dataset_id)

    def hold(self, dataset_id: str) -> Dataset | None:
        """Keeps it, and so its images' blobs, from being deleted until the transaction's end; None if it is gone."""
        held = {"read": True, "key_share": True}
        return self.session.get(Dataset, dataset_id, with_for_update=held, populate_existing=True)

    def lock(self, dataset_id: str) -> Dataset | None:
        """To delete it: waits for those that hold it, and who wants to hold it then waits. None if it is gone."""
        return self.session.get(Dataset, dataset_id, with_for_update=True, populate_existing=True)

    def share(self, dataset_id: str, shared: bool) -> None:
        self.session.execute(update(Dataset).where(Dataset.id == dataset_id).values(shared=shared))

    def page(self, *, before: str | None, limit: int) -> Sequence[Dataset]:
        """The newest first, those older than `before`."""
        query = select(Dataset).order_by(Dataset.id.desc()).limit(limit)
        if before is not None:
            query = query.where(Dataset.id < before)
        return self.session.scalars(query).all()

    def delete(self, dataset_id: str) -> None:
        """With its images, jobs, samples, models and checkpoints; their blobs are left to the reaper."""
        self.session.execute(delete(Dataset).where(Dataset.id == dataset_id))

    def delete_some(self, dataset_id: str, most: int = DELETED_AT_ONCE) -> bool:
        """Deletes about so many records of what has ended there, then of its images. False when none is left of both.

        What is there afterwards is in order: jobs whose results are being deleted say that these have expired.
        """
        ended = select(Job.id).where(Job.dataset_id == dataset_id, Job.status.not_in(ACTIVE)).limit(JOBS_AT_ONCE)
        if jobs := list(self.session.scalars(ended)):
            self._execute(update(Job).where(Job.id.in_(jobs), Job.expired.is_(None)).values(expired=now()))
            left = most - self._delete_of(jobs, Sample, most)
            left -= self._delete_of(jobs, Item, left)
            if left:
                self._execute(delete(Job).where(Job.id.in_(jobs)))
            return True
        some = select(Image.id, Image.role).where(Image.dataset_id == dataset_id).limit(most)
        images = {row.id: row.role for row in self.session.execute(some)}
        if not images:
            return False
        roles = Counter(images.values())
        fewer = {"lr_images": Dataset.lr_images - roles["lr"], "hr_images": Dataset.hr_images - roles["hr"]}
        self._execute(update(Dataset).where(Dataset.id == dataset_id).values(fewer))
        self._execute(delete(Image).where(Image.id.in_(images)))
        return True

    def _delete_of(self, jobs: Sequence[str], table: type[Sample | Item], most: int) -> int:
        key = table.__table__.primary_key
        some = select(*key).where(table.job_id.in_(jobs)).limit(most)
        return self._execute(delete(table).where(tuple_(*key).in_(some)))

    def _execute(self, statement: Update | Delete) -> int:
        result = self.session.execute(statement, execution_options={"synchronize_session": False})
        assert isinstance(result, CursorResult)
        return int(result.rowcount)

    def last_jobs(self, dataset_ids: Sequence[str]) -> dict[str, Job]:
        """The latest job of each dataset that has one."""
        # One step into an index for each dataset, however many jobs it has.
        ids = select(Job.id).where(Job.dataset_id == Dataset.id).order_by(Job.id.desc()).limit(1).correlate(Dataset)
        newest = select(ids.scalar_subquery()).where(Dataset.id.in_(dataset_ids))
        jobs = self.session.scalars(select(Job).where(Job.id.in_(newest)))
        return {job.dataset_id: job for job in jobs if job.dataset_id}

    def add_images(self, dataset_id: str, role: str, images: Iterable[NewImage]) -> list[Image]:
        """One row for each different content; a content that is there already gives the row that is there."""
        images = list(images)
        # Others who add to the dataset wait for the end of the transaction: the same may be sent twice at once.
        dataset = self.session.get_one(Dataset, dataset_id, with_for_update=FOR_COUNTING, populate_existing=True)
        known = self._known(dataset_id, role, [image.sha256 for image in images])
        rows, known_before = [], len(known)
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
        added = len(known) - known_before
        if role == "lr":
            dataset.lr_images += added
        else:
            dataset.hr_images += added
        self.session.flush()
        return rows

    def _known(self, dataset_id: str, role: str, sha256s: Sequence[str]) -> dict[str, Image]:
        known: dict[str, Image] = {}
        for start in range(0, len(sha256s), PARAMETERS):
            query = select(Image).where(
                Image.dataset_id == dataset_id,
                Image.role == role,
                Image.sha256.in_(sha256s[start : start + PARAMETERS]),
            )
            known |= {image.sha256: image for image in self.session.scalars(query)}
        return known

    def image(self, dataset_id: str, image_id: str) -> Image | None:
        image = self.session.get(Image, image_id)
        return image if image and image.dataset_id == dataset_id else None

    def count_pixels(self, dataset_id: str) -> int:
        """Of all its images together."""
        pixels = func.sum(cast(Image.width, BigInteger) * Image.height)  # of an image alone more than an integer holds
        return int(self.session.scalar(select(pixels).where(Image.dataset_id == dataset_id)) or 0)

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
