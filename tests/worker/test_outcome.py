"""How work may end, and what becomes of its job."""

from __future__ import annotations

import itertools
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from config.settings import Settings
from store.db.database import Session
from store.db.tables import Job
from store.errors import DatabaseUnavailable
from store.files.capacity import Room
from store.repositories.jobs import JobRepository
from store.store import Store
from tests.worker.conftest import claimed
from worker.jobs.items import require_room
from worker.maintenance.reaper import Reaper
from worker.runtime import outcome as conclusion
from worker.runtime.outcome import conclude

FULL = Path("/dev/full")  # Linux: whatever is written to it finds no room


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conclusion, "PAUSE_SECONDS", 0.01)


def after(store: Store, job: Job) -> Job:
    with store.database.read() as session:
        found = JobRepository(session).get(job.id)
        assert found is not None
        return found


def write_a_file() -> None:
    FULL.write_bytes(b"a sample")


def test_a_job_that_finds_no_room_waits_and_says_so(store: Store) -> None:
    job = claimed(store)
    conclude(store, job.id, job.attempt, write_a_file)
    left = after(store, job)
    assert left.status == "queued"
    assert left.error is not None
    assert left.error["code"] == "disk_full"
    assert left.deaths == 0
    assert job.id in store.queue.queued_ids()


@pytest.mark.parametrize(
    ("max_bytes", "min_free_bytes", "ends"),
    [(None, 2**60, ("queued", "disk_full")), (5, 0, ("failed", "storage_full"))],
)
def test_a_job_waits_for_the_disk_and_fails_at_the_services_own_limit(
    store: Store, max_bytes: int | None, min_free_bytes: int, ends: tuple[str, str]
) -> None:
    job = claimed(store)
    store.blobs.put(b"more than five bytes")
    full = replace(store, room=Room([store.blobs.root], max_bytes, min_free_bytes))
    conclude(store, job.id, job.attempt, lambda: require_room(full))
    left = after(store, job)
    assert (left.status, left.error and left.error["code"]) == ends


def test_a_job_whose_database_breaks_off_waits(store: Store) -> None:
    job = claimed(store)

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

    conclude(store, job.id, job.attempt, work)
    left = after(store, job)
    assert (left.status, left.error and left.error["code"]) == ("queued", "database_away")


def test_a_job_that_is_itself_to_blame_fails(store: Store) -> None:
    job = claimed(store)
    conclude(store, job.id, job.attempt, Path("/nowhere/at/all").rmdir)
    left = after(store, job)
    assert (left.status, left.error and left.error["code"]) == ("failed", "internal_error")


def away(store: Store, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """The store's database, for so many transactions that are begun from now on."""
    write, begun = store.database.write, itertools.count()

    def maybe() -> AbstractContextManager[Session]:
        if next(begun) < times:
            raise DatabaseUnavailable("unable to open database file")
        return write()

    monkeypatch.setattr(store.database, "write", maybe)


def test_an_end_is_recorded_when_the_database_is_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    job = claimed(store)
    away(store, monkeypatch, times=3)
    conclude(store, job.id, job.attempt, lambda: None)
    assert after(store, job).status == "succeeded"


def test_an_end_is_not_waited_with_for_ever(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conclusion, "PATIENCE_SECONDS", 0.1)
    job = claimed(store)
    away(store, monkeypatch, times=1000)
    conclude(store, job.id, job.attempt, lambda: None)
    assert after(store, job).status == "running"  # until the reaper takes it back


def test_no_worker_is_taken_for_dead_that_could_not_be_heard(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = claimed(store)
    reaper = Reaper(store, Settings(lease_seconds=1))
    with store.database.write() as session:
        JobRepository(session).renew(silent.id, silent.attempt, 0)
    away(store, monkeypatch, times=1)
    with pytest.raises(DatabaseUnavailable):
        reaper.round()
    reaper.round()
    assert after(store, silent).status == "running"
    time.sleep(1)  # as long as a lease, in which it might have spoken up
    reaper.round()
    assert (after(store, silent).status, after(store, silent).deaths) == ("queued", 1)
