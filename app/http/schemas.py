"""Forms that all nouns share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Protocol, TypeVar

from fastapi import Path, Query
from pydantic import BaseModel, BeforeValidator, Field, StringConstraints

Item = TypeVar("Item")


def _from_seconds(value: Any) -> Any:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else value


Timestamp = Annotated[datetime, BeforeValidator(_from_seconds)]
"""RFC 3339 in UTC; made from the records' seconds since 1970."""


class Page(BaseModel, Generic[Item]):
    """A part of a list; `next` is the cursor of the part after it, null at the end."""

    items: list[Item]
    next: str | None = None


class _Row(Protocol):
    @property
    def id(self) -> str: ...


def next_cursor(rows: Sequence[_Row], limit: int) -> str | None:
    """`next` of a page of these rows, of which at most `limit` were asked for."""
    return rows[-1].id if len(rows) == limit else None


Limit = Annotated[int, Query(ge=1, le=1000, description="Most items in one answer.")]
Id = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_-]{1,64}$")]
"""Of a record. Whatever else a database would choke on never reaches it."""

Cursor = Annotated[str | None, Query(pattern=r"^[0-9A-Za-z_.-]{1,64}$", description="`next` of the answer before.")]
Count = Annotated[int, Path(ge=0, lt=2**31)]


class RejectedFile(BaseModel):
    """A file that was not taken, and why."""

    name: str
    code: str = Field(examples=["corrupt_image"])
    message: str
