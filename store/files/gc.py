"""Garbage collection: deletes blobs that no record names."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import groupby

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.db.database import Database
from store.db.tables import Checkpoint, Image, InputPart, Item, Model, Preview, ResultShard, Sample
from store.files.blobs import Blobs

READ_BATCH = 10_000  # rows


def iter_referenced_hashes(session: Session) -> Iterator[str]:
    """Yields the SHA-256 of every blob that a record names, once for each record."""
    for column in (Image.sha256, Item.sha256, Checkpoint.sha256, ResultShard.sha256):
        yield from filter(None, session.scalars(select(column).execution_options(yield_per=READ_BATCH)))
    in_blobs = select(Sample.files).where(Sample.shard.is_(None))
    for query in (in_blobs, select(Model.files), select(Preview.files)):
        for files in session.scalars(query.execution_options(yield_per=READ_BATCH)):
            yield from files.values()
    for records in session.scalars(select(InputPart.files).execution_options(yield_per=100)):
        yield from (record["sha256"] for record in records if "sha256" in record)


def referenced_hashes(session: Session) -> set[str]:
    """Returns the SHA-256 of every blob that a record names."""
    return set(iter_referenced_hashes(session))


class HashSet64:
    """A set of millions of SHA-256 hashes in 8 bytes each. It is certain about the hashes that it does not hold.

    It wrongly claims to hold one hash in 2^64. Such a blob is kept, which does no harm.
    """

    def __init__(self, sha256s: Iterator[str]):
        self._by_first_byte = [array("Q") for _ in range(256)]
        for sha256 in sha256s:
            self._by_first_byte[int(sha256[:2], 16)].append(_short_hash(sha256))

    def missing(self, sha256s: list[str]) -> list[str]:
        """Returns those that are not in the set. All of them must start with the same two digits."""
        present = set(self._by_first_byte[int(sha256s[0][:2], 16)])
        return [sha256 for sha256 in sha256s if _short_hash(sha256) not in present]


def _short_hash(sha256: str) -> int:
    return int(sha256[2:18], 16)


def collect_garbage(database: Database, blobs: Blobs, older_than_seconds: float) -> int:
    """Deletes blobs that no record names and returns their number.

    `older_than_seconds` must exceed the time between a blob and its record. A blob that a new record names was put
    again just before, so it is young.
    """
    with database.read() as session:
        referenced = HashSet64(iter_referenced_hashes(session))
    blobs.remove_stale_temporary(older_than_seconds)
    # One folder after the other: memory holds the names of one.
    folders = groupby(blobs.iter_older_than(older_than_seconds), lambda sha256: sha256[:2])
    return sum(blobs.delete_older(referenced.missing(list(old)), older_than_seconds) for _, old in folders)
