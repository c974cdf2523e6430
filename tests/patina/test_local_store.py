"""Commands that open the store without a service, when the database cannot be opened."""

from __future__ import annotations

import sqlite3

import pytest

from tests.support.local_service import LocalService, normalize_output

COMMANDS = [["token", "list"], ["doctor"], ["jobs"]]


@pytest.mark.parametrize("command", COMMANDS)
def test_unavailable_database_is_explained(up: LocalService, command: list[str]) -> None:
    up.environment["PATINA_DATABASE_URL"] = "postgresql+psycopg://nobody@127.0.0.1:9/patina"
    refused = up.command(*command)
    assert refused.returncode == 1
    assert "patina: The database does not answer" in normalize_output(refused)
    assert "Check PATINA_DATABASE_URL" in normalize_output(refused)
    assert "Traceback" not in normalize_output(refused)


@pytest.mark.parametrize("command", COMMANDS)
def test_newer_database_is_not_touched(up: LocalService, command: list[str]) -> None:
    up.data_dir.mkdir()
    with sqlite3.connect(up.data_dir / "patina.sqlite") as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        database.execute("INSERT INTO alembic_version VALUES ('9999')")
    refused = up.command(*command)
    assert refused.returncode == 1
    assert "patina: A newer version of Patina has migrated the database to schema 9999" in normalize_output(refused)
    assert "Traceback" not in normalize_output(refused)
