"""Brings back what was lost on the way: `python -m worker.maintenance.reaper`.

Every few seconds, jobs whose worker has died are queued again, and queued jobs that the queue has lost are put back on
it. Now and then, blobs that no record names are deleted, and the keys of old requests and uploads that nobody goes on
with forgotten. Where webhooks are allowed, it also calls them.
"""

from __future__ import annotations

import signal
import threading
import time

import structlog

from config.logging import configure_logging
from config.settings import Settings, settings
from store.db.schema import wait_until_current
from store.files.gc import collect_garbage
from store.repositories.idempotency import RequestRepository
from store.repositories.jobs import JobRepository
from store.repositories.uploads import UploadRepository
from store.repositories.webhooks import Outbox
from store.store import Store
from worker.maintenance.webhook_delivery import deliver_until
from worker.runtime.job_log import Journal
from worker.runtime.transient_errors import is_outage

GARBAGE_EVERY_SECONDS = 300

log = structlog.get_logger()


class Reaper:
    def __init__(self, store: Store, settings: Settings):
        self.store = store
        self.settings = settings
        self._unqueued_before: set[str] = set()
        self._patient_until = 0.0

    def round(self) -> None:
        try:
            if time.monotonic() >= self._patient_until:
                self.requeue_orphans()
            self.enqueue_lost()
        except Exception as error:
            if is_outage(error):  # in which no worker could be heard of: each may still speak up after it
                self._patient_until = time.monotonic() + self.settings.lease_seconds
            raise

    def requeue_orphans(self) -> None:
        """Jobs whose worker was not heard of for longer than its lease."""
        with self.store.database.write() as session:
            reaped = JobRepository(session).reap(self.settings.max_attempts)
        for job_id in reaped:  # now that it is so: the database may be away or full
            log.warning("worker died, job taken back", job=job_id)

    def enqueue_lost(self) -> None:
        """Jobs that are queued by their record, and not on the queue."""
        with self.store.database.read() as session:
            queued = JobRepository(session).queued()
        waiting = self.store.queue.waiting()
        unqueued = {job_id for job_id in queued if job_id not in waiting}
        # Only what was missing in the round before too: a worker may be just about to claim it.
        for job_id in sorted(unqueued & self._unqueued_before):
            log.info("job put on the queue", job=job_id)
            self.store.queue.enqueue(job_id, queued[job_id])
        self._unqueued_before = unqueued

    def expire_results(self) -> None:
        """What jobs made is deleted when they said; its blobs go with the next collection."""
        expired = None
        while expired is None or expired:
            with self.store.database.write() as session:
                expired = JobRepository(session).expire()
            for job_id in expired:
                log.info("results expired", job=job_id)

    def collect_garbage(self) -> None:
        deleted = collect_garbage(self.store.database, self.store.blobs, self.settings.unreferenced_blob_seconds)
        if deleted:
            log.info("unreferenced blobs deleted", blobs=deleted)

    def expire_uploads(self) -> None:
        """Uploads that nobody goes on with, and files whose upload is gone or done."""
        with self.store.database.write() as session:
            for upload_id in UploadRepository(session).expire():
                log.info("upload expired", upload=upload_id)

        def unconcluded() -> set[str]:
            with self.store.database.read() as session:
                return UploadRepository(session).unconcluded()

        self.store.unfinished.sweep(unconcluded)

    def forget_requests(self) -> None:
        """Keys of requests that nobody will repeat any more."""
        with self.store.database.write() as session:
            RequestRepository(session).forget_older(self.settings.idempotency_key_seconds)

    def forget_deliveries(self) -> None:
        """What became of messages to webhooks, when nobody will ask any more."""
        with self.store.database.write() as session:
            Outbox(session).forget_old()


def reap_until(leaving: threading.Event, store: Store, settings: Settings) -> None:
    """Rounds until `leaving` is set. A database or queue that is away is waited for."""
    reaper = Reaper(store, settings)
    # What the reaper before this one had taken aside when it was killed is put back at once: somebody may wait for it.
    store.blobs.sweep_temporary(settings.unreferenced_blob_seconds)
    collected = time.monotonic()
    collect_every = min(GARBAGE_EVERY_SECONDS, settings.unreferenced_blob_seconds)
    while not leaving.wait(settings.reap_every_seconds):
        try:
            reaper.round()
            if time.monotonic() - collected > collect_every:
                reaper.expire_results()
                reaper.expire_uploads()
                reaper.collect_garbage()
                reaper.forget_requests()
                reaper.forget_deliveries()
                collected = time.monotonic()
        except Exception as error:  # the next round may find it mended
            log.warning("round failed", error=f"{type(error).__name__}: {error}")


def main() -> None:
    configure_logging(settings(), "reaper", Journal(settings()))
    store = Store.open(settings())
    wait_until_current(store.database)
    leaving = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: leaving.set())
    log.info("reaper ready")
    if settings().webhooks:  # in a thread of its own: those who are called may take their time
        threading.Thread(target=deliver_until, args=(leaving, store, settings()), daemon=True).start()
    reap_until(leaving, store, settings())
    store.close()


if __name__ == "__main__":
    main()
