"""Reads server-sent events, as the WHATWG's HTML standard tells browsers to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Told:
    kind: str
    id: str  # of the last event that had one
    data: dict[str, Any]


def parsed(lines: Iterable[str]) -> Iterator[Told]:
    kind, last, data = "message", "", list[str]()
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield Told(kind, last, json.loads("\n".join(data)))
            kind, data = "message", []
        elif field == "event":
            kind = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            last = value
