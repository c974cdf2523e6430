"""Checks the records against the blobs and says in words what is wrong, what that means, and how to mend it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from store.db.tables import Checkpoint, Dataset, Image, Item, Job, Model, Preview, Sample, now
from store.errors import BlobCorrupt, BlobMissing
from store.files.blobs import Blobs
from store.files.gc import referenced
from store.repositories.jobs import JobRepository
from store.repositories.models import CheckpointRepository
from store.store import Store

Mend = Callable[[Session], None]


@dataclass(frozen=True)
class Finding:
    """`mend` does what `remedy` says; None where only a person can."""

    message: str
    remedy: str
    mend: Mend | None = None


def examine(store: Store, *, deep: bool) -> Iterator[Finding]:
    """What is wrong; `deep` reads every blob to see whether its bytes are still what its name says."""
    with store.database.read() as session:
        named = referenced(session)
        missing = {sha256 for sha256 in named if not store.blobs.path(sha256).is_file()}
        if deep:
            damaged = {sha256 for sha256 in named - missing if _is_damaged(store.blobs, sha256)}
            for sha256 in sorted(damaged):
                yield Finding(
                    f"The blob {sha256} is damaged: its bytes are not what they were.",
                    "It is put aside into the folder `damaged`, and then is as one that is lost.",
                    lambda _, sha256=sha256: store.blobs.put_aside(sha256),  # type: ignore[misc]
                )
            missing |= damaged
        yield from _lost_photos(session, missing)
        yield from _lost_results(session, missing)
        yield from _lost_inputs(session, missing)
        yield from _lost_models(session, missing)
        yield from _lost_checkpoints(session, missing)
        yield from _lost_previews(session, missing)
        yield from _wrong_counts(session)
        yield from _wrong_photo_counts(session)
        yield from _forgotten_jobs(session)


def unreferenced(store: Store) -> tuple[int, int]:
    """How many blobs no record names, and their bytes; the reaper deletes them when they are old enough."""
    with store.database.read() as session:
        named = referenced(session)
    sizes = []
    for sha256 in store.blobs.older_than(-60):
        if sha256 not in named:
            with suppress(BlobMissing):  # deleted in this moment
                sizes.append(store.blobs.size(sha256))
    return len(sizes), sum(sizes)


def _is_damaged(blobs: Blobs, sha256: str) -> bool:
    try:
        blobs.verified(sha256)
    except BlobCorrupt:
        return True
    except BlobMissing:  # since it was seen: a training has kept another checkpoint
        return False
    return False


def _lost_photos(session: Session, missing: set[str]) -> Iterator[Finding]:
    for image in session.scalars(select(Image).execution_options(yield_per=1000)):
        if image.sha256 in missing:
            yield Finding(
                f"The photo {image.name!r} ({image.role}) of dataset {image.dataset_id} is lost.",
                f"It is taken out of the dataset; send it again: POST /datasets/{image.dataset_id}/images.",
                partial(_forget_photo, image.id, image.dataset_id, image.role),
            )


def _forget_photo(image_id: str, dataset_id: str, role: str, session: Session) -> None:
    count = Dataset.lr_images if role == "lr" else Dataset.hr_images
    session.execute(delete(Image).where(Image.id == image_id))
    session.execute(update(Dataset).where(Dataset.id == dataset_id).values({count: count - 1}))


def _lost_results(session: Session, missing: set[str]) -> Iterator[Finding]:
    lost: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for sample in session.scalars(select(Sample).execution_options(yield_per=1000)):
        if missing.intersection(sample.files.values()):
            lost[sample.job_id].append((sample.position, sample.sample))
    for job_id, samples in lost.items():
        yield Finding(
            f"{len(samples)} results of job {job_id} are lost.",
            "The job is queued again and makes them anew, the same ones, from the images that it still has; one that "
            "was canceled or has failed, when it is retried.",
            partial(_make_again, job_id, samples),
        )


def _make_again(job_id: str, samples: list[tuple[int, int]], session: Session) -> None:
    for position, number in samples:
        one = (Sample.job_id == job_id) & (Sample.position == position) & (Sample.sample == number)
        session.execute(delete(Sample).where(one))
    _count_again(job_id, session)
    JobRepository(session).requeue_after_data_loss(job_id)


def _lost_inputs(session: Session, missing: set[str]) -> Iterator[Finding]:
    query = select(Item, Job).join(Job, Job.id == Item.job_id).execution_options(yield_per=1000)
    for item, job in session.execute(query):
        if item.sha256 in missing:
            remedy = "It fails alone, with the code image_lost; the job's others go on. Send it again in a new request."
            if job.status == "succeeded":
                remedy = "What was made of it stays, but `hr=true` cannot add it to the job's archive any more."
            yield Finding(f"The image {item.name!r} that job {job.id} ({job.status}) was sent is lost.", remedy)


def _lost_models(session: Session, missing: set[str]) -> Iterator[Finding]:
    for model in session.scalars(select(Model)):
        if lost := [name for name, sha256 in model.files.items() if sha256 in missing]:
            yield Finding(
                f"Model {model.id} of dataset {model.dataset_id} has lost {', '.join(sorted(lost))}.",
                "Restore a backup, or train again: nothing else can make it anew.",
            )


def _lost_checkpoints(session: Session, missing: set[str]) -> Iterator[Finding]:
    for checkpoint in session.scalars(select(Checkpoint)):
        if checkpoint.sha256 in missing:
            yield Finding(
                f"The checkpoint of training {checkpoint.job_id} at step {checkpoint.step} is lost.",
                "It is forgotten; when the training goes on, it does so from the one before, or begins anew.",
                partial(_forget_checkpoint, checkpoint.job_id, checkpoint.step),
            )


def _forget_checkpoint(job_id: str, step: int, session: Session) -> None:
    CheckpointRepository(session).delete(job_id, step)


def _lost_previews(session: Session, missing: set[str]) -> Iterator[Finding]:
    for preview in session.scalars(select(Preview)):
        if missing.intersection(preview.files.values()):
            yield Finding(
                f"What training {preview.job_id} showed on its way is lost.",
                "It is forgotten; while the training runs it shows itself anew.",
                partial(_forget_preview, preview.job_id),
            )


def _forget_preview(job_id: str, session: Session) -> None:
    session.execute(delete(Preview).where(Preview.job_id == job_id))


def _wrong_counts(session: Session) -> Iterator[Finding]:
    there = select(func.count()).where(Sample.job_id == Job.id, Sample.status == "ok").correlate(Job).scalar_subquery()
    query = select(Job.id, Job.ok, there).where(Job.status != "running", Job.expired_at.is_(None), Job.ok != there)
    for job_id, counted, found in session.execute(query):
        yield Finding(
            f"Job {job_id} says that it has made {counted} results, and {found} are recorded.",
            "They are counted again.",
            partial(_count_again, job_id),
        )


def _count_again(job_id: str, session: Session) -> None:
    of_job = select(func.count()).where(Sample.job_id == job_id)
    ok, failed = (of_job.where(Sample.status == status).scalar_subquery() for status in ("ok", "failed"))
    done = of_job.scalar_subquery()  # with those that were skipped
    session.execute(update(Job).where(Job.id == job_id).values(ok=ok, failed=failed, done=done))


def _wrong_photo_counts(session: Session) -> Iterator[Finding]:
    for role, counted in (("lr", Dataset.lr_images), ("hr", Dataset.hr_images)):
        of_dataset = select(func.count()).where(Image.dataset_id == Dataset.id, Image.role == role)
        there = of_dataset.correlate(Dataset).scalar_subquery()
        for dataset_id, said, found in session.execute(select(Dataset.id, counted, there).where(counted != there)):
            yield Finding(
                f"Dataset {dataset_id} says that it has {said} {role} photos, and {found} are recorded.",
                "They are counted again.",
                partial(_count_photos_again, dataset_id, role),
            )


def _count_photos_again(dataset_id: str, role: str, session: Session) -> None:
    counted = Dataset.lr_images if role == "lr" else Dataset.hr_images
    there = select(func.count()).where(Image.dataset_id == dataset_id, Image.role == role).scalar_subquery()
    session.execute(update(Dataset).where(Dataset.id == dataset_id).values({counted: there}))


def _forgotten_jobs(session: Session) -> Iterator[Finding]:
    for job_id in session.scalars(select(Job.id).where(Job.status == "running", Job.lease_until < now() - 60)):
        yield Finding(
            f"Job {job_id} is running by its record, and nobody has been heard of it for more than a minute.",
            "Is the reaper running? It gives the job to another worker: python -m worker.maintenance",
        )
