"""How often one token, and one address, may call."""

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
    """Counts in this process's memory: several API processes each allow as much."""

    def __init__(self, settings: Settings):
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._by_token = RateLimitItemPerMinute(settings.token_requests_per_minute)
        self._by_address = RateLimitItemPerMinute(settings.address_requests_per_minute)

    def count_token(self, token_id: str) -> None:
        """Raises `ProblemError` (429) for one too many."""
        self._count(self._by_token, "token", token_id)

    def count_address(self, address: str) -> None:
        """Raises `ProblemError` (429) for one too many."""
        self._count(self._by_address, "address", _network(address))

    def _count(self, limit: RateLimitItem, what: str, which: str) -> None:
        if self._limiter.hit(limit, what, which):
            return
        seconds = max(1, math.ceil(self._limiter.get_window_stats(limit, what, which).reset_time - time.time()))
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too_many_requests",
            f"More than {limit.amount} calls a minute with this {what}. Go on in {seconds} s; who runs the service may "
            f"raise PATINA_{what.upper()}_REQUESTS_PER_MINUTE.",
            headers={"Retry-After": str(seconds)},
        )


def _network(address: str) -> str:
    """The address; of IPv6 its /64, for whoever has one address there has 2⁶⁴."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(int(parsed) >> 64) if isinstance(parsed, IPv6Address) else address
