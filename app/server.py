"""Runs the application in uvicorn."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress

import uvicorn
from fastapi import FastAPI

from app.main import create_app
from config.logging import configure_logging
from config.settings import settings
from store.bootstrap import InsecureConfig, prepare_database
from store.data_folder import MISCONFIGURED, require_writable
from store.db.migrate import NewerSchemaError
from store.deployment import WrongDataFolderError


class Server(uvicorn.Server):
    """Releases requests that wait for job changes before it waits for connections to close."""

    def __init__(self, config: uvicorn.Config, app: FastAPI):
        super().__init__(config)
        self.application = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.application.state.watcher.close()
        await super().shutdown(sockets)


def serve() -> None:
    """Runs the API until it is stopped. Exits with a nonzero status if it cannot start."""
    configure_logging(settings(), "api")
    require_writable(settings().data_dir)
    try:
        prepare_database(settings())
    except (InsecureConfig, NewerSchemaError, WrongDataFolderError) as error:
        print(f"patina: {error}", file=sys.stderr)
        sys.exit(MISCONFIGURED)
    app = create_app(settings())
    config = uvicorn.Config(
        app,
        host=settings().host,
        port=settings().port,
        log_config=None,  # configured above
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,  # an open stream must not block the shutdown
    )
    server = Server(config, app)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        raise SystemExit(3)  # as in uvicorn.run
