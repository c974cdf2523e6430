"""Shows progress: a bar with rate and time left on a terminal, an occasional line in a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import ParamSpec, Protocol

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from patina.schemas import Progress

LINE_INTERVAL = 10.0  # seconds between lines in a pipe

OnUpload = Callable[[int, int], None]  # (files sent, files in total)
Parameters = ParamSpec("Parameters")


class TrackedJob(Protocol):
    @property
    def status(self) -> str: ...
    @property
    def progress(self) -> Progress: ...


class Tracker:
    """Shows the progress of one task."""

    def __init__(self, console: Console, title: str, bars: Bars | None) -> None:
        self._console = console
        self._title = title
        self._bars = bars
        self._task: TaskID | None = bars.add_task(title, total=None, status="") if bars else None
        self._started = time.monotonic()
        self._last_line = ""
        self._last_line_at = self._started

    def show_count(self, done: int, total: int | None = None, unit: str = "files") -> None:
        """Shows the progress of this process, with its mean rate since the start."""
        rate = done / max(time.monotonic() - self._started, 1e-3)
        left = (total - done) / rate if total and rate else None
        self.show(Progress(done=done, total=total, unit=unit, per_second=rate, eta_seconds=left))

    def show_job(self, job: TrackedJob) -> None:
        if job.status == "queued":
            self._show(job.progress, "waiting for a worker")
        else:
            self.show(job.progress)

    def show(self, progress: Progress) -> None:
        self._show(progress, _format(progress))

    def _show(self, progress: Progress, status: str) -> None:
        if self._bars and self._task is not None:
            self._bars.update(self._task, completed=progress.done, total=progress.total or None, status=status)
            return
        finished = progress.total and progress.done >= progress.total and status != self._last_line
        if finished or time.monotonic() - self._last_line_at >= LINE_INTERVAL:
            self._last_line, self._last_line_at = status, time.monotonic()
            self._console.print(f"{self._title}: {status}", highlight=False)


@contextmanager
def track_progress(console: Console, title: str) -> Iterator[Tracker]:
    if not console.is_terminal:
        yield Tracker(console, title, None)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description:<20}"), BarColumn(), TextColumn("{task.fields[status]}"))
    with Bars(*columns, console=console) as bars:
        yield Tracker(console, title, bars)


@contextmanager
def progress_callback(
    progress: bool | Callable[Parameters, None], title: str, show: Callable[[Tracker], Callable[Parameters, None]]
) -> Iterator[Callable[Parameters, None]]:
    """Yields the caller's function, or a method of a new tracker on standard error, or a function that does nothing."""
    if callable(progress):
        yield progress
    elif progress:
        with track_progress(Console(stderr=True), title) as tracker:
            yield show(tracker)
    else:
        yield _ignore


def _ignore(*_: object, **__: object) -> None:
    pass


def _format(progress: Progress) -> str:
    done = f"{progress.done:,.0f}"
    parts = [f"{done}/{progress.total:,.0f} {progress.unit}" if progress.total else f"{done} {progress.unit}"]
    if progress.per_second:
        parts.append(f"{progress.per_second:,.3g}/s")
    if progress.eta_seconds:
        parts.append(f"{timedelta(seconds=round(progress.eta_seconds))} left")
    return ", ".join(parts)
