"""A process with the data folder or bucket of another deployment does not start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from store.data_folder import MISCONFIGURED
from store.deployment import WrongStorageError, bind_storage
from store.files.blobs import ID_NAME
from store.files.bucket import Bucket
from store.files.bucket_blobs import BucketBlobs
from store.files.folder_blobs import FolderBlobs
from store.store import Store


def test_database_and_folder_get_the_same_id_once(store: Store, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "data", store.leases)
    bind_storage(blobs, store.database)
    first = (tmp_path / "data" / ID_NAME).read_text()
    bind_storage(blobs, store.database)
    assert (tmp_path / "data" / ID_NAME).read_text() == first


def test_an_api_with_another_folder_says_what_to_do(store: Store, tmp_path: Path) -> None:
    bind_storage(FolderBlobs(tmp_path / "right", store.leases), store.database)
    with pytest.raises(WrongStorageError, match="PATINA_DATA_DIR"):
        bind_storage(FolderBlobs(tmp_path / "empty", store.leases), store.database)
    other = tmp_path / "other"
    blobs = FolderBlobs(other, store.leases)
    (other / ID_NAME).write_text("another\n")
    with pytest.raises(WrongStorageError, match="another deployment"):
        bind_storage(blobs, store.database)
    (other / ID_NAME).write_text((tmp_path / "right" / ID_NAME).read_text())  # as the message says
    bind_storage(blobs, store.database)


def test_a_bucket_has_the_id_of_its_database(bucket_store: Store, bucket_url: str) -> None:
    blobs = bucket_store.blobs
    assert isinstance(blobs, BucketBlobs)
    bind_storage(blobs, bucket_store.database)
    other = BucketBlobs(
        Bucket(bucket_url + "-other"), blobs._scratch, blobs._cache, bucket_store.database, bucket_store.leases
    )
    with pytest.raises(WrongStorageError, match=f"line {blobs.read_id()} into s3://.*-other/{ID_NAME}"):
        bind_storage(other, bucket_store.database)


@pytest.mark.parametrize("module", [["worker", "train"], ["worker.maintenance"]])
def test_workers_with_another_folder_refuse_to_start(
    store: Store, database_url: str, redis_url: str, tmp_path: Path, module: list[str]
) -> None:
    bind_storage(store.blobs, store.database)
    environment = {
        "PATINA_DATABASE_URL": database_url,
        "PATINA_REDIS_URL": redis_url,
        "PATINA_DATA_DIR": str(tmp_path / "elsewhere"),
    }
    ended = start(module, environment)
    assert ended.returncode == MISCONFIGURED
    assert b"wrong storage" in ended.stderr + ended.stdout


def test_a_worker_without_the_bucket_refuses_to_start(bucket_store: Store, redis_url: str, tmp_path: Path) -> None:
    """It has the database and the queue, and stores its results in a folder of its own."""
    environment = {
        "PATINA_DATABASE_URL": bucket_store.database.engine.url.render_as_string(hide_password=False),
        "PATINA_REDIS_URL": redis_url,
        "PATINA_DATA_DIR": str(tmp_path / "own"),
    }
    ended = start(["worker", "train"], environment)
    assert ended.returncode == MISCONFIGURED
    assert b"PATINA_BLOBS_URL" in ended.stderr + ended.stdout


def start(module: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-P", "-m", *module]
    return subprocess.run(command, env=os.environ | environment, check=False, timeout=50, capture_output=True)
