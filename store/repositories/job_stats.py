"""Statistics over all jobs, in few queries: each of them scans the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from store.db.tables import Job, now

DURATIONS = (0.2, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 24 * 3600.0)  # histogram bounds in seconds


@dataclass(frozen=True)
class Durations:
    cumulative_counts: list[int]  # jobs that took at most each of DURATIONS, then all jobs
    total_seconds: float

    def __add__(self, other: Durations) -> Durations:
        counts = zip(self.cumulative_counts, other.cumulative_counts, strict=True)
        return Durations([one + another for one, another in counts], self.total_seconds + other.total_seconds)


@dataclass(frozen=True)
class JobStats:
    """Statistics of the jobs of one kind and status."""

    jobs: int
    ok: int  # samples or images
    failed: int
    durations: Durations  # from the first start to the end, for jobs that have both
    waits: Durations  # from the creation to the first start, for jobs that have started


class JobStatsRepository:
    def __init__(self, session: Session):
        self.session = session

    def by_state(self) -> dict[tuple[str, str], JobStats]:
        """Returns statistics by (kind, status)."""
        query = select(
            Job.kind,
            Job.status,
            func.count(),
            func.sum(Job.ok),
            func.sum(Job.failed),
            *_summarize(Job.finished_at - Job.started_at),
            *_summarize(Job.started_at - Job.created_at),
        ).group_by(Job.kind, Job.status)
        size = len(DURATIONS) + 2
        return {
            (kind, status): JobStats(
                jobs, int(ok), int(failed), _to_durations(columns[:size]), _to_durations(columns[size:])
            )
            for kind, status, jobs, ok, failed, *columns in self.session.execute(query)
        }

    def longest_waits(self) -> dict[str, float]:
        """Returns, by kind, the seconds that the oldest job has waited that has never started."""
        query = select(Job.kind, (now() - func.min(Job.created_at)).label("seconds")).where(
            Job.status == "queued", Job.started_at.is_(None)
        )
        return {row.kind: row.seconds for row in self.session.execute(query.group_by(Job.kind))}

    def failures(self) -> dict[tuple[str, ...], float]:
        """Returns the number of failed jobs by (kind, code)."""
        code = Job.error["code"].as_string()
        query = select(Job.kind, code, func.count()).where(Job.status == "failed").group_by(Job.kind, code)
        return {(kind, code or "unknown"): count for kind, code, count in self.session.execute(query)}

    def throughput(self) -> dict[tuple[str, ...], float]:
        """Returns what running jobs finish per second, by (kind, unit)."""
        query = select(Job.kind, Job.unit, func.sum(Job.per_second)).where(Job.status == "running")
        rows = self.session.execute(query.group_by(Job.kind, Job.unit))
        return {(kind, unit): per_second or 0.0 for kind, unit, per_second in rows}


def _summarize(duration: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """Returns the columns that `_to_durations` reads."""
    counts = [func.count().filter(duration <= bound) for bound in DURATIONS]
    return [func.sum(duration), *counts, func.count(duration)]


def _to_durations(columns: Sequence[Any]) -> Durations:
    seconds, *cumulative_counts = columns
    return Durations(cumulative_counts, seconds or 0.0)
