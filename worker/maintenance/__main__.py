"""Runs the maintenance process, called the reaper: `python -m worker.maintenance`."""

from __future__ import annotations

import signal
import threading

import structlog

from config.logging import configure_logging
from config.settings import settings
from store.data_folder import require_writable
from store.db.schema import wait_until_current
from store.deployment import require_own_storage
from store.store import Store
from worker.maintenance.reaper import run_reaper
from worker.runtime.job_log import JobLogHandler

log = structlog.get_logger()


def main() -> None:
    configure_logging(settings(), "reaper", JobLogHandler(settings()))
    require_writable(settings().data_dir)
    store = Store.open(settings())
    wait_until_current(store.database)
    require_own_storage(store.blobs, store.database)
    shutdown = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: shutdown.set())
    log.info("reaper ready")
    run_reaper(shutdown, store, settings())
    store.close()


if __name__ == "__main__":
    main()
