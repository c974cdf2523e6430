"""How soon a connection to a server counts as lost, when the network between loses everything without a word.

Without this a worker would wait for an answer for hours, and PostgreSQL would keep its locks as long.
"""

from __future__ import annotations

import socket
import sys
from urllib.parse import urlsplit

CONNECT_SECONDS = 10
IDLE_SECONDS = 10  # without any packet, until the other side is asked whether it is there
INTERVAL_SECONDS = 5  # between two such questions
COUNT = 3  # of them without an answer

LOST_SECONDS = IDLE_SECONDS + COUNT * INTERVAL_SECONDS


def redis_options(url: str) -> dict[str, object]:
    """Returns what `Redis.from_url` needs. A Unix socket cannot be cut."""
    if urlsplit(url).scheme == "unix" or sys.platform != "linux":
        return {}
    options = {
        socket.TCP_KEEPIDLE: IDLE_SECONDS,
        socket.TCP_KEEPINTVL: INTERVAL_SECONDS,
        socket.TCP_KEEPCNT: COUNT,
    }
    return {"socket_keepalive": True, "socket_keepalive_options": options}


def postgresql_options() -> dict[str, int]:
    """Returns parameters of libpq for the client's side."""
    return {
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": IDLE_SECONDS,
        "keepalives_interval": INTERVAL_SECONDS,
        "keepalives_count": COUNT,
        "tcp_user_timeout": 1000 * LOST_SECONDS,
    }


def postgresql_settings() -> dict[str, int]:
    """Returns settings of a session for the server's side, so that locks of a lost client are released."""
    return {
        "tcp_keepalives_idle": IDLE_SECONDS,
        "tcp_keepalives_interval": INTERVAL_SECONDS,
        "tcp_keepalives_count": COUNT,
        "tcp_user_timeout": 1000 * LOST_SECONDS,
    }
