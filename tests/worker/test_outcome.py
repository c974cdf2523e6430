"""How an attempt may end, and what becomes of its job."""

from __future__ import annotations

import itertools
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, text, update
from structlog.testing import capture_logs

from config.settings import Settings
from store.db.database import Session
from store.db.tables import Job, Shard
from store.errors import DatabaseUnavailable, QueueUnavailable
from store.files.quota import StorageQuota
from store.repositories.jobs import JobRepository
from store.store import Store
from tests.support.store_factories import claim_new_job
from worker.jobs.items import check_disk_space
from worker.maintenance.reenqueue_missing_jobs import ReenqueueMissingJobs
from worker.maintenance.requeue_stalled_jobs import RequeueStalledJobs
from worker.runtime import outcome
from worker.runtime.outcome import run_and_record

FULL = Path("/dev/full")  # Linux: every write to it fails with "no space left"


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome, "PAUSE_SECONDS", 0.01)


def reload(store: Store, job: Job) -> Job:
    with store.database.read() as session:
        found = JobRepository(session).get(job.id)
        assert found is not None
        return found


def count_crashes(store: Store, job: Job) -> int:
    with store.database.read() as session:
        return session.scalars(select(Shard.crash_count).where(Shard.job_id == job.id)).one()


def write_a_file() -> None:
    FULL.write_bytes(b"a sample")


def test_a_job_that_finds_the_disk_full_waits(store: Store) -> None:
    job = claim_new_job(store)
    run_and_record(store, job.id, job.attempt, write_a_file)
    after = reload(store, job)
    assert after.status == "queued"
    assert after.error is not None
    assert after.error["code"] == "disk_full"
    assert count_crashes(store, job) == 0
    assert job.id in store.queue.queued_ids()


@pytest.mark.parametrize(
    ("max_bytes", "min_free_bytes", "expected"),
    [(None, 2**60, ("queued", "disk_full")), (5, 0, ("failed", "storage_full"))],
)
def test_a_job_waits_for_the_disk_but_fails_at_the_quota(
    store: Store, max_bytes: int | None, min_free_bytes: int, expected: tuple[str, str]
) -> None:
    job = claim_new_job(store)
    store.blobs.put(b"more than five bytes")
    full = replace(store, quota=StorageQuota([store.blobs.root], max_bytes, min_free_bytes))
    run_and_record(store, job.id, job.attempt, lambda: check_disk_space(full))
    after = reload(store, job)
    assert (after.status, after.error and after.error["code"]) == expected


def test_a_job_whose_database_breaks_off_waits(store: Store) -> None:
    job = claim_new_job(store)

    def work() -> None:
        with store.database.write() as session:
            if session.get_bind().dialect.name == "postgresql":
                session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
            else:
                session.execute(text("PRAGMA query_only=ON"))
                try:
                    session.execute(text("DELETE FROM jobs"))
                finally:
                    session.execute(text("PRAGMA query_only=OFF"))

    run_and_record(store, job.id, job.attempt, work)
    after = reload(store, job)
    assert (after.status, after.error and after.error["code"]) == ("queued", "database_unavailable")


def test_a_job_with_an_error_of_its_own_fails(store: Store) -> None:
    job = claim_new_job(store)
    run_and_record(store, job.id, job.attempt, Path("/nowhere/at/all").rmdir)
    after = reload(store, job)
    assert (after.status, after.error and after.error["code"]) == ("failed", "internal_error")


def break_database(store: Store, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Makes the next `times` write transactions of the store fail."""
    write, started = store.database.write, itertools.count()

    def fail_first() -> AbstractContextManager[Session]:
        if next(started) < times:
            raise DatabaseUnavailable("the database is unavailable")
        return write()

    monkeypatch.setattr(store.database, "write", fail_first)


def test_an_outcome_is_recorded_when_the_database_is_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    job = claim_new_job(store)
    break_database(store, monkeypatch, times=3)
    run_and_record(store, job.id, job.attempt, lambda: None)
    assert reload(store, job).status == "succeeded"


def test_an_outcome_is_dropped_after_a_timeout(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome, "RECORD_TIMEOUT", 0.1)
    job = claim_new_job(store)
    break_database(store, monkeypatch, times=1000)
    run_and_record(store, job.id, job.attempt, lambda: None)
    assert reload(store, job).status == "running"  # until maintenance requeues it


def test_workers_get_a_grace_period_after_an_outage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker could renew its lease during the outage, so an expired lease does not mean a dead worker."""
    silent = claim_new_job(store)
    duty = RequeueStalledJobs(store, Settings(lease_seconds=1))
    with store.database.write() as session:
        JobRepository(session).renew(silent.id, silent.attempt, 0)
    break_database(store, monkeypatch, times=1)
    with pytest.raises(DatabaseUnavailable):
        duty.run()
    duty.run()
    assert reload(store, silent).status == "running"
    time.sleep(1)  # one lease; the worker might have renewed it
    duty.run()
    assert (reload(store, silent).status, count_crashes(store, silent)) == ("queued", 1)


def test_a_lasting_outage_extends_the_grace_period(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = claim_new_job(store)
    duty = RequeueStalledJobs(store, Settings(lease_seconds=1))
    with store.database.write() as session:
        JobRepository(session).renew(silent.id, silent.attempt, 0)
    break_database(store, monkeypatch, times=2)
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            duty.run()
        time.sleep(0.6)
    duty.run()
    assert reload(store, silent).status == "running"


def test_the_duty_requeues_or_ends_jobs_with_an_expired_lease(store: Store) -> None:
    """A job with a cancel request is canceled, and one that has crashed too often fails."""
    stalled, canceled, crashed = (claim_new_job(store) for _ in range(3))
    with store.database.write() as session:
        jobs = JobRepository(session)
        jobs.request_cancel(canceled.id)
        for job in (stalled, canceled, crashed):
            jobs.renew(job.id, job.attempt, -1)
        session.execute(update(Shard).where(Shard.job_id == crashed.id).values(crash_count=1))
    with capture_logs() as logs:
        RequeueStalledJobs(store, Settings(max_attempts=2)).run()
    assert [reload(store, job).status for job in (stalled, canceled, crashed)] == ["queued", "canceled", "failed"]
    assert store.queue.queued_ids() == {stalled.id}
    assert {line["job"]: (line["event"], line.get("status"), line.get("code")) for line in logs} == {
        stalled.id: ("lease expired, job requeued", None, None),
        canceled.id: ("job ended", "canceled", None),
        crashed.id: ("job ended", "failed", "worker_died"),
    }


def test_the_duty_requeues_while_the_queue_is_unavailable(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ReenqueueMissingJobs` puts the jobs on the queue when it is back."""
    jobs = [claim_new_job(store) for _ in range(2)]
    with store.database.write() as session:
        for job in jobs:
            JobRepository(session).renew(job.id, job.attempt, -1)

    def fail(*_: object) -> None:
        raise QueueUnavailable("the queue is unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(store.queue, "enqueue", fail)
        RequeueStalledJobs(store, Settings()).run()
    assert [reload(store, job).status for job in jobs] == ["queued", "queued"]
    assert store.queue.queued_ids() == set()
    duty = ReenqueueMissingJobs(store, Settings())
    duty.run()
    duty.run()
    assert store.queue.queued_ids() == {job.id for job in jobs}
