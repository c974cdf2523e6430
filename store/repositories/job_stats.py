"""Statistics over all jobs, in few queries: each of them scans the table."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from store.db.tables import Job

DURATIONS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 24 * 3600.0)  # histogram bounds in seconds


@dataclass(frozen=True)
class Durations:
    cumulative_counts: list[int]  # jobs that took at most each of DURATIONS, then all jobs
    total_seconds: float


@dataclass(frozen=True)
class JobStats:
    """Statistics of the jobs of one kind and status."""

    jobs: int
    ok: int  # samples or images
    failed: int
    durations: Durations  # from the first start to the end, for jobs that have both


class JobStatsRepository:
    def __init__(self, session: Session):
        self.session = session

    def by_state(self) -> dict[tuple[str, str], JobStats]:
        """Returns statistics by (kind, status)."""
        duration = Job.finished_at - Job.started_at
        counts = [func.count().filter(duration <= bound) for bound in DURATIONS]
        query = select(
            Job.kind,
            Job.status,
            func.count(),
            func.sum(Job.ok),
            func.sum(Job.failed),
            func.sum(duration),
            *counts,
            func.count(duration),
        ).group_by(Job.kind, Job.status)
        return {
            (kind, status): JobStats(jobs, int(ok), int(failed), Durations(cumulative_counts, seconds or 0.0))
            for kind, status, jobs, ok, failed, seconds, *cumulative_counts in self.session.execute(query)
        }

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
