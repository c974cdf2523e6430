"""What must not be left: temporary files, blobs that no record names, damaged ones, records at odds with each other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import func, select

from bench.chaos.service import GRACE_SECONDS, Service
from store.db.database import Session
from store.db.tables import Dataset, Image, Job, Model, Sample
from store.errors import BlobCorrupt
from store.files.gc import referenced
from store.store import Store

COLLECTED_SECONDS = 3 * GRACE_SECONDS + 30
# What is said first of a training that was interrupted; the next attempt's start, where its worker died too.
ENDS = {"training process died", "worker died, job taken back", "job given back", "job started"}


def leftovers(service: Service) -> list[str]:
    """After the collection's time of grace."""
    store = service.store()
    try:
        give_up = time.monotonic() + COLLECTED_SECONDS
        while (found := _unnamed(store)) and time.monotonic() < give_up:
            time.sleep(1)
        with store.database.read() as session:
            found += list(_contradictions(session))
        return found + list(_damaged(store))
    finally:
        store.close()


def _unnamed(store: Store) -> list[str]:
    with store.database.read() as session:
        named = referenced(session)
    there = set(store.blobs.older_than(0))
    return (
        [f"temporary file {file.name}" for file in store.blobs.temporary.iterdir()]
        + [f"unfinished file {file.name}" for file in store.unfinished.root.iterdir()]
        + [f"blob {sha256} that no record names" for sha256 in there - named]
        + [f"no blob {sha256}, which a record names" for sha256 in named - there]
    )


def _damaged(store: Store) -> Iterator[str]:
    """A checkpoint of a training that has ended, and what was sent with a job that is done, nobody reads again."""
    with store.database.read() as session:
        read_again = set(session.scalars(select(Image.sha256)))
        for files in (session.scalars(select(Sample.files)), session.scalars(select(Model.files))):
            for named in files:
                read_again.update(str(each) for each in named.values())
    for name in read_again:
        try:
            store.blobs.verified(name)
        except BlobCorrupt:
            yield f"blob {name} is not what its name says, and nobody was told"


def _contradictions(session: Session) -> Iterator[str]:
    by_job = select(Sample.job_id, Sample.status, func.count()).group_by(Sample.job_id, Sample.status)
    samples = {(job_id, status): count for job_id, status, count in session.execute(by_job)}
    trained = {model.job_id: model.id for model in session.scalars(select(Model))}
    for job in session.scalars(select(Job)):
        if job.status in ("queued", "running"):
            yield f"job {job.id} is {job.status}, and all have ended"
        if job.finished is None or job.lease_until is not None:
            yield f"job {job.id} has ended, and finished={job.finished}, lease_until={job.lease_until}"
        if job.kind == "train":
            if job.status == "succeeded" and trained.get(job.id) != job.model_id:
                yield f"training {job.id} names the model {job.model_id} and made {trained.get(job.id)}"
            continue
        counted = tuple(samples.get((job.id, status), 0) for status in ("ok", "failed"))
        if counted != (job.ok, job.failed):
            yield f"job {job.id} counts {(job.ok, job.failed)} samples and has {counted}"
        if job.status == "succeeded" and not job.done == job.total == sum(counted):
            yield f"job {job.id} has succeeded with {job.done} of {job.total}, and {sum(counted)} samples"
    for dataset in session.scalars(select(Dataset)):
        of = select(func.count()).select_from(Image).where(Image.dataset_id == dataset.id)
        there = tuple(session.scalar(of.where(Image.role == role)) for role in ("lr", "hr"))
        if there != (dataset.lr_images, dataset.hr_images):
            yield f"dataset {dataset.id} counts {(dataset.lr_images, dataset.hr_images)} photos and has {there}"


def oldest_resume(service: Service, kills: list[float]) -> tuple[float, int]:
    """Seconds that the oldest checkpoint a training went on from had been kept when it was hit; and how many did.

    `kills` are the moments of faults. The last one before the first line that tells of a training's end is taken for
    what had ended it, which makes the age no less than it was.
    """
    kept: dict[tuple[str, int], float] = {}  # by job and step
    ended: dict[str, float] = {}  # by job
    oldest, count = 0.0, 0
    for line in service.logged():
        at = datetime.fromisoformat(line["timestamp"]).timestamp() if "timestamp" in line else 0.0
        if line.get("event") == "checkpoint kept":
            kept[line["job"], line["step"]] = at
            ended.pop(line["job"], None)
        elif line.get("event") in ENDS:
            ended.setdefault(line["job"], at)
        elif line.get("event") == "going on from a checkpoint":
            began = kept.get((line["job"], line["step"]))
            if began is None:  # the line was lost with whoever wrote it
                continue
            count += 1
            before = [moment for moment in kills if began <= moment <= ended.get(line["job"], at)]
            oldest = max(oldest, before[-1] - began if before else 0)
    return oldest, count
