"""Parts of what the service answers, as far as a client needs them; what can be called upon has a module of its own.

These are the client's own and not the service's schemas, so that it starts fast, and works with a newer service.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


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
