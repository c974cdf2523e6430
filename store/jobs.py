"""Queries on jobs: the state machine that decides who may work on a job and whose results count.

    queued ──claim──▶ running ──finish──▶ succeeded | failed | canceled
       ▲                 │
       └── give back, ───┘     retry: failed | canceled ──▶ queued
           dead lease

Every write of a worker names the `attempt` that it was given by `claim`. A worker whose lease was given to another
holds an older number, and can change nothing any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, case, delete, func, select, update
from sqlalchemy.orm import Session

from store.ids import new_id
from store.tables import Item, Job, Sample, now

ACTIVE = ("queued", "running")
STOPPED = ("failed", "canceled")


class LeaseLostError(Exception):
    """The job was given to another worker, or is finished or deleted; what this one has made is of no use."""


@dataclass(frozen=True)
class NewItem:
    """An image for a job; one that was refused has no blob but a code and a message."""

    name: str
    sha256: str | None
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class NewSample:
    """A finished result, its blobs in place; or the failure to make it."""

    position: int
    sample: int
    files: dict[str, str]
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class Progress:
    done: int
    total: int
    per_second: float | None
    eta_seconds: float | None
    metrics: dict[str, Any] | None = None


class JobRepository:
    def __init__(self, session: Session):
        self.session = session

    # --- making and reading -----------------------------------------------------------------------------------------

    def create(
        self,
        kind: str,
        *,
        dataset_id: str | None,
        model_id: str | None,
        parameters: dict[str, Any],
        unit: str,
        total: int,
    ) -> Job:
        job = Job(
            id=new_id(),
            kind=kind,
            dataset_id=dataset_id,
            model_id=model_id,
            parameters=parameters,
            unit=unit,
            total=total,
        )
        self.session.add(job)
        self.session.flush()
        return job

    def add_items(self, job_id: str, items: Sequence[tuple[str, NewItem]]) -> None:
        """`items` are (stem, item) in their order; stems are unique."""
        self.session.add_all(
            Item(
                job_id=job_id,
                position=position,
                name=item.name,
                stem=stem,
                sha256=item.sha256,
                code=item.code,
                message=item.message,
            )
            for position, (stem, item) in enumerate(items)
        )

    def get(self, job_id: str) -> Job | None:
        return self.session.get(Job, job_id)

    def page(
        self, *, before: str | None, limit: int, status: str | None, kind: str | None, dataset_id: str | None
    ) -> Sequence[Job]:
        """The newest first, those older than `before`."""
        query = select(Job).order_by(Job.id.desc()).limit(limit)
        if before is not None:
            query = query.where(Job.id < before)
        if status is not None:
            query = query.where(Job.status == status)
        if kind is not None:
            query = query.where(Job.kind == kind)
        if dataset_id is not None:
            query = query.where(Job.dataset_id == dataset_id)
        return self.session.scalars(query).all()

    def count_by_state(self) -> dict[tuple[str, str], int]:
        """The number of jobs by (kind, status)."""
        rows = self.session.execute(select(Job.kind, Job.status, func.count()).group_by(Job.kind, Job.status))
        return {(kind, status): count for kind, status, count in rows}

    def active_of_dataset(self, dataset_id: str) -> Sequence[Job]:
        query = select(Job).where(Job.dataset_id == dataset_id, Job.status.in_(ACTIVE))
        return self.session.scalars(query).all()

    def items(self, job_id: str) -> Sequence[Item]:
        return self.session.scalars(select(Item).where(Item.job_id == job_id).order_by(Item.position)).all()

    def samples(
        self, job_id: str, *, after: tuple[int, int] | None = None, limit: int | None = None
    ) -> Sequence[tuple[Sample, Item]]:
        """Finished samples with their items, in the order of (position, sample), those after `after`."""
        query = (
            select(Sample, Item)
            .join(Item, (Item.job_id == Sample.job_id) & (Item.position == Sample.position))
            .where(Sample.job_id == job_id)
            .order_by(Sample.position, Sample.sample)
            .limit(limit)
        )
        if after is not None:
            position, sample = after
            query = query.where(
                (Sample.position > position) | ((Sample.position == position) & (Sample.sample > sample))
            )
        return [(sample, item) for sample, item in self.session.execute(query)]

    def sample(self, job_id: str, position: int, sample: int) -> Sample | None:
        return self.session.get(Sample, (job_id, position, sample))

    def finished_samples(self, job_id: str) -> set[tuple[int, int]]:
        """(position, sample) of all that needs no more work."""
        rows = self.session.execute(select(Sample.position, Sample.sample).where(Sample.job_id == job_id))
        return {(position, sample) for position, sample in rows}

    # --- working ----------------------------------------------------------------------------------------------------

    def claim(self, job_id: str, worker: str, lease_seconds: float) -> Job | None:
        """Makes the job this worker's, if it waits for one; the job's `attempt` is then this worker's number."""
        claimed = self._update(
            Job.id == job_id,
            Job.status == "queued",
            status="running",
            attempt=Job.attempt + 1,
            worker=worker,
            lease_until=now() + lease_seconds,
            started=case((Job.started.is_(None), now()), else_=Job.started),
        )
        return self.session.get(Job, job_id, populate_existing=True) if claimed else None

    def renew(self, job_id: str, attempt: int, lease_seconds: float) -> bool:
        """Lengthens the lease; says whether the job shall be canceled. Raises `LeaseLostError`."""
        self._fenced(job_id, attempt, lease_until=now() + lease_seconds)
        return bool(self.session.scalar(select(Job.cancel_requested).where(Job.id == job_id)))

    def record(self, job_id: str, attempt: int, progress: Progress, samples: Sequence[NewSample] = ()) -> None:
        """Adds finished samples and tells how far the job is. Raises `LeaseLostError`, and then adds nothing."""
        failed = sum(sample.code is not None for sample in samples)
        changes: dict[str, Any] = {
            "done": progress.done,
            "total": progress.total,
            "per_second": progress.per_second,
            "eta_seconds": progress.eta_seconds,
            "ok": Job.ok + len(samples) - failed,
            "failed": Job.failed + failed,
        }
        if progress.metrics is not None:
            changes["metrics"] = progress.metrics
        self._fenced(job_id, attempt, **changes)
        self.session.add_all(
            Sample(
                job_id=job_id,
                position=sample.position,
                sample=sample.sample,
                status="ok" if sample.code is None else "failed",
                code=sample.code,
                message=sample.message,
                files=sample.files,
            )
            for sample in samples
        )

    def finish(self, job_id: str, attempt: int, status: str, error: dict[str, str] | None = None) -> None:
        """Ends the job. Raises `LeaseLostError`."""
        self._fenced(job_id, attempt, status=status, error=error, **self._ended())

    def require(self, job_id: str, attempt: int) -> None:
        """Raises `LeaseLostError` unless the job is this attempt's; it then stays so until the transaction's end."""
        self._fenced(job_id, attempt)

    def set_model(self, job_id: str, attempt: int, model_id: str) -> None:
        """Names the model that a training made. Raises `LeaseLostError`."""
        self._fenced(job_id, attempt, model_id=model_id)

    def give_back(self, job_id: str, attempt: int) -> None:
        """Puts a job back that its worker cannot finish now. Raises `LeaseLostError`."""
        self._fenced(job_id, attempt, status="queued", worker=None, lease_until=None)

    def bury(self, job_id: str, attempt: int, max_deaths: int) -> None:
        """A process died of this job: another may try, but not for ever. Raises `LeaseLostError`."""
        self._fenced(job_id, attempt)
        self._after_death((Job.id == job_id) & (Job.status == "running"), max_deaths=max_deaths)

    # --- orders from outside ----------------------------------------------------------------------------------------

    def request_cancel(self, job_id: str) -> None:
        """A queued job is canceled at once, a running one is told to stop; one that has ended stays as it is."""
        self._update(Job.id == job_id, Job.status == "queued", status="canceled", **self._ended())
        self._update(Job.id == job_id, Job.status == "running", cancel_requested=True)

    def retry(self, job_id: str) -> bool:
        """Queues a stopped job again: finished samples stay, failed ones are tried anew. False if it is not stopped."""
        retried = self._update(
            Job.id == job_id,
            Job.status.in_(STOPPED),
            status="queued",
            done=Job.done - Job.failed,
            failed=0,
            error=None,
            deaths=0,
            finished=None,
            cancel_requested=False,
        )
        if retried:
            self.session.execute(delete(Sample).where(Sample.job_id == job_id, Sample.status == "failed"))
        return bool(retried)

    # --- the reaper -------------------------------------------------------------------------------------------------

    def reap(self, max_deaths: int) -> list[str]:
        """Puts back running jobs whose lease ran out (cancels those that were to be canceled); gives their ids."""
        dead = (Job.status == "running") & (Job.lease_until < now())
        ids = list(self.session.scalars(select(Job.id).where(dead)))
        self._update(dead, Job.cancel_requested.is_(True), status="canceled", **self._ended())
        self._after_death(dead, max_deaths=max_deaths)
        return ids

    def queued(self) -> Sequence[Job]:
        """In the order in which they were made."""
        return self.session.scalars(select(Job).where(Job.status == "queued").order_by(Job.id)).all()

    # ----------------------------------------------------------------------------------------------------------------

    def _after_death(self, which: ColumnElement[bool], *, max_deaths: int) -> None:
        self._update(
            which,
            Job.deaths + 1 >= max_deaths,
            status="failed",
            deaths=Job.deaths + 1,
            error={
                "code": "worker_died",
                "message": f"{max_deaths} workers died of this job. Their logs say more; often memory is too small. "
                "Retry the job when that is mended.",
            },
            **self._ended(),
        )
        self._update(which, status="queued", deaths=Job.deaths + 1, worker=None, lease_until=None)

    @staticmethod
    def _ended() -> dict[str, Any]:
        return {"finished": now(), "lease_until": None, "eta_seconds": None}

    def _fenced(self, job_id: str, attempt: int, **changes: Any) -> None:
        # A change of nothing still takes the row's lock and tests the fence.
        values = changes or {"attempt": attempt}
        if not self._update(Job.id == job_id, Job.attempt == attempt, Job.status == "running", **values):
            raise LeaseLostError(f"job {job_id} is no longer attempt {attempt}'s")

    def _update(self, *conditions: ColumnElement[bool], **changes: Any) -> int:
        statement = update(Job).where(*conditions).values(**changes)
        result = self.session.execute(statement, execution_options={"synchronize_session": False})
        assert isinstance(result, CursorResult)
        return int(result.rowcount)
