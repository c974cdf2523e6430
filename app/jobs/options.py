"""Fields that all requests for jobs have."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

MIN_PRIORITY, MAX_PRIORITY = -10, 10

Priority = Annotated[int, Field(ge=MIN_PRIORITY, le=MAX_PRIORITY)]
PRIORITY: Any = Field(
    0,
    description="Jobs of a higher priority start first, -10 to 10, among owners with as many running. A token allows "
    "up to 0, unless it was created with --max-priority.",
)
PRIORITY_SCHEMA = {"type": "integer", "minimum": MIN_PRIORITY, "maximum": MAX_PRIORITY, "default": 0, "example": 0}
