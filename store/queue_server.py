"""The queue's server. Not in `store.queue`, because RQ imports slowly and `patina up` waits for the server."""

from __future__ import annotations

from redis import Redis, RedisError

TIMEOUT = 1.0  # seconds


def is_ready(url: str) -> bool:
    """Returns whether the server answers and has loaded its file."""
    try:
        with Redis.from_url(url, socket_timeout=TIMEOUT) as server:
            return bool(server.ping())
    except RedisError:
        return False
