"""An HTTP client that polls one URL at a high rate and records the latency of each response."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Latencies:
    """The latency of each response, in milliseconds, and the total time in seconds."""

    milliseconds: list[float]
    seconds: float

    @property
    def per_second(self) -> float:
        return len(self.milliseconds) / self.seconds

    def percentile(self, percent: float) -> float:
        return sorted(self.milliseconds)[min(int(len(self.milliseconds) * percent / 100), len(self.milliseconds) - 1)]


def poll_at_rate(url: str, per_second: float, seconds: float, connections: int = 16) -> Latencies:
    """Polls on a fixed schedule. Latency counts from the scheduled time, so delays in the queue count, too."""
    count = int(per_second * seconds)
    return asyncio.run(_poll(url, [number / per_second for number in range(count)], connections))


def poll_at_full_speed(url: str, count: int, connections: int = 8) -> Latencies:
    return asyncio.run(_poll(url, [None] * count, connections))


async def _poll(url: str, due_times: list[float] | list[None], connections: int) -> Latencies:
    target = urlsplit(url)
    request = f"GET {target.path} HTTP/1.1\r\nHost: {target.netloc}\r\n\r\n".encode()
    remaining, taken = iter(due_times), list[float]()
    began = time.perf_counter()

    async def work() -> None:
        reader, writer = await asyncio.open_connection(target.hostname, target.port)
        for due in remaining:
            if due is not None:
                await asyncio.sleep(began + due - time.perf_counter())
            sent = time.perf_counter() if due is None else began + due
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            taken.append(1000 * (time.perf_counter() - sent))
        writer.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    return Latencies(taken, time.perf_counter() - began)
