"""How far a thing is: a bar with rate and time left on a terminal, a plain line now and then in a pipe."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from patina.client.schemas import Progress

PLAIN_SECONDS = 10.0


class Tracked(Protocol):
    """A job, as far as it is watched."""

    @property
    def status(self) -> str: ...
    @property
    def progress(self) -> Progress: ...


class Tracker:
    """Told how far one thing is."""

    def __init__(self, console: Console, title: str, bars: Bars | None) -> None:
        self._console = console
        self._title = title
        self._bars = bars
        self._task: TaskID | None = bars.add_task(title, total=None, figures="") if bars else None
        self._started = time.monotonic()
        self._said = ""
        self._said_at = self._started

    def count(self, done: int, total: int | None = None, unit: str = "files") -> None:
        """Of what this process does itself; the rate is its own since the beginning."""
        rate = done / max(time.monotonic() - self._started, 1e-3)
        left = (total - done) / rate if total and rate else None
        self.at(Progress(done=done, total=total, unit=unit, per_second=rate, eta_seconds=left))

    def job(self, job: Tracked) -> None:
        if job.status == "queued":
            self._show(job.progress, "waiting for a worker")
        else:
            self.at(job.progress)

    def at(self, progress: Progress) -> None:
        self._show(progress, _figures(progress))

    def _show(self, progress: Progress, figures: str) -> None:
        if self._bars and self._task is not None:
            self._bars.update(self._task, completed=progress.done, total=progress.total or None, figures=figures)
            return
        finished = progress.total and progress.done >= progress.total and figures != self._said
        if finished or time.monotonic() - self._said_at >= PLAIN_SECONDS:
            self._said, self._said_at = figures, time.monotonic()
            self._console.print(f"{self._title}: {figures}", highlight=False)


@contextmanager
def tracking(console: Console, title: str) -> Iterator[Tracker]:
    if not console.is_terminal:
        yield Tracker(console, title, None)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description:<20}"), BarColumn(), TextColumn("{task.fields[figures]}"))
    with Bars(*columns, console=console) as bars:
        yield Tracker(console, title, bars)


def _figures(progress: Progress) -> str:
    done = f"{progress.done:,.0f}"
    parts = [f"{done}/{progress.total:,.0f} {progress.unit}" if progress.total else f"{done} {progress.unit}"]
    if progress.per_second:
        parts.append(f"{progress.per_second:,.3g}/s")
    if progress.eta_seconds:
        parts.append(f"{timedelta(seconds=round(progress.eta_seconds))} left")
    return ", ".join(parts)
