"""A parser of server-sent events, after the WHATWG HTML standard."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ParsedEvent:
    kind: str
    id: str  # of the last event that had one
    data: dict[str, Any]


def parse_events(lines: Iterable[str]) -> Iterator[ParsedEvent]:
    kind, last_id, data = "message", "", list[str]()
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield ParsedEvent(kind, last_id, json.loads("\n".join(data)))
            kind, data = "message", []
        elif field == "event":
            kind = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            last_id = value
