# Generated from patina/client/_async/client.py by scripts/unasync.py; do not edit.
"""`Client`, the entry point."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import httpx

from patina.client._sync.connection import Connection
from patina.client._sync.datasets import Datasets
from patina.client._sync.jobs import Jobs
from patina.client._sync.models import Models
from patina.client._sync.webhooks import Webhooks
from patina.client.http import http_settings


class Client:
    """A client of one service.

    `url` defaults to PATINA_API, then to the service on this computer. `token` defaults to PATINA_TOKEN, then to none.
    `timeout` is in seconds.
    """

    def __init__(self, url: str | None = None, *, token: str | None = None, timeout: float = 120) -> None:
        self._http = httpx.Client(**http_settings(url, token, timeout))
        connection = Connection(self._http)
        self.datasets = Datasets(connection)
        self.jobs = Jobs(connection)
        self.models = Models(connection)
        self.webhooks = Webhooks(connection)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
