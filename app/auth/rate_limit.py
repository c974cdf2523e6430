"""Limits the requests per minute of a token and of an address."""

from __future__ import annotations

import math
import time
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from app.http.problems import ProblemError
from config.settings import Settings


class RateLimiter:
    """Counts in this process's memory; each API process allows the full rate."""

    def __init__(self, settings: Settings):
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._by_token = RateLimitItemPerMinute(settings.token_requests_per_minute)
        self._by_address = RateLimitItemPerMinute(settings.address_requests_per_minute)

    def count_token(self, token_id: str) -> None:
        """Raises `ProblemError` (429) above the limit."""
        self._count(self._by_token, "token", token_id)

    def count_address(self, address: str) -> None:
        """Raises `ProblemError` (429) above the limit."""
        self._count(self._by_address, "address", _network(address))

    def _count(self, limit: RateLimitItem, kind: str, key: str) -> None:
        if self._limiter.hit(limit, kind, key):
            return
        seconds = max(1, math.ceil(self._limiter.get_window_stats(limit, kind, key).reset_time - time.time()))
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too_many_requests",
            f"More than {limit.amount} requests per minute with this {kind}. Retry in {seconds} s, or raise "
            f"PATINA_{kind.upper()}_REQUESTS_PER_MINUTE.",
            headers={"Retry-After": str(seconds)},
        )


def _network(address: str) -> str:
    """Returns the address, or the /64 network of an IPv6 address, because its holder has 2⁶⁴ of them."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(int(parsed) >> 64) if isinstance(parsed, IPv6Address) else address
