"""Sends requests to one service: retries, paged lists, downloads and event streams."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel

from patina.archive import write_atomically
from patina.client import http
from patina.client._async.concurrency import consume_chunks, sleep
from patina.client.http import PAGE_SIZE, drop_none, map_errors, raise_for_problem
from patina.client.sse import EventDecoder, ServerSentEvent
from patina.errors import ServiceUnavailableError

RECONNECT_DELAY = 1.0  # seconds before an event stream is opened again
PATIENCE_SECONDS = 60.0  # for a service that restarts

Schema = TypeVar("Schema", bound=BaseModel)
Result = TypeVar("Result")


class AsyncConnection:
    """Every method raises `ServiceError` if the service refuses, `ServiceUnavailableError` if it cannot be reached."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._http = client

    def to_path(self, link: str) -> str:
        """Returns the path, below the service's URL, of a link in a response. Links start at the root of the host."""
        base = self._http.base_url.path.rstrip("/")
        return link.removeprefix(base) if link.startswith(f"{base}/") else link

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Sends one request. `options` are those of `httpx.Client.request`."""
        with map_errors(self._http.base_url):
            return raise_for_problem(await self._http.request(method, path, **options))

    async def request_with_retries(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Sends an idempotent request, again if the service is unavailable."""
        for delay in http.RETRY_DELAYS:
            try:
                return await self.request(method, path, **options)
            except ServiceUnavailableError:
                await sleep(delay)
        return await self.request(method, path, **options)

    async def post_once(self, path: str, build_request: Callable[[], dict[str, Any]]) -> httpx.Response:
        """Sends a POST that creates something once, even if it has to be retried.

        `build_request` returns the options of each attempt. A service that no attempt reached is reported at once.
        """
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        request_sent = False
        for delay in http.RETRY_DELAYS:
            try:
                return await self.request("POST", path, headers=headers, **build_request())
            except ServiceUnavailableError as error:
                request_sent = request_sent or error.request_sent
                if not request_sent:
                    raise
            await sleep(delay)
        return await self.request("POST", path, headers=headers, **build_request())

    async def list_all(
        self, schema: type[Schema], path: str, limit: int | None, *, page_size: int = PAGE_SIZE, **filters: Any
    ) -> list[Schema]:
        """Returns the items of all pages, or the first `limit`."""
        items: list[Schema] = []
        cursor: str | None = None
        while limit is None or len(items) < limit:
            size = page_size if limit is None else min(page_size, limit - len(items))
            params = drop_none({**filters, "limit": size, "cursor": cursor})
            page = (await self.request("GET", path, params=params)).json()
            items += [schema.model_validate(item) for item in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        return items

    @asynccontextmanager
    async def stream(self, path: str, **options: Any) -> AsyncIterator[httpx.Response]:
        """Opens a response whose body is read while it arrives."""
        with map_errors(self._http.base_url):
            async with self._http.stream("GET", path, **options) as response:
                if not response.is_success:
                    await response.aread()
                yield raise_for_problem(response)

    async def consume(self, path: str, consumer: Callable[[Iterator[bytes]], Result], **options: Any) -> Result:
        """Runs a blocking consumer on the body's chunks while they arrive."""
        async with self.stream(path, **options) as response:
            return await consume_chunks(response.aiter_bytes(), consumer)

    async def download(self, path: str, target: Path, **options: Any) -> httpx.Headers:
        """Writes the body to a file, which appears when it is complete. Returns the response's headers."""
        async with self.stream(path, **options) as response:
            await consume_chunks(response.aiter_bytes(), partial(write_atomically, target=target))
            return response.headers

    async def follow_events(self, path: str) -> AsyncGenerator[ServerSentEvent]:
        """Yields server-sent events until the event `end`. Reconnects where the connection broke.

        Raises `ServiceUnavailableError` if the service is unavailable for PATIENCE_SECONDS.
        """
        last_id: str | None = None
        last_received = time.monotonic()
        while True:
            decoder = EventDecoder(last_id)
            try:
                async with self.stream(path, headers={"Last-Event-ID": last_id} if last_id else {}) as response:
                    async for chunk in response.aiter_bytes():
                        last_received = time.monotonic()
                        for event in decoder.decode(chunk):
                            if event.kind == "end":
                                return
                            yield event
            except ServiceUnavailableError:
                if time.monotonic() - last_received > PATIENCE_SECONDS:
                    raise
            last_id = decoder.last_id
            await sleep(RECONNECT_DELAY)
