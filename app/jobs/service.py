"""What can be done with jobs."""

from __future__ import annotations

from http import HTTPStatus

import structlog
from redis import RedisError

from app.jobs.manifest import Manifest
from app.jobs.schemas import JobError, JobOut, Kind, ProgressOut, ResultOut, Status
from app.problems import ProblemError, not_found
from app.schemas import Page, cursor_after
from store.jobs import JobRepository
from store.store import Store
from store.tables import Job, Sample
from store.trained import ModelRepository

log = structlog.get_logger()


def submit(store: Store, job: JobOut) -> None:
    """Puts a job that is recorded on the queue. A queue that is away delays it, no more: the reaper brings it."""
    log.info("job accepted", job=job.id, kind=job.kind)
    try:
        store.queue.enqueue(job.id, job.kind)
    except RedisError as error:
        log.warning("queue unreachable, the reaper will enqueue the job", job=job.id, error=str(error))


def get(store: Store, job_id: str) -> JobOut:
    with store.database.read() as session:
        return job_out(_found(JobRepository(session), job_id))


def page(
    store: Store, cursor: str | None, limit: int, status: Status | None, kind: Kind | None, dataset: str | None
) -> Page[JobOut]:
    with store.database.read() as session:
        rows = JobRepository(session).page(before=cursor, limit=limit, status=status, kind=kind, dataset_id=dataset)
    return Page(items=[job_out(row) for row in rows], next=cursor_after(rows, limit))


def cancel(store: Store, job_id: str) -> JobOut:
    """A job that has ended already is answered as it is."""
    with store.database.write() as session:
        jobs = JobRepository(session)
        _found(jobs, job_id)
        jobs.request_cancel(job_id)
        session.expire_all()
        return job_out(_found(jobs, job_id))


def retry(store: Store, job_id: str) -> JobOut:
    with store.database.write() as session:
        jobs = JobRepository(session)
        _found(jobs, job_id)
        if not jobs.retry(job_id):
            raise ProblemError(
                HTTPStatus.CONFLICT,
                "job_not_stopped",
                "Only a failed or canceled job can be retried; this one is queued, running or has succeeded.",
            )
        session.expire_all()
        job = job_out(_found(jobs, job_id))
    submit(store, job)
    return job


def results(store: Store, job_id: str, cursor: str | None, limit: int) -> Page[ResultOut]:
    after = _sample_cursor(cursor)
    with store.database.read() as session:
        jobs = JobRepository(session)
        _found(jobs, job_id)
        rows = jobs.samples(job_id, after=after, limit=limit)
    items = [
        ResultOut(
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


def result_file(store: Store, job_id: str, position: int, sample: int, what: str) -> str:
    """The SHA-256 of one file of a sample. Raises `ProblemError` where there is none."""
    with store.database.read() as session:
        row: Sample | None = JobRepository(session).sample(job_id, position, sample)
    if row is None or what not in row.files:
        raise not_found("file", f"{job_id}/{position}/{sample}/{what}")
    return str(row.files[what])


def manifest(store: Store, job_id: str) -> tuple[Manifest, str]:
    """The manifest of an ended job, and the archive format that was asked for with it."""
    with store.database.read() as session:
        job = _found(JobRepository(session), job_id)
        if job.kind == Kind.train:
            raise ProblemError(
                HTTPStatus.CONFLICT,
                "no_archive",
                "A training has no archive; its model's files are at /models/{id}/files/{name}.",
            )
        if not Status(job.status).is_final:
            raise ProblemError(
                HTTPStatus.CONFLICT,
                "job_not_finished",
                f"The job is {job.status}; wait until it is done (GET /jobs/{job_id}?wait=60) or cancel it.",
            )
        model = ModelRepository(session).get(job.model_id or "")
    return Manifest(store, job, model), str(job.parameters.get("format", "zip"))


def job_out(job: Job) -> JobOut:
    here = f"/jobs/{job.id}"
    links = {"self": here, "cancel": f"{here}/cancel", "retry": f"{here}/retry"}
    if job.kind != Kind.train:
        links |= {"results": f"{here}/results", "archive": f"{here}/archive"}
    if job.model_id:
        links["model"] = f"/models/{job.model_id}"
    return JobOut(
        id=job.id,
        kind=Kind(job.kind),
        status=Status(job.status),
        progress=ProgressOut(
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
        error=JobError.model_validate(job.error) if job.error else None,
        counts={"ok": job.ok, "failed": job.failed},
        links=links,
    )


def _found(jobs: JobRepository, job_id: str) -> Job:
    job = jobs.get(job_id)
    if job is None:
        raise not_found("job", job_id)
    return job


def _sample_cursor(cursor: str | None) -> tuple[int, int] | None:
    if cursor is None:
        return None
    position, _, sample = cursor.partition(".")
    if not (position.isdecimal() and sample.isdecimal()):
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "bad_cursor", "The cursor is not one that this list has given out."
        )
    return int(position), int(sample)
