"""Job response schemas."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.http.schemas import FileWarning, Timestamp


class Kind(StrEnum):
    train = "train"
    degrade = "degrade"
    sr = "sr"


class Status(StrEnum):
    queued = "queued"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    canceled = "canceled"

    @property
    def is_final(self) -> bool:
        return self not in (Status.queued, Status.running)


class ProgressRead(BaseModel):
    done: int
    total: int
    unit: str = Field(description="What is counted: steps, samples or images.")
    per_second: float | None
    eta_seconds: float | None


class JobError(BaseModel):
    code: str
    message: str


class WaitReason(StrEnum):
    """Why a job waits."""

    no_worker = "no_worker"
    token_running = "token_running"
    token_seconds = "token_seconds"
    others_first = "others_first"
    next = "next"


class WaitRead(BaseModel):
    """Where a queued job stands. Tokens take turns, so jobs of others may come between."""

    place: int = Field(description="From 1 among the jobs that wait for a worker of the same kind.")
    reason: WaitReason
    message: str


class JobRead(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "01jd3vb7c8d9e0f1g2h3j4k5m6",
                "kind": "degrade",
                "status": "running",
                "progress": {"done": 120, "total": 800, "unit": "samples", "per_second": 31.2, "eta_seconds": 22},
                "dataset": "01jd3v9k5m8q2x7c4n6b1z0w5e",
                "model": "01jd3vqz0r6f8h2k4m6p8s0v2x",
                "parameters": {"samples": 4, "seed": 7},
                "metrics": None,
                "attempt": 1,
                "priority": 0,
                "wait": None,
                "created": "2026-01-31T12:00:00Z",
                "started": "2026-01-31T12:00:01Z",
                "finished": None,
                "expires": None,
                "error": None,
                "ended_early": False,
                "counts": {"ok": 119, "failed": 1},
                "links": {
                    "self": "/jobs/01jd3vb7c8d9e0f1g2h3j4k5m6",
                    "events": "/jobs/01jd3vb7c8d9e0f1g2h3j4k5m6/events",
                    "history": "/jobs/01jd3vb7c8d9e0f1g2h3j4k5m6/history",
                    "results": "/jobs/01jd3vb7c8d9e0f1g2h3j4k5m6/results",
                    "archive": "/jobs/01jd3vb7c8d9e0f1g2h3j4k5m6/archive",
                },
            }
        }
    )

    id: str
    kind: Kind
    status: Status
    progress: ProgressRead
    dataset: str | None
    model: str | None
    parameters: dict[str, Any]
    warnings: list[FileWarning] = Field([], description="What the sender should know of accepted files; up to 1000.")
    metrics: dict[str, float] | None = Field(description="The latest metrics of a training.")
    attempt: int = Field(description="How many times workers have taken a part of the job so far.")
    priority: int = Field(0, description="Of the request.")
    wait: WaitRead | None = Field(
        None, description="Of a queued job, in the response to `GET /jobs/{id}`: where it stands, and why it waits."
    )
    created: Timestamp
    started: Timestamp | None
    finished: Timestamp | None
    expires: Timestamp | None = Field(
        description="When the job's results and uploaded files are, or were, deleted. Null while it runs, or if never."
    )
    error: JobError | None
    ended_early: bool = Field(description="True for a training that was asked to finish early; it can be continued.")
    counts: dict[str, int] = Field(
        description="Number of samples that are `ok`, that `failed`, and that were `skipped` for low detail."
    )
    links: dict[str, str]


class EventRead(BaseModel):
    """An event of a job."""

    number: int = Field(description="From 1, without gaps.")
    kind: Literal["log", "metrics", "preview"]
    time: Timestamp
    data: dict[str, Any] = Field(
        description="For a log line, its `level`, its `message` and other fields. For metrics, the `step` and the "
        "values. For a preview, the `step` of its update."
    )


class ResultRead(BaseModel):
    """One sample: its line of the archive's manifest, and links to its files."""

    source: str
    source_sha256: str | None
    sample: int
    status: str = Field(description="ok, failed or skipped")
    code: str | None = None
    message: str | None = None
    links: dict[str, str] = Field(description="For a sample that is ok: its files, such as lr, kernel, noise or sr.")
