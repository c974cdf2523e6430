"""The migrations make exactly the tables that the code describes; on both databases."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, Boolean, Column, Connection, Float, Integer, MetaData, String, text
from sqlalchemy import Table as SqlTable
from sqlalchemy.types import TypeEngine

from store.db.database import Database
from store.db.migrate import MIGRATIONS, NewerSchemaError, migrate, upgrade
from store.db.schema import REVISION, revision, wait_until_current
from store.db.tables import Dataset, Table
from store.repositories.jobs import JobRepository
from tests.store.first_schema import ROWS, make_first_schema

KEYS = ("id", "job_id", "position", "sample")


def test_migrations_and_tables_agree(database_url: str) -> None:
    database = Database(database_url)
    migrate(database)
    with database.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Table.metadata)
    assert differences == []
    database.close()


def test_what_the_first_version_left_is_all_there_after_the_upgrade(database_url: str) -> None:
    database = Database(database_url)
    make_first_schema(database)
    migrate(database)
    with database.engine.connect() as connection:
        for table, row in ROWS:
            keys = {column: value for column, value in row.items() if column in KEYS}
            where = " AND ".join(f"{column} = :{column}" for column in keys)
            found = connection.execute(text(f"SELECT * FROM {table} WHERE {where}"), keys).mappings().all()
            assert len(found) == 1, (table, keys)
            kept = {column: found[0][column] for column in row}
            assert plain(kept) == plain(row)
    with database.read() as session:
        dataset = session.get_one(Dataset, "d")
        assert (dataset.lr_images, dataset.hr_images, dataset.owner, dataset.shared) == (2, 1, None, False)
        jobs = JobRepository(session)
        ended = jobs.get("ended")
        assert ended is not None
        assert (ended.keep_seconds, ended.expired, ended.parameters["seed"]) == (None, None, 7)
        assert [sample.files for sample, _ in jobs.samples("ended")] == [{"lr": "b" * 64}]
    with database.write() as session:
        assert JobRepository(session).claim("waiting", "a new worker", 10) is not None
        assert JobRepository(session).retry("training")
        assert JobRepository(session).expire() == [], "nobody was told that it would"
    database.close()


def revisions() -> list[str]:
    """All that were ever the newest, and are not now."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    found = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    return sorted(found)[:-1]


VALUES: list[tuple[type[TypeEngine[Any]], Any]] = [
    (Boolean, False),
    (Integer, 1),
    (Float, 1.5),
    (JSON, {"a": 1}),
    (String, "x"),
]


def value_for(column: Column[Any]) -> Any:
    return next(value for kind, value in VALUES if isinstance(column.type, kind))


def reflected(connection: Connection) -> list[SqlTable]:
    """What refers to others after them."""
    metadata = MetaData()
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name != "alembic_version"]


@pytest.mark.parametrize("before", revisions())
def test_every_schema_is_brought_to_the_newest_with_a_row_in_each_of_its_tables(database_url: str, before: str) -> None:
    database = Database(database_url)
    with database.engine.execution_options(patina_begin="IMMEDIATE").begin() as connection:
        upgrade(connection, before)
        rows = {}
        for table in reflected(connection):
            rows[table.name] = {column.name: value_for(column) for column in table.columns}
            connection.execute(table.insert().values(**rows[table.name]))
    migrate(database)
    with database.engine.connect() as connection:
        assert revision(connection) == REVISION
        for table in reflected(connection):
            found = connection.execute(table.select()).mappings().all()
            kept = [{column: row[column] for column in rows[table.name]} for row in found]
            assert kept == [rows[table.name]] if table.name in rows else kept == []
    database.close()


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """JSON comes as text from one database and parsed from the other; booleans as numbers from one."""
    return {
        column: json.loads(value) if isinstance(value, str) and value[:1] in ("{", "[") else value
        for column, value in row.items()
    }


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
        assert revision(connection) == REVISION
    database.close()


def test_the_newest_migration_is_the_one_that_the_code_needs() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == REVISION


def test_who_starts_before_the_migration_waits_for_it(database_url: str) -> None:
    database = Database(database_url)
    waiting = threading.Thread(target=wait_until_current, args=(database,))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    migrate(database)
    waiting.join(10)
    assert not waiting.is_alive()
    database.close()


def test_a_database_of_a_newer_version_is_left_as_it_is_in_words(database_url: str) -> None:
    database = Database(database_url)
    migrate(database)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NewerSchemaError, match="by a newer version"):
        migrate(database)
    with database.engine.connect() as connection:
        assert revision(connection) == "9999"
    database.close()
