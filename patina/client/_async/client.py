"""`AsyncClient`, the entry point."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import httpx

from patina.client._async.connection import AsyncConnection
from patina.client._async.datasets import AsyncDatasets
from patina.client._async.jobs import AsyncJobs
from patina.client._async.models import AsyncModels
from patina.client._async.webhooks import AsyncWebhooks
from patina.client.http import http_settings


class AsyncClient:
    """A client of one service.

    `url` defaults to PATINA_API, then to the service on this computer. `token` defaults to PATINA_TOKEN, then to none.
    `timeout` is in seconds.
    """

    def __init__(self, url: str | None = None, *, token: str | None = None, timeout: float = 120) -> None:
        self._http = httpx.AsyncClient(**http_settings(url, token, timeout))
        connection = AsyncConnection(self._http)
        self.datasets = AsyncDatasets(connection)
        self.jobs = AsyncJobs(connection)
        self.models = AsyncModels(connection)
        self.webhooks = AsyncWebhooks(connection)

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
