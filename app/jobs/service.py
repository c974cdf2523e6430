"""What can be done with jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus

import structlog

from app.archives.manifest import suffix
from app.auth.revocation import require_valid
from app.http.idempotency import Once, came_before
from app.http.problems import ProblemError, not_found
from app.http.schemas import Page, next_cursor
from app.jobs.schemas import EventRead, JobError, JobRead, Kind, ProgressRead, ResultRead, Status
from app.lookup import held
from config.settings import Settings
from store.db.database import Session
from store.db.tables import Event, Job, Sample
from store.errors import QueueUnavailable
from store.repositories.events import EventRepository
from store.repositories.jobs import JobRepository
from store.repositories.models import CheckpointRepository, PreviewRepository
from store.store import Store

QUEUE_FULL_SECONDS = 30  # after which a client may ask again
MAX_CURSOR_DIGITS = 9  # of numbers in cursors; the databases' own end at 2**31

log = structlog.get_logger()


def precheck_capacity(session: Session, settings: Settings, once_key: str | None) -> None:
    """As `check_queue_capacity`, before a request is received: not for one that came before, which makes no further job."""
    if not came_before(session, once_key):
        _require_place(session, settings)


def check_queue_capacity(session: Session, settings: Settings) -> None:
    """Raises `ProblemError` where no further job may wait. To be called in the `write` that makes it."""
    JobRepository(session).hold_queue()
    _require_place(session, settings)


def _require_place(session: Session, settings: Settings) -> None:
    if JobRepository(session).are_queued(settings.max_queued_jobs):
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "queue_full",
            f"{settings.max_queued_jobs:,} jobs wait already. Send this again when some are done, cancel some, or "
            "raise PATINA_MAX_QUEUED_JOBS.",
            headers={"Retry-After": str(QUEUE_FULL_SECONDS)},
        )


def accept(store: Store, once: Once, make: Callable[[Session], Job]) -> JobRead:
    """The job that `make` makes, or that the same request made before; a new one is put on the queue.

    Raises `ProblemError` as `Once.make` does, and whatever `make` raises, which is called in a `write`.
    """
    with store.database.write() as session:
        job, is_new = once.make(session, Job, lambda: make(session))
        answer = to_job_read(job)
    if is_new:
        _submit(store, answer)
    return answer


def _submit(store: Store, job: JobRead) -> None:
    """Puts a job that is recorded on the queue. A queue that is away delays it, no more: the reaper brings it."""
    log.info("job accepted", job=job.id, kind=job.kind)
    try:
        store.queue.enqueue(job.id, job.kind)
    except QueueUnavailable as error:
        log.warning("queue unreachable, the reaper will enqueue the job", job=job.id, error=str(error))


def get_all(store: Store, job_ids: Sequence[str]) -> dict[str, JobRead]:
    """Those of the jobs that there are, by their ids."""
    with store.database.read() as session:
        return {job.id: to_job_read(job) for job in JobRepository(session).those(job_ids)}


def page(
    store: Store, cursor: str | None, limit: int, status: Status | None, kind: Kind | None, dataset: str | None
) -> Page[JobRead]:
    with store.database.read() as session:
        rows = JobRepository(session).page(before=cursor, limit=limit, status=status, kind=kind, dataset_id=dataset)
    return Page(items=[to_job_read(row) for row in rows], next=next_cursor(rows, limit))


def cancel(store: Store, job_id: str) -> JobRead:
    """A job that has ended already is answered as it is."""
    with store.database.write() as session:
        jobs = JobRepository(session)
        get_job_or_404(jobs, job_id)
        jobs.request_cancel(job_id)
        log.info("cancel requested", job=job_id)
        session.expire_all()
        return to_job_read(get_job_or_404(jobs, job_id))


def retry(store: Store, settings: Settings, job_id: str) -> JobRead:
    with store.database.write() as session:
        jobs = JobRepository(session)
        job = get_job_or_404(jobs, job_id)
        check_not_expired(job)
        _hold_its_dataset(session, job)
        check_queue_capacity(session, settings)
        if not jobs.retry(job_id):
            raise ProblemError(
                HTTPStatus.CONFLICT,
                "job_not_stopped",
                "Only a failed or canceled job can be retried; this one is queued, running or has succeeded.",
            )
        session.expire_all()
        answer = to_job_read(get_job_or_404(jobs, job_id))
    log.info("job retried", job=job_id)
    _submit(store, answer)
    return answer


def finish(store: Store, job_id: str) -> JobRead:
    with store.database.write() as session:
        jobs = JobRepository(session)
        get_job_or_404(jobs, job_id)
        if not jobs.request_finish(job_id):
            raise ProblemError(
                HTTPStatus.CONFLICT, "no_training_runs", "Only a training that is running can be ended with its model."
            )
        session.expire_all()
        return to_job_read(get_job_or_404(jobs, job_id))


def go_on(store: Store, settings: Settings, job_id: str, once: Once) -> JobRead:
    """Raises `ProblemError` unless the job is a training that was ended early and has its model."""

    def make(session: Session) -> Job:
        jobs, checkpoints = JobRepository(session), CheckpointRepository(session)
        ended = get_job_or_404(jobs, job_id)
        _hold_its_dataset(session, ended)
        jobs.hold(job_id)  # or what it has kept could expire before the new job names it
        kept = checkpoints.of_job(job_id)
        was_ended = ended.status == Status.succeeded and ended.finish_requested
        if was_ended and ended.expired is not None:
            raise ProblemError(
                HTTPStatus.GONE,
                "checkpoint_expired",
                "What this training could be continued from was deleted, as its `expires` said. Train again.",
            )
        if not (was_ended and kept):
            raise ProblemError(
                HTTPStatus.CONFLICT,
                "not_ended_early",
                "Only a training that was ended early, and has its model, can be continued. A failed or canceled one "
                f"is taken up with POST /jobs/{job_id}/retry.",
            )
        check_queue_capacity(session, settings)
        job = jobs.create(
            "train",
            dataset_id=ended.dataset_id,
            model_id=None,
            parameters=ended.parameters,
            unit=ended.unit,
            total=ended.parameters.get("max_steps") or 0,
            keep_seconds=settings.result_seconds,
        )
        for checkpoint in kept:
            checkpoints.put(job.id, step=checkpoint.step, seconds=checkpoint.seconds, sha256=checkpoint.sha256)
        return job

    return accept(store, once, make)


def _hold_its_dataset(session: Session, job: Job) -> None:
    """A job goes with its dataset."""
    if job.dataset_id is not None:
        held(session, job.dataset_id)


def history(store: Store, job_id: str, cursor: str | None, limit: int) -> Page[EventRead]:
    after = number_of(cursor or "0")
    if after is None:
        raise _bad_cursor()
    with store.database.read() as session:
        get_job_or_404(JobRepository(session), job_id)
        rows = EventRepository(session).after(job_id, after, limit)
    items = [to_event_read(row) for row in rows]
    return Page(items=items, next=str(rows[-1].number) if len(rows) == limit else None)


def news(store: Store, job_id: str, after: int, limit: int) -> tuple[JobRead, list[EventRead]]:
    """The job, and what has happened in it after the event of that number. Raises `ProblemError` as `news_of_all`."""
    with store.database.read() as session:
        require_valid(session)
        job = to_job_read(get_job_or_404(JobRepository(session), job_id))
        return job, [to_event_read(row) for row in EventRepository(session).after(job_id, after, limit)]


def news_of_all(store: Store, changed: Sequence[str]) -> dict[str, JobRead]:
    """Those of the jobs that there are. Raises `ProblemError` for a caller who may not listen any more."""
    with store.database.read() as session:
        require_valid(session)
        return {job.id: to_job_read(job) for job in JobRepository(session).those(changed)} if changed else {}


def preview_file(store: Store, job_id: str, name: str) -> str:
    """The SHA-256 of a file of a training's preview. Raises `ProblemError` where there is none."""
    with store.database.read() as session:
        job = get_job_or_404(JobRepository(session), job_id)
        preview = PreviewRepository(session).get(job_id)
    if job.expired is not None:
        raise ProblemError(
            HTTPStatus.GONE,
            "preview_expired",
            "What the training showed on its way was deleted; its model, if it has one, has a gallery.json of its own.",
        )
    if preview is None or name not in preview.files:
        raise ProblemError(
            HTTPStatus.NOT_FOUND,
            "no_preview",
            f"The job has no preview {name!r} (yet): trainings make gallery.json, patches.png and "
            "examples.png every few seconds.",
        )
    return str(preview.files[name])


def results(store: Store, job_id: str, cursor: str | None, limit: int) -> Page[ResultRead]:
    after = _sample_cursor(cursor)
    with store.database.read() as session:
        jobs = JobRepository(session)
        check_not_expired(get_job_or_404(jobs, job_id))
        rows = jobs.samples(job_id, after=after, limit=limit)
    items = [
        ResultRead(
            source=item.name,
            source_sha256=item.sha256,
            sample=sample.sample,
            status=sample.status,
            code=sample.code,
            message=sample.message,
            links={what: f"/jobs/{job_id}/results/{sample.position}/{sample.sample}/{what}" for what in sample.files},
        )
        for sample, item in rows
    ]
    last = rows[-1][0] if len(rows) == limit else None
    return Page(items=items, next=f"{last.position}.{last.sample}" if last else None)


def result_file(store: Store, job_id: str, position: int, sample: int, what: str) -> tuple[str, str]:
    """(SHA-256, ending) of one file of a sample. Raises `ProblemError` where there is none."""
    with store.database.read() as session:
        row: Sample | None = JobRepository(session).sample(job_id, position, sample)
        job = JobRepository(session).get(job_id)
    if job is not None:
        check_not_expired(job)
    if row is None or job is None or what not in row.files:
        raise not_found("file", f"{job_id}/{position}/{sample}/{what}")
    return str(row.files[what]), suffix(what, job.parameters)


def to_job_read(job: Job) -> JobRead:
    here = f"/jobs/{job.id}"
    links = {what: f"{here}/{what}" for what in ("events", "history", "cancel", "retry")} | {"self": here}
    if job.kind == Kind.train:
        links |= {what: f"{here}/{what}" for what in ("finish", "continue", "preview")}
    if job.kind != Kind.train and job.expired is None:
        links |= {"results": f"{here}/results", "archive": f"{here}/archive"}
    if job.model_id:
        links["model"] = f"/models/{job.model_id}"
    return JobRead(
        id=job.id,
        kind=Kind(job.kind),
        status=Status(job.status),
        progress=ProgressRead(
            done=job.done,
            total=job.total,
            unit=job.unit,
            per_second=job.per_second,
            eta_seconds=job.eta_seconds,
        ),
        dataset=job.dataset_id,
        model=job.model_id,
        parameters=job.parameters,
        metrics=job.metrics,
        attempt=job.attempt,
        created=job.created,
        started=job.started,
        finished=job.finished,
        expires=_expires(job),
        error=JobError.model_validate(job.error) if job.error else None,
        ended_early=job.finish_requested,
        counts=_counts(job),
        links=links,
    )


def _counts(job: Job) -> dict[str, int]:
    counts = {"ok": job.ok, "failed": job.failed}
    if job.kind != Kind.train and (skipped := job.done - job.ok - job.failed):
        counts["skipped"] = skipped
    return counts


def _expires(job: Job) -> float | None:
    """Of a training that has succeeded all stays; but, if it was ended early, what it could be continued from."""
    stays = job.kind == Kind.train and job.status == Status.succeeded and not job.finish_requested
    if job.finished is None or job.keep_seconds is None or stays:
        return None
    return job.expired or job.finished + job.keep_seconds


def check_not_expired(job: Job) -> None:
    """Raises `ProblemError` where what the job made is deleted."""
    if job.expired is not None:
        raise ProblemError(
            HTTPStatus.GONE,
            "results_expired",
            "What this job made was deleted, as its `expires` said. Send the request again; the same seed gives the "
            "same.",
        )


def to_event_read(event: Event) -> EventRead:
    return EventRead(number=event.number, kind=event.kind, time=event.created, data=event.data)


def get_job_or_404(jobs: JobRepository, job_id: str) -> Job:
    """Raises `ProblemError` where there is no such job."""
    job = jobs.get(job_id)
    if job is None:
        raise not_found("job", job_id)
    return job


def _sample_cursor(cursor: str | None) -> tuple[int, int] | None:
    if cursor is None:
        return None
    position, _, sample = cursor.partition(".")
    after = number_of(position), number_of(sample)
    if after[0] is None or after[1] is None:
        raise _bad_cursor()
    return after[0], after[1]


def number_of(text: str) -> int | None:
    """One that a record can have; None for what is none, and for what a database would choke on."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MAX_CURSOR_DIGITS else None


def _bad_cursor() -> ProblemError:
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "bad_cursor",
        "The cursor is not one that this list has given out. Begin without one.",
    )
