"""Health response schemas."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class HealthRead(BaseModel):
    status: Literal["ok"] = "ok"


class WorkersRead(BaseModel):
    """Running workers by kind: `warm` for degrade and sr jobs, `train` for trainings."""

    warm: int
    train: int


class ReadinessRead(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "status": "ready",
                "parts": {"database": "ok", "queue": "ok", "storage": "ok"},
                "workers": {"warm": 1, "train": 1},
            }
        }
    )

    status: Literal["ready"] = "ready"
    parts: dict[str, str]
    workers: WorkersRead
