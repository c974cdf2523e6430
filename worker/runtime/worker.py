"""The worker process: it takes shards of jobs from a queue and runs them. Loaded models stay loaded between jobs."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from functools import partial

import structlog

from config.settings import Settings
from store.db.schema import wait_until_current
from store.deployment import require_own_storage
from store.errors import DatabaseError, QueueUnavailable
from store.queue import HEARTBEAT_TIMEOUT, TRAIN
from store.store import Store
from worker.runtime.context import WorkerContext
from worker.runtime.gpu import read_gpus

NICE = 5  # jobs take hours, so the API and other programs on this computer go first

log = structlog.get_logger()


def run_worker(settings: Settings, queue: str, execute: Callable[[WorkerContext, str], None]) -> None:
    """Calls `execute` for each entry of one queue until SIGTERM or SIGINT. What runs is then requeued."""
    if queue != TRAIN:
        # Before the first job comes, so that it starts at once. The train worker never imports torch.
        from worker.runtime.model_cache import configure_torch  # noqa: PLC0415

        configure_torch(settings)
    context = WorkerContext(Store.open(settings), settings, queue)
    if queue != TRAIN:
        context.store.decoders.prestart()
    wait_until_current(context.store.database)
    require_own_storage(context.store.blobs, context.store.database)
    os.nice(NICE)
    stop_heartbeat = _start_heartbeat(context.store, queue, context.name)
    stop_cleaning = _start_cleaning(context.store)
    log.info("worker ready", queue=queue, worker=context.name)
    context.store.queue.consume(queue, partial(execute, context), context.shutdown)
    stop_cleaning()
    stop_heartbeat()
    context.store.close()


def _start_heartbeat(store: Store, name: str, worker: str) -> Callable[[], None]:
    """Sends this worker's heartbeat and metrics from a thread. Returns a function that stops it."""
    queue = store.queue
    heartbeat = queue.heartbeat(name, worker)

    def beat() -> None:
        try:
            heartbeat.ping()
            if gpus := read_gpus():
                queue.report_gpus(socket.gethostname(), gpus)
            if crashes := store.decoders.crashes:
                queue.report_decoder_crashes(worker, crashes)
        except QueueUnavailable as error:
            log.warning("queue unavailable", error=str(error))

    stop_beating = _repeat(beat, HEARTBEAT_TIMEOUT / 4, "heartbeat")

    def stop() -> None:
        stop_beating()
        heartbeat.close()

    return stop


def _start_cleaning(store: Store) -> Callable[[], None]:
    """Removes what killed processes left here, where no reaper may run, every now and then. Returns what stops it."""

    def clean() -> None:
        try:
            store.blobs.remove_stale_scratch()
        except (DatabaseError, OSError) as error:
            log.warning("scratch folders not cleaned", error=str(error))

    return _repeat(clean, store.leases.process_seconds, "cleaning")


def _repeat(work: Callable[[], None], seconds: float, name: str) -> Callable[[], None]:
    """Calls `work` now and at an interval in seconds in a thread. Returns a function that stops it."""
    stopped = threading.Event()

    def run() -> None:
        while not stopped.is_set():
            work()
            stopped.wait(seconds)

    def stop() -> None:
        stopped.set()
        thread.join()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return stop
