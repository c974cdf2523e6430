"""Parts of what the service answers, as far as a client needs them; what can be called upon has a module of its own.

These are the client's own and not the service's schemas, so that it starts fast, and works with a newer service.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

# What a training shows of its model: its preview, and later files of the model.
SHOWN = ("gallery.json", "patches.png", "examples.png")


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class AcceptedFile(_Answer):
    id: str
    name: str
    sha256: str
    width: int
    height: int


class Image(AcceptedFile):
    role: str


class RejectedFile(_Answer):
    name: str
    code: str
    message: str


class Upload(_Answer):
    accepted: list[AcceptedFile]
    rejected: list[RejectedFile]
    present: int = 0  # files that were not sent, since the dataset held their bytes already


class JobFailure(_Answer):
    code: str
    message: str


class Progress(_Answer):
    done: float
    total: float | None = None
    unit: str = ""
    per_second: float | None = None
    eta_seconds: float | None = None


class Event(_Answer):
    """Something that happened in a job."""

    number: int  # from 1, without gaps
    kind: str  # log, metrics or preview
    time: datetime
    data: dict[str, Any]  # of a log line `level`, `message` and more; of metrics and previews the `step` and figures


class Result(_Answer):
    """A sample that a job has done."""

    source: str
    source_sha256: str | None = None
    sample: int
    status: str  # ok, failed or skipped
    code: str | None = None
    message: str | None = None
    links: dict[str, str] = Field(default_factory=dict)  # of what it is made of: lr, kernel, noise; or sr


class Delivery(_Answer):
    """What became of a webhook's message."""

    id: str
    job: str
    event: str
    status: str  # waiting, delivered or given_up
    attempts: int
    next_attempt: datetime | None = None
    answer: int | None = None  # HTTP status of the last answer
    error: str | None = None
    created: datetime
    delivered: datetime | None = None


class Alarm(_Answer):
    code: str
    severity: str
    message: str


class Spread(_Answer):
    mean: float
    p5: float
    p95: float


class Kernels(_Answer):
    major: Spread
    minor: Spread
    off_centre: Spread
    diversity: float


class Brightness(_Answer):
    brightness: float
    level: float


class Noise(_Answer):
    level: Spread
    by_brightness: list[Brightness]
    right: float
    below: float
    red_green: float


class Colours(_Answer):
    red: float
    green: float
    blue: float


class TwoSample(_Answer):
    accuracy: float
    uncertainty: float


class Report(_Answer):
    score: float
    two_sample: TwoSample | None = None
    kernels: Kernels
    noise: Noise
    colours: Colours
    alarms: list[Alarm]
