"""Webhooks: whom the service calls when a job has ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from patina.client.flow import Ask, Flavour, Flow, flow
from patina.client.http import Answer, Noun, asked, given, listed, paged
from patina.client.schemas import Delivery


class Webhook(Answer[Flavour]):
    id: str
    url: str
    events: list[str]
    waiting: int  # messages that are still to be sent; these are as it was when it was asked for
    delivered: int
    given_up: int
    created: datetime
    secret: str | None = None  # what messages are signed with; known only to who has just made it

    @flow
    def deliveries(self, limit: int | None = None) -> Flow[list[Delivery]]:
        """What became of its messages, the newest first."""
        return (yield from paged(Delivery, f"/webhooks/{self.id}/deliveries", limit))

    @flow
    def delete(self) -> Flow[None]:
        """Messages that are still to be sent are not sent."""
        yield Ask("DELETE", f"/webhooks/{self.id}")


class Webhooks(Noun[Flavour]):
    @flow
    def create(self, url: str, events: Sequence[str] | None = None) -> Flow[Webhook[Flavour]]:
        """`events`: some of job.succeeded, job.failed and job.canceled; unset, all. Its `secret` is told this once."""
        wanted = given({"url": url, "events": list(events) if events else None})
        return (yield from asked(self, Webhook, "POST", "/webhooks", json=wanted))

    @flow
    def list(self, limit: int | None = None) -> Flow[list[Webhook[Flavour]]]:
        """The newest first."""
        return (yield from listed(self, Webhook, "/webhooks", limit))
