"""Expired results are deleted with their blobs, and nothing else is."""

from __future__ import annotations

import os
import threading
import time

import pytest

from app.archives.manifest import Manifest
from app.archives.segments import ResultsChangedError
from store.files.gc import collect_garbage
from store.manifest import ResultNames
from store.repositories.datasets import DatasetRepository, NewImage
from store.repositories.jobs import JobRepository, Progress
from store.repositories.models import CheckpointRepository
from store.repositories.samples import NewItem, NewSample, SampleRepository
from store.store import Store
from tests.support.store_factories import create_claimed_job


def ended_job(store: Store, kind: str, status: str, retention_seconds: float | None) -> tuple[str, list[str]]:
    """Creates an ended job with an input, a result and a checkpoint; returns its id and their blobs."""
    with store.database.write() as session:
        jobs = JobRepository(session)
        dataset = DatasetRepository(session).create("photos", 4)
        parameters = {"samples": 1, "seed": 0}
        job = create_claimed_job(
            session, kind, dataset_id=dataset.id, parameters=parameters, retention_seconds=retention_seconds
        )
        blobs = [store.blobs.put(f"{kind} of {job.id}".encode()) for kind in ("input", "result", "checkpoint")]
        SampleRepository(session).add_items(job.id, [("a", NewItem("a.png", blobs[0]))])
        jobs.record(job.id, job.attempt, Progress(1, 1, None, None), [NewSample(0, 0, {"lr": blobs[1]})])
        CheckpointRepository(session).put(job.id, step=1, seconds=1, sha256=blobs[2])
        jobs.finish(job.id, job.attempt, status)
    return job.id, blobs


def expire(store: Store) -> list[str]:
    with store.database.write() as session:
        return JobRepository(session).expire()


def test_expired_results_and_blobs_go_and_the_job_stays(store: Store) -> None:
    due, gone = ended_job(store, "degrade", "succeeded", 0.01)
    failed, _ = ended_job(store, "train", "failed", 0.01)
    later, kept = ended_job(store, "degrade", "succeeded", 60)
    never, kept_too = ended_job(store, "degrade", "succeeded", None)
    time.sleep(0.05)
    assert set(expire(store)) == {due, failed}
    assert expire(store) == []
    for sha256 in gone + kept + kept_too:
        os.utime(store.blobs.path(sha256), (0, 0))
    collect_garbage(store.database, store.blobs, older_than_seconds=50)
    assert not any(store.blobs.path(sha256).exists() for sha256 in gone)
    assert all(store.blobs.path(sha256).exists() for sha256 in kept + kept_too)
    with store.database.write() as session:
        jobs = JobRepository(session)
        job = jobs.get(due)
        assert job is not None
        assert job.expired_at is not None
        assert SampleRepository(session).list_items(due) == []
        assert len(SampleRepository(session).list_items(later)) == len(SampleRepository(session).list_items(never)) == 1
        assert CheckpointRepository(session).list_for_job(failed) == []
        assert jobs.retry(failed) is False, "its inputs are gone"


def test_archive_fails_if_results_expire_meanwhile(store: Store) -> None:
    job_id, _ = ended_job(store, "degrade", "succeeded", 0.01)
    with store.database.read() as session:
        job = JobRepository(session).get(job_id)
    assert job is not None
    contents = Manifest(store, ResultNames(job, None, None))
    assert len(list(contents.samples())) == 1
    time.sleep(0.05)
    expire(store)
    with pytest.raises(ResultsChangedError):
        list(contents.samples())


def test_archive_fails_if_the_job_is_retried_meanwhile(store: Store) -> None:
    job_id, _ = ended_job(store, "degrade", "canceled", None)
    with store.database.read() as session:
        job = JobRepository(session).get(job_id)
    assert job is not None
    contents = Manifest(store, ResultNames(job, None, None))
    assert len(list(contents.samples())) == 1
    for status in ("queued", "canceled"):
        with store.database.write() as session:
            request = JobRepository(session).retry if status == "queued" else JobRepository(session).request_cancel
            request(job_id)
        with pytest.raises(ResultsChangedError):
            list(contents.samples())


def test_shared_lock_delays_deletion_of_a_dataset(store: Store) -> None:
    with store.database.write() as session:
        dataset = DatasetRepository(session).create("photos", 4)
        DatasetRepository(session).add_images(dataset.id, "hr", [NewImage("a.png", store.blobs.put(b"a"), 1, 1)])

    def delete() -> None:
        with store.database.write() as session:
            DatasetRepository(session).delete(dataset.id)

    deleting = threading.Thread(target=delete)
    with store.database.write() as session:
        assert DatasetRepository(session).lock_shared(dataset.id)
        deleting.start()
        deleting.join(0.3)
        assert deleting.is_alive()
    deleting.join(10)
    with store.database.write() as session:
        assert not DatasetRepository(session).lock_shared(dataset.id)


def test_blob_in_the_trash_of_a_killed_process_returns(store: Store) -> None:
    sha256 = store.blobs.put(b"patina")
    store.blobs.path(sha256).rename(store.blobs.temporary / f"delete-{sha256}")
    store.blobs.remove_stale_temporary(50)
    assert store.blobs.read(sha256) == b"patina"
    assert store.blobs.delete_older([sha256, sha256], -1) == 1
