"""The images of a degrade or sr job: those still to do, read one at a time; a bad one fails alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import structlog
from numpy.typing import NDArray

from store.blobs import Blobs
from store.image_files import ImageRefusedError, read_rgb
from store.jobs import JobRepository, NewSample
from store.store import Store
from store.tables import Item
from worker.conclusion import JobFailedError
from worker.lease import Lease
from worker.progress import ProgressRecorder

log = structlog.get_logger()


@dataclass(frozen=True)
class WaitingImage:
    """An image and those of its samples that are not made yet."""

    item: Item
    sha256: str
    pixels: NDArray[np.uint8]  # (height, width, 3)
    samples: list[int]


def waiting_images(
    store: Store, job_id: str, samples: int, recorder: ProgressRecorder, lease: Lease
) -> Iterator[WaitingImage]:
    """Each image with work left, in order. What cannot be read is recorded as failed and left out."""
    with store.database.read() as session:
        jobs = JobRepository(session)
        items, finished = jobs.items(job_id), jobs.finished_samples(job_id)
    for item in items:
        lease.check()
        missing = [sample for sample in range(samples) if (item.position, sample) not in finished]
        if not missing:
            continue
        try:
            sha256, pixels = _read(store.blobs, item)
        except ImageRefusedError as error:
            log.warning("image failed", image=item.name, code=error.code)
            for sample in missing:
                recorder.add(NewSample(item.position, sample, {}, error.code, error.message))
            continue
        yield WaitingImage(item, sha256, pixels, missing)


def require_any_ok(store: Store, job_id: str) -> None:
    """Raises `JobFailedError` when not one image of the job could be used."""
    with store.database.read() as session:
        job = JobRepository(session).get(job_id)
    if job is not None and not job.ok:
        raise JobFailedError("all_failed", "Not one image could be used; the results say why for each.")


def _read(blobs: Blobs, item: Item) -> tuple[str, NDArray[np.uint8]]:
    if item.sha256 is None:
        raise ImageRefusedError(item.code or "refused", item.message or "The file was refused.")
    try:
        return item.sha256, read_rgb(blobs.open(item.sha256))
    except FileNotFoundError as error:
        raise ImageRefusedError("image_lost", "The stored image is gone; send it again.") from error
