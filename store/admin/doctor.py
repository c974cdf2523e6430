"""Checks the database against the blobs and reports each problem with its consequence and its remedy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from store.db.tables import (
    Checkpoint,
    Dataset,
    Image,
    InputPart,
    Item,
    Job,
    Model,
    Preview,
    ResultShard,
    Sample,
    Shard,
    now,
)
from store.errors import BlobCorrupt, BlobMissing
from store.files.blobs import Blobs
from store.files.gc import referenced_hashes
from store.repositories.jobs import JobRepository
from store.repositories.models import CheckpointRepository
from store.store import Store

Repair = Callable[[Session], None]


@dataclass(frozen=True)
class Finding:
    """A problem. `repair` does what `remedy` says; it is None if only a person can."""

    message: str
    remedy: str
    repair: Repair | None = None


def check(store: Store, *, deep: bool) -> Iterator[Finding]:
    """Yields problems. `deep` reads every blob and compares it with its SHA-256."""
    with store.database.read() as session:
        referenced = referenced_hashes(session)
        missing = store.blobs.find_missing(referenced)
        if deep:
            corrupt = {sha256 for sha256 in referenced - missing if _is_corrupt(store.blobs, sha256)}
            for sha256 in sorted(corrupt):
                yield Finding(
                    f"Blob {sha256} is corrupt: its bytes have changed.",
                    "Moves it to the folder `damaged`. It then counts as missing.",
                    lambda _, sha256=sha256: store.blobs.quarantine(sha256),  # type: ignore[misc]
                )
            missing |= corrupt
        if unrecorded := store.blobs.find_unrecorded():
            yield Finding(
                f"{len(unrecorded)} stored files are not in the table of stored files.",
                "Adds them to it. Maintenance deletes those that no record names when they are old.",
                lambda _: store.blobs.record(unrecorded),
            )
        yield from _missing_photos(session, missing)
        yield from _missing_results(session, missing)
        yield from _missing_shards(session, missing)
        yield from _missing_inputs(session, missing)
        yield from _missing_input_parts(session, missing)
        yield from _missing_model_files(session, missing)
        yield from _missing_checkpoints(session, missing)
        yield from _missing_previews(session, missing)
        yield from _wrong_result_counts(session)
        yield from _wrong_photo_counts(session)
        yield from _stalled_jobs(session)


def count_unreferenced(store: Store) -> tuple[int, int]:
    """Returns the number of blobs that no record names, and their bytes. Maintenance deletes them when they are old."""
    with store.database.read() as session:
        referenced = referenced_hashes(session)
    sizes = []
    for sha256 in store.blobs.iter_older_than(-60):
        if sha256 not in referenced:
            with suppress(BlobMissing):  # just deleted
                sizes.append(store.blobs.size(sha256))
    return len(sizes), sum(sizes)


def _is_corrupt(blobs: Blobs, sha256: str) -> bool:
    try:
        for _ in blobs.iter_chunks(sha256):
            pass
    except BlobCorrupt:
        return True
    except BlobMissing:  # deleted since the query: a training has saved another checkpoint
        return False
    return False


def _missing_photos(session: Session, missing: set[str]) -> Iterator[Finding]:
    for image in session.scalars(select(Image).execution_options(yield_per=1000)):
        if image.sha256 in missing:
            yield Finding(
                f"The photo {image.name!r} ({image.role}) of dataset {image.dataset_id} is missing.",
                f"Removes it from the dataset. Send it again: POST /datasets/{image.dataset_id}/images.",
                partial(_remove_photo, image.id, image.dataset_id, image.role),
            )


def _remove_photo(image_id: str, dataset_id: str, role: str, session: Session) -> None:
    count = Dataset.lr_images if role == "lr" else Dataset.hr_images
    session.execute(delete(Image).where(Image.id == image_id))
    session.execute(update(Dataset).where(Dataset.id == dataset_id).values({count: count - 1}))


def _missing_results(session: Session, missing: set[str]) -> Iterator[Finding]:
    lost: dict[str, list[tuple[int, int]]] = defaultdict(list)
    in_blobs = select(Sample).where(Sample.shard.is_(None))
    for sample in session.scalars(in_blobs.execution_options(yield_per=1000)):
        if missing.intersection(sample.files.values()):
            lost[sample.job_id].append((sample.position, sample.sample))
    for job_id, samples in lost.items():
        yield Finding(
            f"{len(samples)} results of job {job_id} are missing.",
            "Queues the job again. It generates the same results from the images that still exist. If it was canceled "
            "or has failed, retry it.",
            partial(_requeue, job_id, samples),
        )


def _requeue(job_id: str, samples: list[tuple[int, int]], session: Session) -> None:
    for position, number in samples:
        lost = (Sample.job_id == job_id) & (Sample.position == position) & (Sample.sample == number)
        session.execute(delete(Sample).where(lost))
    _recount_results(job_id, session)
    JobRepository(session).requeue_after_data_loss(job_id)


def _missing_shards(session: Session, missing: set[str]) -> Iterator[Finding]:
    for shard in session.scalars(select(ResultShard).execution_options(yield_per=1000)):
        if shard.sha256 in missing:
            yield Finding(
                f"The shard {shard.number} of job {shard.job_id} is missing, with {shard.samples} results.",
                "Queues the job again. It generates the same results from the images that still exist. If it was "
                "canceled or has failed, retry it.",
                partial(_requeue_shard, shard.job_id, shard.number),
            )


def _requeue_shard(job_id: str, number: int, session: Session) -> None:
    session.execute(delete(Sample).where(Sample.job_id == job_id, Sample.shard == number))
    session.execute(delete(ResultShard).where(ResultShard.job_id == job_id, ResultShard.number == number))
    _recount_results(job_id, session)
    JobRepository(session).requeue_after_data_loss(job_id)


def _missing_inputs(session: Session, missing: set[str]) -> Iterator[Finding]:
    query = select(Item, Job).join(Job, Job.id == Item.job_id).execution_options(yield_per=1000)
    for item, job in session.execute(query):
        if item.sha256 in missing:
            remedy = "This image alone fails, with the code stored_image_missing. Send it again in a new request."
            if job.status == "succeeded":
                remedy = "Its results stay, but `hr=true` cannot add the image to the job's archive."
            yield Finding(f"The input {item.name!r} of job {job.id} ({job.status}) is missing.", remedy)


def _missing_input_parts(session: Session, missing: set[str]) -> Iterator[Finding]:
    for part in session.scalars(select(InputPart).execution_options(yield_per=100)):
        if lost := sum(record.get("sha256") in missing for record in part.files):
            yield Finding(
                f"{lost} files in part {part.number} of the inputs {part.inputs_id} are missing.",
                "Deletes the record of this part. Send the part again.",
                partial(_delete_input_part, part.inputs_id, part.number),
            )


def _delete_input_part(inputs_id: str, number: int, session: Session) -> None:
    session.execute(delete(InputPart).where(InputPart.inputs_id == inputs_id, InputPart.number == number))


def _missing_model_files(session: Session, missing: set[str]) -> Iterator[Finding]:
    for model in session.scalars(select(Model)):
        if lost := [name for name, sha256 in model.files.items() if sha256 in missing]:
            yield Finding(
                f"Model {model.id} of dataset {model.dataset_id} lacks {', '.join(sorted(lost))}.",
                "Restore a backup, or train again.",
            )


def _missing_checkpoints(session: Session, missing: set[str]) -> Iterator[Finding]:
    for checkpoint in session.scalars(select(Checkpoint)):
        if checkpoint.sha256 in missing:
            yield Finding(
                f"The checkpoint of training {checkpoint.job_id} at step {checkpoint.step} is missing.",
                "Deletes its record. The training resumes from the checkpoint before it, or starts over.",
                partial(_delete_checkpoint, checkpoint.job_id, checkpoint.step),
            )


def _delete_checkpoint(job_id: str, step: int, session: Session) -> None:
    CheckpointRepository(session).delete(job_id, step)


def _missing_previews(session: Session, missing: set[str]) -> Iterator[Finding]:
    for preview in session.scalars(select(Preview)):
        if missing.intersection(preview.files.values()):
            yield Finding(
                f"The preview of training {preview.job_id} is missing.",
                "Deletes its record. A running training writes a new preview.",
                partial(_delete_preview, preview.job_id),
            )


def _delete_preview(job_id: str, session: Session) -> None:
    session.execute(delete(Preview).where(Preview.job_id == job_id))


def _wrong_result_counts(session: Session) -> Iterator[Finding]:
    actual = select(func.count()).where(Sample.job_id == Job.id, Sample.status == "ok").correlate(Job).scalar_subquery()
    query = select(Job.id, Job.ok, actual).where(Job.status != "running", Job.expired_at.is_(None), Job.ok != actual)
    for job_id, counted, found in session.execute(query):
        yield Finding(
            f"Job {job_id} counts {counted} results, but {found} are recorded.",
            "Counts them again.",
            partial(_recount_results, job_id),
        )


def _recount_results(job_id: str, session: Session) -> None:
    count = select(func.count()).where(Sample.job_id == job_id)
    ok, failed = (count.where(Sample.status == status).scalar_subquery() for status in ("ok", "failed"))
    done = count.scalar_subquery()  # with skipped ones
    session.execute(update(Job).where(Job.id == job_id).values(ok=ok, failed=failed, done=done))


def _wrong_photo_counts(session: Session) -> Iterator[Finding]:
    for role, counter in (("lr", Dataset.lr_images), ("hr", Dataset.hr_images)):
        count = select(func.count()).where(Image.dataset_id == Dataset.id, Image.role == role)
        actual = count.correlate(Dataset).scalar_subquery()
        for dataset_id, counted, found in session.execute(select(Dataset.id, counter, actual).where(counter != actual)):
            yield Finding(
                f"Dataset {dataset_id} counts {counted} {role} photos, but {found} are recorded.",
                "Counts them again.",
                partial(_recount_photos, dataset_id, role),
            )


def _recount_photos(dataset_id: str, role: str, session: Session) -> None:
    counter = Dataset.lr_images if role == "lr" else Dataset.hr_images
    actual = select(func.count()).where(Image.dataset_id == dataset_id, Image.role == role).scalar_subquery()
    session.execute(update(Dataset).where(Dataset.id == dataset_id).values({counter: actual}))


def _stalled_jobs(session: Session) -> Iterator[Finding]:
    silent = select(Shard.job_id).where(Shard.status == "running", Shard.lease_until < now() - 60).distinct()
    for job_id in session.scalars(silent):
        yield Finding(
            f"Job {job_id} is running, but its worker has been silent for more than a minute.",
            "Check that maintenance runs. It gives the job to another worker: python -m worker.maintenance",
        )
