"""What every answer of the service has in common, and how it is asked for."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, PrivateAttr

from patina.client.flow import Ask, Bound, Driver, Flavour, Flow, Pause, flow, stream
from patina.errors import LostServiceError

PAGE = 100
PAUSES = (1.0, 4.0, 15.0)  # seconds, after each time that the connection broke

Form = TypeVar("Form", bound=BaseModel)


class Answer(BaseModel, Bound[Flavour]):
    """Members that are not named are passed over, so that a client works with a newer service."""

    model_config = ConfigDict(ignored_types=(flow, stream))

    _driver: Driver = PrivateAttr()

    def _become(self, answer: Self) -> None:
        for name in type(self).model_fields:
            setattr(self, name, getattr(answer, name))


AnswerKind = TypeVar("AnswerKind", bound=Answer[Any])


class Noun(Bound[Flavour]):
    """The calls on all things of a kind."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver


def asked(by: Bound[Any], kind: type[AnswerKind], method: str, path: str, **request: Any) -> Flow[AnswerKind]:
    answer = yield Ask(method, path, request)
    return bound(by, kind.model_validate_json(answer.content))


def asked_again(ask: Ask) -> Flow[httpx.Response]:
    """The answer of a request that does no harm when it is sent again where the connection broke."""
    for pause in (*PAUSES, None):
        try:
            answer: httpx.Response = yield ask
        except LostServiceError:
            if pause is None:
                raise
        else:
            return answer
        yield Pause(pause)
    raise AssertionError("the last try returns or raises")


def made(
    by: Bound[Any], kind: type[AnswerKind], path: str, request: Callable[[], dict[str, Any]], /
) -> Flow[AnswerKind]:
    """What a request makes, made once though the connection break and it is sent again.

    Where nobody answers at all, that is said at once.
    """
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    reached = False
    for pause in (*PAUSES, None):
        try:
            return (yield from asked(by, kind, "POST", path, headers=headers, **request()))
        except LostServiceError as error:
            reached = reached or error.reached
            if pause is None or not reached:
                raise
        yield Pause(pause)
    raise AssertionError("the last try returns or raises")


def listed(
    by: Bound[Any], kind: type[AnswerKind], path: str, limit: int | None, /, **filters: Any
) -> Flow[list[AnswerKind]]:
    """All pages of a list, or the first `limit` of it."""
    items = yield from paged(kind, path, limit, **filters)
    return [bound(by, item) for item in items]


def paged(kind: type[Form], path: str, limit: int | None, page_size: int = PAGE, /, **filters: Any) -> Flow[list[Form]]:
    found: list[Form] = []
    cursor: str | None = None
    while limit is None or len(found) < limit:
        size = page_size if limit is None else min(page_size, limit - len(found))
        answer = yield Ask("GET", path, {"params": given({**filters, "limit": size, "cursor": cursor})})
        page = answer.json()
        found += [kind.model_validate(item) for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    return found


def bound(by: Bound[Any], answer: AnswerKind) -> AnswerKind:
    answer._driver = by._driver
    return answer


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is left to the service."""
    return {name: value for name, value in values.items() if value is not None}
