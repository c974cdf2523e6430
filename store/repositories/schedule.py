"""Which shard a free worker takes next: fair among owners, then by priority, then by age.

The owner with the fewest running shards of the queue goes first. A shard keeps a worker for seconds, so a worker also
checks while it works (`reserve_better`) whether another shard should go first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, String, bindparam, case, func, or_, select, update
from sqlalchemy.orm import Session

from store.db.statements import execute_counted
from store.db.tables import Job, Shard, Usage, now
from store.repositories import claims
from store.repositories.claims import ACTIVE, ALL, Claim, ClaimRepository
from store.repositories.usage import LATELY, UsageRepository

FIRST_SAMPLES = {"degrade": 512, "sr": 8}  # of a job's first shard; later ones depend on the measured speed
SHARE = 2  # a worker takes at most one part in SHARE × workers of what is left, so that all end at the same time
SMALLEST_SHARE = 16  # but not less than this part of a usual shard: each costs a few transactions
RESERVED_SECONDS = 5.0
UNNOTICED_SECONDS = 0.3  # after which no idle worker can be there to take a shard


@dataclass(frozen=True)
class TokenLimits:
    """What workers may do for one token: shards at a time, and seconds within 24 hours. None is unlimited."""

    running: int | None = None
    worker_seconds: float | None = None


@dataclass(frozen=True)
class Place:
    """Where a job stands in the line of its queue, from 1, and whether its owner's limits hold it back."""

    place: int
    over_running: bool
    over_seconds: bool


class ScheduleRepository:
    def __init__(self, session: Session, limits: TokenLimits = TokenLimits()):
        self.session = session
        self.limits = limits

    def claim_next(
        self, queue: str, worker: str, lease_seconds: float, *, workers: int = 1, served: Job | None = None
    ) -> Claim | None:
        """Claims the next shard of a queue, or as much of it as this one of so many workers should take.

        `served` is the job that the worker ran until now: its owner's turn is over, so it still counts as running.
        Returns None if no shard waits. Raises `ClaimRaced` if another worker was faster.
        """
        line = self._line(after_serving=served is not None)
        row = self.session.execute(line.limit(1), self._parameters(queue, served)).first()
        if row is None:
            return None
        shard, job = row.Shard, row.Job
        items, was_queued = self._count_items(shard, job, workers), job.status == "queued"
        return ClaimRepository(self.session).take(shard, worker, lease_seconds, items, was_queued=was_queued)

    def reserve_better(self, queue: str, claimed: Job, *, seconds: float) -> bool:
        """Returns whether another shard should run instead, and reserves it, so that no other worker stops for it.

        It is one of an owner with fewer running shards, or of one with as many and a higher priority. Unless the
        present one has run for `seconds`, only jobs that were not started yet go first.
        """
        owned = Shard.owner.is_not_distinct_from(claimed.owner)
        other = select(Shard.id).where(Shard.queue == queue, Shard.status == "queued")
        other = other.where(~owned | (Shard.priority > claimed.priority)).limit(1)
        if self.session.scalar(other) is None:  # the usual case, which costs little
            return False
        running = select(func.count()).where(Shard.queue == queue, Shard.status == "running")
        mine = self.session.scalar(running.where(owned)) or 0
        free = or_(Shard.reserved_until.is_(None), Shard.reserved_until < now())
        long_enough = select(Shard.id).where(
            Shard.job_id == claimed.id, Shard.attempt == claimed.attempt, Shard.claimed_at < now() - seconds
        )
        line = self._line().where(
            free,
            Shard.queued_at < now() - UNNOTICED_SECONDS,
            or_(Job.started_at.is_(None), long_enough.exists()),
        )
        row = self.session.execute(line.limit(1), self._parameters(queue)).first()
        if row is None or (row.running, -row.Shard.priority) >= (mine, -claimed.priority):
            return False
        reserve = update(Shard).where(Shard.id == row.Shard.id, Shard.status == "queued", free)
        return bool(execute_counted(self.session, reserve.values(reserved_until=now() + RESERVED_SECONDS)))

    def find_place(self, job_id: str) -> Place | None:
        """Returns where a job stands, None if nothing of it waits. Owners take turns, so theirs are interleaved."""
        queue = self.session.scalar(select(Shard.queue).where(Shard.job_id == job_id, Shard.status == "queued"))
        if queue is None:
            return None
        query = self._line(limited=False)
        columns = Shard.job_id, Shard.owner, Shard.priority, Shard.queued_at, query.selected_columns["running"]
        line: Any = query.with_only_columns(*columns, maintain_column_froms=True).subquery()
        jobs = (
            select(
                line.c.job_id,
                line.c.owner,
                func.min(line.c.running).label("running"),
                func.max(line.c.priority).label("priority"),
                func.min(line.c.queued_at).label("queued_at"),
            )
            .group_by(line.c.job_id, line.c.owner)
            .subquery()
        )
        age = jobs.c.priority.desc(), jobs.c.queued_at, jobs.c.job_id
        turn = (jobs.c.running + func.row_number().over(partition_by=jobs.c.owner, order_by=age)).label("turn")
        turns = select(jobs, turn).subquery()
        order = turns.c.turn, turns.c.priority.desc(), turns.c.queued_at, turns.c.job_id
        places = select(turns, func.row_number().over(order_by=order).label("place")).subquery()
        row = self.session.execute(select(places).where(places.c.job_id == job_id), self._parameters(queue)).first()
        if row is None:
            return None
        limit = self.limits.running
        over_running = row.owner is not None and limit is not None and row.running >= limit
        return Place(row.place, over_running, self._is_over_seconds(row.owner))

    def _is_over_seconds(self, owner: str | None) -> bool:
        limit = self.limits.worker_seconds
        return limit is not None and owner is not None and UsageRepository(self.session).worker_seconds(owner) >= limit

    def _line(self, *, after_serving: bool = False, limited: bool = True) -> Select[Any]:
        """Selects (Shard, Job, running) of all shards that wait, in the workers' order."""
        limits = self.limits if limited else TokenLimits()
        return _build_line(limits, after_serving, claims.IS_READABLE)

    def _parameters(self, queue: str, served: Job | None = None) -> dict[str, Any]:
        return {"queue": queue} if served is None else {"queue": queue, "served_owner": served.owner}

    def _count_items(self, shard: Shard, job: Job, workers: int) -> int:
        if shard.stop == ALL or shard.expansion is not None:
            return ALL
        usual = job.shard_items or max(1, FIRST_SAMPLES.get(job.kind, 1) // int(job.parameters.get("samples", 1)))
        if shard.stop - shard.start == 1 or workers == 1:
            return usual
        waiting = select(func.sum(Shard.stop - Shard.start)).where(Shard.job_id == job.id, Shard.status == "queued")
        share = math.ceil((self.session.scalar(waiting) or 0) / (SHARE * workers))
        return max(1, usual // SMALLEST_SHARE, min(usual, share))


@lru_cache(maxsize=16)
def _build_line(limits: TokenLimits, after_serving: bool, is_readable: ColumnElement[bool]) -> Select[Any]:
    """Builds the query of `_line` once, which takes longer than to execute it. Its parameters are bound later."""
    queue = bindparam("queue", type_=String)
    counts = (
        select(Shard.owner, func.count().label("count"))
        .where(Shard.queue == queue, Shard.status == "running")
        .group_by(Shard.owner)
        .subquery()
    )
    running: ColumnElement[int] = func.coalesce(counts.c.count, 0)
    if after_serving:  # that owner's turn is over, so it still counts
        served = bindparam("served_owner", type_=String)
        running = running + case((Shard.owner.is_not_distinct_from(served), 1), else_=0)
    line: Any = (
        select(Shard, Job, running.label("running"))
        .join(Job, Job.id == Shard.job_id)
        .outerjoin(counts, counts.c.owner.is_not_distinct_from(Shard.owner))
        .where(Shard.queue == queue, Shard.status == "queued", Job.status.in_(ACTIVE))
        .where(Job.cancel_requested.is_(False), is_readable)
        .order_by(running, Shard.priority.desc(), Shard.queued_at, Shard.job_id, Shard.start)
    )
    if limits.running is not None:
        line = line.where(or_(Shard.owner.is_(None), func.coalesce(counts.c.count, 0) < limits.running))
    if limits.worker_seconds is not None:
        line = line.where(~_is_over_seconds(Shard.owner, limits.worker_seconds))
    return cast(Select[Any], line)


def _is_over_seconds(owner: SQLColumnExpression[str | None], limit: float) -> ColumnElement[bool]:
    used = select(func.sum(Usage.worker_seconds)).where(Usage.owner == owner, LATELY).scalar_subquery()
    return func.coalesce(used, 0.0) >= limit
