"""Opening a database."""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy import text

from store.db.database import Database

DATABASES, THREADS = 100, 6


def test_processes_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    """Without retries, one opening in twenty fails."""
    errors: list[BaseException] = []

    def open_at_once(url: str, start: threading.Barrier) -> None:
        start.wait()
        database = Database(url)
        try:
            with database.write() as session:
                session.execute(text("CREATE TABLE IF NOT EXISTS kept (id TEXT)"))
        except BaseException as error:  # a thread's error would be lost
            errors.append(error)
        finally:
            database.close()

    for number in range(DATABASES):
        start = threading.Barrier(THREADS)
        url = f"sqlite:///{tmp_path / f'{number}.sqlite'}"
        threads = [threading.Thread(target=open_at_once, args=(url, start)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
