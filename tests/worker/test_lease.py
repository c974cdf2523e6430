"""The lease: a canceled job that does not stop ends its worker process, not the service."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from config.settings import Settings
from store.db.tables import Job
from store.repositories.jobs import JobRepository
from store.store import Store
from tests.support.store_factories import claim_new_job
from worker.runtime.lease import KILLED_EXIT_STATUS

WORK_THAT_IGNORES_CANCEL = """
import sys, threading, time
from config.settings import Settings
from store.store import Store
from worker.runtime.lease import Lease

settings = Settings.model_validate_json(sys.argv[1])
with Lease(Store.open(settings), settings, sys.argv[2], int(sys.argv[3]), threading.Event()):
    time.sleep(60)
"""


def run_work_that_never_ends(store: Store, job: Job, **settings: Any) -> int:
    """Returns the exit status of the worker process that holds the job's lease."""
    complete = Settings(data_dir=store.blobs.root.parent, lease_seconds=1, **settings)
    command = [sys.executable, "-c", WORK_THAT_IGNORES_CANCEL, complete.model_dump_json(), job.id, str(job.attempt)]
    return subprocess.run(command, check=False, timeout=50).returncode


def test_the_worker_of_a_canceled_job_is_killed(store: Store, database_url: str, redis_url: str) -> None:
    """This happens when the job does not stop within the grace period."""
    job = claim_new_job(store)
    with store.database.write() as session:
        JobRepository(session).request_cancel(job.id)
    urls = {"database_url": database_url, "redis_url": redis_url}
    assert run_work_that_never_ends(store, job, **urls, cancel_grace_seconds=0.1) == KILLED_EXIT_STATUS
    with store.database.read() as session:
        assert session.get_one(Job, job.id).status == "canceled"


def test_a_job_without_progress_fails(store: Store, database_url: str, redis_url: str) -> None:
    """The lease is renewed all the time: a hung GPU call blocks the work and not the thread of the lease."""
    job = claim_new_job(store)
    urls = {"database_url": database_url, "redis_url": redis_url}
    assert run_work_that_never_ends(store, job, **urls, stall_seconds=0.8) == KILLED_EXIT_STATUS
    with store.database.read() as session:
        stalled = session.get_one(Job, job.id)
        assert (stalled.status, stalled.error and stalled.error["code"]) == ("failed", "stalled")
