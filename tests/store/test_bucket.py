"""What is special about a bucket: local copies, the table of blobs, moving to and from a folder."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from config.settings import Settings
from store.admin.backup import create_backup, restore
from store.admin.doctor import check
from store.admin.migrate_blobs import StillRunningError, migrate_blobs, open_target, switch_storage
from store.data_folder import MISCONFIGURED
from store.deployment import WrongStorageError, bind_storage
from store.errors import StorageUnavailable
from store.files.bucket import Bucket
from store.files.bucket_blobs import BucketBlobs, key_of
from store.files.file_cache import FileCache
from store.files.gc import referenced_hashes
from store.files.storage import open_bucket
from store.leases import Leases
from store.store import Store
from tests.support.blob_files import age, remove, replace_bytes
from tests.support.s3 import S3Server
from tests.support.s3_proxy import s3_proxy
from tests.support.store_factories import fill_store


@pytest.fixture
def blobs(bucket_store: Store) -> BucketBlobs:
    assert isinstance(bucket_store.blobs, BucketBlobs)
    return bucket_store.blobs


def test_a_copy_is_used_again_and_checked_each_time(blobs: BucketBlobs) -> None:
    sha256 = blobs.put(b"weights")
    first = blobs.verified_path(sha256)
    remove(blobs, sha256)
    assert blobs.verified_path(sha256).read_bytes() == b"weights", "from the copy"
    blobs.put(b"weights")
    blobs.path(sha256).write_bytes(b"weighty")  # the local disk fails
    assert blobs.verified_path(sha256).read_bytes() == b"weights", "from the bucket"
    del first
    names = [path.name for folder in blobs.temporary.iterdir() for path in folder.iterdir()]
    assert names == [], "the files that were in use are not any more"


def test_copies_take_no_more_space_than_allowed(tmp_path: Path) -> None:
    cache, used = FileCache(tmp_path / "cache", 100, 0), tmp_path / "used"
    used.mkdir()

    def add(name: str, size: int) -> Path:
        file = tmp_path / name
        file.write_bytes(bytes(size))
        return cache.add(file, name, used)

    held = add("a", 40)
    add("b", 40)
    os.utime(cache.path("a"), (1, 1))
    os.utime(cache.path("b"), (2, 2))
    assert cache.take("a", used) is not None  # now b is the one that was unused for longer
    add("c", 40)
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["a", "c"]
    add("large", 300)
    assert list((tmp_path / "cache").iterdir()) == []
    assert held.stat().st_size == 40, "a file in use stays"
    del held
    assert list(used.iterdir()) == []


def test_a_put_waits_for_the_deletion_of_the_same_blob(
    bucket_store: Store, blobs: BucketBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the deletion that has begun would take the new object with it."""
    sha256 = blobs.put(b"patina")
    age(blobs, sha256, 100)
    deleting, may_delete = threading.Event(), threading.Event()
    delete = blobs._bucket.delete

    def delete_slowly(keys: list[str], *, retry: bool = True) -> None:
        deleting.set()
        may_delete.wait(10)
        delete(keys, retry=retry)

    monkeypatch.setattr(blobs._bucket, "delete", delete_slowly)
    collector = threading.Thread(target=blobs.delete_older, args=([sha256], 50))
    collector.start()
    assert deleting.wait(10)
    putter = threading.Thread(target=blobs.put, args=(b"patina",))
    putter.start()
    putter.join(0.3)
    assert putter.is_alive(), "it waits"
    may_delete.set()
    for thread in (collector, putter):
        thread.join(10)
    assert blobs.read(sha256) == b"patina"
    assert blobs.size(sha256) == 6


def test_doctor_finds_lost_changed_and_unrecorded_objects(bucket_store: Store, blobs: BucketBlobs) -> None:
    fill_store(bucket_store)
    assert list(check(bucket_store, deep=True)) == []
    remove(blobs, blobs.put(b"kernel"))
    replace_bytes(blobs, blobs.put(b"a degrader"), b"another")
    stray = "ab" * 32
    blobs._bucket.put(key_of(stray), b"from a restored bucket")
    findings = list(check(bucket_store, deep=True))
    messages = "\n".join(finding.message for finding in findings)
    assert "1 results of job" in messages
    assert "is corrupt" in messages
    assert "lacks degrader.safetensors" in messages
    assert "1 stored files are not in the table" in messages
    for finding in findings:
        if finding.repair:
            with bucket_store.database.write() as session:
                finding.repair(session)
    assert blobs.size(stray) == len(b"from a restored bucket")
    assert not any("not in the table" in finding.message for finding in check(bucket_store, deep=False))


def test_files_move_from_a_folder_to_a_bucket_and_back(
    folder_store: Store, bucket_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path)
    bind_storage(folder_store.blobs, folder_store.database)
    fill_store(folder_store)
    with folder_store.database.read() as session:
        named = referenced_hashes(session)
    folder_store.blobs.put(b"garbage")
    bucket = open_target(bucket_url, settings, folder_store)
    put_file, calls = bucket.put_file, 0

    def break_off(file: Path) -> str:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise StorageUnavailable("broken off")
        return put_file(file)

    with monkeypatch.context() as patched:
        patched.setattr(bucket, "put_file", break_off)
        with pytest.raises(StorageUnavailable):
            migrate_blobs(folder_store, bucket, lambda *_: None)
    progress: list[tuple[int, int]] = []
    stats = migrate_blobs(folder_store, bucket, lambda *done: progress.append(done))
    assert (stats.copied + stats.present, stats.lost) == (len(named), 0)
    assert stats.present >= 1
    assert progress[-1] == (stats.copied, stats.copied)
    assert migrate_blobs(folder_store, bucket, lambda *_: None).copied == 0
    assert bucket.find_missing(named) == set()

    other = Leases(folder_store.database, 15)
    other.announce()
    with pytest.raises(StillRunningError, match="1 processes"):
        switch_storage(folder_store, bucket)
    other.close()
    switch_storage(folder_store, bucket)
    bind_storage(bucket, folder_store.database)
    with pytest.raises(WrongStorageError):
        bind_storage(folder_store.blobs, folder_store.database)

    moved = Store.open(Settings(data_dir=tmp_path, blobs_url=bucket_url))
    assert migrate_blobs(moved, folder_store.blobs, lambda *_: None).lost == 0, "back to where it was"
    remove(bucket, sorted(named)[0])
    folder = open_target(str(tmp_path / "again"), settings, moved)
    back = migrate_blobs(moved, folder, lambda *_: None)
    assert (back.copied, back.lost) == (len(named) - 1, 1)
    moved.close()


def test_files_of_another_deployment_are_not_taken_over(
    bucket_store: Store, folder_store: Store, bucket_url: str, tmp_path: Path
) -> None:
    """Garbage collection would delete them."""
    fill_store(bucket_store)
    bind_storage(folder_store.blobs, folder_store.database)
    target = open_target(bucket_url, Settings(data_dir=tmp_path), folder_store)
    with pytest.raises(WrongStorageError, match="another deployment"):
        migrate_blobs(folder_store, target, lambda *_: None)
    with pytest.raises(WrongStorageError, match="another deployment"):
        switch_storage(folder_store, target)
    bind_storage(bucket_store.blobs, bucket_store.database)


def test_a_backup_of_a_bucket_restores_into_a_folder(bucket_store: Store, folder_store: Store, tmp_path: Path) -> None:
    fill_store(bucket_store)
    created = create_backup(bucket_store, tmp_path / "backup.tar")
    assert created.missing == 0
    assert restore(folder_store, tmp_path / "backup.tar", replace=False).blobs == created.blobs > 0
    assert list(check(folder_store, deep=True)) == []


def test_an_upload_in_parts_goes_to_any_api(bucket_store: Store, tmp_path: Path) -> None:
    """Each part is an object, so another API, with no shared folder, can continue."""
    first, second = bucket_store.partial_uploads, bucket_store.partial_uploads
    with first.open("an-upload", 0) as part:
        part.write(b"hello ")
        part.flush()
        part.write(b"never counted")
        part.flush()
    assert first.size("an-upload") == 19
    with second.open("an-upload", 6) as part:
        assert part.read_head(4) == b"hell"
        part.write(b"world")
        part.flush()
    second.assemble("an-upload", tmp_path / "whole")
    assert (tmp_path / "whole").read_bytes() == b"hello world"
    assert second.list_ids() == {"an-upload"}
    second.delete_unknown(lambda: {"an-upload"})
    assert second.size("an-upload") == 11
    second.delete_unknown(set)
    assert second.list_ids() == set()


def test_the_quota_counts_blobs_and_unfinished_uploads(bucket_store: Store, bucket_url: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, max_storage_bytes=1000, min_free_bytes=0)
    storage = open_bucket(bucket_url, settings, bucket_store.database, bucket_store.leases)
    storage.blobs.put(bytes(600))
    storage.blobs.put(bytes(600))
    with storage.partial_uploads.open("an-upload", 0) as part:
        part.write(bytes(100))
        part.flush()
    assert storage.quota.available() == 300


def test_a_signed_url_needs_no_credentials(blobs: BucketBlobs) -> None:
    url = blobs.signed_url(blobs.put(b"patina"), 60)
    assert httpx.get(url).content == b"patina"
    assert httpx.get(url.partition("?")[0]).status_code == 403


def test_bytes_that_change_on_the_way_are_refused(
    bucket_store: Store, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.files.bucket.RETRY_SECONDS", 0.3)
    with s3_proxy(s3_server.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        bucket = Bucket(bucket_store.blobs.location)
        bucket.put("right", b"patina")
        proxy.replace = b"patina", b"patinb"
        with pytest.raises(StorageUnavailable):
            bucket.put("changed", b"patina")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.url)
    with pytest.raises(FileNotFoundError):
        Bucket(bucket_store.blobs.location).read("changed")


def test_an_outage_is_waited_for_once(
    bucket_store: Store, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each request of an outage would block a thread of the API for as long as the first."""
    monkeypatch.setattr("store.files.bucket.RETRY_SECONDS", 1)
    with s3_proxy(s3_server.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        bucket = Bucket(bucket_store.blobs.location)
        tries = []
        proxy.shut(busy=True)
        for _ in range(3):
            before = proxy.refused
            with pytest.raises(StorageUnavailable):
                bucket.put("key", b"patina")
            tries.append(proxy.refused - before)
        assert tries[0] > 1
        assert tries[1:] == [1, 1]
        proxy.open = True
        bucket.put("key", b"patina")
        assert bucket.read("key") == b"patina"


def test_a_missing_package_is_explained(folder_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.delitem(sys.modules, "store.files.bucket")
    with capture_logs() as lines, pytest.raises(SystemExit) as ended:
        open_target("s3://bucket", Settings(data_dir=tmp_path), folder_store)
    assert ended.value.code == MISCONFIGURED
    assert "pip install 'patina[s3]'" in lines[0]["hint"]
