"""Finds what must not be left over: temporary files, unreferenced or damaged blobs, inconsistent records."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import func, select

from bench.chaos.environment import GRACE_SECONDS
from bench.services.service import Service
from store.db.database import Session
from store.db.tables import Dataset, Image, Job, Lease, Model, ResultShard, Sample, Shard, now
from store.errors import BlobCorrupt
from store.files.gc import referenced_hashes
from store.leases import PROCESS
from store.repositories.leases import LeaseRepository
from store.store import Store

COLLECTED_SECONDS = 3 * GRACE_SECONDS + 30
# The first log line after a training was interrupted. It is "job started" if its worker died, too.
INTERRUPTIONS = {"training process died", "lease expired, job requeued", "job requeued", "job started"}


def find_leftovers(service: Service) -> list[str]:
    """Waits for the garbage collection, then describes everything that is left over."""
    store = service.open_store()
    try:
        deadline = time.monotonic() + COLLECTED_SECONDS
        while (found := _uncollected(service, store)) and time.monotonic() < deadline:
            time.sleep(1)
        with store.database.read() as session:
            found += list(_inconsistent_records(session))
        return found + list(_undetected_damage(store))
    finally:
        store.close()


def _uncollected(service: Service, store: Store) -> list[str]:
    """Describes what maintenance should have deleted by now."""
    return [*_unreferenced_files(service, store), *_queue_entries(store), *_expired_leases(store)]


def _unreferenced_files(service: Service, store: Store) -> Iterator[str]:
    with store.database.read() as session:
        needed = referenced_hashes(session)
        alive = [name.removeprefix(PROCESS) for name in LeaseRepository(session).list_live(PROCESS)]
    stored = set(store.blobs.iter_older_than(0))
    own = {f"{process}-local" for process in alive}  # files that running processes have open
    for folder in service.scratch_folders():
        for path in folder.iterdir():
            if path.name not in own:
                yield f"temporary file {path.relative_to(service.folder)}"
    yield from (f"partial upload {upload_id}" for upload_id in store.partial_uploads.list_ids())
    yield from (f"unreferenced blob {sha256}" for sha256 in stored - needed)
    yield from (f"missing blob {sha256}" for sha256 in (needed - stored) | store.blobs.find_missing(needed))
    yield from (f"unrecorded blob {sha256}" for sha256 in store.blobs.find_unrecorded())


def _queue_entries(store: Store) -> Iterator[str]:
    """All jobs have ended, so nobody needs an entry. RQ's own marks expire."""
    server = store.queue.redis
    for pattern in ("rq:queue:*", "rq:job:*"):
        keys = [key for key in server.scan_iter(pattern) if server.ttl(key) < 0]
        yield from (f"queue entry {key.decode()}" for key in keys)


def _expired_leases(store: Store) -> Iterator[str]:
    with store.database.read() as session:
        for lease in session.scalars(select(Lease).where(Lease.expires_at < now())):
            yield f"lease {lease.name}"


def _undetected_damage(store: Store) -> Iterator[str]:
    """Checks the blobs that may be read again. Inputs of finished jobs and checkpoints of ended trainings are not."""
    with store.database.read() as session:
        readable = set(session.scalars(select(Image.sha256)))
        readable.update(session.scalars(select(ResultShard.sha256)))
        in_blobs = select(Sample.files).where(Sample.shard.is_(None))
        for files in (session.scalars(in_blobs), session.scalars(select(Model.files))):
            for by_name in files:
                readable.update(str(sha256) for sha256 in by_name.values())
    for sha256 in readable:
        try:
            store.blobs.read(sha256)
        except BlobCorrupt:
            yield f"blob {sha256} is corrupt, and nobody noticed"


def _inconsistent_records(session: Session) -> Iterator[str]:
    by_job = select(Sample.job_id, Sample.status, func.count()).group_by(Sample.job_id, Sample.status)
    samples = {(job_id, status): count for job_id, status, count in session.execute(by_job)}
    trained = {model.job_id: model.id for model in session.scalars(select(Model))}
    for job in session.scalars(select(Job)):
        if job.status in ("queued", "running"):
            yield f"job {job.id} is {job.status}, but all jobs must have ended"
        if job.finished_at is None:
            yield f"job {job.id} has ended, but has no time of its end"
        if job.kind == "train":
            if job.status == "succeeded" and trained.get(job.id) != job.model_id:
                yield f"training {job.id} references model {job.model_id} but created {trained.get(job.id)}"
            continue
        counted = tuple(samples.get((job.id, status), 0) for status in ("ok", "failed"))
        if counted != (job.ok, job.failed):
            yield f"job {job.id} counts {(job.ok, job.failed)} samples but has {counted}"
        if job.status == "succeeded" and not job.done == job.total == sum(counted):
            yield f"job {job.id} succeeded with {job.done} of {job.total} done and {sum(counted)} samples"
    for shard in session.scalars(select(Shard)):
        yield f"a shard of job {shard.job_id} is left, items {shard.start} to {shard.stop}, {shard.status}"
    for dataset in session.scalars(select(Dataset)):
        images = select(func.count()).select_from(Image).where(Image.dataset_id == dataset.id)
        actual = tuple(session.scalar(images.where(Image.role == role)) for role in ("lr", "hr"))
        if actual != (dataset.lr_images, dataset.hr_images):
            yield f"dataset {dataset.id} counts {(dataset.lr_images, dataset.hr_images)} photos but has {actual}"


def find_oldest_resume(service: Service, faults: list[float]) -> tuple[float, int]:
    """Returns the age in seconds of the oldest checkpoint that a training resumed from, and the number of resumes.

    `faults` are the times of all faults. The age is measured at the last fault before the first log line about the
    interruption, so it is never too small.
    """
    saved: dict[tuple[str, int], float] = {}  # by job and step
    interrupted: dict[str, float] = {}  # by job
    oldest, count = 0.0, 0
    for line in service.read_log():
        time_of_line = datetime.fromisoformat(line["timestamp"]).timestamp() if "timestamp" in line else 0.0
        if line.get("event") == "checkpoint saved":
            saved[line["job"], line["step"]] = time_of_line
            interrupted.pop(line["job"], None)
        elif line.get("event") in INTERRUPTIONS:
            interrupted.setdefault(line["job"], time_of_line)
        elif line.get("event") == "resuming from checkpoint":
            saved_at = saved.get((line["job"], line["step"]))
            if saved_at is None:  # the line was lost with the process that wrote it
                continue
            count += 1
            end = interrupted.get(line["job"], time_of_line)
            candidates = [fault for fault in faults if saved_at <= fault <= end]
            oldest = max(oldest, candidates[-1] - saved_at if candidates else 0)
    return oldest, count
