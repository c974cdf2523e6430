"""Items that a worker lists: a request for a whole dataset names its images, and a worker writes an item for each.

So a request is accepted at once, for any size, and no transaction is long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, case, cast, func, or_, select, update
from sqlalchemy.orm import Session

from store.db.tables import Image, Job, now
from store.repositories.claims import ClaimRepository
from store.repositories.datasets import DatasetRepository
from store.repositories.samples import NewItem, SampleRepository


@dataclass(frozen=True)
class Expansion:
    """`count` images of a dataset, those with ids from `first` to `last`. Those up to `after` have items already."""

    dataset: str
    role: str
    first: str
    last: str
    count: int
    after: str = ""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Expansion:
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class SourceGoneError(Exception):
    """The dataset, or some of its images, were deleted before they had items."""


class ExpansionRepository:
    def __init__(self, session: Session):
        self.session = session

    def find(self, dataset_id: str, role: str, start: int, stop: int | None) -> Expansion | None:
        """Returns images `start` to before `stop` of a dataset, in the order of arrival. None if there are none."""
        ids = select(Image.id).where(Image.dataset_id == dataset_id, Image.role == role).order_by(Image.id)
        chosen = ids.offset(start).limit(None if stop is None else stop - start).subquery()
        row = self.session.execute(
            select(func.min(chosen.c.id).label("first"), func.max(chosen.c.id).label("last"), func.count())
        ).one()
        return Expansion(dataset_id, role, row.first, row.last, row[2]) if row[2] else None

    def count_items(self, expansion: Expansion, side: int, step: int) -> int:
        """Returns the number of crops of `side` pixels, `step` apart, as `split_into_crops` does."""
        height, width = (_count_starts(length, side, step) for length in (Image.height, Image.width))
        too_small = or_(Image.height < side, Image.width < side)  # such an image is one item, which fails
        crops = case((too_small, 1), else_=height * width)
        return int(self.session.scalar(select(func.sum(crops)).where(*_is_source(expansion))) or 0)

    def list_images(self, expansion: Expansion, after: str, limit: int) -> Sequence[Any]:
        """Returns (id, name, sha256, height, width) of at most `limit` images after the image `after`."""
        columns = Image.id, Image.name, Image.sha256, Image.height, Image.width
        query = select(*columns).where(*_is_source(expansion), Image.id > after).order_by(Image.id).limit(limit)
        return self.session.execute(query).all()

    def list_records(self, expansion: Expansion) -> Sequence[Image]:
        """Returns all images; only for few of them."""
        return self.session.scalars(select(Image).where(*_is_source(expansion)).order_by(Image.id)).all()

    def add_items(
        self, job: Job, expansion: Expansion, after: str, start: int, items: Sequence[tuple[str, NewItem]]
    ) -> None:
        """Adds items from position `start` on, those of the images up to `after`, and a shard of them.

        Raises `LeaseLostError`, and `SourceGoneError` if the dataset is gone.
        """
        stop = start + len(items)
        listed = replace(expansion, after=after).to_json()
        claims = ClaimRepository(self.session)
        claims.check_lease(job.id, job.attempt)
        claims.update_claim(job.id, job.attempt, start=stop, stop=stop, expansion=listed, progressed_at=now())
        if DatasetRepository(self.session).lock_shared(expansion.dataset) is None:
            raise SourceGoneError(expansion.dataset)
        SampleRepository(self.session).add_items(job.id, items, first=start)
        claims.add_shard(job, start, stop)

    def set_total(self, job: Job, total: int) -> None:
        """Corrects the job's total: images may have arrived while it was counted. Raises `LeaseLostError`."""
        ClaimRepository(self.session).check_lease(job.id, job.attempt)
        self.session.execute(update(Job).where(Job.id == job.id, Job.total != total).values(total=total))


def _count_starts(length: ColumnElement[int] | Any, side: int, step: int) -> ColumnElement[int]:
    return cast(1 + (length - side + step - 1) // step, BigInteger)


def _is_source(expansion: Expansion) -> tuple[ColumnElement[bool], ...]:
    return (
        Image.dataset_id == expansion.dataset,
        Image.role == expansion.role,
        Image.id >= expansion.first,
        Image.id <= expansion.last,
    )
