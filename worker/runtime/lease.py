"""A worker's hold on a job: kept alive by a thread, given up on cancel, on leaving, or when it was lost."""

from __future__ import annotations

import os
import threading
import time
from types import TracebackType

import structlog

from config.settings import Settings
from store.errors import LeaseLostError
from store.repositories.jobs import JobRepository
from store.store import Store
from worker.runtime.job_log import WRITE_EVERY_SECONDS

LONGEST_PAUSE_SECONDS = 0.5  # between two looks at whether the job shall be canceled
ENFORCED_EXIT = 70  # exit status of a worker that a canceled job would not let go

log = structlog.get_logger()


class JobCanceledError(Exception):
    """Somebody asked for the job to stop."""


class WorkerLeavingError(Exception):
    """The worker was told to leave (SIGTERM); the job goes on elsewhere or later."""


class Lease:
    """Inside `with`, the job is this worker's attempt. The work calls `check` between its steps."""

    def __init__(self, store: Store, settings: Settings, job_id: str, attempt: int, leaving: threading.Event):
        self.store = store
        self.settings = settings
        self.job_id = job_id
        self.attempt = attempt
        self._leaving = leaving
        self._canceled = threading.Event()
        self._lost = threading.Event()
        self._released = threading.Event()
        self._context = structlog.contextvars.get_contextvars()
        self._thread = threading.Thread(target=self._keep, name=f"lease-{job_id}", daemon=True)

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        self._thread.join()

    def check(self) -> None:
        """Raises `LeaseLostError`, `JobCanceledError` or `WorkerLeavingError` when the work shall stop."""
        if self._lost.is_set():
            raise LeaseLostError(self.job_id)
        if self._canceled.is_set():
            raise JobCanceledError(self.job_id)
        if self._leaving.is_set():
            raise WorkerLeavingError(self.job_id)

    def _keep(self) -> None:
        structlog.contextvars.bind_contextvars(**self._context)  # a thread starts with an empty context
        pause = min(LONGEST_PAUSE_SECONDS, self.settings.lease_seconds / 4)
        canceled_at: float | None = None
        while not self._released.wait(pause):
            try:
                with self.store.database.write() as session:
                    cancel = JobRepository(session).renew(self.job_id, self.attempt, self.settings.lease_seconds)
                if cancel and canceled_at is None:
                    canceled_at = time.monotonic()
                    self._canceled.set()
                if canceled_at is not None and time.monotonic() - canceled_at > self.settings.cancel_grace_seconds:
                    self._enforce_cancel()
            except LeaseLostError:
                self._lost.set()
                return
            except Exception as error:  # the database may come back before the lease runs out
                log.warning("lease not renewed", error=str(error))

    def _enforce_cancel(self) -> None:
        """The work has not stopped by itself; its process ends, and the supervisor starts another."""
        log.warning("canceled job does not stop, ending the worker")
        with self.store.database.write() as session:
            JobRepository(session).finish(self.job_id, self.attempt, "canceled")
        time.sleep(2 * WRITE_EVERY_SECONDS)  # until the job's journal has it, too
        os._exit(ENFORCED_EXIT)
