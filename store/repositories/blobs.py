"""Queries on the table of the blobs in a bucket."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from store.db.tables import Blob, now

READ_BATCH = 10_000  # rows
WRITE_BATCH = 1000


class BlobRepository:
    def __init__(self, session: Session):
        self.session = session

    def put(self, sizes: Mapping[str, int]) -> None:
        """Records blobs, by SHA-256, that are about to be stored. Known ones count as new again.

        Waits while garbage collection deletes one of them.
        """
        dialect = postgresql if self.session.get_bind().dialect.name == "postgresql" else sqlite
        # Sorted, so that two transactions never wait for each other.
        pairs = sorted(sizes.items())
        for first in range(0, len(pairs), WRITE_BATCH):
            batch = pairs[first : first + WRITE_BATCH]
            rows = dialect.insert(Blob).values(
                [{"sha256": sha256, "size": size, "put_at": now()} for sha256, size in batch]
            )
            renewed = {"size": rows.excluded.size, "put_at": now()}
            self.session.execute(rows.on_conflict_do_update(index_elements=[Blob.sha256], set_=renewed))

    def size(self, sha256: str) -> int | None:
        return self.session.scalar(select(Blob.size).where(Blob.sha256 == sha256))

    def iter_older_than(self, seconds: float) -> Iterator[str]:
        """Yields the SHA-256, in order, of blobs that were last put more than `seconds` ago."""
        query = select(Blob.sha256).where(Blob.put_at < now() - seconds).order_by(Blob.sha256)
        yield from self.session.scalars(query.execution_options(yield_per=READ_BATCH))

    def delete_older(self, sha256s: Collection[str], seconds: float) -> list[str]:
        """Deletes those of these rows that were last put more than `seconds` ago, and returns their SHA-256."""
        older = delete(Blob).where(Blob.sha256.in_(sha256s), Blob.put_at < now() - seconds)
        return list(self.session.scalars(older.returning(Blob.sha256)))

    def delete(self, sha256: str) -> None:
        self.session.execute(delete(Blob).where(Blob.sha256 == sha256))

    def delete_all(self) -> None:
        self.session.execute(delete(Blob))

    def iter_known(self) -> Iterator[str]:
        yield from self.session.scalars(select(Blob.sha256).execution_options(yield_per=READ_BATCH))

    def total_bytes(self) -> int:
        return int(self.session.scalar(select(func.sum(Blob.size))) or 0)
