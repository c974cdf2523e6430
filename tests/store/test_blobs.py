"""A blob has the name of its content, exists whole or not at all, and is deleted only as garbage."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from store.errors import BlobCorrupt
from store.files.blobs import Blobs
from store.files.gc import collect_garbage
from store.repositories.datasets import DatasetRepository, NewImage
from store.repositories.jobs import JobRepository, Progress
from store.repositories.models import CheckpointRepository
from store.repositories.samples import NewItem, NewSample, SampleRepository
from store.store import Store
from tests.support.store_factories import create_claimed_job, create_model


def age(blobs: Blobs, sha256: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(blobs.path(sha256), (then, then))


def test_put_and_read(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    sha256 = blobs.put(b"patina")
    assert sha256 == hashlib.sha256(b"patina").hexdigest()
    assert blobs.read(sha256) == b"patina"
    assert blobs.size(sha256) == 6
    assert b"".join(blobs.iter_chunks(sha256)) == b"patina"
    assert list(blobs.temporary.iterdir()) == []


def test_put_all_stores_each_content(tmp_path: Path) -> None:
    blobs, contents = Blobs(tmp_path), [b"one", b"", b"another", b"one"]
    assert [blobs.read(sha256) for sha256 in blobs.put_all(contents)] == contents
    assert list(blobs.temporary.iterdir()) == []


def test_failed_put_leaves_nothing(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    (blobs.root / hashlib.sha256(b"another").hexdigest()[:2]).write_bytes(b"in the way of its folder")
    with pytest.raises(OSError, match="irector"):
        blobs.put_all([b"one", b"another"])
    assert list(blobs.temporary.iterdir()) == []


@pytest.mark.parametrize("damage", ["a bit", "its end"])
def test_corrupt_blob_is_never_returned_whole(tmp_path: Path, damage: str) -> None:
    blobs, data = Blobs(tmp_path), bytes(range(256)) * 5000  # more than a chunk
    sha256 = blobs.put(data)
    assert blobs.verified_path(sha256).read_bytes() == b"".join(blobs.iter_chunks(sha256)) == data
    with blobs.path(sha256).open("r+b") as file:
        if damage == "a bit":
            file.write(b"\x01")
        else:
            file.truncate(len(data) - 1)
    with pytest.raises(BlobCorrupt):
        blobs.verified_path(sha256)
    received: list[bytes] = []
    with pytest.raises(BlobCorrupt):
        received.extend(blobs.iter_chunks(sha256))
    blobs.put(data)
    assert blobs.verified_path(sha256).read_bytes() == data, "the same content repairs it"


def test_files_may_vanish_during_garbage_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may delete a file between the listing of its folder and the check of its age."""
    blobs = Blobs(tmp_path)
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
    assert list(blobs.temporary.iterdir()) == []


def test_scratch_removes_what_was_not_moved_in(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    with blobs.scratch() as folder:
        (folder / "kept").write_bytes(b"kept")
        (folder / "left").write_bytes(b"left")
        sha256 = blobs.put_file(folder / "kept")
    assert blobs.read(sha256) == b"kept"
    assert list(blobs.temporary.iterdir()) == []


def test_garbage_is_old_and_named_by_no_record(store: Store) -> None:
    blobs = store.blobs
    named = {what: blobs.put(what.encode()) for what in ("image", "item", "sample", "model", "checkpoint")}
    old, young = blobs.put(b"old garbage"), blobs.put(b"young garbage")
    for sha256 in (*named.values(), old):
        age(blobs, sha256, 100)
    with store.database.write() as session:
        datasets, jobs = DatasetRepository(session), JobRepository(session)
        dataset = datasets.create("photos", 4)
        datasets.add_images(dataset.id, "lr", [NewImage("a.png", named["image"], 1, 1)])
        job = create_claimed_job(session, "degrade", dataset_id=dataset.id)
        SampleRepository(session).add_items(job.id, [("a", NewItem("a.png", named["item"]))])
        sample = NewSample(0, 0, {"lr": named["sample"]})
        jobs.record(job.id, job.attempt, Progress(1, 1, None, None), [sample])
        CheckpointRepository(session).put(job.id, step=1, seconds=1, sha256=named["checkpoint"])
        create_model(session, dataset.id, job_id=job.id, files={"degrader.safetensors": named["model"]})
    foreign = blobs.path(old).with_name(".nfs0001")
    foreign.touch()
    os.utime(foreign, (0, 0))
    assert collect_garbage(store.database, blobs, older_than_seconds=50) == 1
    assert not blobs.path(old).exists()
    assert blobs.path(young).exists()
    assert all(blobs.path(sha256).exists() for sha256 in named.values())


def test_bytes_and_names_are_flushed_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs, flushed, fsync = Blobs(tmp_path), list[int](), os.fsync

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


def test_second_put_renews_the_age(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    sha256 = blobs.put(b"patina")
    age(blobs, sha256, 100)
    assert list(blobs.iter_older_than(50)) == [sha256]
    blobs.put(b"patina")
    assert blobs.delete_older([sha256], 50) == 0
    assert blobs.read(sha256) == b"patina"


def test_put_during_deletion_keeps_the_blob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = Blobs(tmp_path)
    sha256 = blobs.put(b"patina")
    age(blobs, sha256, 100)

    def put_after_the_check(file: Path, limit: float) -> bool:
        older = file.stat().st_mtime < limit
        blobs.put(b"patina")
        return older

    monkeypatch.setattr("store.files.blobs._is_older", put_after_the_check)
    assert blobs.delete_older([sha256], 50) == 0
    assert blobs.read(sha256) == b"patina"
    assert list(blobs.temporary.iterdir()) == []


def test_young_blob_stays_readable_during_deletion(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    sha256 = blobs.put(b"patina")
    with ThreadPoolExecutor(1) as pool:
        deleting = pool.submit(lambda: [blobs.delete_older([sha256] * 100, 50) for _ in range(100)])
        reads = 0
        while not deleting.done():
            assert blobs.read(sha256) == b"patina"
            reads += 1
    assert sum(deleting.result()) == 0
    assert reads


def test_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    folder, file = blobs.temporary / "folder", blobs.temporary / "file"
    folder.mkdir()
    (folder / "part-0").write_bytes(b"half of an upload")
    file.write_bytes(b"half of a blob")
    blobs.remove_stale_temporary(500)
    assert folder.exists(), "its process may be about to lock it"
    then = time.time() - 100
    os.utime(folder, (then, then))
    os.utime(file, (then, then))
    blobs.remove_stale_temporary(500)
    assert list(blobs.temporary.iterdir()) == [file], "the folder is not locked"
    blobs.remove_stale_temporary(50)
    assert list(blobs.temporary.iterdir()) == []


def test_locked_scratch_folder_stays_however_old(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    with blobs.scratch() as folder:
        os.utime(folder, (0, 0))
        blobs.remove_stale_temporary(50)
        (folder / "weights").write_bytes(b"of a night's training")
        assert blobs.put_file(folder / "weights")


def test_deletion_can_be_paused(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    sha256 = blobs.put(b"patina")
    with blobs.deletion_paused():
        assert blobs.delete_older([sha256], -1) == 0
        assert blobs.read(sha256) == b"patina"
    assert blobs.delete_older([sha256], -1) == 1
