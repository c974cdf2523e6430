"""A worker's lease on a shard. A thread renews it until the shard is done, canceled, lost or the worker shuts down."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from types import TracebackType

import structlog

from config.settings import Settings
from store.errors import LeaseLostError
from store.repositories.jobs import JobRepository
from store.store import Store
from worker.runtime.job_log import WRITE_EVERY_SECONDS

MAX_HEARTBEAT_SECONDS = 0.5  # a cancel is noticed within this time
LOOK_EVERY_SECONDS = 0.9  # for work that should run first; a small job should start within three seconds
KILLED_EXIT_STATUS = 70  # of a worker whose canceled job did not stop

log = structlog.get_logger()


class JobCanceledError(Exception):
    """A user canceled the job."""


class ShardYielded(Exception):
    """Something else should run first. The rest of the shard continues later or on another worker."""


class WorkerShutdown(Exception):
    """The worker received SIGTERM. The job continues later or on another worker."""


class Lease:
    """Inside `with`, a shard of the job belongs to this worker's attempt. The work calls `check` between its steps.

    `may_yield` is called with each renewal. Once it returns True, `is_yielding` does, too: the work should then end
    with what it has begun, because something else should run first.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        job_id: str,
        attempt: int,
        shutdown: threading.Event,
        *,
        may_yield: Callable[[], bool] | None = None,
    ):
        self.store = store
        self.settings = settings
        self.job_id = job_id
        self.attempt = attempt
        self._shutdown = shutdown
        self._may_yield = may_yield
        self._yielding = threading.Event()
        self._look_at = 0.0
        self._canceled = threading.Event()
        self._lost = threading.Event()
        self._released = threading.Event()
        self._context = structlog.contextvars.get_contextvars()
        self._thread = threading.Thread(target=self._heartbeat_loop, name=f"lease-{job_id}", daemon=True)

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        self._thread.join()

    def check(self) -> None:
        """Raises `LeaseLostError`, `JobCanceledError` or `WorkerShutdown` if the work must stop."""
        if self._lost.is_set():
            raise LeaseLostError(self.job_id)
        if self._canceled.is_set():
            raise JobCanceledError(self.job_id)
        if self._shutdown.is_set():
            raise WorkerShutdown(self.job_id)

    def is_yielding(self) -> bool:
        return self._yielding.is_set()

    def _heartbeat_loop(self) -> None:
        structlog.contextvars.bind_contextvars(**self._context)  # a thread starts with an empty context
        pause = min(MAX_HEARTBEAT_SECONDS, self.settings.lease_seconds / 4)
        canceled_at: float | None = None
        recorded_at: float | None = None
        progressed_at = time.monotonic()
        while not self._released.wait(pause):
            try:
                with self.store.database.write() as session:
                    renewal = JobRepository(session).renew(self.job_id, self.attempt, self.settings.lease_seconds)
                time_now = time.monotonic()
                if renewal.progressed_at != recorded_at:
                    recorded_at, progressed_at = renewal.progressed_at, time_now
                self._look_if_due(time_now)
                if renewal.cancel_requested and canceled_at is None:
                    canceled_at = time_now
                    self._canceled.set()
                if canceled_at is not None and time_now - canceled_at > self.settings.cancel_grace_seconds:
                    log.warning("cancel grace period exceeded, killing worker")
                    self._kill_worker("canceled")
                if time_now - progressed_at > self.settings.stall_seconds:
                    log.error("job stalled, killing worker", seconds=round(time_now - progressed_at))
                    self._kill_worker("failed", self._stalled_error())
            except LeaseLostError:
                self._lost.set()
                return
            except Exception as error:  # the database may be back before the lease expires
                log.warning("lease not renewed", error=str(error))
                progressed_at = time.monotonic()  # progress could not be recorded either

    def _look_if_due(self, time_now: float) -> None:
        """Asks whether something else should run first; not with each renewal, because it costs more."""
        if self._may_yield is None or self._yielding.is_set() or time_now < self._look_at:
            return
        self._look_at = time_now + LOOK_EVERY_SECONDS
        if self._may_yield():
            self._yielding.set()

    def _stalled_error(self) -> dict[str, str]:
        return {
            "code": "stalled",
            "message": f"The job made no progress for {self.settings.stall_seconds:g} seconds (PATINA_STALL_SECONDS), "
            "as when a GPU or a disk hangs. Its worker was restarted. Check that computer, then retry the job: what "
            "is finished stays.",
        }

    def _kill_worker(self, status: str, error: dict[str, str] | None = None) -> None:
        """Ends the job and this process, because the work does not stop. The supervisor starts a new worker."""
        with self.store.database.write() as session:
            JobRepository(session).finish(self.job_id, self.attempt, status, error)
        time.sleep(2 * WRITE_EVERY_SECONDS)  # until the job's log is written
        os._exit(KILLED_EXIT_STATUS)
