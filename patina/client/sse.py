"""Decodes server-sent events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple


class ServerSentEvent(NamedTuple):
    kind: str
    data: dict[str, Any]


class EventDecoder:
    """Decodes the chunks of one response. It drops events that have no data or were cut off.

    `last_id` is the id of the last complete event, to resume after.
    """

    def __init__(self, last_id: str | None = None) -> None:
        self.last_id = last_id
        self._id = last_id
        self._kind, self._data = "", list[str]()
        self._buffer = b""

    def decode(self, chunk: bytes) -> Iterator[ServerSentEvent]:
        """Yields the events that the chunk completes."""
        # httpx's own line decoder also splits at U+2028, which file names may contain.
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        for line in lines:
            yield from self._decode_line(line.removesuffix(b"\r").decode(errors="replace"))

    def _decode_line(self, line: str) -> Iterator[ServerSentEvent]:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            kind, data = self._kind, "\n".join(self._data)
            self._kind, self._data, self.last_id = "", [], self._id
            if data:
                yield ServerSentEvent(kind, json.loads(data))
        elif name == "event":
            self._kind = value
        elif name == "data":
            self._data.append(value)
        elif name == "id":
            self._id = value
