"""Takes the steps of a flow, with threads or on an event loop."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from typing import Any

import anyio
import httpx
from anyio import from_thread, to_thread

from patina.client.flow import Ask, Flow, Following, Incoming, Pause, Receive, Result, Step, Together, Work
from patina.errors import LostServiceError, ServiceError

AGAIN_SECONDS = 1.0  # before a stream that broke is asked for again
DATABASE_AWAY = "database_away"


class SyncDriver:
    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def run(self, steps: Flow[Result]) -> Result:
        resume, value = steps.send, None
        try:
            while True:
                step = resume(value)
                try:
                    resume, value = steps.send, self._take(step)
                except Exception as error:
                    resume, value = steps.throw, error
        except StopIteration as end:
            result: Result = end.value
            return result
        finally:
            steps.close()

    def follow(self, following: Following[Result]) -> Iterator[Result]:
        while not following.ended:
            try:
                with _translated(self.http.base_url), self._stream(following.ask()) as answer:
                    if not answer.is_success:
                        answer.read()
                    lines = _Lines()
                    for piece in _accepted(answer).iter_bytes():
                        for line in lines.ended_by(piece):
                            if (item := following.take(line)) is not None:
                                yield item
                broken = None
            except LostServiceError as error:
                broken = error
            if not following.ended:
                following.broke(broken)
                time.sleep(AGAIN_SECONDS)

    def _stream(self, ask: Ask) -> AbstractContextManager[httpx.Response]:
        return self.http.stream(ask.method, ask.path, **ask.request)

    def _take(self, step: Step) -> Any:
        match step:
            case Ask(method, path, request):
                with _translated(self.http.base_url):
                    return _accepted(self.http.request(method, path, **request))
            case Receive(ask, consume):
                with _translated(self.http.base_url), self._stream(ask) as answer:
                    if not answer.is_success:
                        answer.read()
                    return consume(Incoming(answer.headers, _accepted(answer).iter_bytes()))
            case Pause(seconds):
                time.sleep(seconds)
            case Work(call):
                return call()
            case Together(flows, at_once, on_done):
                with ThreadPoolExecutor(at_once) as threads:
                    try:
                        for done in as_completed([threads.submit(self.run, one) for one in flows]):
                            on_done(done.result())
                    except BaseException:
                        threads.shutdown(wait=False, cancel_futures=True)
                        raise
        return None


class AsyncDriver:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def run(self, steps: Flow[Result]) -> Result:
        resume, value = steps.send, None
        try:
            while True:
                step = resume(value)
                try:
                    resume, value = steps.send, await self._take(step)
                except Exception as error:
                    resume, value = steps.throw, error
        except StopIteration as end:
            result: Result = end.value
            return result
        finally:
            steps.close()

    async def follow(self, following: Following[Result]) -> AsyncIterator[Result]:
        while not following.ended:
            try:
                with _translated(self.http.base_url):
                    async with self._stream(following.ask()) as answer:
                        if not answer.is_success:
                            await answer.aread()
                        lines = _Lines()
                        async for piece in _accepted(answer).aiter_bytes():
                            for line in lines.ended_by(piece):
                                if (item := following.take(line)) is not None:
                                    yield item
                broken = None
            except LostServiceError as error:
                broken = error
            if not following.ended:
                following.broke(broken)
                await anyio.sleep(AGAIN_SECONDS)

    def _stream(self, ask: Ask) -> AbstractAsyncContextManager[httpx.Response]:
        return self.http.stream(ask.method, ask.path, **ask.request)

    async def _take(self, step: Step) -> Any:
        match step:
            case Ask(method, path, request):
                with _translated(self.http.base_url):
                    return _accepted(await self.http.request(method, path, **request))
            case Receive(ask, consume):
                with _translated(self.http.base_url):
                    async with self._stream(ask) as answer:
                        if not answer.is_success:
                            await answer.aread()
                        pieces = _accepted(answer).aiter_bytes()
                        return await to_thread.run_sync(consume, Incoming(answer.headers, _pulled(pieces)))
            case Pause(seconds):
                await anyio.sleep(seconds)
            case Work(call):
                return await to_thread.run_sync(call)
            case Together(flows, at_once, on_done):
                await self._together(flows, at_once, on_done)
        return None

    async def _together(self, flows: Any, at_once: int, on_done: Callable[[Any], None]) -> None:
        places = anyio.Semaphore(at_once)
        failures: list[Exception] = []

        async def one(steps: Flow[Any]) -> None:
            async with places:
                try:
                    on_done(await self.run(steps))
                except Exception as error:  # told below as itself, not as a group of one
                    failures.append(error)
                    tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for steps in flows:
                tasks.start_soon(one, steps)
        if failures:
            raise failures[0]


class _Lines:
    """Lines of an answer that comes in pieces.

    httpx's own end at U+2028 and its like, too, which names of files may hold.
    """

    def __init__(self) -> None:
        self._begun = b""

    def ended_by(self, piece: bytes) -> list[str]:
        """One that is never ended was cut off, and is not told."""
        *ended, self._begun = (self._begun + piece).split(b"\n")
        return [line.removesuffix(b"\r").decode(errors="replace") for line in ended]


def _pulled(pieces: AsyncIterator[bytes]) -> Iterator[bytes]:
    """In a thread of the event loop's, what the loop receives."""

    async def following() -> bytes:
        return await anext(pieces, b"")

    while piece := from_thread.run(following):
        yield piece


@contextmanager
def _translated(url: httpx.URL) -> Iterator[None]:
    """Inside it, a broken or missing connection is a `LostServiceError`."""
    here = str(url).rstrip("/")
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise LostServiceError(
            f"Nothing answers at {here}. Start the service with: patina up", reached=False
        ) from error
    except httpx.TransportError as error:
        raise LostServiceError(f"The connection to {here} broke: {error or type(error).__name__}") from error


def _accepted(answer: httpx.Response) -> httpx.Response:
    """The answer, if it is a good one; else `ServiceError` with the service's own words, if it has any.

    A service whose database is away is as good as none for that while, and whoever waits for one waits for the other.
    """
    if answer.is_success:
        return answer
    try:
        problem = answer.json()
        if problem["code"] == DATABASE_AWAY:
            raise LostServiceError(problem["detail"])
        raise ServiceError(answer.status_code, problem["code"], problem["detail"], problem)
    except (ValueError, KeyError, TypeError):
        words = f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.reason_phrase}"
        raise ServiceError(answer.status_code, "not_patina", f"{words}. Is that a Patina service?") from None
