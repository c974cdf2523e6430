"""Reads jobs, their history, previews and results."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from app.auth.revocation import require_valid
from app.http.problems import ProblemError, not_found
from app.http.schemas import Page, next_cursor
from app.jobs.mapping import to_event_read, to_job_read, to_result_read
from app.jobs.schemas import EventRead, JobRead, Kind, ResultRead, Status
from app.lookup import get_job_or_404
from store.db.tables import Job
from store.files.stored_file import StoredFile
from store.manifest import file_suffix
from store.repositories.events import EventRepository
from store.repositories.jobs import JobRepository
from store.repositories.models import PreviewRepository
from store.repositories.result_shards import ResultShardRepository
from store.repositories.samples import SampleRepository
from store.store import Store

MAX_CURSOR_DIGITS = 9  # database integers end at 2**31


def get_many(store: Store, job_ids: Sequence[str]) -> dict[str, JobRead]:
    """Returns the jobs that exist, by id."""
    with store.database.read() as session:
        return {job.id: to_job_read(job) for job in JobRepository(session).get_many(job_ids)}


def list_jobs(
    store: Store, cursor: str | None, limit: int, status: Status | None, kind: Kind | None, dataset: str | None
) -> Page[JobRead]:
    with store.database.read() as session:
        rows = JobRepository(session).list_newest(
            before=cursor, limit=limit, status=status, kind=kind, dataset_id=dataset
        )
    return Page(items=[to_job_read(row) for row in rows], next=next_cursor(rows, limit))


def list_events(store: Store, job_id: str, cursor: str | None, limit: int) -> Page[EventRead]:
    after = parse_number(cursor or "0")
    if after is None:
        raise bad_cursor()
    with store.database.read() as session:
        get_job_or_404(session, job_id)
        rows = EventRepository(session).list_after(job_id, after, limit)
    items = [to_event_read(row) for row in rows]
    return Page(items=items, next=str(rows[-1].number) if len(rows) == limit else None)


def get_updates(store: Store, job_id: str, after: int, limit: int) -> tuple[JobRead, list[EventRead]]:
    """Returns the job and its events after that number.

    Raises `ProblemError` if the job does not exist or the caller's token was revoked.
    """
    with store.database.read() as session:
        require_valid(session)
        job = to_job_read(get_job_or_404(session, job_id))
        return job, [to_event_read(row) for row in EventRepository(session).list_after(job_id, after, limit)]


def get_changed(store: Store, job_ids: Sequence[str]) -> dict[str, JobRead]:
    """Returns the jobs that exist, by id. Raises `ProblemError` (401) if the caller's token was revoked."""
    with store.database.read() as session:
        require_valid(session)
        return {job.id: to_job_read(job) for job in JobRepository(session).get_many(job_ids)} if job_ids else {}


def find_preview(store: Store, job_id: str, name: str) -> str:
    """Returns the SHA-256 of a file of a training's preview. Raises `ProblemError` if there is none."""
    with store.database.read() as session:
        job = get_job_or_404(session, job_id)
        preview = PreviewRepository(session).get(job_id)
    if job.expired_at is not None:
        raise ProblemError(
            HTTPStatus.GONE,
            "preview_expired",
            "The preview was deleted. If the training produced a model, see the gallery.json of that model.",
        )
    if preview is None or name not in preview.files:
        raise ProblemError(
            HTTPStatus.NOT_FOUND,
            "no_preview",
            f"The job has no preview {name!r} yet. Trainings write gallery.json, patches.png and examples.png every "
            "few seconds.",
        )
    return str(preview.files[name])


def list_results(store: Store, job_id: str, cursor: str | None, limit: int) -> Page[ResultRead]:
    after = _parse_sample_cursor(cursor)
    with store.database.read() as session:
        check_not_expired(get_job_or_404(session, job_id))
        rows = SampleRepository(session).list_samples(job_id, after=after, limit=limit)
    last = rows[-1][0] if len(rows) == limit else None
    return Page(
        items=[to_result_read(sample, item) for sample, item in rows],
        next=f"{last.position}.{last.sample}" if last else None,
    )


def find_result_file(store: Store, job_id: str, position: int, sample: int, kind: str) -> tuple[StoredFile, str]:
    """Returns a sample's file and its suffix. Raises `ProblemError` if there is none."""
    with store.database.read() as session:
        row = SampleRepository(session).get_sample(job_id, position, sample)
        job = JobRepository(session).get(job_id)
        number = None if row is None else row.shard
        shard = None if number is None else ResultShardRepository(session).get(job_id, number)
    if job is not None:
        check_not_expired(job)
    if row is None or job is None or kind not in row.files:
        raise not_found("file", f"{job_id}/{position}/{sample}/{kind}")
    file = StoredFile.from_record(row.files[kind], shard.sha256 if shard else None)
    return file, file_suffix(kind, job.parameters)


def check_not_expired(job: Job) -> None:
    """Raises `ProblemError` (410) if the job's results were deleted."""
    if job.expired_at is not None:
        raise ProblemError(
            HTTPStatus.GONE,
            "results_expired",
            "The results were deleted at the time in `expires`. Submit the request again; the same seed gives the "
            "same results.",
        )


def parse_number(text: str) -> int | None:
    """Returns a number that a record can have; None for other text."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MAX_CURSOR_DIGITS else None


def _parse_sample_cursor(cursor: str | None) -> tuple[int, int] | None:
    if cursor is None:
        return None
    first, _, second = cursor.partition(".")
    position, sample = parse_number(first), parse_number(second)
    if position is None or sample is None:
        raise bad_cursor()
    return position, sample


def bad_cursor() -> ProblemError:
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "bad_cursor",
        "The cursor does not belong to this list. Start without a cursor.",
    )
