"""The application in uvicorn."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress

import uvicorn
from fastapi import FastAPI

from app.main import create_app
from config.logging import configure_logging
from config.settings import settings
from store.bootstrap import InsecureConfig, open_database
from store.db.migrate import NewerSchemaError

MISCONFIGURED = 78  # EX_CONFIG of sysexits.h: starting again would not help


class Server(uvicorn.Server):
    """Lets those go who wait for news of jobs, before it waits for all connections to end."""

    def __init__(self, config: uvicorn.Config, app: FastAPI):
        super().__init__(config)
        self.application = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.application.state.watcher.close()
        await super().shutdown(sockets)


def serve() -> None:
    """Runs the API until it is told to stop; ends the process with a status that says whether it could start."""
    configure_logging(settings(), "api")
    try:
        open_database(settings())
    except (InsecureConfig, NewerSchemaError) as error:
        print(f"patina: {error}", file=sys.stderr)
        sys.exit(MISCONFIGURED)
    app = create_app(settings())
    config = uvicorn.Config(
        app,
        host=settings().host,
        port=settings().port,
        log_config=None,  # our own form, set above
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,  # a client that hangs on a stream must not keep the service from leaving
    )
    server = Server(config, app)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        raise SystemExit(3)  # as uvicorn.run has it
