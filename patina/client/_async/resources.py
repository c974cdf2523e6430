"""Base classes: records that have methods, and the collections that list and create them."""

from __future__ import annotations

from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, PrivateAttr

from patina.client._async.connection import AsyncConnection


class AsyncRecord(BaseModel):
    """A record of the service with its connection. Unknown fields are ignored, so a newer service works too."""

    _connection: AsyncConnection = PrivateAttr()

    @classmethod
    def from_response(cls, response: httpx.Response, connection: AsyncConnection) -> Self:
        return cls.model_validate_json(response.content).bind(connection)

    def bind(self, connection: AsyncConnection) -> Self:
        """Sets the connection that the methods use."""
        self._connection = connection
        return self

    def _update(self, record: Self) -> Self:
        for name in type(self).model_fields:
            setattr(self, name, getattr(record, name))
        return self

    def _update_from(self, response: httpx.Response) -> Self:
        return self._update(type(self).model_validate_json(response.content))


RecordType = TypeVar("RecordType", bound=AsyncRecord)


class AsyncResource:
    """The collection of all records of one kind."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def _get(self, schema: type[RecordType], path: str) -> RecordType:
        return schema.from_response(await self._connection.request("GET", path), self._connection)

    async def _list(self, schema: type[RecordType], path: str, limit: int | None, **filters: Any) -> list[RecordType]:
        records = await self._connection.list_all(schema, path, limit, **filters)
        return [record.bind(self._connection) for record in records]
