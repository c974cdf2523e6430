"""Jobs of kinds that a worker does not know."""

from __future__ import annotations

import pytest

from config.settings import Settings
from store import queue
from store.db.tables import Job
from store.store import Store
from tests.support.store_factories import create_job
from worker import execute
from worker.runtime.context import WorkerContext


def execute_job_of_kind(store: Store, kind: str) -> Job:
    with store.database.write() as session:
        job_id = create_job(session, kind).id
    store.queue.enqueue(job_id, kind)
    execute.execute_job(WorkerContext(store, Settings(data_dir=store.blobs.root.parent)), job_id)
    with store.database.read() as session:
        return session.get_one(Job, job_id)


def test_a_kind_of_a_newer_version_waits_for_a_newer_worker(store: Store) -> None:
    job = execute_job_of_kind(store, "deblur")
    assert (job.status, job.attempt, job.error and job.error["code"]) == ("queued", 0, "worker_too_old")
    assert job.id in store.queue.queued_ids([queue.INFERENCE])


def test_a_kind_without_a_function_fails(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kind has a queue, but `run_job` was forgotten."""
    monkeypatch.setattr("store.repositories.claims.IS_READABLE", Job.kind == "deblur")
    job = execute_job_of_kind(store, "deblur")
    assert (job.status, job.error and job.error["code"]) == ("failed", "internal_error")
    assert "no function for jobs of kind deblur" in (job.error or {})["message"]
