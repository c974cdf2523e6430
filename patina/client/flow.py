"""Each call is written once, as a generator of the steps that it takes; a driver takes them, waiting or awaiting.

`@flow` turns such a generator into a method that is called plainly on `Bound[Sync]` and awaited on `Bound[Async]`;
`@stream` does the like for what comes piece by piece, with `for` and `async for`.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from patina.errors import LostServiceError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Ask:
    """One request; gives its `httpx.Response`. `ServiceError` and `LostServiceError` come from here."""

    method: str
    path: str
    request: dict[str, Any] = field(default_factory=dict)  # as `httpx.Client.request` takes it


@dataclass(frozen=True)
class Incoming:
    """An answer that is still coming."""

    headers: Mapping[str, str]
    pieces: Iterator[bytes]


@dataclass(frozen=True)
class Receive:
    """One request whose answer is used up while it comes; gives what `consume` does."""

    ask: Ask
    consume: Callable[[Incoming], Any]


@dataclass(frozen=True)
class Pause:
    seconds: float


@dataclass(frozen=True)
class Work:
    """A call that keeps disk or processor busy; gives what it does."""

    call: Callable[[], Any]


@dataclass(frozen=True)
class Together:
    """Several flows, so many at once; each one's result goes to `on_done` as it comes. The first error ends all."""

    flows: Sequence[Generator[Any, Any, Any]]
    at_once: int
    on_done: Callable[[Any], None]


Step = Ask | Receive | Pause | Work | Together
Flow = Generator[Step, Any, Result]


class Sync:
    """Marks what is called plainly."""


class Async:
    """Marks what is awaited."""


Flavour = TypeVar("Flavour", bound=Sync | Async)


Item_co = TypeVar("Item_co", covariant=True)


class Following(Protocol[Item_co]):
    """A request whose answer goes on and on, and is asked for again where it breaks off."""

    ended: bool  # nothing more will come

    def ask(self) -> Ask: ...

    def take(self, line: str) -> Item_co | None:
        """What a line of the answer tells, if it tells something."""

    def broke(self, error: LostServiceError | None) -> None:
        """The answer came to an end before all was told. Raises the error when it has been so for too long."""


class Driver(Protocol):
    def run(self, steps: Flow[Any]) -> Any:
        """The flow's result, or an awaitable of it."""

    def follow(self, following: Following[Any]) -> Any:
        """An iterator, or an asynchronous one."""


class Bound(Generic[Flavour]):
    """What has a driver to run its flows."""

    _driver: Driver


class flow(Generic[Parameters, Result]):  # noqa: N801 - reads as the decorator that it is
    def __init__(self, steps: Callable[Concatenate[Any, Parameters], Flow[Result]]) -> None:
        self.steps = steps
        self.__doc__ = steps.__doc__

    @overload
    def __get__(self, one: None, kind: type) -> Self: ...
    @overload
    def __get__(self, one: Bound[Sync], kind: type) -> Callable[Parameters, Result]: ...
    @overload
    def __get__(self, one: Bound[Async], kind: type) -> Callable[Parameters, Coroutine[Any, Any, Result]]: ...
    def __get__(self, one: Bound[Any] | None, kind: type) -> Any:
        if one is None:
            return self

        @functools.wraps(self.steps)
        def call(*arguments: Parameters.args, **more: Parameters.kwargs) -> Any:
            return one._driver.run(self.steps(one, *arguments, **more))

        return call


class stream(Generic[Parameters, Result]):  # noqa: N801 - as above
    def __init__(self, begin: Callable[Concatenate[Any, Parameters], Following[Result]]) -> None:
        self.begin = begin
        self.__doc__ = begin.__doc__

    @overload
    def __get__(self, one: None, kind: type) -> Self: ...
    @overload
    def __get__(self, one: Bound[Sync], kind: type) -> Callable[Parameters, Iterator[Result]]: ...
    @overload
    def __get__(self, one: Bound[Async], kind: type) -> Callable[Parameters, AsyncIterator[Result]]: ...
    def __get__(self, one: Bound[Any] | None, kind: type) -> Any:
        if one is None:
            return self

        @functools.wraps(self.begin)
        def call(*arguments: Parameters.args, **more: Parameters.kwargs) -> Any:
            return one._driver.follow(self.begin(one, *arguments, **more))

        return call
