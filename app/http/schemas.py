"""Schemas and parameters that all nouns share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Protocol, TypeVar

from fastapi import Path, Query
from pydantic import BaseModel, BeforeValidator, Field, StringConstraints

Item = TypeVar("Item")


def _from_unix_time(value: Any) -> Any:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else value


Timestamp = Annotated[datetime, BeforeValidator(_from_unix_time)]
"""RFC 3339 in UTC; the database stores seconds since 1970."""


class Page(BaseModel, Generic[Item]):
    """One page of a list. `next` is the cursor of the next page; null on the last one."""

    items: list[Item]
    next: str | None = None


class _Row(Protocol):
    @property
    def id(self) -> str: ...


def next_cursor(rows: Sequence[_Row], limit: int) -> str | None:
    """Returns `next` of a page with these rows, when at most `limit` were requested."""
    return rows[-1].id if len(rows) == limit else None


Limit = Annotated[int, Query(ge=1, le=1000, description="Maximum number of items in one response.")]
Id = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_-]{1,64}$")]
"""Id of a record. The pattern keeps out text that a database cannot store."""

Cursor = Annotated[str | None, Query(pattern=r"^[0-9A-Za-z_.-]{1,64}$", description="`next` of the previous response.")]
Count = Annotated[int, Path(ge=0, lt=2**31)]


class RejectedFile(BaseModel):
    """A file that was rejected, and why."""

    name: str
    code: str = Field(examples=["corrupt_image"])
    message: str


class FileWarning(BaseModel):
    """Something about an accepted file that its sender should know."""

    name: str
    code: str = Field(examples=["first_frame_only"], description="Stable; docs/images.md lists all.")
    message: str
