# Generated from patina/client/_async/webhooks.py by scripts/unasync.py; do not edit.
"""Webhooks: URLs that the service calls when a job ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from patina.client._sync.resources import Record, Resource
from patina.client.http import drop_none
from patina.schemas import Delivery


class Webhook(Record):
    """A webhook. Its counts are those of the last request."""

    id: str
    url: str
    events: list[str]
    waiting: int  # messages still to be sent
    delivered: int
    given_up: int
    created: datetime
    secret: str | None = None  # signs the messages; only `create` returns it

    def deliveries(self, limit: int | None = None) -> list[Delivery]:
        """Lists the deliveries of its messages, newest first."""
        return self._connection.list_all(Delivery, f"/webhooks/{self.id}/deliveries", limit)

    def delete(self) -> None:
        """Deletes it. Messages still to be sent are dropped."""
        self._connection.request("DELETE", f"/webhooks/{self.id}")


class Webhooks(Resource):
    def create(self, url: str, events: Sequence[str] | None = None) -> Webhook:
        """Creates a webhook. Only this call returns its `secret`.

        `events` are any of job.succeeded, job.failed and job.canceled; all by default.
        """
        payload = drop_none({"url": url, "events": list(events) if events else None})
        response = self._connection.request("POST", "/webhooks", json=payload)
        return Webhook.from_response(response, self._connection)

    def list(self, limit: int | None = None) -> list[Webhook]:
        """Lists webhooks, newest first."""
        return self._list(Webhook, "/webhooks", limit)
