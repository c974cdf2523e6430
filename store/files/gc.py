"""Which blobs the records refer to; a blob that none refers to is garbage."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import groupby

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.db.database import Database
from store.db.tables import Checkpoint, Image, Item, Model, Preview, Sample
from store.files.blobs import Blobs

ROWS = 10_000  # read at a time


def names(session: Session) -> Iterator[str]:
    """The SHA-256 of every blob that a record names, as often as one does."""
    for column in (Image.sha256, Item.sha256, Checkpoint.sha256):
        yield from filter(None, session.scalars(select(column).execution_options(yield_per=ROWS)))
    for column_of_files in (Sample.files, Model.files, Preview.files):
        for files in session.scalars(select(column_of_files).execution_options(yield_per=ROWS)):
            yield from files.values()


def referenced(session: Session) -> set[str]:
    """The SHA-256 of every blob that a record names."""
    return set(names(session))


class Names:
    """Millions of SHA-256s in eight bytes each: enough to say of one that it is surely not among them.

    Of one in 2^64 it is said that it is there though it is not; such a blob stays, which is the harmless mistake.
    """

    def __init__(self, sha256s: Iterator[str]):
        self._by_start = [array("Q") for _ in range(256)]
        for sha256 in sha256s:
            self._by_start[int(sha256[:2], 16)].append(_token(sha256))

    def lack(self, sha256s: list[str]) -> list[str]:
        """Those of them, which all begin with the same two digits, that are not here."""
        here = set(self._by_start[int(sha256s[0][:2], 16)])
        return [sha256 for sha256 in sha256s if _token(sha256) not in here]


def _token(sha256: str) -> int:
    return int(sha256[2:18], 16)


def collect_garbage(database: Database, blobs: Blobs, older_than_seconds: float) -> int:
    """Deletes blobs that no record names and that are older than the time between a blob and its record can be.

    One that gets named meanwhile was put again just before, which makes it young. Gives the number of blobs deleted.
    """
    with database.read() as session:
        named = Names(names(session))
    blobs.sweep_temporary(older_than_seconds)
    # Folder by folder, so that no more than one folder's names are held at a time.
    folders = groupby(blobs.older_than(older_than_seconds), lambda sha256: sha256[:2])
    return sum(blobs.delete_older(named.lack(list(old)), older_than_seconds) for _, old in folders)
