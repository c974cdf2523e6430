"""What every job of a worker process receives."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

from config.settings import Settings
from store.errors import QueueUnavailable
from store.queue import INFERENCE
from store.repositories.schedule import TokenLimits
from store.store import Store
from store.worker_names import create_worker_name

COUNT_SECONDS = 1.0  # for which the number of workers is remembered


@dataclass(frozen=True)
class WorkerContext:
    """`queue` is the source of the worker's shards. `shutdown` is set when the process must exit."""

    store: Store
    settings: Settings
    queue: str = INFERENCE
    name: str = field(default_factory=create_worker_name)
    shutdown: threading.Event = field(default_factory=threading.Event)
    _counted: dict[str, tuple[float, int]] = field(default_factory=dict)

    @property
    def token_limits(self) -> TokenLimits:
        return TokenLimits(self.settings.token_max_running, self.settings.token_worker_seconds_per_day)

    def count_workers(self) -> int:
        """Returns how many workers take shards of this queue, at least 1; the last known number if it is down."""
        counted_at, count = self._counted.get(self.queue, (-COUNT_SECONDS, 1))
        if time.monotonic() - counted_at >= COUNT_SECONDS:
            with suppress(QueueUnavailable):
                count = max(1, self.store.queue.count_workers(self.queue))
            self._counted[self.queue] = time.monotonic(), count
        return count
