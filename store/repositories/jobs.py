"""Queries on jobs: the state machine that decides who may work on a job and whose results count.

    queued ──claim──▶ running ──finish──▶ succeeded | failed | canceled
       ▲                 │
       └── give back, ───┘     retry: failed | canceled ──▶ queued
           dead lease

Every write of a worker names the `attempt` that it was given by `claim`. A worker whose lease was given to another
holds an older number, and can change nothing any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, bindparam, case, delete, func, insert, select, tuple_, update
from sqlalchemy.orm import Session

from store.db.access import caller_of
from store.db.tables import Checkpoint, Item, Job, Preview, Sample, now
from store.errors import LeaseLostError
from store.ids import new_id
from store.repositories.webhooks import Outbox

ACTIVE = ("queued", "running")
STOPPED = ("failed", "canceled")
# Built once: it is asked hundreds of times a second.
THOSE = select(Job).where(Job.id.in_(bindparam("job_ids", expanding=True)))
ITEMS_AT_ONCE = 5000  # written by one statement
QUEUE_LOCK = 0x70617471  # any number that no other lock has
EXPIRED_AT_ONCE = 20  # jobs in one transaction, which others wait for
FORM = 1  # version of jobs' `parameters`; to be raised when older workers would misread new ones


@dataclass(frozen=True, slots=True)
class NewItem:
    """An image for a job; one that was refused has no blob but a code and a message."""

    name: str
    sha256: str | None
    code: str | None = None
    message: str | None = None
    crop: tuple[int, int, int, int] | None = None  # top, left, height, width: what of it is worked on


@dataclass(frozen=True)
class NewSample:
    """A finished result, its blobs in place; or the failure to make it, or that it was not wanted."""

    position: int
    sample: int
    files: dict[str, str]
    code: str | None = None
    message: str | None = None
    skipped: bool = False

    @property
    def status(self) -> str:
        if self.skipped:
            return "skipped"
        return "ok" if self.code is None else "failed"


@dataclass(frozen=True)
class SampleFilter:
    """Which of a job's samples are wanted: those that are ok, those of images whose SHA-256 lies in a range."""

    only_ok: bool = False
    from_sha256: str | None = None
    below_sha256: str | None = None


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
        keep_seconds: float | None = None,
    ) -> Job:
        """`keep_seconds`: how long after its end its results stay; None for ever."""
        job = Job(
            id=new_id(),
            kind=kind,
            dataset_id=dataset_id,
            model_id=model_id,
            owner=caller_of(self.session).token,
            parameters=parameters,
            unit=unit,
            total=total,
            form=FORM,
            keep_seconds=keep_seconds,
        )
        self.session.add(job)
        self.session.flush()
        return job

    def add_items(self, job_id: str, items: Sequence[tuple[str, NewItem]]) -> None:
        """`items` are (stem, item) in their order; stems are unique."""
        # Some at a time, and not as objects of the session, which would keep them all.
        for start in range(0, len(items), ITEMS_AT_ONCE):
            rows = [
                {
                    "job_id": job_id,
                    "position": position,
                    "name": item.name,
                    "stem": stem,
                    "sha256": item.sha256,
                    "crop": item.crop,
                    "code": item.code,
                    "message": item.message,
                }
                for position, (stem, item) in enumerate(items[start : start + ITEMS_AT_ONCE], start)
            ]
            self.session.execute(insert(Item), rows)

    def get(self, job_id: str) -> Job | None:
        return self.session.get(Job, job_id)

    def hold(self, job_id: str) -> Job | None:
        """Keeps it as it is until the transaction's end; None if it is gone."""
        return self.session.get(Job, job_id, with_for_update={"read": True}, populate_existing=True)

    def those(self, job_ids: Sequence[str]) -> Sequence[Job]:
        """Those of the jobs that there are, in any order."""
        return self.session.scalars(THOSE, {"job_ids": job_ids}).all()

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

    def updates(self, seconds: float) -> tuple[float, dict[str, float]]:
        """The database's time, and by id when each job was last changed of those changed in the last seconds."""
        time = float(self.session.scalar(select(now())) or 0)
        rows = self.session.execute(select(Job.id, Job.updated).where(Job.updated > time - seconds))
        return time, {row.id: row.updated for row in rows}

    def are_queued(self, many: int) -> bool:
        """Whether so many jobs wait, whoever sees them. Looks at no more of them."""
        jobs = Job.__table__  # the table and not its class, of which a caller sees some
        some = select(jobs.c.id).where(jobs.c.status == "queued").limit(many).subquery()
        return (self.session.scalar(select(func.count()).select_from(some)) or 0) >= many

    def hold_queue(self) -> None:
        """Until the transaction's end nobody else comes past this, so that what `are_queued` says stays true."""
        if self.session.get_bind().dialect.name == "postgresql":  # on SQLite a `write` is alone anyway
            self.session.execute(select(func.pg_advisory_xact_lock(QUEUE_LOCK)))

    def active_of_dataset(self, dataset_id: str) -> Sequence[Job]:
        query = select(Job).where(Job.dataset_id == dataset_id, Job.status.in_(ACTIVE))
        return self.session.scalars(query).all()

    def items(self, job_id: str) -> Sequence[Item]:
        return self.session.scalars(select(Item).where(Item.job_id == job_id).order_by(Item.position)).all()

    def samples(
        self,
        job_id: str,
        wanted: SampleFilter = SampleFilter(),
        *,
        after: tuple[int, int] | None = None,
        skip: int = 0,
        limit: int | None = None,
    ) -> Sequence[tuple[Sample, Item]]:
        """Finished samples with their items, in the order of (position, sample), those after `after`."""
        query = (
            select(Sample, Item)
            .join(Item, _OF_THE_SAMPLE)
            .where(Sample.job_id == job_id, *_conditions(wanted))
            .order_by(Sample.position, Sample.sample)
            .offset(skip)
            .limit(limit)
        )
        if after is not None:
            # Compared as a pair: the index is entered there, not read from the job's first sample on.
            query = query.where(tuple_(Sample.position, Sample.sample) > after)
        return [(sample, item) for sample, item in self.session.execute(query)]

    def count_samples(self, job_id: str, wanted: SampleFilter = SampleFilter()) -> int:
        query = select(func.count()).select_from(Sample).join(Item, _OF_THE_SAMPLE)
        return self.session.scalar(query.where(Sample.job_id == job_id, *_conditions(wanted))) or 0

    def sample(self, job_id: str, position: int, sample: int) -> Sample | None:
        return self.session.get(Sample, (job_id, position, sample))

    def missing_samples(self, job_id: str, samples: int) -> dict[int, Sequence[int]]:
        """Of each item of which not all of `samples` samples are finished, by its position: those that are not.

        Takes memory for items and not for samples, of which there may be a thousand times as many.
        """
        of_item = select(Sample.position, func.count()).where(Sample.job_id == job_id).group_by(Sample.position)
        finished = {position: int(count) for position, count in self.session.execute(of_item)}
        missing: dict[int, Sequence[int]] = {}
        for position in self.session.scalars(
            select(Item.position).where(Item.job_id == job_id).order_by(Item.position)
        ):
            if position not in finished:
                missing[position] = range(samples)
            elif finished[position] < samples:
                there = set(self.session.scalars(select(Sample.sample).where(*_of_item(job_id, position))))
                missing[position] = [sample for sample in range(samples) if sample not in there]
        return missing

    # --- working ----------------------------------------------------------------------------------------------------

    def claim(self, job_id: str, worker: str, lease_seconds: float) -> Job | None:
        """Makes the job this worker's, if it waits for one; the job's `attempt` is then this worker's number."""
        claimed = self._update(
            Job.id == job_id,
            Job.status == "queued",
            Job.form <= FORM,
            status="running",
            error=None,
            attempt=Job.attempt + 1,
            worker=worker,
            lease_until=now() + lease_seconds,
            started=case((Job.started.is_(None), now()), else_=Job.started),
        )
        return self.session.get(Job, job_id, populate_existing=True) if claimed else None

    def refuse_newer(self, job_id: str) -> bool:
        """Says in the record of a waiting job that this worker is too old for it; False if it is not."""
        message = (
            f"A worker of an older version found this job, which it cannot read (it knows form {FORM}). It waits for a "
            "newer one: bring all workers to the API's version."
        )
        error = {"code": "worker_too_old", "message": message}
        return bool(self._update(Job.id == job_id, Job.status == "queued", Job.form > FORM, error=error))

    def renew(self, job_id: str, attempt: int, lease_seconds: float) -> bool:
        """Lengthens the lease; says whether the job shall be canceled. Raises `LeaseLostError`."""
        self._fenced(job_id, attempt, lease_until=now() + lease_seconds, updated=Job.updated)  # nothing to be seen
        return bool(self.session.scalar(select(Job.cancel_requested).where(Job.id == job_id)))

    def record(self, job_id: str, attempt: int, progress: Progress, samples: Sequence[NewSample] = ()) -> None:
        """Adds finished samples and tells how far the job is. Raises `LeaseLostError`, and then adds nothing."""
        counts = Counter(sample.status for sample in samples)
        changes: dict[str, Any] = {
            "done": progress.done,
            "total": progress.total,
            "per_second": progress.per_second,
            "eta_seconds": progress.eta_seconds,
            "ok": Job.ok + counts["ok"],
            "failed": Job.failed + counts["failed"],
        }
        if progress.metrics is not None:
            changes["metrics"] = progress.metrics
        if samples:
            changes["deaths"] = 0  # it gets on
        self._fenced(job_id, attempt, **changes)
        self.session.add_all(
            Sample(
                job_id=job_id,
                position=sample.position,
                sample=sample.sample,
                status=sample.status,
                code=sample.code,
                message=sample.message,
                files=sample.files,
            )
            for sample in samples
        )

    def finish(self, job_id: str, attempt: int, status: str, error: dict[str, str] | None = None) -> None:
        """Ends the job. Raises `LeaseLostError`."""
        self._fenced(job_id, attempt, status=status, error=error, **self._ended())
        Outbox(self.session).announce([job_id])

    def set_model(self, job_id: str, attempt: int, model_id: str) -> None:
        """Names the model that a training made. Raises `LeaseLostError`."""
        self._fenced(job_id, attempt, model_id=model_id)

    def require(self, job_id: str, attempt: int) -> None:
        """Raises `LeaseLostError` unless the job is this attempt's; it then stays so until the transaction's end."""
        self._fenced(job_id, attempt)

    def gets_on(self, job_id: str, attempt: int) -> None:
        """As `require`; and what it has done is kept, so that deaths before do not count any more."""
        self._fenced(job_id, attempt, deaths=0)

    def give_back(self, job_id: str, attempt: int, why: dict[str, str] | None = None) -> None:
        """Puts a job back that its worker cannot finish now, and says `why` in its record. Raises `LeaseLostError`."""
        self._fenced(job_id, attempt)
        self._update_to_end(Job.id == job_id, error=why, **self._back())

    def bury(self, job_id: str, attempt: int, max_deaths: int) -> None:
        """A process died of this job: another may try, but not for ever. Raises `LeaseLostError`."""
        self._fenced(job_id, attempt)
        self._after_death((Job.id == job_id) & (Job.status == "running"), max_deaths=max_deaths)

    # --- orders from outside ----------------------------------------------------------------------------------------

    def request_cancel(self, job_id: str) -> None:
        """A queued job is canceled at once, a running one is told to stop; one that has ended stays as it is."""
        # All in one statement: between two a running job may be given back, and neither would find it.
        queued = Job.status == "queued"
        self._update_to_end(
            Job.id == job_id,
            Job.status.in_(ACTIVE),
            status=case((queued, "canceled"), else_=Job.status),
            finished=case((queued, now()), else_=Job.finished),
            cancel_requested=case((queued, Job.cancel_requested), else_=True),
        )

    def request_finish(self, job_id: str) -> bool:
        """Tells a running training to end with what it has learned. False if it is no such."""
        return bool(self._update(Job.id == job_id, Job.status == "running", Job.kind == "train", finish_requested=True))

    def retry(self, job_id: str) -> bool:
        """Queues a stopped job again: finished samples stay, failed ones are tried anew. False if it is not stopped."""
        retried = self._update(
            Job.id == job_id,
            Job.status.in_(STOPPED),
            Job.expired.is_(None),
            status="queued",
            done=Job.done - Job.failed,
            failed=0,
            error=None,
            deaths=0,
            finished=None,
            cancel_requested=False,
            finish_requested=False,
        )
        if retried:
            self.session.execute(delete(Sample).where(Sample.job_id == job_id, Sample.status == "failed"))
        return bool(retried)

    def begin_again(self, job_id: str) -> None:
        """Queues a job that has lost results: one that had succeeded, and one at work.

        The worker of that, which believes them to be there, can change nothing any more.
        """
        queued = {"status": "queued", "finished": None, "cancel_requested": False}
        self._update(Job.id == job_id, Job.status == "succeeded", **queued)
        self._update_to_end(Job.id == job_id, Job.status == "running", **self._back())

    # --- the reaper -------------------------------------------------------------------------------------------------

    def reap(self, max_deaths: int) -> list[str]:
        """Puts back running jobs whose lease ran out (cancels those that were to be canceled); gives their ids."""
        dead = (Job.status == "running") & (Job.lease_until < now())
        ids = list(self.session.scalars(select(Job.id).where(dead)))
        self._after_death(dead, max_deaths=max_deaths)
        return ids

    def expire(self) -> list[str]:
        """Deletes the results and inputs of jobs that ended long enough ago, and gives their ids; the jobs stay.

        Of a training its checkpoint and preview are deleted; its model is the dataset's.
        """
        due = (Job.finished + Job.keep_seconds < now()) & Job.expired.is_(None) & Job.status.not_in(ACTIVE)
        expired = list(self.session.scalars(select(Job.id).where(due).limit(EXPIRED_AT_ONCE)))
        for job_id in list(expired):
            if not self._update(due, Job.id == job_id, expired=now()):  # it was retried in this moment
                expired.remove(job_id)
        for table in (Sample, Item, Checkpoint, Preview):
            self.session.execute(delete(table).where(table.job_id.in_(expired)))
        return expired

    def queued(self) -> dict[str, str]:
        """The kind of each queued job by its id, in the order in which they were made."""
        rows = self.session.execute(select(Job.id, Job.kind).where(Job.status == "queued").order_by(Job.id))
        return {row.id: row.kind for row in rows}

    # ----------------------------------------------------------------------------------------------------------------

    def _after_death(self, which: ColumnElement[bool], *, max_deaths: int) -> None:
        self._update_to_end(
            which,
            Job.deaths + 1 >= max_deaths,
            Job.cancel_requested.is_(False),
            status="failed",
            deaths=Job.deaths + 1,
            error={
                "code": "worker_died",
                "message": f"{max_deaths} workers died of this job. Their logs say more; often memory is too small. "
                "Retry the job when that is mended.",
            },
            **self._ended(),
        )
        self._update_to_end(which, deaths=Job.deaths + 1, **self._back())

    @staticmethod
    def _back() -> dict[str, Any]:
        """To the queue; a job that was to be canceled is then canceled, and not begun anew."""
        canceled = Job.cancel_requested.is_(True)
        return {
            "status": case((canceled, "canceled"), else_="queued"),
            "finished": case((canceled, now()), else_=Job.finished),
            "worker": None,
            "lease_until": None,
            "eta_seconds": None,
        }

    @staticmethod
    def _ended() -> dict[str, Any]:
        return {"finished": now(), "lease_until": None, "eta_seconds": None}

    def _fenced(self, job_id: str, attempt: int, **changes: Any) -> None:
        # A change of nothing still takes the row's lock and tests the fence.
        values = changes or {"attempt": attempt}
        if not self._update(Job.id == job_id, Job.attempt == attempt, Job.status == "running", **values):
            raise LeaseLostError(f"job {job_id} is no longer attempt {attempt}'s")

    def _update_to_end(self, *conditions: ColumnElement[bool], **changes: Any) -> None:
        """As `_update`, of jobs that may end by it: those that do are announced."""
        statement = update(Job).where(*conditions).values(**changes).returning(Job.id, Job.status)
        rows = self.session.execute(statement, execution_options={"synchronize_session": False}).all()
        if ended := [row.id for row in rows if row.status not in ACTIVE]:
            Outbox(self.session).announce(ended)

    def _update(self, *conditions: ColumnElement[bool], **changes: Any) -> int:
        statement = update(Job).where(*conditions).values(**changes)
        result = self.session.execute(statement, execution_options={"synchronize_session": False})
        assert isinstance(result, CursorResult)
        return int(result.rowcount)


def _of_item(job_id: str, position: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return Sample.job_id == job_id, Sample.position == position


_OF_THE_SAMPLE = (Item.job_id == Sample.job_id) & (Item.position == Sample.position)


def _conditions(wanted: SampleFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.only_ok:
        conditions.append(Sample.status == "ok")
    if wanted.from_sha256 is not None:
        conditions.append(Item.sha256 >= wanted.from_sha256)
    if wanted.below_sha256 is not None:
        conditions.append(Item.sha256 < wanted.below_sha256)
    return conditions
