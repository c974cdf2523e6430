"""Brings back what was lost on the way: `python -m worker.reaper`.

Every few seconds, jobs whose worker has died are queued again, and queued jobs that the queue has lost are put back on
it. Now and then, blobs that no record names are deleted.
"""

from __future__ import annotations

import signal
import threading
import time

import structlog

from config.logging import configure_logging
from config.settings import Settings, settings
from store.jobs import JobRepository
from store.references import collect_garbage
from store.store import Store

GARBAGE_EVERY_SECONDS = 300

log = structlog.get_logger()


class Reaper:
    def __init__(self, store: Store, settings: Settings):
        self.store = store
        self.settings = settings
        self._unqueued_before: set[str] = set()

    def round(self) -> None:
        self.requeue_orphans()
        self.enqueue_lost()

    def requeue_orphans(self) -> None:
        """Jobs whose worker was not heard of for longer than its lease."""
        with self.store.database.write() as session:
            for job_id in JobRepository(session).reap(self.settings.max_attempts):
                log.warning("worker died, job taken back", job=job_id)

    def enqueue_lost(self) -> None:
        """Jobs that are queued by their record, and not on the queue."""
        with self.store.database.read() as session:
            queued = {job.id: job.kind for job in JobRepository(session).queued()}
        waiting = self.store.queue.waiting()
        unqueued = {job_id for job_id in queued if job_id not in waiting}
        # Only what was missing in the round before too: a worker may be just about to claim it.
        for job_id in sorted(unqueued & self._unqueued_before):
            log.info("job put on the queue", job=job_id)
            self.store.queue.enqueue(job_id, queued[job_id])
        self._unqueued_before = unqueued

    def collect_garbage(self) -> None:
        deleted = collect_garbage(self.store.database, self.store.blobs, self.settings.unreferenced_blob_seconds)
        if deleted:
            log.info("unreferenced blobs deleted", blobs=deleted)


def reap_until(leaving: threading.Event, store: Store, settings: Settings) -> None:
    """Rounds until `leaving` is set. A database or queue that is away is waited for."""
    reaper = Reaper(store, settings)
    collected = time.monotonic()
    while not leaving.wait(settings.reap_every_seconds):
        try:
            reaper.round()
            if time.monotonic() - collected > GARBAGE_EVERY_SECONDS:
                reaper.collect_garbage()
                collected = time.monotonic()
        except Exception as error:  # the next round may find it mended
            log.warning("round failed", error=f"{type(error).__name__}: {error}")


def main() -> None:
    configure_logging(settings(), "reaper")
    leaving = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: leaving.set())
    store = Store.open(settings())
    log.info("reaper ready")
    reap_until(leaving, store, settings())
    store.close()


if __name__ == "__main__":
    main()
