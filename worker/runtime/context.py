"""What every job of a worker process is given."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field

from config.settings import Settings
from store.ids import new_id
from store.store import Store


@dataclass(frozen=True)
class WorkerContext:
    """`leaving` is set when the process must shut down."""

    store: Store
    settings: Settings
    name: str = field(default_factory=lambda: f"{socket.gethostname()}-{new_id()}")
    leaving: threading.Event = field(default_factory=threading.Event)
