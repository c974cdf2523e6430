"""The training job, as its worker sees it: a child process trains while this process holds the lease."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import structlog

from config.gpus import list_gpus
from config.settings import Settings
from store.db.tables import Job
from store.errors import DatabaseError, LeaseLostError
from store.repositories.datasets import DatasetRepository
from store.repositories.jobs import ACTIVE, JobRepository
from store.store import Store
from worker.runtime.context import WorkerContext
from worker.runtime.lease import JobCanceledError, Lease, WorkerShutdown
from worker.runtime.outcome import JobFailedError, enqueue, record_outcome
from worker.runtime.transient_errors import InsufficientDisk

CHECK_EVERY_SECONDS = 0.2
BYTES_PER_PIXEL = 3  # of a decoded photo
# By default the C library returns each large tensor's memory and requests it again, which takes half of a CPU's time.
MALLOC_ENV = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "MALLOC_TOP_PAD_": str(2**26),
}

log = structlog.get_logger()


def run_training_process(context: WorkerContext, job: Job, lease: Lease) -> None:
    """Trains in a child process, which records its own outcome. If the child crashes, the job is requeued.

    Only the end of a process frees all of its GPU memory, so each training gets its own process. This one imports no
    torch.
    """
    try:
        check_disk_space_for_photos(context.store, job)
    except (JobFailedError, OSError, DatabaseError) as error:
        record_outcome(context.store, job.id, job.attempt, error)
        return
    command = [sys.executable, "-m", "worker.jobs.train_main", job.id, str(job.attempt), str(os.getpid())]
    if (processes := count_processes(context.settings, list_gpus())) > 1:
        command += ["--processes", str(processes)]
    child = subprocess.Popen(command, env={**MALLOC_ENV, **os.environ})
    try:
        while child.poll() is None:
            lease.check()
            try:
                child.wait(CHECK_EVERY_SECONDS)
            except subprocess.TimeoutExpired:
                continue
    except (JobCanceledError, WorkerShutdown, LeaseLostError) as error:
        shutdown = isinstance(error, WorkerShutdown)
        grace = context.settings.shutdown_grace_seconds if shutdown else context.settings.cancel_grace_seconds / 2
        _terminate(child, grace)
        if child.returncode != 0 and not _has_ended(context, job):  # else the lease saw the end before the child exited
            record_outcome(context.store, job.id, job.attempt, error)
        return
    finally:
        child.kill()  # on any other error
    if child.returncode != 0:
        log.warning("training process died", exit_status=child.returncode)
        _record_crash(context, job)


def count_processes(settings: Settings, gpus: Sequence[str]) -> int:
    """Returns how many processes share a training on a computer with these GPUs."""
    if settings.device == "cpu":
        return settings.train_processes
    if settings.device not in (None, "cuda"):  # one device, such as cuda:1
        return 1
    return max(1, min(settings.train_processes, len(gpus)))


def check_disk_space_for_photos(store: Store, job: Job) -> None:
    """Checks that the decoded photos fit on the disk; a full disk would stop everybody's uploads and jobs.

    Raises `InsufficientDisk` if they do not fit now, `JobFailedError` if they would not fit on the empty disk.
    """
    if job.model_id or job.dataset_id is None:  # an earlier attempt has trained the model
        return
    with store.database.read() as session:
        needed = BYTES_PER_PIXEL * DatasetRepository(session).count_pixels(job.dataset_id)
    if needed <= store.quota.available_on_disk():
        return
    store.blobs.remove_stale_scratch()  # a killed attempt may have left its decoded photos
    available = store.quota.available_on_disk()
    if needed <= available:
        return
    code = "photos_too_large"
    needs = f"The dataset's photos need {_format_gib(needed)} of disk space when decoded"
    if needed > (capacity := store.quota.capacity()):
        raise JobFailedError(
            code,
            f"{needs}; the whole disk offers {_format_gib(capacity)}. Train on a dataset of fewer or smaller photos, "
            "or give the service a larger disk and retry the job.",
        )
    raise InsufficientDisk(code, f"{needs}; {_format_gib(available)} are free. Free space; the training then starts.")


def _format_gib(size: int) -> str:
    return f"{max(size, 0) / 2**30:,.1f} GiB"


def _terminate(child: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """Lets the child save a checkpoint and exit; kills it after the grace period."""
    child.terminate()
    try:
        child.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _has_ended(context: WorkerContext, job: Job) -> bool:
    """Returns whether this attempt has recorded an outcome."""
    try:
        with context.store.database.read() as session:
            found = JobRepository(session).get(job.id)
    except DatabaseError as error:
        log.warning("could not read job outcome", error=str(error))
        return False
    return found is not None and found.attempt == job.attempt and found.status not in ACTIVE


def _record_crash(context: WorkerContext, job: Job) -> None:
    try:
        with context.store.database.write() as session:
            JobRepository(session).record_crash(job.id, job.attempt, context.settings.max_attempts)
    except LeaseLostError:
        log.info("lease lost")
    else:
        enqueue(context.store, job.id, job.kind)
