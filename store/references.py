"""Which blobs the records refer to; a blob that none refers to is garbage."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.blobs import Blobs
from store.database import Database
from store.tables import Checkpoint, Image, Item, Model, Preview, Sample


def referenced(session: Session) -> set[str]:
    """The SHA-256 of every blob that a record names."""
    found: set[str] = set()
    for column in (Image.sha256, Item.sha256, Checkpoint.sha256):
        found.update(sha256 for sha256 in session.scalars(select(column).distinct()) if sha256)
    for column_of_files in (Sample.files, Model.files, Preview.files):
        for files in session.scalars(select(column_of_files)):
            found.update(files.values())
    return found


def collect_garbage(database: Database, blobs: Blobs, older_than_seconds: float) -> int:
    """Deletes blobs that no record names and that are older than the time between a blob and its record can be.

    One that gets named meanwhile was put again just before, which makes it young. Gives the number of blobs deleted.
    """
    old = set(blobs.older_than(older_than_seconds))
    with database.read() as session:
        garbage = old - referenced(session)
    blobs.sweep_temporary(older_than_seconds)
    return blobs.delete_older(garbage, older_than_seconds)
