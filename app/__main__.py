"""The API process: `python -m app`."""

from __future__ import annotations

import uvicorn

from app.main import create_app
from config.logging import configure_logging
from config.settings import settings

if __name__ == "__main__":
    configure_logging(settings(), "api")
    uvicorn.run(
        create_app(settings()),
        host=settings().host,
        port=settings().port,
        log_config=None,  # our own form, set above
        access_log=False,
        timeout_graceful_shutdown=5,  # a client that hangs on a stream must not keep the service from leaving
    )
