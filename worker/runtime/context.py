"""What every job of a worker process receives."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field

from config.settings import Settings
from store.ids import new_id
from store.store import Store


@dataclass(frozen=True)
class WorkerContext:
    """`shutdown` is set when the process must exit."""

    store: Store
    settings: Settings
    name: str = field(default_factory=lambda: f"{socket.gethostname()}-{new_id()}")
    shutdown: threading.Event = field(default_factory=threading.Event)
