"""Limits the requests per minute of a token and of an address, in all API processes together."""

from __future__ import annotations

import math
import time
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address

import structlog
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import StorageError

from app.http.problems import ProblemError
from config.settings import Settings

KEY_PREFIX = "patina:rate"
TIMEOUT_SECONDS = 0.5  # for an answer of Redis; a request must not wait long for a mere count
RETRY_SECONDS = 5.0  # after a failure, before Redis is asked again

log = structlog.get_logger()


class RateLimiter:
    """Counts in Redis, which all API processes share.

    While Redis does not answer, each process counts in its own memory, and so allows the full rate.
    """

    def __init__(self, settings: Settings):
        self._shared = FixedWindowRateLimiter(_open_storage(settings.redis))
        self._own = FixedWindowRateLimiter(MemoryStorage())
        self._shared_from = 0.0  # monotonic time when Redis is asked again
        self._by_token = RateLimitItemPerMinute(settings.token_requests_per_minute)
        self._by_address = RateLimitItemPerMinute(settings.address_requests_per_minute)

    async def count_token(self, token_id: str) -> None:
        """Raises `ProblemError` (429) above the limit."""
        await self._count(self._by_token, "token", token_id)

    async def count_address(self, address: str) -> None:
        """Raises `ProblemError` (429) above the limit."""
        await self._count(self._by_address, "address", _network(address))

    async def _count(self, limit: RateLimitItem, kind: str, key: str) -> None:
        seconds = await self._hit(limit, kind, key)
        if seconds is not None:
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too_many_requests",
                f"More than {limit.amount} requests per minute with this {kind}. Retry in {seconds} s, or raise "
                f"PATINA_{kind.upper()}_REQUESTS_PER_MINUTE.",
                headers={"Retry-After": str(seconds)},
            )

    async def _hit(self, limit: RateLimitItem, kind: str, key: str) -> int | None:
        """Counts a request. Returns None if it is within the limit, else the seconds until the next window."""
        if time.monotonic() >= self._shared_from:
            try:
                return await _hit(self._shared, limit, kind, key)
            except StorageError as error:
                self._shared_from = time.monotonic() + RETRY_SECONDS
                log.warning("rate limits not shared, the queue is unavailable", error=str(error.storage_error))
        return await _hit(self._own, limit, kind, key)


async def _hit(limiter: FixedWindowRateLimiter, limit: RateLimitItem, kind: str, key: str) -> int | None:
    if await limiter.hit(limit, kind, key):
        return None
    window = await limiter.get_window_stats(limit, kind, key)
    return max(1, math.ceil(window.reset_time - time.time()))


def _open_storage(redis_url: str) -> Storage:
    scheme = "async+redis+" if redis_url.startswith("unix:") else "async+"
    return RedisStorage(
        f"{scheme}{redis_url}",
        wrap_exceptions=True,
        implementation="redispy",
        key_prefix=KEY_PREFIX,
        socket_connect_timeout=TIMEOUT_SECONDS,
        socket_timeout=TIMEOUT_SECONDS,
    )


def _network(address: str) -> str:
    """Returns the address, or the /64 network of an IPv6 address, because its holder has 2⁶⁴ of them."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(int(parsed) >> 64) if isinstance(parsed, IPv6Address) else address
