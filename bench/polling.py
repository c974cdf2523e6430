"""A client that asks the same question many times a second and notes how long each answer takes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Polled:
    """Milliseconds of each answer, and the seconds that all of them took."""

    milliseconds: list[float]
    seconds: float

    @property
    def per_second(self) -> float:
        return len(self.milliseconds) / self.seconds

    def percentile(self, percent: float) -> float:
        return sorted(self.milliseconds)[min(int(len(self.milliseconds) * percent / 100), len(self.milliseconds) - 1)]


def poll_at(url: str, per_second: float, seconds: float, connections: int = 16) -> Polled:
    """At moments fixed beforehand: a late answer counts from when it was due, as it does for those who wait."""
    count = int(per_second * seconds)
    return asyncio.run(_poll(url, [number / per_second for number in range(count)], connections))


def poll_as_fast_as_can_be(url: str, count: int, connections: int = 8) -> Polled:
    return asyncio.run(_poll(url, [None] * count, connections))


async def _poll(url: str, moments: list[float] | list[None], connections: int) -> Polled:
    where = urlsplit(url)
    request = f"GET {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode()
    waiting, taken = iter(moments), list[float]()
    began = time.perf_counter()

    async def work() -> None:
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        for moment in waiting:
            if moment is not None:
                await asyncio.sleep(began + moment - time.perf_counter())
            asked = time.perf_counter() if moment is None else began + moment
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            taken.append(1000 * (time.perf_counter() - asked))
        writer.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    return Polled(taken, time.perf_counter() - began)
