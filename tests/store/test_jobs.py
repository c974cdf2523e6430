"""Leases, fences and states of jobs, on both databases."""

from __future__ import annotations

import time

import pytest

from store.db.database import Session
from store.db.tables import Job
from store.errors import LeaseLostError
from store.repositories.jobs import PARAMETERS_VERSION, ExpiredJob, JobRepository, Progress
from store.repositories.samples import NewItem, NewSample, SampleRepository
from store.store import Store
from tests.support.store_factories import create_job

LEASE = 30.0
MAX_CRASHES = 3


def make_job(store: Store, items: int = 2) -> str:
    with store.database.write() as session:
        job = create_job(session, "degrade", total=items)
        SampleRepository(session).add_items(
            job.id, [(f"image{i}", NewItem(f"image{i}.png", f"{i:064x}")) for i in range(items)]
        )
        return job.id


def claim(store: Store, job_id: str, lease: float = LEASE) -> int | None:
    with store.database.write() as session:
        job = JobRepository(session).claim(job_id, "a worker", lease)
        return job.attempt if job else None


def status(store: Store, job_id: str) -> str:
    with store.database.read() as session:
        job = JobRepository(session).get(job_id)
        assert job is not None
        return job.status


def record(store: Store, job_id: str, attempt: int, *samples: NewSample) -> None:
    with store.database.write() as session:
        JobRepository(session).record(job_id, attempt, Progress(len(samples), 2, 1.0, 1.0), samples)


def finished(session: Session, job_id: str) -> set[tuple[int, int]]:
    return {(sample.position, sample.sample) for sample, _ in SampleRepository(session).list_samples(job_id)}


def test_one_worker_claims_a_job(store: Store) -> None:
    job_id = make_job(store)
    assert claim(store, job_id) == 1
    assert claim(store, job_id) is None
    assert status(store, job_id) == "running"


def test_expired_lease_fences_the_first_worker(store: Store) -> None:
    job_id = make_job(store)
    first = claim(store, job_id, lease=0.01)
    assert first is not None
    time.sleep(0.05)
    with store.database.write() as session:
        (expired,) = JobRepository(session).requeue_expired_leases(MAX_CRASHES)
    assert expired == ExpiredJob(job_id, "degrade", "queued", None)
    second = claim(store, job_id)
    assert second == first + 1
    with pytest.raises(LeaseLostError):
        record(store, job_id, first, NewSample(0, 0, {"lr": "a"}))
    with pytest.raises(LeaseLostError), store.database.write() as session:
        JobRepository(session).renew(job_id, first, LEASE)
    with pytest.raises(LeaseLostError), store.database.write() as session:
        JobRepository(session).finish(job_id, first, "succeeded")
    with store.database.read() as session:
        assert SampleRepository(session).count_samples(job_id) == 0
    record(store, job_id, second, NewSample(0, 0, {"lr": "a"}))
    with store.database.read() as session:
        assert finished(session, job_id) == {(0, 0)}


def test_renewed_lease_does_not_expire(store: Store) -> None:
    job_id = make_job(store)
    attempt = claim(store, job_id, lease=0.01)
    assert attempt is not None
    with store.database.write() as session:
        JobRepository(session).renew(job_id, attempt, LEASE)
    time.sleep(0.05)
    with store.database.write() as session:
        assert JobRepository(session).requeue_expired_leases(MAX_CRASHES) == []
    assert status(store, job_id) == "running"


def test_job_that_crashes_every_worker_fails(store: Store) -> None:
    job_id = make_job(store)
    for _ in range(MAX_CRASHES):
        assert status(store, job_id) == "queued"
        assert claim(store, job_id, lease=0.001)
        time.sleep(0.02)
        with store.database.write() as session:
            (expired,) = JobRepository(session).requeue_expired_leases(MAX_CRASHES)
    with store.database.read() as session:
        job = JobRepository(session).get(job_id)
        assert job is not None
        assert job.status == "failed"
        assert job.error is not None
        assert job.error["code"] == "worker_died"
    assert expired == ExpiredJob(job_id, "degrade", "failed", job.error)


def test_record_crash_requeues_then_fails(store: Store) -> None:
    job_id = make_job(store)
    for deaths in range(1, MAX_CRASHES + 1):
        attempt = claim(store, job_id)
        assert attempt is not None
        with store.database.write() as session:
            JobRepository(session).record_crash(job_id, attempt, MAX_CRASHES)
        assert status(store, job_id) == ("failed" if deaths == MAX_CRASHES else "queued")


def test_cancel_is_immediate_when_queued_else_a_request(store: Store) -> None:
    waiting, running = make_job(store), make_job(store)
    attempt = claim(store, running)
    assert attempt is not None
    for job_id in (waiting, running):
        with store.database.write() as session:
            JobRepository(session).request_cancel(job_id)
    assert status(store, waiting) == "canceled"
    assert claim(store, waiting) is None
    assert status(store, running) == "running"
    with store.database.write() as session:
        assert JobRepository(session).renew(running, attempt, LEASE).cancel_requested


def test_canceled_job_of_a_dead_worker_is_not_requeued(store: Store) -> None:
    job_id = make_job(store)
    assert claim(store, job_id, lease=0.001)
    with store.database.write() as session:
        JobRepository(session).request_cancel(job_id)
    time.sleep(0.02)
    with store.database.write() as session:
        (expired,) = JobRepository(session).requeue_expired_leases(MAX_CRASHES)
    assert expired == ExpiredJob(job_id, "degrade", "canceled", None)
    assert status(store, job_id) == "canceled"


def test_cancel_keeps_a_finished_job(store: Store) -> None:
    job_id = make_job(store)
    attempt = claim(store, job_id)
    assert attempt is not None
    with store.database.write() as session:
        JobRepository(session).finish(job_id, attempt, "succeeded")
    with store.database.write() as session:
        JobRepository(session).request_cancel(job_id)
    assert status(store, job_id) == "succeeded"


def test_retry_keeps_finished_and_repeats_failed_samples(store: Store) -> None:
    job_id = make_job(store)
    attempt = claim(store, job_id)
    assert attempt is not None
    record(
        store, job_id, attempt, NewSample(0, 0, {"lr": "a"}), NewSample(1, 0, {}, code="corrupt_image", message="...")
    )
    with store.database.write() as session:
        assert JobRepository(session).retry(job_id) is False  # it is running
        JobRepository(session).finish(job_id, attempt, "failed", {"code": "x", "message": "y"})
    with store.database.write() as session:
        assert JobRepository(session).retry(job_id) is True
    with store.database.read() as session:
        jobs = JobRepository(session)
        job = jobs.get(job_id)
        assert job is not None
        assert (job.status, job.error, job.finished_at, job.ok, job.failed) == ("queued", None, None, 1, 0)
        assert finished(session, job_id) == {(0, 0)}


def test_counts_and_samples_are_one_transaction(store: Store) -> None:
    job_id = make_job(store)
    attempt = claim(store, job_id)
    assert attempt is not None
    record(store, job_id, attempt, NewSample(0, 0, {"lr": "a"}))
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        record(store, job_id, attempt, NewSample(1, 0, {"lr": "b"}), NewSample(0, 0, {"lr": "a"}))
    with store.database.read() as session:
        job = JobRepository(session).get(job_id)
        assert job is not None
        assert job.ok == 1
        assert finished(session, job_id) == {(0, 0)}


def test_pending_samples_of_new_items_are_ranges(store: Store) -> None:
    job_id = make_job(store, 4)
    attempt = claim(store, job_id)
    assert attempt
    there = [NewSample(0, n, {}) for n in range(3)] + [NewSample(1, 1, {}), NewSample(3, 0, {}, "bad", "It is bad.")]
    record(store, job_id, attempt, *there)
    with store.database.read() as session:
        # An item without finished samples takes the same memory for any number of samples.
        assert SampleRepository(session).pending_samples(job_id, 3, 0, 4) == {1: [0, 2], 2: range(3), 3: [1, 2]}
        assert SampleRepository(session).pending_samples(job_id, 3, 2, 3) == {2: range(3)}


def test_newer_parameters_wait_for_a_newer_worker(store: Store) -> None:
    job_id, readable = make_job(store), make_job(store)
    with store.database.write() as session:
        job = session.get_one(Job, job_id)
        job.parameters_version = PARAMETERS_VERSION + 1
    assert claim(store, job_id) is None
    with store.database.write() as session:
        assert JobRepository(session).mark_worker_too_old(job_id)
        assert not JobRepository(session).mark_worker_too_old(readable)
    with store.database.read() as session:
        refused = session.get_one(Job, job_id)
        assert (refused.status, refused.attempt) == ("queued", 0)
        assert refused.error is not None
        assert refused.error["code"] == "worker_too_old"
    with store.database.write() as session:
        session.get_one(Job, job_id).parameters_version = PARAMETERS_VERSION
    assert claim(store, job_id) == 1
    with store.database.read() as session:
        assert session.get_one(Job, job_id).error is None


def test_progress_resets_the_crash_count(store: Store) -> None:
    job_id = make_job(store)
    for position in range(2):
        for _ in range(MAX_CRASHES - 2):
            assert claim(store, job_id, lease=-1) is not None
            with store.database.write() as session:
                JobRepository(session).requeue_expired_leases(MAX_CRASHES)
        attempt = claim(store, job_id)
        assert attempt is not None
        record(store, job_id, attempt, NewSample(position, 0, {}))
        with store.database.write() as session:
            JobRepository(session).record_crash(job_id, attempt, MAX_CRASHES)
    assert status(store, job_id) == "queued"
    for _ in range(MAX_CRASHES - 1):
        assert claim(store, job_id, lease=-1) is not None
        with store.database.write() as session:
            JobRepository(session).requeue_expired_leases(MAX_CRASHES)
    assert status(store, job_id) == "failed"
