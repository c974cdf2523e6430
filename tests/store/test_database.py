"""Opening a database, and the errors that other packages see."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from store.db.database import Database, savepoint
from store.db.migrate import migrate
from store.db.schema import current_revision
from store.db.tables import Dataset, Job
from store.errors import DatabaseError, DatabaseUnavailable, DuplicateError
from store.repositories.datasets import DatasetRepository
from store.repositories.idempotency import IdempotencyRepository
from store.store import Store

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


def test_unique_violation_raises_duplicate_error(store: Store) -> None:
    """In a savepoint the transaction goes on; otherwise it is rolled back."""
    with store.database.write() as session:
        dataset = DatasetRepository(session).create("photos", 4)
        IdempotencyRepository(session).save("key", "digest", dataset)
    with store.database.write() as session:
        with pytest.raises(DuplicateError), savepoint(session):
            IdempotencyRepository(session).save("key", "another digest", dataset)
        DatasetRepository(session).set_shared(dataset.id, True)
    with pytest.raises(DuplicateError), store.database.write() as session:
        session.add(Dataset(id=dataset.id, name="the same id", scale=4))
    with store.database.read() as session:
        assert session.get_one(Dataset, dataset.id).shared


def test_other_errors_of_the_database_are_translated(store: Store) -> None:
    with pytest.raises(DatabaseError) as caught, store.database.write() as session:
        session.execute(text("SELECT nothing FROM nowhere"))
    assert not isinstance(caught.value, DuplicateError)
    with pytest.raises(DatabaseError) as caught, store.database.write() as session:
        session.add(Job(id="j", kind="sr", dataset_id="missing", parameters={}, unit="images"))
    assert not isinstance(caught.value, DuplicateError | DatabaseUnavailable)


@pytest.mark.parametrize("url", ["postgresql+psycopg://nobody@127.0.0.1:1/none", "sqlite:////proc/none.sqlite"])
def test_unreachable_database_raises_unavailable(url: str) -> None:
    database = Database(url)
    with pytest.raises(DatabaseUnavailable):
        database.check()
    with pytest.raises(DatabaseUnavailable):
        migrate(database)
    with pytest.raises(DatabaseUnavailable):
        current_revision(database)
    database.close()
