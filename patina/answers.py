"""What the service answers, as far as a client needs it. Members that are not named here are passed over.

These are the client's own and not the service's schemas, so that it starts fast, and works with a newer service.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

UNFINISHED = ("queued", "running")


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class AcceptedFile(_Answer):
    id: str
    name: str
    sha256: str
    width: int
    height: int


class RejectedFile(_Answer):
    name: str
    code: str
    message: str


class Upload(_Answer):
    accepted: list[AcceptedFile]
    rejected: list[RejectedFile]


class Progress(_Answer):
    done: float
    total: float | None = None
    unit: str = ""
    per_second: float | None = None
    eta_seconds: float | None = None


class Job(_Answer):
    id: str
    kind: str
    status: str
    progress: Progress
    dataset: str | None = None
    model: str | None = None
    attempt: int
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    error: dict[str, Any] | None = None
    counts: dict[str, int] = {}

    @property
    def unfinished(self) -> bool:
        return self.status in UNFINISHED


class Dataset(_Answer):
    id: str
    name: str
    scale: int


class Model(_Answer):
    id: str
    dataset: str | None = None
    created: datetime
