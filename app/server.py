"""Runs the application in uvicorn."""

from __future__ import annotations

import signal
import socket
import sys
import time
from contextlib import suppress
from types import FrameType

import uvicorn
from fastapi import FastAPI

from app.main import create_app
from config.logging import configure_logging
from config.settings import OPEN_REQUEST_SECONDS, settings
from config.tracing import MissingTracesError, configure_tracing
from store.bootstrap import InsecureConfig, prepare_database
from store.data_folder import MISCONFIGURED, require_writable
from store.db.migrate import NewerSchemaError
from store.deployment import WrongStorageError
from store.errors import StorageUnavailable


class Server(uvicorn.Server):
    """Drains on SIGTERM: keeps answering for `drain_seconds`, while `GET /ready` returns 503.

    Then it releases requests that wait for job changes, and waits for connections to close. A second signal, or Ctrl-C,
    ends the draining at once.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, drain_seconds: float):
        super().__init__(config)
        self.application = app
        self._drain_seconds = drain_seconds
        self._drained_at: float | None = None  # monotonic time

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig != signal.SIGTERM or self._drain_seconds == 0 or self._drained_at is not None:
            super().handle_exit(sig, frame)
            return
        self._drained_at = time.monotonic() + self._drain_seconds
        self.application.state.draining = True

    async def on_tick(self, counter: int) -> bool:
        if self._drained_at is not None and time.monotonic() >= self._drained_at and not self.should_exit:
            super().handle_exit(signal.SIGTERM, None)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.application.state.watcher.close()
        self.application.state.job_loaders.close()
        await super().shutdown(sockets)


def serve() -> None:
    """Runs the API until it is stopped. Exits with a nonzero status if it cannot start."""
    configure_logging(settings(), "api")
    require_writable(settings().data_dir)
    try:
        configure_tracing(settings(), "api")
        prepare_database(settings())
    except (MissingTracesError, InsecureConfig, NewerSchemaError, WrongStorageError) as error:
        print(f"patina: {error}", file=sys.stderr)
        sys.exit(MISCONFIGURED)
    except StorageUnavailable as error:  # a restart may help
        print(f"patina: the bucket of PATINA_BLOBS_URL does not answer or refuses access: {error}", file=sys.stderr)
        sys.exit(1)
    app = create_app(settings())
    config = uvicorn.Config(
        app,
        host=settings().host,
        port=settings().port,
        log_config=None,  # configured above
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=OPEN_REQUEST_SECONDS,  # an open stream must not block the shutdown
    )
    server = Server(config, app, settings().drain_seconds)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        raise SystemExit(3)  # as in uvicorn.run
