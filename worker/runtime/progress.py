"""Records the progress of a shard: often enough to watch it, rarely enough to cost nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

from store.repositories.jobs import JobRepository, Progress
from store.repositories.samples import NewResultShard, NewSample
from store.store import Store

RECORD_EVERY_SECONDS = 0.5


@dataclass(frozen=True)
class Unrecorded:
    """Samples that are finished, but whose files are in a shard that is not: `count` of them."""

    count: int


Result = NewSample | Unrecorded


class ShardSource(Protocol):
    def take(self) -> list[NewResultShard]:
        """Returns the shards that were finished since the last call."""


class ProgressRecorder:
    """Collects finished samples and writes them with the shard's speed, fenced by the attempt.

    A sample is safe after the next `record`. If the worker is killed before that, the sample is generated again. So it
    is with all samples of a result shard that is not finished; `shards` has those that are.
    """

    def __init__(self, store: Store, job_id: str, attempt: int, shards: ShardSource):
        self.store = store
        self.job_id = job_id
        self.attempt = attempt
        self.done = 0
        self._shards = shards
        self._started = self._recorded = time.monotonic()
        self._partial = 0.0
        self._samples: list[NewSample] = []
        self._new_shards: list[NewResultShard] = []

    @property
    def seconds(self) -> float:
        """The time since the shard began."""
        return time.monotonic() - self._started

    def add(self, result: Result) -> None:
        """Adds a finished sample. Raises `LeaseLostError`."""
        if isinstance(result, Unrecorded):
            self.done += result.count
        else:
            self._samples.append(result)
            self.done += 1
        self._partial = 0.0
        self._record_if_due()

    def set_partial(self, fraction: float) -> None:
        """Reports the fraction (0..1) of the next sample that is done, for rate and ETA. Raises `LeaseLostError`."""
        self._partial = fraction
        self._record_if_due()

    def _record_if_due(self) -> None:
        if time.monotonic() - self._recorded >= RECORD_EVERY_SECONDS:
            self.record()

    def record(self) -> None:
        """Writes what was finished since the last call. Raises `LeaseLostError`."""
        rate = (self.done + self._partial) / max(self.seconds, 1e-3)
        self._new_shards += self._shards.take()
        if self._samples or self._new_shards:
            self.store.blobs.sync()
        with self.store.database.write() as session:
            progress = Progress(done=None, total=None, per_second=rate or None, eta_seconds=None)
            JobRepository(session).record(self.job_id, self.attempt, progress, self._samples, self._new_shards)
        self._samples, self._new_shards = [], []
        self._recorded = time.monotonic()


def drop_non_finite(metrics: dict[str, float]) -> dict[str, Any]:
    """Returns the metrics without infinite or NaN values, which JSON cannot carry."""
    return {name: value for name, value in metrics.items() if abs(value) < float("inf")}
