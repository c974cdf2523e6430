"""The training job, seen from its worker: a child process does it, this one holds the lease."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import structlog

from store.db.tables import Job
from store.errors import DatabaseError, LeaseLostError
from store.repositories.datasets import DatasetRepository
from store.repositories.jobs import ACTIVE, JobRepository
from store.store import Store
from worker.runtime.context import WorkerContext
from worker.runtime.lease import JobCanceledError, Lease, WorkerLeavingError
from worker.runtime.outcome import JobFailedError, conclude, enqueue
from worker.runtime.transient_errors import NotYetRoomError

LOOK_EVERY_SECONDS = 0.2
BYTES_OF_A_PIXEL = 3  # of a decoded photo
# The C library otherwise gives each large tensor's memory back and asks for it anew, which takes half of a CPU's time.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "MALLOC_TOP_PAD_": str(2**26),
}

log = structlog.get_logger()


def supervise(context: WorkerContext, job: Job, lease: Lease) -> None:
    """Runs the training in a child that records its own end; a child that dies is another's to go on for.

    The child is a process of its own because a GPU's memory is only free for certain when its process is gone; this
    one imports no torch.
    """
    try:
        require_room_for_photos(context.store, job)
    except (JobFailedError, OSError, DatabaseError) as reason:
        conclude(context.store, job.id, job.attempt, partial(_raise, reason))
        return
    command = [sys.executable, "-m", "worker.jobs.train_main", job.id, str(job.attempt), str(os.getpid())]
    child = subprocess.Popen(command, env={**KEEP_MEMORY, **os.environ})
    try:
        while child.poll() is None:
            lease.check()
            try:
                child.wait(LOOK_EVERY_SECONDS)
            except subprocess.TimeoutExpired:
                continue
    except (JobCanceledError, WorkerLeavingError, LeaseLostError) as stop:
        _end(child, context.settings.cancel_grace_seconds / 2)
        if child.returncode == 0 or _has_ended(context, job):  # it was seen by the lease before the child was gone
            return
        conclude(context.store, job.id, job.attempt, partial(_raise, stop))
        return
    finally:
        child.kill()  # on whatever else comes between
    if child.returncode != 0:
        log.warning("training process died", exit_status=child.returncode)
        _bury(context, job)


def require_room_for_photos(store: Store, job: Job) -> None:
    """Raises `NotYetRoomError` where the disk lacks the room that the decoded photos take, to be trained on.

    And `JobFailedError` where it would not have it even if it were empty. Begun, the training would fill the disk, and
    everybody's uploads and jobs would find it full.
    """
    if job.model_id or job.dataset_id is None:  # an attempt before this one has trained
        return
    with store.database.read() as session:
        needed = BYTES_OF_A_PIXEL * DatasetRepository(session).count_pixels(job.dataset_id)
    if needed <= store.room.left_on_disk():
        return
    store.blobs.sweep_scratch()  # an attempt before this one, that was killed, has left its own there
    left = store.room.left_on_disk()
    if needed <= left:
        return
    code = "photos_too_large"
    needs = f"Decoded, as they are trained on, the dataset's photos take {_gib(needed)} of the service's disk"
    if needed > (most := store.room.ever_on_disk()):
        raise JobFailedError(
            code,
            f"{needs}, and that has no more than {_gib(most)} even where nothing else is on it. Train on a dataset of "
            "fewer or smaller photos, or give the service a larger disk and retry the job.",
        )
    raise NotYetRoomError(code, f"{needs}, and {_gib(left)} are left. The training begins when there is room.")


def _gib(size: int) -> str:
    return f"{max(size, 0) / 2**30:,.1f} GiB"


def _end(child: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """Asks it to save a checkpoint and leave; then makes it leave."""
    child.terminate()
    try:
        child.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _has_ended(context: WorkerContext, job: Job) -> bool:
    """Whether this attempt at it has recorded an end."""
    try:
        with context.store.database.read() as session:
            found = JobRepository(session).get(job.id)
    except DatabaseError as error:
        log.warning("end not looked up", error=str(error))
        return False
    return found is not None and found.attempt == job.attempt and found.status not in ACTIVE


def _raise(error: Exception) -> None:
    raise error


def _bury(context: WorkerContext, job: Job) -> None:
    try:
        with context.store.database.write() as session:
            JobRepository(session).bury(job.id, job.attempt, context.settings.max_attempts)
    except LeaseLostError:
        log.info("job is no longer ours")
    else:
        enqueue(context.store, job.id, job.kind)
