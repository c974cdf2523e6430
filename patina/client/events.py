"""What happens in jobs, as the service tells it while it happens: server-sent events, taken up where they broke off."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from patina.client.flow import Ask
from patina.client.schemas import Event
from patina.errors import LostServiceError

PATIENCE_SECONDS = 60.0  # for a service that is being started again meanwhile

Item = TypeVar("Item")


class Events(Generic[Item]):
    """Lines of a stream of events in, what they tell out; see `flow.Following`."""

    def __init__(self, path: str, understand: Callable[[str, dict[str, Any]], Item | None]) -> None:
        """`understand` takes an event's kind and data, and gives what is told of it, if anything is."""
        self.ended = False
        self._path, self._understand = path, understand
        self._last: str | None = None  # id of the last event that came whole
        self._id: str | None = None
        self._kind, self._data = "", list[str]()
        self._heard = time.monotonic()

    def ask(self) -> Ask:
        return Ask("GET", self._path, {"headers": {"Last-Event-ID": self._last} if self._last else {}})

    def take(self, line: str) -> Item | None:
        self._heard = time.monotonic()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            return self._told()
        if name == "event":
            self._kind = value
        elif name == "data":
            self._data.append(value)
        elif name == "id":
            self._id = value
        return None

    def broke(self, error: LostServiceError | None) -> None:
        self._kind, self._data, self._id = "", [], self._last
        if error and time.monotonic() - self._heard > PATIENCE_SECONDS:
            raise error

    def _told(self) -> Item | None:
        kind, data = self._kind, "\n".join(self._data)
        self._kind, self._data, self._last = "", [], self._id
        self.ended = kind == "end"
        return self._understand(kind, json.loads(data)) if data and not self.ended else None


def event_of(kind: str, data: dict[str, Any]) -> Event:
    """As `GET /jobs/{id}/history` tells it, too."""
    return Event.model_validate({"kind": kind, **data})
