"""The length of a training, its progress, and the callbacks between steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from models.degradation import Degradation
from training.state import TrainState

REPORT_EVERY_SECONDS = 1.0


@dataclass(frozen=True)
class Progress:
    step: int
    total_steps: int  # exact if the length is given in steps, else extrapolated
    seconds: float  # spent training, including the time before a resume
    fraction: float  # of the training, 0..1
    metrics: dict[str, float]
    degradation: Degradation  # changes after the callback returns


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training. It changes after the callback returns, so save it there."""

    state: TrainState

    @property
    def step(self) -> int:
        return self.state.step

    @property
    def seconds(self) -> float:
        return self.state.seconds

    def save(self, path: Path) -> None:
        self.state.save(path)


class Stopped(Exception):
    """Training was interrupted. Its last checkpoint was passed to `on_checkpoint`."""


@dataclass
class ProgressTracker:
    """Measures how much of a training is done, and calls back before and after steps."""

    state: TrainState
    max_steps: int | None
    max_seconds: float | None
    on_progress: Callable[[Progress], None] | None
    on_checkpoint: Callable[[Checkpoint], None] | None
    checkpoint_every_seconds: float
    should_stop: Callable[[], bool] | None
    should_finish: Callable[[], bool] | None
    metrics: dict[str, float] = field(default_factory=dict)  # of the last step

    def __post_init__(self) -> None:
        self.started = self.last_saved = self.last_reported = time.monotonic()
        self.seconds_before, self.steps_before = self.state.seconds, self.state.step

    def get_fraction(self) -> float:
        """Returns how much of the training is done, 0 to 1 or more: by its steps or its time, the larger one."""
        by_steps = self.state.step / self.max_steps if self.max_steps else 0.0
        return max(by_steps, self.state.seconds / self.max_seconds if self.max_seconds else 0.0)

    def before_step(self) -> bool:
        """Passes on a checkpoint, if one is due. Returns False if the training should finish now. Raises Stopped."""
        now = time.monotonic()
        stopping = self.should_stop is not None and self.should_stop()
        if self.on_checkpoint and (stopping or now - self.last_saved >= self.checkpoint_every_seconds):
            self.on_checkpoint(Checkpoint(self.state))
            self.last_saved = time.monotonic()
        if stopping:
            raise Stopped
        return not (self.should_finish and self.state.step and self.should_finish())

    def after_step(self, metrics: dict[str, float]) -> None:
        """Counts the step, records its metrics, and reports once a second."""
        self.metrics = metrics
        self.state.step += 1
        self.state.history.add(self.state.step, metrics)
        self.state.seconds = self.seconds_before + time.monotonic() - self.started
        is_first = self.state.step == self.steps_before + 1
        if time.monotonic() - self.last_reported >= REPORT_EVERY_SECONDS or is_first:
            self.report()
            self.last_reported = time.monotonic()

    def finish(self) -> None:
        """Reports the end, and passes on the last checkpoint."""
        self.report()
        if self.on_checkpoint:
            self.on_checkpoint(Checkpoint(self.state))

    def report(self) -> None:
        step, fraction = self.state.step, min(1.0, self.get_fraction())
        exact = self.max_steps if fraction == step / (self.max_steps or 1) else None
        total = exact or round(step / max(fraction, 1e-9)) or step
        if self.on_progress:
            state = self.state
            self.on_progress(Progress(step, total, state.seconds, fraction, self.metrics, state.degradation))
