"""Where a program begins: `Client`, whose calls wait, and `AsyncClient`, whose calls are awaited."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Self

import httpx

from patina.client.datasets import Datasets
from patina.client.drivers import AsyncDriver, SyncDriver
from patina.client.flow import Async, Bound, Driver, Flavour, Sync
from patina.client.jobs import Jobs
from patina.client.models import Models
from patina.client.webhooks import Webhooks

DEFAULT_URL = "http://127.0.0.1:8000"


class _Client(Bound[Flavour]):
    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.datasets: Datasets[Flavour] = Datasets(driver)
        self.jobs: Jobs[Flavour] = Jobs(driver)
        self.models: Models[Flavour] = Models(driver)
        self.webhooks: Webhooks[Flavour] = Webhooks(driver)


class Client(_Client[Sync]):
    """`url` unset: PATINA_API, or the service on this computer. `token` unset: PATINA_TOKEN, or none."""

    def __init__(self, url: str | None = None, *, token: str | None = None, timeout: float = 120) -> None:
        self._http = httpx.Client(**_settings(url, token, timeout))
        super().__init__(SyncDriver(self._http))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(_Client[Async]):
    """The same as `Client`, awaited: `await client.datasets.create(…)`, `await job.wait()`."""

    def __init__(self, url: str | None = None, *, token: str | None = None, timeout: float = 120) -> None:
        self._http = httpx.AsyncClient(**_settings(url, token, timeout))
        super().__init__(AsyncDriver(self._http))

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _settings(url: str | None, token: str | None, timeout: float) -> dict[str, Any]:
    base_url = httpx.URL((url or os.environ.get("PATINA_API") or DEFAULT_URL).rstrip("/"))
    token = token or os.environ.get("PATINA_TOKEN")
    return {
        "base_url": base_url,
        "timeout": timeout,
        "headers": {"Authorization": f"Bearer {token}"} if token else {},
        # A proxy that the environment names leads away from this computer.
        "trust_env": base_url.host not in ("localhost", "127.0.0.1", "::1"),
    }
