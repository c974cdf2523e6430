"""Schedules the maintenance duties. A failed duty is logged and tried again in the next cycle."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from config.settings import Settings
from store.store import Store
from worker.maintenance.check_photos import CheckPhotos
from worker.maintenance.collect_garbage import CollectGarbage
from worker.maintenance.deliver_webhooks import DeliverWebhooks
from worker.maintenance.duty import Duty
from worker.maintenance.expire_results import ExpireResults
from worker.maintenance.expire_uploads import ExpireUploads
from worker.maintenance.measure_storage import MeasureStorage
from worker.maintenance.purge_deliveries import PurgeDeliveries
from worker.maintenance.purge_idempotency_keys import PurgeIdempotencyKeys
from worker.maintenance.reenqueue_missing_jobs import ReenqueueMissingJobs
from worker.maintenance.requeue_stalled_jobs import RequeueStalledJobs

CLEANUP_SECONDS = 300

log = structlog.get_logger()


@dataclass
class ScheduledDuty:
    """A duty, and the minimum time in seconds between two runs. At 0 it runs in every cycle."""

    duty: Duty
    interval: float
    last_run: float

    def run_if_due(self) -> None:
        if time.monotonic() - self.last_run < self.interval:
            return
        try:
            self.duty.run()
        except Exception as error:
            log.warning("cycle failed", duty=type(self.duty).__name__, error=f"{type(error).__name__}: {error}")
        else:
            self.last_run = time.monotonic()


def schedule_duties(store: Store, settings: Settings) -> list[ScheduledDuty]:
    """Lists the duties in the order of a cycle. A duty with an interval first runs when the interval is over."""
    cleanup = min(CLEANUP_SECONDS, settings.unreferenced_blob_seconds)
    started = time.monotonic()
    return [
        ScheduledDuty(RequeueStalledJobs(store, settings), 0, started),
        ScheduledDuty(ReenqueueMissingJobs(store, settings), 0, started),
        ScheduledDuty(ExpireResults(store, settings), cleanup, started),
        ScheduledDuty(ExpireUploads(store, settings), cleanup, started),
        ScheduledDuty(CollectGarbage(store, settings), cleanup, started),  # after those that make garbage
        ScheduledDuty(PurgeIdempotencyKeys(store, settings), cleanup, started),
        ScheduledDuty(PurgeDeliveries(store, settings), cleanup, started),
    ]


def run_loop(shutdown: threading.Event, duties: Sequence[ScheduledDuty], pause_seconds: float) -> None:
    """Runs all due duties every `pause_seconds` until `shutdown` is set."""
    while not shutdown.wait(pause_seconds):
        for scheduled in duties:
            if shutdown.is_set():  # a duty may wait half a minute for a locked database
                return
            scheduled.run_if_due()


def run_reaper(shutdown: threading.Event, store: Store, settings: Settings) -> None:
    """Runs all duties until `shutdown` is set. Those that may take long have threads of their own."""
    # Restore blobs that a killed reaper had set aside for deletion: a job may be waiting for one.
    store.blobs.remove_stale_temporary(settings.unreferenced_blob_seconds)
    pause = settings.reap_every_seconds
    slow: list[Duty] = [CheckPhotos(store, settings), MeasureStorage(store, settings)]
    if settings.webhooks:
        slow.append(DeliverWebhooks(store, settings))
    for duty in slow:
        scheduled = [ScheduledDuty(duty, 0, time.monotonic())]
        threading.Thread(
            target=run_loop, args=(shutdown, scheduled, pause), name=type(duty).__name__, daemon=True
        ).start()
    run_loop(shutdown, schedule_duties(store, settings), pause)
