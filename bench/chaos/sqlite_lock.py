"""Another program that locks SQLite."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path


def lock_sqlite(file: Path, seconds: float) -> None:
    """Locks the database, so that no other process can write."""
    with (
        suppress(sqlite3.OperationalError),  # another process holds the lock
        closing(sqlite3.connect(file, timeout=10, isolation_level=None)) as connection,
    ):
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")
