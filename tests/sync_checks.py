"""Whether names of blobs are on the disk before records name them."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest

from store.db.database import Session
from store.store import Store


def watch_settling(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each transaction that is begun from now on: whether a power cut could still take the name of a blob."""
    store.blobs.settle()
    write, found = store.database.write, list[bool]()

    def watched() -> AbstractContextManager[Session]:
        found.append(bool(store.blobs._unsettled))
        return write()

    monkeypatch.setattr(store.database, "write", watched)
    return found
