"""Checks that blobs are synced to disk before records name them."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest

from store.db.database import Session
from store.files.folder_blobs import FolderBlobs
from store.store import Store


def record_unsynced(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Returns a list that gets an entry per transaction: whether a power cut could still lose a blob's name."""
    blobs = store.blobs
    assert isinstance(blobs, FolderBlobs)
    blobs.sync()
    write, unsynced = store.database.write, list[bool]()

    def recording_write() -> AbstractContextManager[Session]:
        unsynced.append(bool(blobs._unsynced))
        return write()

    monkeypatch.setattr(store.database, "write", recording_write)
    return unsynced
