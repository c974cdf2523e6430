"""Queries on the images of degrade and sr jobs and on their finished samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select, tuple_
from sqlalchemy.orm import Session

from store.db.statements import insert_rows
from store.db.tables import Item, Sample


@dataclass(frozen=True, slots=True)
class NewItem:
    """An image for a job. A rejected one has a code and a message instead of a blob."""

    name: str
    sha256: str | None
    code: str | None = None
    message: str | None = None
    crop: tuple[int, int, int, int] | None = None  # top, left, height, width in pixels; None is the whole image


@dataclass(frozen=True)
class NewSample:
    """A finished sample whose blobs are stored, or one that failed (`code`) or was skipped."""

    position: int
    sample: int
    files: dict[str, Any]
    code: str | None = None
    message: str | None = None
    skipped: bool = False

    @property
    def status(self) -> str:
        if self.skipped:
            return "skipped"
        return "ok" if self.code is None else "failed"


@dataclass(frozen=True)
class NewResultShard:
    """A stored tar with all files of these samples. Theirs are places in it: [start, size, CRC-32]."""

    sha256: str
    size: int
    samples: Sequence[NewSample]


@dataclass(frozen=True)
class SampleFilter:
    """Selects samples that are ok, and samples of images whose SHA-256 lies in [from_sha256, below_sha256)."""

    only_ok: bool = False
    from_sha256: str | None = None
    below_sha256: str | None = None

    @property
    def needs_items(self) -> bool:
        return self.from_sha256 is not None or self.below_sha256 is not None

    def conditions(self) -> list[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = []
        if self.only_ok:
            conditions.append(Sample.status == "ok")
        if self.from_sha256 is not None:
            conditions.append(Item.sha256 >= self.from_sha256)
        if self.below_sha256 is not None:
            conditions.append(Item.sha256 < self.below_sha256)
        return conditions


class SampleRepository:
    def __init__(self, session: Session):
        self.session = session

    def add_items(self, job_id: str, items: Sequence[tuple[str, NewItem]], first: int = 0) -> None:
        """Adds pairs (output name, item) from position `first` on. Output names are unique within the job."""
        rows = (
            {
                "job_id": job_id,
                "position": position,
                "name": item.name,
                "output_name": output_name,
                "sha256": item.sha256,
                "crop": item.crop,
                "code": item.code,
                "message": item.message,
            }
            for position, (output_name, item) in enumerate(items, first)
        )
        insert_rows(self.session, Item, rows)

    def list_items(self, job_id: str, start: int = 0, stop: int | None = None) -> Sequence[Item]:
        """Returns items in the order of their positions, those from `start` to before `stop`."""
        query = select(Item).where(Item.job_id == job_id, Item.position >= start).order_by(Item.position)
        return self.session.scalars(query if stop is None else query.where(Item.position < stop)).all()

    def list_samples(
        self,
        job_id: str,
        filters: SampleFilter = SampleFilter(),
        *,
        after: tuple[int, int] | None = None,
        skip: int = 0,
        limit: int | None = None,
    ) -> Sequence[tuple[Sample, Item]]:
        """Returns finished samples with their items, ordered by (position, sample), those after the pair `after`."""
        query = (
            select(Sample, Item)
            .join(Item, _ITEM_OF_SAMPLE)
            .where(Sample.job_id == job_id, *filters.conditions())
            .order_by(Sample.position, Sample.sample)
            .limit(limit)
        )
        if skip:
            # Found without the items: most would be read for nothing.
            first = self._find_keys(job_id, filters, after).offset(skip).limit(1)
            if (key := self.session.execute(first).first()) is None:
                return []
            query = query.where(_key_of_sample >= tuple(key))
        elif after is not None:
            # The comparison of pairs lets the database enter the index there instead of at the job's first sample.
            query = query.where(_key_of_sample > after)
        return [(sample, item) for sample, item in self.session.execute(query)]

    def count_samples(self, job_id: str, filters: SampleFilter = SampleFilter()) -> int:
        found = self._find_keys(job_id, filters).order_by(None).subquery()
        return self.session.scalar(select(func.count()).select_from(found)) or 0

    @staticmethod
    def _find_keys(job_id: str, filters: SampleFilter, after: tuple[int, int] | None = None) -> Select[int, int]:
        """Selects the (position, sample) of finished samples, in order. Reads items only if the filters need them."""
        query = select(Sample.position, Sample.sample).where(Sample.job_id == job_id, *filters.conditions())
        if filters.needs_items:
            query = query.join(Item, _ITEM_OF_SAMPLE)
        if after is not None:
            query = query.where(_key_of_sample > after)
        return query.order_by(Sample.position, Sample.sample)

    def get_sample(self, job_id: str, position: int, sample: int) -> Sample | None:
        return self.session.get(Sample, (job_id, position, sample))

    def pending_samples(self, job_id: str, samples: int, start: int, stop: int) -> dict[int, Sequence[int]]:
        """Returns the numbers below `samples` that are not finished, by position; complete items are left out.

        Only items from `start` to before `stop` count. Memory grows with the items and not with the samples, which may
        be a thousand times more.
        """
        of_shard = Sample.job_id == job_id, Sample.position >= start, Sample.position < stop
        counts = select(Sample.position, func.count()).where(*of_shard).group_by(Sample.position)
        finished = {position: int(count) for position, count in self.session.execute(counts)}
        pending: dict[int, Sequence[int]] = {}
        positions = select(Item.position).where(Item.job_id == job_id, Item.position >= start, Item.position < stop)
        for position in self.session.scalars(positions.order_by(Item.position)):
            if position not in finished:
                pending[position] = range(samples)
            elif finished[position] < samples:
                of_item = select(Sample.sample).where(Sample.job_id == job_id, Sample.position == position)
                existing = set(self.session.scalars(of_item))
                pending[position] = [sample for sample in range(samples) if sample not in existing]
        return pending


_key_of_sample = tuple_(Sample.position, Sample.sample)
_ITEM_OF_SAMPLE = (Item.job_id == Sample.job_id) & (Item.position == Sample.position)
