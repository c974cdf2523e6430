"""What differs between the two clients beyond keywords, for an event loop; `patina.client._sync` has its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

import anyio
from anyio import from_thread, to_thread

Result = TypeVar("Result")

sleep = anyio.sleep


async def run_blocking(function: Callable[[], Result]) -> Result:
    """Runs a function that blocks on disk or CPU, in a thread."""
    return await to_thread.run_sync(function)


async def consume_chunks(chunks: AsyncIterator[bytes], consumer: Callable[[Iterator[bytes]], Result]) -> Result:
    """Runs a blocking consumer in a thread, on chunks that the event loop receives."""

    async def receive() -> bytes:
        return await anext(chunks, b"")

    def iterate() -> Iterator[bytes]:
        while chunk := from_thread.run(receive):
            yield chunk

    return await to_thread.run_sync(consumer, iterate())


async def run_concurrently(
    calls: Sequence[Callable[[], Awaitable[Result]]], limit: int, on_result: Callable[[Result], None]
) -> None:
    """Runs at most `limit` calls at a time. The first error cancels the others and is raised."""
    semaphore = anyio.Semaphore(limit)
    errors: list[Exception] = []

    async def run(call: Callable[[], Awaitable[Result]]) -> None:
        async with semaphore:
            try:
                on_result(await call())
            except Exception as error:  # raised below as itself, not inside an exception group
                errors.append(error)
                tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(run, call)
    if errors:
        raise errors[0]
