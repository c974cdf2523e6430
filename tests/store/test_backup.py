"""Backups are consistent while others write, and restore to either database."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from config.settings import Settings
from store.admin import backup
from store.admin.backup import BackupError, create_backup, restore
from store.admin.doctor import check
from store.db.database import Database
from store.db.migrate import migrate
from store.db.schema import REVISION
from store.db.tables import Job, Shard, Table
from store.errors import LeaseLostError
from store.repositories.datasets import DatasetRepository
from store.repositories.jobs import JobRepository
from store.store import Store
from tests.support.first_schema import ROWS, make_first_schema
from tests.support.store_factories import fill_store

FILLED = ("tokens", "datasets", "images", "jobs", "items", "samples", "checkpoints", "models")
RESET = ("jobs", "shards")  # a restore requeues what ran


def contents(store: Store) -> dict[str, list[Any]]:
    with store.database.read() as session:
        return {
            table.name: sorted((tuple(map(str, row)) for row in session.execute(select(table))), key=str)
            for table in backup.TABLES
        }


@pytest.fixture
def other(store: Store, tmp_path: Path, redis_url: str, request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty store in another folder, on the other kind of database."""
    url = None if "postgresql" in str(store.database.engine.url) else request.getfixturevalue("postgresql_url")
    opened = Store.open(Settings(data_dir=tmp_path / "other", database_url=url, redis_url=redis_url))
    migrate(opened.database)
    yield opened
    opened.close()


def test_backup_restores_to_either_database(store: Store, other: Store, tmp_path: Path) -> None:
    job_id = fill_store(store)
    before = contents(store)
    file = tmp_path / "backup.tar"
    created = create_backup(store, file)
    assert (created.blobs, created.missing) == (6, 0)
    assert file.stat().st_mode & 0o777 == 0o600
    assert restore(other, file, replace=False).blobs == 6
    after = contents(other)
    assert {name: rows for name, rows in after.items() if name not in RESET} == {
        name: rows for name, rows in before.items() if name not in RESET
    }
    assert list(check(other, deep=True)) == []
    with other.database.read() as session:
        job = session.get_one(Job, job_id)
        assert (job.status, job.parameters, job.ok) == ("queued", {"seed": 7}, 1), "it was running"
        shard = session.scalars(select(Shard)).one()
        assert (shard.status, shard.worker, shard.attempt) == ("queued", None, None)

    with store.database.write() as session:
        DatasetRepository(session).delete(job.dataset_id or "")
        DatasetRepository(session).create("newer", 2)
    with pytest.raises(BackupError, match="--replace"):
        restore(store, file, replace=False)
    restore(store, file, replace=True)
    assert {name: rows for name, rows in contents(store).items() if name not in RESET} == {
        name: rows for name, rows in before.items() if name not in RESET
    }


def test_corrupt_blob_is_left_out_of_the_backup(store: Store, other: Store, tmp_path: Path) -> None:
    fill_store(store)
    store.blobs.path(store.blobs.put(b"kernel")).write_bytes(b"kernem")
    file = tmp_path / "backup.tar"
    created = create_backup(store, file)
    assert (created.blobs, created.missing) == (5, 1)
    assert restore(other, file, replace=False).blobs == 5
    (finding,) = check(other, deep=True)
    assert "1 results" in finding.message


def test_restore_fences_running_workers(store: Store, tmp_path: Path) -> None:
    job_id = fill_store(store)
    create_backup(store, tmp_path / "backup.tar")
    with store.database.read() as session:
        attempt = session.get_one(Job, job_id).attempt
    restore(store, tmp_path / "backup.tar", replace=True)
    with store.database.write() as session:
        again = JobRepository(session).claim(job_id, "another", 60)
    assert again is not None
    with pytest.raises(LeaseLostError), store.database.write() as session:
        JobRepository(session).finish(job_id, attempt, "succeeded")


def test_backup_is_a_snapshot_while_others_write(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            for table in super().__iter__():
                yield table
                fill_store(store)

    fill_store(store)
    file = tmp_path / "backup.tar"
    with monkeypatch.context() as patched:
        patched.setattr(backup, "TABLES", Interrupted(backup.TABLES))
        assert create_backup(store, file).missing == 0
    with tarfile.open(file) as tar:
        tar.extract("records.sqlite", tmp_path, filter="data")
    saved = Database(f"sqlite:///{tmp_path / 'records.sqlite'}")
    with saved.read() as session:
        rows = {name: session.scalar(select(func.count()).select_from(Table.metadata.tables[name])) for name in FILLED}
    saved.close()
    assert rows == dict.fromkeys(FILLED, 1)
    with store.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 1 + len(backup.TABLES), (
            "other transactions have committed"
        )


def test_invalid_backup_changes_nothing(store: Store, tmp_path: Path) -> None:
    fill_store(store)
    before = contents(store)
    file = tmp_path / "backup.tar"
    create_backup(store, file)
    whole = file.read_bytes()
    damaged = whole.replace(b"a degrader", b"a_degrader")
    for number, (data, message) in enumerate(
        [
            (b"hello", "not a backup"),
            (whole[: len(whole) // 2], "incomplete|no database|damaged"),
            (damaged, "is corrupt"),
        ]
    ):
        broken = tmp_path / f"{number}.tar"
        broken.write_bytes(data)
        with pytest.raises(BackupError, match=message):
            restore(store, broken, replace=True)
    assert contents(store) == before
    assert list(store.blobs.temporary.iterdir()) == []


def test_backup_with_the_first_schema_is_migrated(store: Store, tmp_path: Path) -> None:
    old = Database(f"sqlite:///{tmp_path / 'records.sqlite'}")
    make_first_schema(old)
    old.close()
    with tarfile.open(tmp_path / "old.tar", "w") as tar:
        tar.add(tmp_path / "records.sqlite", "records.sqlite")
    assert restore(store, tmp_path / "old.tar", replace=False).records == len(ROWS) + 1  # a shard of the job that waits
    with store.database.read() as session:
        assert {job.id for job in session.scalars(select(Job))} == {"ended", "waiting", "training"}
    assert REVISION > "0001"
