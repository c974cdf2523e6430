"""The lease: a canceled job that does not stop ends its worker process, not the service."""

from __future__ import annotations

import subprocess
import sys

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


def test_the_worker_of_a_canceled_job_is_killed(store: Store, database_url: str, redis_url: str) -> None:
    """This happens when the job does not stop within the grace period."""
    job = claim_new_job(store)
    with store.database.write() as session:
        JobRepository(session).request_cancel(job.id)
    folder = store.blobs.root.parent
    settings = Settings(
        data_dir=folder, database_url=database_url, redis_url=redis_url, lease_seconds=1, cancel_grace_seconds=0.1
    )
    command = [sys.executable, "-c", WORK_THAT_IGNORES_CANCEL, settings.model_dump_json(), job.id, str(job.attempt)]
    assert subprocess.run(command, check=False, timeout=50).returncode == KILLED_EXIT_STATUS
    with store.database.read() as session:
        assert session.get_one(Job, job.id).status == "canceled"
