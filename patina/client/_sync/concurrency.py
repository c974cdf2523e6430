"""What differs between the two clients beyond keywords, with threads; `patina.client._async` has its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

Result = TypeVar("Result")

sleep = time.sleep


def run_blocking(function: Callable[[], Result]) -> Result:
    """Runs the function here."""
    return function()


def consume_chunks(chunks: Iterator[bytes], consumer: Callable[[Iterator[bytes]], Result]) -> Result:
    """Runs the consumer here."""
    return consumer(chunks)


def run_concurrently(calls: Sequence[Callable[[], Result]], limit: int, on_result: Callable[[Result], None]) -> None:
    """Runs at most `limit` calls at a time. The first error cancels those not yet started and is raised."""
    with ThreadPoolExecutor(limit) as threads:
        try:
            for done in as_completed([threads.submit(call) for call in calls]):
                on_result(done.result())
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
