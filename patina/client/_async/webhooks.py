"""Webhooks: URLs that the service calls when a job ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from patina.client._async.resources import AsyncRecord, AsyncResource
from patina.client.http import drop_none
from patina.schemas import Delivery


class AsyncWebhook(AsyncRecord):
    """A webhook. Its counts are those of the last request."""

    id: str
    url: str
    events: list[str]
    waiting: int  # messages still to be sent
    delivered: int
    given_up: int
    created: datetime
    secret: str | None = None  # signs the messages; only `create` returns it

    async def deliveries(self, limit: int | None = None) -> list[Delivery]:
        """Lists the deliveries of its messages, newest first."""
        return await self._connection.list_all(Delivery, f"/webhooks/{self.id}/deliveries", limit)

    async def delete(self) -> None:
        """Deletes it. Messages still to be sent are dropped."""
        await self._connection.request("DELETE", f"/webhooks/{self.id}")


class AsyncWebhooks(AsyncResource):
    async def create(self, url: str, events: Sequence[str] | None = None) -> AsyncWebhook:
        """Creates a webhook. Only this call returns its `secret`.

        `events` are any of job.succeeded, job.failed and job.canceled; all by default.
        """
        payload = drop_none({"url": url, "events": list(events) if events else None})
        response = await self._connection.request("POST", "/webhooks", json=payload)
        return AsyncWebhook.from_response(response, self._connection)

    async def list(self, limit: int | None = None) -> list[AsyncWebhook]:
        """Lists webhooks, newest first."""
        return await self._list(AsyncWebhook, "/webhooks", limit)
