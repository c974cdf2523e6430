"""Queries of workers: who may work on which part of a job, and whose results count.

    queued ──claim──▶ running ──finish──▶ gone; the last one ends its job
       ▲                 │
       └── release, ─────┘
           expired lease

Workers claim shards. A claim increments the job's `attempt`, so the number names this claim alone, and every write of
its worker carries it. After another worker has claimed the shard, or the job has ended, such writes raise
`LeaseLostError`. Whoever changes shards locks their job's row first, so two transactions never wait for each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, case, delete, func, insert, not_, select, update
from sqlalchemy.orm import Session

from store.db.statements import execute_counted
from store.db.tables import Job, Sample, Shard, now
from store.errors import LeaseLostError
from store.ids import new_id
from store.queue import INFERENCE, QUEUE_OF_KIND
from store.repositories.result_shards import ResultShardRepository
from store.repositories.samples import NewResultShard, NewSample
from store.repositories.usage import UsageRepository
from store.repositories.webhooks import Outbox

ACTIVE = ("queued", "running")
STOPPED = ("failed", "canceled")
ALL = 2**31 - 1  # `stop` of a shard whose items are not counted, such as a training; it is never divided
PARAMETERS_VERSION = 4  # of jobs' `parameters`; raise it when older workers would misread new ones
# By this version. Any other job waits for a newer worker.
IS_READABLE = and_(Job.kind.in_(tuple(QUEUE_OF_KIND)), Job.parameters_version <= PARAMETERS_VERSION)


@dataclass(frozen=True)
class Progress:
    """The progress of a training, whose `done` and `total` are steps. Those of other jobs follow from their samples."""

    done: int | None
    total: int | None
    per_second: float | None
    eta_seconds: float | None
    metrics: dict[str, Any] | None = None


@dataclass(frozen=True)
class LeaseRenewal:
    """What a worker learns when it renews its lease. `progressed_at` is when it last recorded something."""

    cancel_requested: bool
    progressed_at: float | None


@dataclass(frozen=True)
class Claim:
    """A worker's hold on the items [start, stop) of a job, or on listing items if there is an `expansion`."""

    job: Job  # as it was then: `job.attempt` is the number of this claim
    start: int
    stop: int
    expansion: dict[str, Any] | None
    was_queued: bool  # nobody had worked on the job
    has_rest: bool  # other items of the shard are queued again


@dataclass(frozen=True)
class ExpiredJob:
    """What became of a job with an expired lease: the status is queued, running, failed or canceled."""

    id: str
    kind: str
    status: str
    error: dict[str, str] | None


class ClaimRaced(Exception):
    """Another worker has taken the shard meanwhile. Roll back and claim again."""


class ClaimRepository:
    """What a worker may do with jobs; `JobRepository` adds the rest."""

    def __init__(self, session: Session):
        self.session = session

    def claim(self, job_id: str, worker: str, lease_seconds: float) -> Job | None:
        """Gives the next shard of this job, undivided, to the worker. `attempt` of the job fences its writes.

        Returns None if none is queued, or if only a newer version knows the job's kind or reads its parameters.
        """
        queued = select(Shard).where(Shard.job_id == job_id, Shard.status == "queued").order_by(Shard.start).limit(1)
        shard = self.session.scalar(queued)
        taken = self.take(shard, worker, lease_seconds, ALL) if shard else None
        return taken.job if taken else None

    def take(
        self, shard: Shard, worker: str, lease_seconds: float, items: int, *, was_queued: bool = True
    ) -> Claim | None:
        """Claims at most the first `items` of a queued shard; the rest becomes another one.

        Returns None if this version cannot run the job. Raises `ClaimRaced` if another worker was faster.
        """
        changed = (
            update(Job)
            .where(Job.id == shard.job_id, Job.status.in_(ACTIVE), IS_READABLE)
            .values(
                status="running",
                error=None,
                attempt=Job.attempt + 1,
                started_at=case((Job.started_at.is_(None), now()), else_=Job.started_at),
            )
            .returning(Job)
        )
        options = {"synchronize_session": False, "populate_existing": True}
        job = self.session.scalar(changed, execution_options=options)  # from here on its row is locked
        if job is None:
            return None
        stop = min(shard.stop, shard.start + items)
        taken = self._update_shard(
            Shard.id == shard.id,
            Shard.status == "queued",
            Shard.start == shard.start,
            Shard.stop == shard.stop,
            status="running",
            stop=stop,
            attempt=job.attempt,
            worker=worker,
            lease_until=now() + lease_seconds,
            claimed_at=now(),
            progressed_at=now(),
            per_second=None,
            reserved_until=None,
        )
        if not taken:
            raise ClaimRaced(shard.id)
        if stop < shard.stop:
            self.add_shard(job, stop, shard.stop, queued_at=shard.queued_at)
        return Claim(job, shard.start, stop, shard.expansion, was_queued, stop < shard.stop)

    def mark_worker_too_old(self, job_id: str) -> bool:
        """Records that a queued job waits for a newer worker, and returns whether it does."""
        message = "This job was created by a newer version. Update the workers; the job then continues."
        return bool(
            self._update(
                Job.id == job_id,
                Job.status == "queued",
                not_(IS_READABLE),
                error={"code": "worker_too_old", "message": message},
            )
        )

    def renew(self, job_id: str, attempt: int, lease_seconds: float) -> LeaseRenewal:
        """Extends the lease. Raises `LeaseLostError`."""
        query = (
            update(Shard)
            .where(*_is_claim(job_id, attempt))
            .values(lease_until=now() + lease_seconds)
            .returning(Shard.progressed_at)
        )
        found = self.session.execute(query, execution_options={"synchronize_session": False}).first()
        if found is None:
            raise _lease_lost(job_id, attempt)
        cancel_requested = self.session.scalar(select(Job.cancel_requested).where(Job.id == job_id))
        return LeaseRenewal(bool(cancel_requested), found.progressed_at)

    def record(
        self,
        job_id: str,
        attempt: int,
        progress: Progress,
        samples: Sequence[NewSample] = (),
        shards: Sequence[NewResultShard] = (),
    ) -> None:
        """Adds finished samples, those of result shards too, and the progress.

        Raises `LeaseLostError`, and then adds nothing.
        """
        rows = [_to_row(job_id, sample) for sample in samples]
        samples = [*samples, *(sample for shard in shards for sample in shard.samples)]
        if samples or progress.done is None:
            values = self._progress_of_shards(job_id, attempt, progress.per_second or 0.0, samples)
        else:
            given = {"done": progress.done, "total": progress.total, "metrics": progress.metrics}
            values = {name: value for name, value in given.items() if value is not None}
            values |= {"per_second": progress.per_second, "eta_seconds": progress.eta_seconds}
        self._update(Job.id == job_id, **values)  # locks its row
        changes: dict[str, Any] = {"progressed_at": now(), "per_second": progress.per_second}
        if samples:
            changes["crash_count"] = 0  # the job makes progress
        self.update_claim(job_id, attempt, **changes)
        for shard in shards:
            number = ResultShardRepository(self.session).add(job_id, shard)
            rows += [_to_row(job_id, sample, number) for sample in shard.samples]
        if rows:
            self.session.execute(insert(Sample), rows)

    def finish(
        self,
        job_id: str,
        attempt: int,
        status: str,
        error: dict[str, str] | None = None,
        *,
        error_if_none_ok: dict[str, str] | None = None,
        shard_items: int | None = None,
    ) -> bool:
        """Ends a claim, and its job with it if nothing else is left, or if it failed. Returns whether the job ended.

        A job that would succeed without one sample that is ok fails with `error_if_none_ok` instead, if it is given.
        `shard_items` is how many items the next claim should take. Raises `LeaseLostError`.
        """
        job = self._lock(job_id)
        self._delete_claim(job_id, attempt)
        left = Counter(self.session.scalars(select(Shard.status).where(Shard.job_id == job_id)))
        if job.cancel_requested and status == "succeeded" and left:
            status = "canceled"
        if (status == "succeeded" and left) or (status == "canceled" and left["running"]):
            if shard_items is not None:
                self._update(Job.id == job_id, shard_items=shard_items, updated_at=Job.updated_at)
            return False
        if status == "succeeded" and error_if_none_ok and not job.ok:
            status, error = "failed", error_if_none_ok
        self._end(job_id, status, error, has_shards=bool(left))
        return True

    def set_model(self, job_id: str, attempt: int, model_id: str) -> None:
        """Names the model that a training produced. Raises `LeaseLostError`."""
        self.check_lease(job_id, attempt)
        self._update(Job.id == job_id, model_id=model_id)

    def check_lease(self, job_id: str, attempt: int) -> None:
        """Raises `LeaseLostError` unless this claim is held; it then is until the transaction ends."""
        self._lock(job_id)
        self.update_claim(job_id, attempt)

    def note_progress(self, job_id: str, attempt: int) -> None:
        """Notes that the work goes on while it has nothing to record. Raises `LeaseLostError`."""
        self._lock(job_id)
        self.update_claim(job_id, attempt, progressed_at=now())

    def reset_failures(self, job_id: str, attempt: int) -> None:
        """Forgets earlier crashes, because the work has saved progress. Raises `LeaseLostError`."""
        self._lock(job_id)
        self.update_claim(job_id, attempt, crash_count=0, progressed_at=now())

    def release(self, job_id: str, attempt: int, error: dict[str, str] | None = None) -> None:
        """Requeues a shard that its worker cannot finish now, and records why. Raises `LeaseLostError`.

        One with an error goes behind others of its owner, which may have none.
        """
        job = self._lock(job_id)
        self._requeue(_is_claim(job_id, attempt), queued_at=now() if error else Shard.queued_at)
        self._settle(job, error=error)

    def record_crash(self, job_id: str, attempt: int, max_crashes: int) -> None:
        """Requeues a shard that a process died of, or fails its job after `max_crashes`. Raises `LeaseLostError`."""
        job = self._lock(job_id)
        self._count_crash(job, _is_claim(job_id, attempt), max_crashes)

    def add_shard(
        self,
        job: Job,
        start: int,
        stop: int,
        *,
        expansion: dict[str, Any] | None = None,
        queued_at: float | None = None,
    ) -> None:
        """Queues items `start` to before `stop` of a job."""
        shard: dict[str, Any] = {"id": new_id(), "job_id": job.id, "owner": job.owner, "priority": job.priority}
        if queued_at is not None:
            shard["queued_at"] = queued_at
        queue = QUEUE_OF_KIND.get(job.kind, INFERENCE)
        self.session.execute(insert(Shard).values(**shard, queue=queue, start=start, stop=stop, expansion=expansion))

    def settle(self, job_id: str) -> None:
        """Sets a running job back to queued if nothing of it runs: its worker went to another job."""
        job = self._lock(job_id)
        if job is not None and job.status == "running":
            self._settle(job)

    def requeue_expired_leases(self, max_crashes: int) -> list[ExpiredJob]:
        """Requeues shards whose lease has expired and returns what became of their jobs.

        A job with a cancel request is canceled with its last running shard. One fails if workers died of a shard
        `max_crashes` times.
        """
        has_expired = (Shard.status == "running") & (Shard.lease_until < now())
        found = self.session.execute(select(Shard.id, Shard.job_id).where(has_expired).order_by(Shard.job_id)).all()
        expired = []
        for shard_id, job_id in found:
            job = self._lock(job_id)
            try:
                self._count_crash(job, (Shard.id == shard_id, has_expired), max_crashes)
            except LeaseLostError:  # it was renewed, or its job ended with an earlier one
                continue
            row = self.session.execute(select(Job.id, Job.kind, Job.status, Job.error).where(Job.id == job_id)).one()
            expired.append(ExpiredJob(row.id, row.kind, row.status, row.error))
        return expired

    # ----------------------------------------------------------------------------------------------------------------

    def _lock(self, job_id: str) -> Any:
        """Returns the job's present state, which nobody else can change until the transaction ends."""
        # Others may still refer to the row (key_share).
        query = (
            select(Job.id, Job.status, Job.ok, Job.cancel_requested)
            .where(Job.id == job_id)
            .with_for_update(key_share=True)
        )
        return self.session.execute(query).first()

    @staticmethod
    def _progress_of_shards(
        job_id: str, attempt: int, per_second: float, samples: Sequence[NewSample]
    ) -> dict[str, Any]:
        counts = Counter(sample.status for sample in samples)
        others = Shard.job_id == job_id, Shard.status == "running", Shard.attempt != attempt
        rate = select(func.coalesce(func.sum(Shard.per_second), 0.0)).where(*others).scalar_subquery() + per_second
        done = Job.done + len(samples)
        return {
            "done": done,
            "ok": Job.ok + counts["ok"],
            "failed": Job.failed + counts["failed"],
            "per_second": rate,
            "eta_seconds": (Job.total - done) / func.nullif(rate, 0.0),
        }

    def _count_crash(self, job: Any, claim: Sequence[ColumnElement[bool]], max_crashes: int) -> None:
        crashes = self.session.scalar(select(Shard.crash_count).where(*claim))
        self._requeue(claim, queued_at=now(), crash_count=Shard.crash_count + 1)
        if crashes is not None and crashes + 1 >= max_crashes and not job.cancel_requested:
            message = (
                f"{max_crashes} workers died while they ran this job, often for lack of memory. See their logs, fix "
                "the cause and retry."
            )
            self._end(job.id, "failed", {"code": "worker_died", "message": message})
        else:
            self._settle(job)

    def _requeue(self, claim: Sequence[ColumnElement[bool]], **changes: Any) -> None:
        """Raises `LeaseLostError` if there is no such claim."""
        row = self.session.execute(select(Shard.owner, now() - Shard.claimed_at).where(*claim)).first()
        values = {"status": "queued", "attempt": None, "worker": None, "lease_until": None, "per_second": None}
        if row is None or not self._update_shard(*claim, **values, **changes):
            raise LeaseLostError("the job has ended, or another worker has its shard")
        self._add_usage(*row)

    def _settle(self, job: Any, **changes: Any) -> None:
        """Cancels or requeues a job if nothing of it runs anymore."""
        if self._is_running(job.id):
            return
        if job.cancel_requested:
            self._end(job.id, "canceled", **changes)
        else:
            self._update(Job.id == job.id, status="queued", eta_seconds=None, **changes)

    def _is_running(self, job_id: str) -> bool:
        running = select(Shard.id).where(Shard.job_id == job_id, Shard.status == "running").limit(1)
        return self.session.scalar(running) is not None

    def _end(self, job_id: str, status: str, error: dict[str, str] | None = None, *, has_shards: bool = True) -> None:
        """Ends the job. Workers of its shards lose their leases."""
        values = {"status": status, "error": error, "finished_at": now(), "eta_seconds": None}
        self._update(Job.id == job_id, **values)
        if has_shards:
            self.session.execute(delete(Shard).where(Shard.job_id == job_id, Shard.expansion.is_(None)))
            # A retry goes on to list items where this one stopped.
            listing = {"status": "stopped", "attempt": None, "worker": None, "lease_until": None, "crash_count": 0}
            self._update_shard(Shard.job_id == job_id, **listing)
        Outbox(self.session).enqueue([job_id])

    def _delete_claim(self, job_id: str, attempt: int) -> None:
        deleted = delete(Shard).where(*_is_claim(job_id, attempt)).returning(Shard.owner, now() - Shard.claimed_at)
        row = self.session.execute(deleted, execution_options={"synchronize_session": False}).first()
        if row is None:
            raise _lease_lost(job_id, attempt)
        self._add_usage(*row)

    def _add_usage(self, owner: str | None, seconds: float | None) -> None:
        if owner is not None:
            UsageRepository(self.session).add(owner, worker_seconds=seconds or 0.0)

    def update_claim(self, job_id: str, attempt: int, **changes: Any) -> None:
        """Changes the shard of a claim. The caller has locked its job. Raises `LeaseLostError`."""
        # An update without changes still checks the fence.
        if not self._update_shard(*_is_claim(job_id, attempt), **(changes or {"attempt": attempt})):
            raise _lease_lost(job_id, attempt)

    def _update_shard(self, *conditions: ColumnElement[bool], **changes: Any) -> int:
        return execute_counted(self.session, update(Shard).where(*conditions).values(**changes))

    def _update(self, *conditions: ColumnElement[bool], **changes: Any) -> int:
        return execute_counted(self.session, update(Job).where(*conditions).values(**changes))


def _is_claim(job_id: str, attempt: int) -> tuple[ColumnElement[bool], ...]:
    return Shard.job_id == job_id, Shard.attempt == attempt, Shard.status == "running"


def _lease_lost(job_id: str, attempt: int) -> LeaseLostError:
    return LeaseLostError(f"job {job_id} has ended, or another worker has what was attempt {attempt}'s")


def _to_row(job_id: str, sample: NewSample, shard: int | None = None) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "position": sample.position,
        "sample": sample.sample,
        "status": sample.status,
        "code": sample.code,
        "message": sample.message,
        "shard": shard,
        "files": sample.files,
    }
