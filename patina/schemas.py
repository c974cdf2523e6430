"""What the service sends, as far as the client reads it. Records that have methods are in `patina.client`.

These are not the service's own schemas, for two reasons: the client starts fast, and it works with a newer service.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

# The preview files of a training. The finished model has the same files.
GALLERY_FILES = ("gallery.json", "patches.png", "examples.png")


class _Schema(BaseModel):
    model_config = ConfigDict(frozen=True)


class Finding(_Schema):
    """Something that is wrong with a photo."""

    code: str
    severity: str  # left_out or warning
    message: str
    value: float | None = None


class AcceptedFile(_Schema):
    id: str
    name: str
    sha256: str
    width: int
    height: int
    checked: bool = False  # whether its pixels were
    findings: list[Finding] = Field(default_factory=list)


class CheckedPhoto(_Schema):
    """A photo with findings."""

    id: str
    name: str
    role: str
    left_out: bool  # of a training
    findings: list[Finding]


class Mixture(_Schema):
    """Something that divides the real photos into kinds."""

    code: str
    message: str


class PhotoChecks(_Schema):
    """What is wrong with the photos of a dataset. Counts are by role."""

    checked: int
    unchecked: int
    left_out: dict[str, int]
    findings: dict[str, dict[str, int]]
    mixtures: list[Mixture]
    photos: list[CheckedPhoto]  # those with findings, at most 1000


class Image(AcceptedFile):
    role: str


class RejectedFile(_Schema):
    name: str
    code: str
    message: str


class FileWarning(_Schema):
    """What was done to an accepted file, or could not be respected of it."""

    name: str
    code: str
    message: str


class Upload(_Schema):
    accepted: list[AcceptedFile]
    rejected: list[RejectedFile]
    warnings: list[FileWarning] = Field(default_factory=list)
    already_present: int = 0  # files not sent, because the dataset has the same bytes


class JobFailure(_Schema):
    code: str
    message: str


class Progress(_Schema):
    done: float
    total: float | None = None
    unit: str = ""
    per_second: float | None = None
    eta_seconds: float | None = None


class Event(_Schema):
    """An event of a job."""

    number: int  # from 1, without gaps
    kind: str  # log, metrics or preview
    time: datetime
    data: dict[str, Any]  # log: `level`, `message` and more; metrics: `step` and values; preview: `step`


class Result(_Schema):
    """A finished sample of a job."""

    source: str
    source_sha256: str | None = None
    sample: int
    status: str  # ok, failed or skipped
    code: str | None = None
    message: str | None = None
    links: dict[str, str] = Field(default_factory=dict)  # its files: lr, kernel and noise, or sr


class ResultShard(_Schema):
    """A WebDataset tar with results of a job with `store="shards"`."""

    number: int
    samples: int
    size: int  # bytes
    sha256: str
    links: dict[str, str] = Field(default_factory=dict)


class Delivery(_Schema):
    """The delivery of one webhook message."""

    id: str
    job: str
    event: str
    status: str  # waiting, delivered or given_up
    attempts: int
    next_attempt: datetime | None = None
    answer: int | None = None  # HTTP status of the last response
    error: str | None = None
    created: datetime
    delivered: datetime | None = None


class Alarm(_Schema):
    code: str
    severity: str
    message: str


class Summary(_Schema):
    """The mean and the 5th and 95th percentiles of a distribution."""

    mean: float
    p5: float
    p95: float


class Kernels(_Schema):
    major: Summary
    minor: Summary
    off_center: Summary
    diversity: float


class NoiseAtBrightness(_Schema):
    brightness: float
    std: float


class Noise(_Schema):
    std: Summary
    by_brightness: list[NoiseAtBrightness]
    corr_right: float
    corr_down: float
    corr_red_green: float


class ColorBias(_Schema):
    red: float
    green: float
    blue: float


class TwoSampleTest(_Schema):
    accuracy: float
    uncertainty: float


class Overshoot(_Schema):
    """How far pixels beside clear edges overshoot, as a fraction of the step."""

    real: float
    generated: float


class Kind(_Schema):
    """Photos of a kind, such as sharp or shaken ones. Means over them."""

    share: float
    major: float
    minor: float
    noise: float | None = None


class KindComparison(_Schema):
    """One kind or two."""

    real: list[Kind]
    generated: list[Kind]


class Kinds(_Schema):
    by_blur: KindComparison
    by_noise: KindComparison | None = None


class Report(_Schema):
    score: float
    two_sample: TwoSampleTest | None = None
    sharpened_two_sample: TwoSampleTest | None = None
    overshoot: Overshoot | None = None
    kernels: Kernels
    noise: Noise
    colors: ColorBias
    kinds: Kinds | None = None
    alarms: list[Alarm]
