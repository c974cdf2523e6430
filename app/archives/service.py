"""Creates archives of a job's results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from importlib.metadata import version

from app.archives.manifest import Manifest
from app.archives.schemas import ArchiveFormat, ArchiveQuery, ShardRead
from app.archives.segments import Segment
from app.archives.streams import stored_segments, tar_segments, webdataset_segments, zip_segments
from app.http.problems import ProblemError, not_found
from app.http.root_path import link
from app.http.schemas import Page
from app.jobs.schemas import Kind, Status
from app.jobs.service import bad_cursor, check_not_expired, parse_number
from app.lookup import get_job_or_404
from store.db.database import Session
from store.db.tables import Job
from store.files.stored_file import StoredFile
from store.manifest import ResultNames
from store.repositories.models import ModelRepository
from store.repositories.result_shards import ResultShardRepository
from store.result_store import ResultStore, result_store
from store.store import Store

ARCHIVE_VERSION = 1  # raise it when the same results would give other bytes
MAX_MEASURED = 2_000  # samples of an archive whose length is always computed, which takes a moment


@dataclass(frozen=True)
class Archive:
    name: str
    media_type: str
    samples: int  # successful ones, in all shards
    shards: int
    etag: str  # the same tag means the same bytes
    measure_first: bool  # whether to compute the length even if nobody asks for it
    segments: Callable[[], Iterator[Segment]]


def create_archive(store: Store, job_id: str, query: ArchiveQuery) -> Archive:
    """Raises `ProblemError` if the job has no such archive."""
    manifest = _create_manifest(store, job_id, query)
    samples = manifest.job.ok if manifest.split is None else manifest.count_ok()
    archive_format = query.format or ArchiveFormat(manifest.job.parameters.get("format", ArchiveFormat.zip))
    name = "_".join([job_id, *([query.split] if query.split else [])])
    describe = partial(
        Archive,
        samples=samples,
        etag=_etag(manifest.job, archive_format, query),
        measure_first=samples <= MAX_MEASURED and not query.hr,
    )
    if archive_format is ArchiveFormat.zip:
        segments = partial(zip_segments, manifest)
        return describe(name=f"{name}.zip", media_type="application/zip", shards=1, segments=segments)
    if archive_format is ArchiveFormat.tar:
        segments = partial(tar_segments, manifest)
        return describe(name=f"{name}.tar", media_type="application/x-tar", shards=1, segments=segments)
    if _is_stored(manifest, query):
        segments, describe = partial(stored_segments, manifest), partial(describe, measure_first=True)
        return describe(name=f"{name}.tar", media_type="application/x-tar", shards=1, segments=segments)
    size = query.shard_size
    shards = 1 if size is None else max(1, -(-samples // size))
    if query.shard >= shards:
        raise ProblemError(
            HTTPStatus.NOT_FOUND, "no_such_shard", f"There are {shards} shards of this size, numbered from 0."
        )
    segments = partial(webdataset_segments, manifest, skip=query.shard * (size or 0), take=size)
    shard = f"{name}_{query.shard:06}.tar"
    return describe(name=shard, media_type="application/x-tar", shards=shards, segments=segments)


def list_shards(store: Store, job_id: str, cursor: str | None, limit: int) -> Page[ShardRead]:
    after = -1 if cursor is None else parse_number(cursor)
    if after is None:
        raise bad_cursor()
    with store.database.read() as session:
        _check_has_shards(get_job_or_404(session, job_id))
        rows = ResultShardRepository(session).list(job_id, after=after, limit=limit)
    url = link(f"/jobs/{job_id}/shards")
    items = [
        ShardRead(
            number=row.number,
            samples=row.samples,
            size=row.size,
            sha256=row.sha256,
            links={"self": f"{url}/{row.number}"},
        )
        for row in rows
    ]
    return Page(items=items, next=str(rows[-1].number) if len(rows) == limit else None)


def find_shard(store: Store, job_id: str, number: int) -> StoredFile:
    """Raises `ProblemError` if the job has no such shard."""
    with store.database.read() as session:
        _check_has_shards(get_job_or_404(session, job_id))
        shard = ResultShardRepository(session).get(job_id, number)
    if shard is None:
        raise not_found("shard", f"{job_id}/{number}")
    return StoredFile(shard.sha256)


def _check_has_shards(job: Job) -> None:
    check_not_expired(job)
    if result_store(job.parameters) is not ResultStore.shards:
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "no_shards",
            "The job stores each result by itself. Get /jobs/{id}/archive?format=webdataset&shard_size=1000&shard=0 "
            "and so on, or submit the job with store=shards.",
        )


def _is_stored(manifest: Manifest, query: ArchiveQuery) -> bool:
    """Tells whether the stored shards of a job are what is asked for."""
    parameters = manifest.job.parameters
    return (
        result_store(parameters) is ResultStore.shards
        and query.shard_size is None
        and not (query.hr or query.leave_out or query.split)
        and manifest.names.validation == parameters.get("validation")
    )


def _etag(job: Job, archive_format: ArchiveFormat, query: ArchiveQuery) -> str:
    content = [ARCHIVE_VERSION, version("patina"), job.id, job.finished_at, job.attempt, archive_format]
    digest = hashlib.sha256(json.dumps([*content, query.model_dump(mode="json")]).encode())
    return f'"{digest.hexdigest()[:32]}"'


def _create_manifest(store: Store, job_id: str, query: ArchiveQuery) -> Manifest:
    with store.database.read() as session:
        job = get_job_or_404(session, job_id)
        scale, origin = _get_geometry(session, job)
    if job.kind == Kind.train:
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "no_archive",
            "A training has no archive. Get its model's files from /models/{id}/files/{name}.",
        )
    if not Status(job.status).is_final:
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "job_not_finished",
            f"The job is {job.status}. Wait until it has ended (GET /jobs/{job_id}?wait=60), or cancel it.",
        )
    check_not_expired(job)
    if query.hr and job.kind != Kind.degrade:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "no_hr", "Only degrade jobs have clean images. Omit `hr`.")
    if query.hr and scale is None:
        raise ProblemError(
            HTTPStatus.GONE,
            "model_gone",
            "The job's model was deleted, so the size of the clean images is unknown. Omit `hr`.",
        )
    validation = job.parameters.get("validation") if query.validation is None else query.validation
    if query.split and validation is None:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "no_split",
            "The job has no split. Give the validation fraction, such as validation=0.05.",
        )
    names = ResultNames(job, scale, origin, validation)
    return Manifest(store, names, query.hr, frozenset(query.leave_out), query.split)


def _get_geometry(session: Session, job: Job) -> tuple[int | None, Sequence[int] | None]:
    """Returns the scale and, for a degrade job, the kernel origin.

    Jobs record both, because their model may be deleted or invisible to the caller; older jobs did not.
    """
    model = ModelRepository(session).get(job.model_id or "") if "scale" not in job.parameters else None
    scale = model.scale if model else job.parameters.get("scale")
    origin = model.kernel_origin if model else job.parameters.get("kernel_origin")
    return scale, origin if job.kind == Kind.degrade else None
