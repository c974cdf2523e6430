"""The images of a degrade or sr job: those still to do, and their pixels; a bad one fails alone."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from imaging.image_files import ImageRefusedError
from store.db.tables import Item
from store.degrade_options import sample_key
from store.files.blobs import BlobDamagedError, Blobs
from store.repositories.jobs import JobRepository, NewSample
from store.store import Store
from worker.runtime.lease import Lease
from worker.runtime.outcome import JobFailedError
from worker.runtime.progress import ProgressRecorder

log = structlog.get_logger()


@dataclass(frozen=True)
class WaitingItem:
    """An image, and those of its samples that are not made yet."""

    item: Item
    samples: Sequence[int]

    def shards(self, most: int, least_samples: int) -> list[WaitingItem]:
        """At most so many parts, to be worked on apart, of at least so many samples each if there are as many."""
        parts = max(1, min(most, len(self.samples) // least_samples))
        return [WaitingItem(self.item, self.samples[part::parts]) for part in range(parts)]

    @property
    def key(self) -> str:
        """What the random numbers of its samples are drawn by."""
        return sample_key(self.item.sha256 or "", self.item.crop)

    def cut_from(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Its square of the image (height, width, 3), or all of it."""
        if self.item.crop is None:
            return image
        top, left, height, width = self.item.crop
        return image[top : top + height, left : left + width]

    def file(self, blobs: Blobs) -> Path:
        """Its file. Raises `ImageRefusedError` where there is none."""
        if self.item.sha256 is None:
            raise ImageRefusedError(self.item.code or "refused", self.item.message or "The file was refused.")
        try:
            return blobs.verified(self.item.sha256)
        except FileNotFoundError as error:
            raise ImageRefusedError("image_lost", "The stored image is gone; send it again.") from error
        except BlobDamagedError as error:
            message = "The stored image has changed on disk; send it again in a new request."
            raise ImageRefusedError("image_damaged", message) from error

    def refused(self, error: ImageRefusedError) -> Iterator[NewSample]:
        """All of its samples, failed."""
        log.warning("image failed", image=self.item.name, code=error.code)
        for sample in self.samples:
            yield NewSample(self.item.position, sample, {}, error.code, error.message)

    def too_flat(self) -> Iterator[NewSample]:
        """All of its samples, left out."""
        message = "The image, or this part of it, has less detail than was asked for."
        for sample in self.samples:
            yield NewSample(self.item.position, sample, {}, "too_flat", message, skipped=True)


@dataclass(frozen=True)
class WaitingImage(WaitingItem):
    """It could be read."""

    pixels: NDArray[np.uint8]  # (height, width, 3)


def waiting_items(store: Store, job_id: str, samples: int) -> list[WaitingItem]:
    """Every image with work left, in order; each shall have samples 0 to `samples` − 1."""
    with store.database.read() as session:
        jobs = JobRepository(session)
        missing = jobs.missing_samples(job_id, samples)
        return [WaitingItem(item, missing[item.position]) for item in jobs.items(job_id) if item.position in missing]


def waiting_images(store: Store, job_id: str, recorder: ProgressRecorder, lease: Lease) -> Iterator[WaitingImage]:
    """Each image with work left, of one sample, in order. What cannot be read is recorded as failed and left out."""
    for waiting in waiting_items(store, job_id, samples=1):
        lease.check()
        require_room(store)
        try:
            pixels = store.decoders.read_rgb(waiting.file(store.blobs))
        except ImageRefusedError as error:
            for sample in waiting.refused(error):
                recorder.add(sample)
        else:
            yield WaitingImage(waiting.item, waiting.samples, pixels)


def require_room(store: Store) -> None:
    """Raises `JobFailedError` where the service may store nothing more; what is finished stays.

    A full disk passes, whoever has filled it: OSError, as writing to it would raise.
    """
    if store.room.left_on_disk() <= 0:
        raise OSError(errno.ENOSPC, "less of the disk is free than is to stay so")
    if not store.room.left():
        raise JobFailedError(
            "storage_full",
            "There is no room for results. Delete datasets that are no longer needed, or raise "
            "PATINA_MAX_STORAGE_BYTES; then retry the job, which goes on where it stopped.",
        )


def require_any_ok(store: Store, job_id: str) -> None:
    """Raises `JobFailedError` when not one image of the job could be used."""
    with store.database.read() as session:
        job = JobRepository(session).get(job_id)
    if job is not None and not job.ok:
        raise JobFailedError("all_failed", "Not one image could be used; the results say why for each.")
