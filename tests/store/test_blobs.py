"""A blob has the name of its content, exists whole or not at all, and is deleted only as garbage."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from store.errors import BlobCorrupt, BlobMissing
from store.files.blobs import Blobs
from store.files.folder_blobs import FolderBlobs
from store.files.gc import collect_garbage
from store.leases import Leases
from store.repositories.datasets import DatasetRepository, NewImage
from store.repositories.jobs import JobRepository, Progress
from store.repositories.models import CheckpointRepository
from store.repositories.samples import NewItem, NewSample, SampleRepository
from store.store import Store
from tests.support.blob_files import age, replace_bytes
from tests.support.store_factories import create_claimed_job, create_model


@pytest.fixture
def blobs(folder_store: Store) -> FolderBlobs:
    assert isinstance(folder_store.blobs, FolderBlobs)
    return folder_store.blobs


def list_temporary(blobs: Blobs) -> list[str]:
    """Names below `tmp`, without the folder of files in use that a process keeps for a bucket."""
    return [path.name for path in blobs.temporary.iterdir() if not path.name.endswith("-local")]


def test_put_and_read(any_store: Store) -> None:
    blobs = any_store.blobs
    sha256 = blobs.put(b"patina")
    assert sha256 == hashlib.sha256(b"patina").hexdigest()
    assert blobs.read(sha256) == b"patina"
    assert blobs.size(sha256) == 6
    assert b"".join(blobs.iter_chunks(sha256)) == b"patina"
    assert blobs.verified_path(sha256).read_bytes() == b"patina"
    assert blobs.stored_bytes() == 6
    assert list_temporary(blobs) == []


def test_put_all_stores_each_content(any_store: Store) -> None:
    blobs, contents = any_store.blobs, [b"one", b"", b"another", b"one"]
    sha256s = blobs.put_all(contents)
    assert [blobs.read(sha256) for sha256 in sha256s] == contents
    assert [blobs.verified_path(sha256).read_bytes() for sha256 in sha256s] == contents
    assert [b"".join(blobs.iter_chunks(sha256)) for sha256 in sha256s] == contents
    assert list_temporary(blobs) == []


def test_failed_put_leaves_nothing(blobs: FolderBlobs) -> None:
    (blobs.root / hashlib.sha256(b"another").hexdigest()[:2]).write_bytes(b"in the way of its folder")
    with pytest.raises(OSError, match="irector"):
        blobs.put_all([b"one", b"another"])
    assert list_temporary(blobs) == []


def test_a_blob_that_nobody_put_is_missing(any_store: Store) -> None:
    blobs, nothing = any_store.blobs, "0" * 64
    with pytest.raises(BlobMissing):
        blobs.read(nothing)
    with pytest.raises(BlobMissing):
        blobs.verified_path(nothing)
    with pytest.raises(BlobMissing):
        blobs.size(nothing)
    with pytest.raises(BlobMissing):
        list(blobs.iter_chunks(nothing))
    stored = blobs.put(b"patina")
    assert blobs.find_missing({stored, nothing}) == {nothing}


@pytest.mark.parametrize("damage", ["a bit", "its end"])
def test_corrupt_blob_is_never_returned_whole(any_store: Store, damage: str) -> None:
    blobs, data = any_store.blobs, bytes(range(256)) * 5000  # more than a chunk
    sha256 = blobs.put(data)
    assert b"".join(blobs.iter_chunks(sha256)) == data
    replace_bytes(blobs, sha256, b"\x01" + data[1:] if damage == "a bit" else data[:-1])
    with pytest.raises(BlobCorrupt):
        blobs.verified_path(sha256)
    with pytest.raises(BlobCorrupt):
        blobs.read(sha256)
    received: list[bytes] = []
    with pytest.raises(BlobCorrupt):
        received.extend(blobs.iter_chunks(sha256))
    assert list_temporary(blobs) == []
    blobs.put(data)
    assert blobs.verified_path(sha256).read_bytes() == data, "the same content repairs it"


def test_files_may_vanish_during_garbage_collection(blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may delete a file between the listing of its folder and the check of its age."""
    old = blobs.put(b"old")
    age(blobs, old, 100)
    (blobs.temporary / "left").write_bytes(b"left")
    os.utime(blobs.temporary / "left", (0, 0))
    iterdir = Path.iterdir

    def with_vanished(folder: Path) -> Iterator[Path]:
        yield from (folder / name for name in ("0" * 64, "gone", "delete-" + "1" * 64) if folder != blobs.root)
        yield from iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", with_vanished)
    blobs.remove_stale_temporary(10)
    assert list(blobs.iter_older_than(10)) == [old]
    monkeypatch.undo()
    assert list_temporary(blobs) == []


def test_scratch_removes_what_was_not_moved_in(any_store: Store) -> None:
    blobs = any_store.blobs
    with blobs.scratch() as folder:
        (folder / "kept").write_bytes(b"kept")
        (folder / "left").write_bytes(b"left")
        sha256 = blobs.put_file(folder / "kept")
        assert not (folder / "kept").exists()
    assert blobs.read(sha256) == b"kept"
    assert list_temporary(blobs) == []


def test_garbage_is_old_and_named_by_no_record(any_store: Store) -> None:
    blobs, database = any_store.blobs, any_store.database
    named = {what: blobs.put(what.encode()) for what in ("image", "item", "sample", "model", "checkpoint")}
    old, young = blobs.put(b"old garbage"), blobs.put(b"young garbage")
    for sha256 in (*named.values(), old):
        age(blobs, sha256, 100)
    with database.write() as session:
        datasets, jobs = DatasetRepository(session), JobRepository(session)
        dataset = datasets.create("photos", 4)
        datasets.add_images(dataset.id, "lr", [NewImage("a.png", named["image"], 1, 1)])
        job = create_claimed_job(session, "degrade", dataset_id=dataset.id)
        SampleRepository(session).add_items(job.id, [("a", NewItem("a.png", named["item"]))])
        sample = NewSample(0, 0, {"lr": named["sample"]})
        jobs.record(job.id, job.attempt, Progress(1, 1, None, None), [sample])
        CheckpointRepository(session).put(job.id, step=1, seconds=1, sha256=named["checkpoint"])
        create_model(session, dataset.id, job_id=job.id, files={"degrader.safetensors": named["model"]})
    if isinstance(blobs, FolderBlobs):
        foreign = blobs.path(old).with_name(".nfs0001")
        foreign.touch()
        os.utime(foreign, (0, 0))
    with blobs.deletion_paused():
        assert collect_garbage(database, blobs, older_than_seconds=50) == 0
    assert collect_garbage(database, blobs, older_than_seconds=50) == 1
    assert blobs.find_missing({old, young, *named.values()}) == {old}
    assert collect_garbage(database, blobs, older_than_seconds=50) == 0


def test_bytes_and_names_are_flushed_to_disk(
    blobs: FolderBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed, fsync = list[int](), os.fsync

    def record_fsync(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record_fsync)
    sha256s = [blobs.put(b"one")]
    with blobs.scratch() as folder:
        (folder / "another").write_bytes(b"another")
        sha256s.append(blobs.put_file(folder / "another"))
    paths = [blobs.path(sha256) for sha256 in sha256s]
    assert flushed == [path.stat().st_ino for path in paths], "bytes are flushed by put"
    flushed.clear()
    blobs.sync()
    folders = {tmp_path, blobs.root, *(path.parent for path in paths)}
    assert sorted(flushed) == sorted(folder.stat().st_ino for folder in folders), "names are flushed by sync"
    flushed.clear()
    blobs.sync()
    assert flushed == []


def test_second_put_renews_the_age(any_store: Store) -> None:
    blobs = any_store.blobs
    sha256 = blobs.put(b"patina")
    age(blobs, sha256, 100)
    assert list(blobs.iter_older_than(50)) == [sha256]
    blobs.put(b"patina")
    assert blobs.delete_older([sha256], 50) == 0
    assert blobs.read(sha256) == b"patina"


def test_put_during_deletion_keeps_the_blob(blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = blobs.put(b"patina")
    age(blobs, sha256, 100)

    def put_after_the_check(file: Path, limit: float) -> bool:
        older = file.stat().st_mtime < limit
        blobs.put(b"patina")
        return older

    monkeypatch.setattr("store.files.folder_blobs.is_older", put_after_the_check)
    assert blobs.delete_older([sha256], 50) == 0
    assert blobs.read(sha256) == b"patina"
    assert list_temporary(blobs) == []


def test_young_blob_stays_readable_during_deletion(blobs: FolderBlobs) -> None:
    sha256 = blobs.put(b"patina")
    with ThreadPoolExecutor(1) as pool:
        deleting = pool.submit(lambda: [blobs.delete_older([sha256] * 100, 50) for _ in range(100)])
        reads = 0
        while not deleting.done():
            assert blobs.read(sha256) == b"patina"
            reads += 1
    assert sum(deleting.result()) == 0
    assert reads


def test_files_of_killed_processes_are_removed(any_store: Store) -> None:
    blobs = any_store.blobs
    folder, file = blobs.temporary / "folder", blobs.temporary / "file"
    folder.mkdir()
    (folder / "part-0").write_bytes(b"half of an upload")
    file.write_bytes(b"half of a blob")
    blobs.remove_stale_temporary(500)
    assert folder.exists(), "its process may be about to announce itself"
    then = time.time() - 100
    os.utime(folder, (then, then))
    os.utime(file, (then, then))
    blobs.remove_stale_temporary(500)
    assert list_temporary(blobs) == ["file"], "no process has the folder"
    blobs.remove_stale_temporary(50)
    assert list_temporary(blobs) == []


def test_scratch_of_a_living_process_stays_however_old(any_store: Store) -> None:
    blobs = any_store.blobs
    with blobs.scratch() as folder:
        os.utime(folder, (0, 0))
        blobs.remove_stale_temporary(50)
        (folder / "weights").write_bytes(b"of a night's training")
        assert blobs.put_file(folder / "weights")


def test_scratch_of_a_dead_process_is_removed(folder_store: Store, tmp_path: Path) -> None:
    leases = Leases(folder_store.database, 0.05)
    dead = FolderBlobs(tmp_path, leases)
    with dead.scratch() as folder:
        os.utime(folder, (0, 0))
        folder_store.blobs.remove_stale_scratch()
        assert folder.exists()
        leases._closed.set()  # as if it had been killed
        time.sleep(0.3)
        folder_store.blobs.remove_stale_scratch()
        assert folder.exists(), "it may only have missed one renewal"
        folder_store.blobs.remove_stale_scratch()
        assert not folder.exists()


def test_an_ended_process_leaves_no_scratch(any_store: Store) -> None:
    sha256 = any_store.blobs.put(b"patina")
    used = any_store.blobs.verified_path(sha256)
    with any_store.blobs.scratch() as unfinished:
        any_store.close()
        assert not unfinished.exists()
    del used
    assert not list(any_store.blobs.temporary.iterdir())


def test_deletion_can_be_paused(any_store: Store) -> None:
    blobs = any_store.blobs
    sha256 = blobs.put(b"patina")
    with blobs.deletion_paused():
        assert blobs.delete_older([sha256], -1) == 0
        assert blobs.read(sha256) == b"patina"
    assert blobs.delete_older([sha256], -1) == 1
    assert blobs.find_missing({sha256}) == {sha256}
