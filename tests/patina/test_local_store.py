"""The commands that open the records themselves, where these cannot be opened: no service runs."""

from __future__ import annotations

import sqlite3

import pytest

from tests.patina.conftest import Up
from tests.patina.test_cli import said

COMMANDS = [["token", "list"], ["doctor"], ["jobs"]]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_that_is_away_is_named_in_words(up: Up, command: list[str]) -> None:
    up.environment["PATINA_DATABASE_URL"] = "postgresql+psycopg://nobody@127.0.0.1:9/patina"
    refused = up.command(*command)
    assert refused.returncode == 1
    assert "patina: The database does not answer" in said(refused)
    assert "PATINA_DATABASE_URL says which is used" in said(refused)
    assert "Traceback" not in said(refused)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_of_a_newer_version_is_left_alone(up: Up, command: list[str]) -> None:
    up.data_dir.mkdir()
    with sqlite3.connect(up.data_dir / "patina.sqlite") as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        database.execute("INSERT INTO alembic_version VALUES ('9999')")
    refused = up.command(*command)
    assert refused.returncode == 1
    assert "patina: The database was brought to schema 9999 by a newer version" in said(refused)
    assert "Traceback" not in said(refused)
