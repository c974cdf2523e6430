"""What can be asked of archives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from sqlalchemy.orm import Session

from app.archives.manifest import Contents
from app.archives.schemas import ArchiveFormat, ArchiveQuery
from app.archives.streams import tarred, webdataset, zipped
from app.http.problems import ProblemError
from app.jobs.schemas import Kind, Status
from app.jobs.service import get_job_or_404, check_not_expired
from store.db.tables import Job
from store.repositories.jobs import JobRepository
from store.repositories.models import ModelRepository
from store.store import Store


@dataclass(frozen=True)
class Archive:
    name: str
    media_type: str
    samples: int  # good ones, in all shards
    shards: int
    content: Iterator[bytes]


def archive(store: Store, job_id: str, wanted: ArchiveQuery) -> Archive:
    contents = _contents(store, job_id, wanted)
    samples = contents.count_ok()
    form = wanted.format or ArchiveFormat(contents.job.parameters.get("format", ArchiveFormat.zip))
    name = "_".join([job_id, *([wanted.split] if wanted.split else [])])
    if form is ArchiveFormat.zip:
        return Archive(f"{name}.zip", "application/zip", samples, 1, zipped(contents))
    if form is ArchiveFormat.tar:
        return Archive(f"{name}.tar", "application/x-tar", samples, 1, tarred(contents))
    size = wanted.shard_size
    shards = 1 if size is None else max(1, -(-samples // size))
    if wanted.shard >= shards:
        raise ProblemError(
            HTTPStatus.NOT_FOUND, "no_such_shard", f"There are {shards} shards of this size, numbered from 0."
        )
    shard = webdataset(contents, skip=wanted.shard * (size or 0), take=size)
    return Archive(f"{name}_{wanted.shard:06}.tar", "application/x-tar", samples, shards, shard)


def _contents(store: Store, job_id: str, wanted: ArchiveQuery) -> Contents:
    with store.database.read() as session:
        job = get_job_or_404(JobRepository(session), job_id)
        scale, origin = _geometry(session, job)
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
    check_not_expired(job)
    if wanted.hr and job.kind != Kind.degrade:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "no_hr", "Only what was degraded has clean images; leave out `hr`."
        )
    if wanted.hr and scale is None:
        raise ProblemError(
            HTTPStatus.GONE,
            "model_gone",
            "The job's model is gone, and with it how large the clean images have to be; leave out `hr`.",
        )
    validation = job.parameters.get("validation") if wanted.validation is None else wanted.validation
    if wanted.split and validation is None:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "no_split",
            "The job has no split. Say what fraction is for validation, such as validation=0.05.",
        )
    return Contents(store, job, scale, origin, wanted.hr, frozenset(wanted.leave_out), validation, wanted.split)


def _geometry(session: Session, job: Job) -> tuple[int | None, Sequence[int] | None]:
    """Scale and, of a degrade job, kernel origin of its model. Jobs keep them, for models may be deleted or hidden."""
    model = ModelRepository(session).get(job.model_id or "") if "scale" not in job.parameters else None
    scale = model.scale if model else job.parameters.get("scale")
    origin = model.kernel_origin if model else job.parameters.get("kernel_origin")
    return scale, origin if job.kind == Kind.degrade else None
