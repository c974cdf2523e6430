"""Figures about all jobs together, in as few queries as it takes: each goes over all of them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from store.db.tables import Job

DURATIONS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 24 * 3600.0)  # bounds of a histogram, in seconds


@dataclass(frozen=True)
class Durations:
    at_most: list[int]  # the number of jobs that took no longer than each of DURATIONS, and of all
    total_seconds: float


@dataclass(frozen=True)
class Together:
    """Jobs of one kind and status."""

    jobs: int
    ok: int  # samples or images
    failed: int
    durations: Durations  # from their first start to their end, of those that have both


class JobFigures:
    def __init__(self, session: Session):
        self.session = session

    def by_state(self) -> dict[tuple[str, str], Together]:
        """By (kind, status)."""
        took = Job.finished - Job.started
        counts = [func.count().filter(took <= bound) for bound in DURATIONS]
        query = select(
            Job.kind,
            Job.status,
            func.count(),
            func.sum(Job.ok),
            func.sum(Job.failed),
            func.sum(took),
            *counts,
            func.count(took),
        ).group_by(Job.kind, Job.status)
        return {
            (kind, status): Together(jobs, int(ok), int(failed), Durations(at_most, seconds or 0.0))
            for kind, status, jobs, ok, failed, seconds, *at_most in self.session.execute(query)
        }

    def failures(self) -> dict[tuple[str, ...], float]:
        """The number of failed jobs by (kind, code)."""
        code = Job.error["code"].as_string()
        query = select(Job.kind, code, func.count()).where(Job.status == "failed").group_by(Job.kind, code)
        return {(kind, of or "unknown"): count for kind, of, count in self.session.execute(query)}

    def speeds(self) -> dict[tuple[str, ...], float]:
        """What running jobs finish in a second, by (kind, unit)."""
        query = select(Job.kind, Job.unit, func.sum(Job.per_second)).where(Job.status == "running")
        return {(kind, unit): of or 0.0 for kind, unit, of in self.session.execute(query.group_by(Job.kind, Job.unit))}
