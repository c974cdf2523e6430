"""How far a job is, recorded often enough to watch and seldom enough to cost nothing."""

from __future__ import annotations

import time
from typing import Any

from store.jobs import JobRepository, NewSample, Progress
from store.store import Store

RECORD_EVERY_SECONDS = 0.5


class ProgressRecorder:
    """Collects finished samples and writes them with the progress, fenced by the attempt.

    What was added is safe after the next `record`; a worker that is killed before it makes those samples again.
    """

    def __init__(self, store: Store, job_id: str, attempt: int, *, done: int, total: int):
        self.store = store
        self.job_id = job_id
        self.attempt = attempt
        self.done = done
        self.total = total
        self._done_before = done
        self._started = self._recorded = time.monotonic()
        self._samples: list[NewSample] = []

    def add(self, sample: NewSample) -> None:
        """Raises `LeaseLostError`."""
        self._samples.append(sample)
        self.done += 1
        if time.monotonic() - self._recorded >= RECORD_EVERY_SECONDS:
            self.record()

    def record(self) -> None:
        """Writes what was added since the last time. Raises `LeaseLostError`."""
        rate = (self.done - self._done_before) / max(time.monotonic() - self._started, 1e-3)
        eta = (self.total - self.done) / rate if rate else None
        self._write(Progress(self.done, self.total, rate or None, eta))

    def _write(self, progress: Progress) -> None:
        with self.store.database.write() as session:
            JobRepository(session).record(self.job_id, self.attempt, progress, self._samples)
        self._samples = []
        self._recorded = time.monotonic()


def is_due(last: float) -> bool:
    """Whether a progress that was last recorded at this `time.monotonic()` shall be recorded again."""
    return time.monotonic() - last >= RECORD_EVERY_SECONDS


def finite(metrics: dict[str, float]) -> dict[str, Any]:
    """Figures that JSON can carry; one that is not finite is left out."""
    return {name: value for name, value in metrics.items() if abs(value) < float("inf")}
