"""The migrations make exactly the tables that the code describes; on both databases."""

from __future__ import annotations

import threading

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from store.database import Database
from store.migrate import migrate, revision
from store.tables import Table


def test_migrations_and_tables_agree(database_url: str) -> None:
    database = Database(database_url)
    migrate(database)
    with database.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Table.metadata)
    assert differences == []
    database.close()


def test_several_processes_may_migrate_at_once(database_url: str) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            database = Database(database_url)
            migrate(database)
            database.close()
        except BaseException as error:  # a thread's error would be lost
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    database = Database(database_url)
    with database.engine.connect() as connection:
        assert revision(connection) == "0001"
    database.close()
