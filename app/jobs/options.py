"""Fields that all requests for jobs have."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from store.result_store import ResultStore

MIN_PRIORITY, MAX_PRIORITY = -10, 10

Priority = Annotated[int, Field(ge=MIN_PRIORITY, le=MAX_PRIORITY)]
PRIORITY: Any = Field(
    0,
    description="Jobs of a higher priority start first, -10 to 10, among owners with as many running. A token allows "
    "up to 0, unless it was created with --max-priority.",
)
PRIORITY_SCHEMA = {"type": "integer", "minimum": MIN_PRIORITY, "maximum": MAX_PRIORITY, "default": 0, "example": 0}
STORE: Any = Field(
    ResultStore.files,
    description="How results are stored. `files`: each file by itself. `shards`: about a thousand samples in one "
    "WebDataset tar, which `GET /jobs/{id}/shards` lists; for jobs of more than some ten thousand samples.",
)
STORE_SCHEMA = {"type": "string", "enum": [*map(str, ResultStore)], "default": "files", "example": "files"}
