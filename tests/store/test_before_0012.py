"""A data folder of the last code with schema 0011 opens, and nothing in it is lost.

The folder comes from `tests/store/data/before-0012.tar.gz`. That was made by `tests/store/data/make_before_0012.sh`,
which runs `patina up` of commit 9fb4c54. It holds a dataset, a model, a finished degrade job, an interrupted training
with checkpoints, events and a preview, a token, an idempotency key, an unfinished upload and a waiting webhook message.
"""

from __future__ import annotations

import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings
from store.admin.backup import create_backup, restore
from store.admin.doctor import check
from store.db.database import Database
from store.db.migrate import migrate
from store.db.schema import REVISION, current_revision
from store.repositories.models import CheckpointRepository, PreviewRepository
from store.repositories.tokens import TokenRepository
from store.store import Store
from tests.support.api import Api, serve_api
from tests.support.old_folder import OldFolder, extract_old_folder


@pytest.fixture
def old(tmp_path: Path) -> OldFolder:
    return extract_old_folder(tmp_path / "old")


@pytest.fixture
def old_api(old: OldFolder, redis_url: str) -> Iterator[Api]:
    """Today's API on the migrated folder."""
    with serve_api(Settings(data_dir=old.path, redis_url=redis_url, webhooks=True)) as api:
        yield api


@pytest.fixture
def old_store(old: OldFolder, redis_url: str) -> Iterator[Store]:
    opened = Store.open(Settings(data_dir=old.path, redis_url=redis_url))
    migrate(opened.database)
    yield opened
    opened.close()


def test_folder_has_the_old_schema(old: OldFolder) -> None:
    database = Database(f"sqlite:///{old.path / 'patina.sqlite'}")
    assert current_revision(database) == "0011"
    migrate(database)
    assert current_revision(database) == REVISION
    database.close()


def test_api_answers_as_before(old: OldFolder, old_api: Api) -> None:
    """Later versions may add fields."""
    for url, answer in old.answers.items():
        assert without_new_fields(old_api.http.get(url).json(), answer) == answer, url


def without_new_fields(value: Any, before: Any) -> Any:
    """Returns a JSON value without the fields that it did not have before."""
    if isinstance(value, dict) and isinstance(before, dict):
        return {name: without_new_fields(value[name], before[name]) for name in value.keys() & before.keys()}
    if isinstance(value, list) and isinstance(before, list) and len(value) == len(before):
        return [without_new_fields(*pair) for pair in zip(value, before, strict=True)]
    return value


def test_idempotency_key_still_finds_its_job(old: OldFolder, old_api: Api) -> None:
    dataset, key = old.ids["dataset"], {"Idempotency-Key": old.ids["key"]}
    response = old_api.http.post(f"/datasets/{dataset}/train", json=old.ids["request"], headers=key)
    assert (response.status_code, response.json()["id"]) == (202, old.ids["train"])


def test_upload_can_be_resumed(old: OldFolder, old_api: Api) -> None:
    headers = old_api.http.head(old.ids["upload"], headers={"Tus-Resumable": "1.0.0"}).headers
    assert (headers["Upload-Offset"], headers["Upload-Length"]) == ("400", "1000")
    assert headers["Upload-Metadata"] == "filename YS5wbmc="


def test_token_checkpoints_and_preview_are_valid(old: OldFolder, old_store: Store) -> None:
    with old_store.database.read() as session:
        token = TokenRepository(session).verify(old.ids["secret"])
        assert token is not None
        assert (token.id, token.name, token.scope) == (old.ids["token"], "alice", "submit")
        checkpoints = CheckpointRepository(session).list_for_job(old.ids["train"])
        preview = PreviewRepository(session).get(old.ids["train"])
    assert len(checkpoints) == 2
    assert preview is not None
    for sha256 in [*(checkpoint.sha256 for checkpoint in checkpoints), *preview.files.values()]:
        old_store.blobs.verified_path(sha256)


def test_doctor_finds_no_problems(old_store: Store) -> None:
    assert list(check(old_store, deep=True)) == []


def test_old_backup_restores(old: OldFolder, store: Store, tmp_path: Path) -> None:
    """A backup of that time has the old schema; it restores to either database, and can be backed up again."""
    with (
        closing(sqlite3.connect(old.path / "patina.sqlite")) as source,
        closing(sqlite3.connect(tmp_path / "records.sqlite")) as target,
    ):
        source.backup(target)
    blobs = sorted(path for path in (old.path / "blobs").rglob("*") if path.is_file())
    with tarfile.open(tmp_path / "old.tar", "w") as tar:
        tar.add(tmp_path / "records.sqlite", "records.sqlite")
        for path in blobs:
            tar.add(path, f"blobs/{path.name}")
    restored = restore(store, tmp_path / "old.tar", replace=False)
    assert restored.blobs == len(blobs)
    assert list(check(store, deep=True)) == []
    again = create_backup(store, tmp_path / "new.tar")
    assert (again.records, again.missing) == (restored.records, 0)
