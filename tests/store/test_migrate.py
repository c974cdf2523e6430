"""Migrations create exactly the tables that the code describes, and keep all rows, on both databases."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, Boolean, Column, Connection, Float, Integer, MetaData, String, create_engine, inspect, text
from sqlalchemy import Table as SqlTable
from sqlalchemy.types import TypeEngine

from store.db.database import Database
from store.db.migrate import MIGRATIONS, NewerSchemaError, alembic_config, migrate, upgrade
from store.db.schema import REVISION, current_revision, wait_until_current
from store.db.tables import Dataset, Table
from store.repositories.jobs import JobRepository
from store.repositories.samples import SampleRepository
from tests.support.first_schema import ROWS, make_first_schema

KEYS = ("id", "job_id", "position", "sample")
RENAMED_TABLES = {"requests": "idempotency_keys"}
# Those of jobs that have ended are gone; those of others are in shards.
MOVED_COLUMNS = {"jobs": {"worker", "lease_until", "crash_count", "deaths"}}


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return ScriptDirectory.from_config(config)


RENAMED_COLUMNS: dict[str, dict[str, str]] = {
    **scripts().get_revision("0012").module.COLUMNS,
    "requests": {"created": "created_at"},
}


def renamed(table: str, row: dict[str, Any]) -> dict[str, Any]:
    """Returns a row of an earlier schema with today's column names."""
    columns = RENAMED_COLUMNS.get(table, {})
    return {columns.get(column, column): value for column, value in without_moved(table, row).items()}


def without_moved(table: str, row: dict[str, Any]) -> dict[str, Any]:
    return {column: value for column, value in row.items() if column not in MOVED_COLUMNS.get(table, ())}


def test_migrations_and_tables_agree(database_url: str) -> None:
    database = Database(database_url)
    migrate(database)
    with database.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Table.metadata)
    assert differences == []
    database.close()


def test_names_follow_the_convention(database_url: str) -> None:
    """Migrated constraints have the names that tables created from the code have."""
    with create_engine("sqlite://").begin() as connection:
        Table.metadata.create_all(connection)
        expected = constraint_names(connection)
    database = Database(database_url)
    migrate(database)
    with database.engine.connect() as connection:
        assert constraint_names(connection) == expected
    database.close()


def constraint_names(connection: Connection) -> dict[str, list[str | None]]:
    found = inspect(connection)
    return {
        table: [
            found.get_pk_constraint(table)["name"],
            *sorted(str(key["name"]) for key in found.get_foreign_keys(table)),
            *sorted(str(key["name"]) for key in found.get_unique_constraints(table)),
        ]
        for table in Table.metadata.tables
    }


def test_rows_of_the_first_schema_survive(database_url: str) -> None:
    database = Database(database_url)
    make_first_schema(database)
    migrate(database)
    with database.engine.connect() as connection:
        for table, row in ROWS:
            keys = {column: value for column, value in row.items() if column in KEYS}
            where = " AND ".join(f"{column} = :{column}" for column in keys)
            found = connection.execute(text(f"SELECT * FROM {table} WHERE {where}"), keys).mappings().all()
            assert len(found) == 1, (table, keys)
            expected = renamed(table, row)
            kept = {column: found[0][column] for column in expected}
            assert plain(kept) == plain(expected)
    with database.read() as session:
        dataset = session.get_one(Dataset, "d")
        assert (dataset.lr_images, dataset.hr_images, dataset.owner, dataset.shared) == (2, 1, None, False)
        ended = JobRepository(session).get("ended")
        assert ended is not None
        assert (ended.retention_seconds, ended.expired_at, ended.parameters["seed"]) == (None, None, 7)
        assert [sample.files for sample, _ in SampleRepository(session).list_samples("ended")] == [{"lr": "b" * 64}]
    with database.write() as session:
        assert JobRepository(session).claim("waiting", "a new worker", 10) is not None
        assert JobRepository(session).retry("training")
        assert JobRepository(session).expire() == [], "the first schema promised no expiry"
    database.close()


def earlier_revisions() -> list[str]:
    return sorted(script.revision for script in scripts().walk_revisions())[:-1]


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
    """Returns the tables; one that refers to others comes after them."""
    metadata = MetaData()
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name != "alembic_version"]


def fill(connection: Connection) -> dict[str, dict[str, Any]]:
    """Inserts a row into each table and returns the rows."""
    rows = {}
    for table in reflected(connection):
        rows[table.name] = {column.name: value_for(column) for column in table.columns}
        connection.execute(table.insert().values(**rows[table.name]))
    return rows


def assert_rows(connection: Connection, rows: dict[str, dict[str, Any]]) -> None:
    for table in reflected(connection):
        found = connection.execute(table.select()).mappings().all()
        kept = [{column: row[column] for column in rows[table.name]} for row in found]
        assert kept == [rows[table.name]] if table.name in rows else kept == []


@pytest.mark.parametrize("before", earlier_revisions())
def test_every_schema_migrates_with_its_rows(database_url: str, before: str) -> None:
    database = Database(database_url)
    with database.engine.execution_options(patina_begin="IMMEDIATE").begin() as connection:
        upgrade(connection, before)
        rows = fill(connection)
    migrate(database)
    assert current_revision(database) == REVISION
    with database.engine.connect() as connection:
        assert_rows(connection, {RENAMED_TABLES.get(table, table): renamed(table, row) for table, row in rows.items()})
    database.close()


def test_downgrade_restores_names_and_rows(database_url: str) -> None:
    database = Database(database_url)
    begin = database.engine.execution_options(patina_begin="IMMEDIATE").begin
    with begin() as connection:
        upgrade(connection, "0011")
        rows = fill(connection)
        tables = {table.name: set(table.columns.keys()) for table in reflected(connection)}
    migrate(database)
    with begin() as connection:
        command.downgrade(alembic_config(connection), "0011")
        assert {table.name: set(table.columns.keys()) for table in reflected(connection)} == tables
        assert_rows(connection, {table: without_moved(table, row) for table, row in rows.items()})
    migrate(database)
    assert current_revision(database) == REVISION
    database.close()


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """Parses JSON, which one database returns as text, and reads booleans that it returns as numbers."""
    return {
        column: json.loads(value) if isinstance(value, str) and value[:1] in ("{", "[") else value
        for column, value in row.items()
    }


def test_processes_may_migrate_at_once(database_url: str) -> None:
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
    assert current_revision(database) == REVISION
    database.close()


def test_code_needs_the_newest_migration() -> None:
    assert scripts().get_current_head() == REVISION


def test_processes_wait_for_the_migration(database_url: str) -> None:
    database = Database(database_url)
    waiting = threading.Thread(target=wait_until_current, args=(database,))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    migrate(database)
    waiting.join(10)
    assert not waiting.is_alive()
    database.close()


def test_newer_schema_is_refused_and_left_alone(database_url: str) -> None:
    database = Database(database_url)
    migrate(database)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NewerSchemaError, match="A newer version"):
        migrate(database)
    assert current_revision(database) == "9999"
    database.close()
