"""Health response schemas."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class HealthRead(BaseModel):
    status: Literal["ok"] = "ok"


class ReadinessRead(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "status": "ready",
                "parts": {"database": "ok", "queue": "ok", "storage": "ok", "warm worker": "ok", "train worker": "ok"},
            }
        }
    )

    status: Literal["ready"] = "ready"
    parts: dict[str, str]
