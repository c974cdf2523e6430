"""The images of a degrade or sr job: which are pending, their files, and their results. A bad image fails alone."""

from __future__ import annotations

import errno
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from imaging.rejections import ImageRejected
from store.db.tables import Item, Job
from store.degrade_options import sample_seed_key
from store.errors import BlobCorrupt, BlobMissing
from store.files.blobs import Blobs
from store.repositories.claims import Claim
from store.repositories.samples import NewSample, SampleRepository
from store.result_store import ResultStore, result_store
from store.store import Store
from worker.runtime.outcome import JobFailedError, ShardDone

SHARD_SECONDS = 10.0  # that a worker should need for a shard: each costs a few transactions
TAR_SECONDS = 60.0  # the same for jobs that store shards, since a result shard ends with the shard of the job
MAX_SHARD_ITEMS = 4096
MAX_GROWTH = 8  # of a shard to the next

log = structlog.get_logger()


@dataclass(frozen=True)
class PendingItem:
    """An image of a job, or one crop of it, and its samples that have no result yet.

    `copies` are the job's other items with the same bytes and crop. They get the same results.
    """

    item: Item
    samples: Sequence[int]
    copies: Sequence[Item] = ()

    @property
    def seed_key(self) -> str:
        """The key that, with the job's seed, seeds the random numbers of its samples."""
        return sample_seed_key(self.item.sha256 or "", self.item.crop)

    def crop(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns this item's crop of an image (height, width, 3), or the whole image.

        Raises `ImageRejected` if the crop is not inside. The service of an earlier build counted transparent parts.
        """
        if self.item.crop is None:
            return image
        top, left, height, width = self.item.crop
        if top + height > image.shape[0] or left + width > image.shape[1]:
            raise ImageRejected("mostly_transparent", "The crop is in a transparent part of the image. Send it again.")
        return image[top : top + height, left : left + width]

    def verified_file(self, blobs: Blobs) -> Path:
        """Returns the path of the file after its hash was checked. Raises `ImageRejected` if it is unusable."""
        if self.item.sha256 is None:
            raise ImageRejected(self.item.code or "refused", self.item.message or "The file was rejected.")
        try:
            return blobs.verified_path(self.item.sha256)
        except BlobMissing as error:
            raise ImageRejected("stored_image_missing", "The stored image is missing. Send it again.") from error
        except BlobCorrupt as error:
            message = "The stored image has changed on disk. Send it again in a new request."
            raise ImageRejected("stored_image_corrupt", message) from error

    def succeed(self, sample: int, files: dict[str, str]) -> list[NewSample]:
        """Returns the results of one sample: the SHA-256 of each of its blobs, by kind."""
        return [NewSample(position, sample, files) for position in self._positions]

    def fail(self, error: ImageRejected) -> list[NewSample]:
        """Returns a failure for each of its samples, and logs it."""
        log.warning("image failed", image=self.item.name, code=error.code)
        return [
            NewSample(position, sample, {}, error.code, error.message)
            for position in self._positions
            for sample in self.samples
        ]

    def skip_low_detail(self) -> list[NewSample]:
        """Returns a skipped result for each of its samples."""
        message = "The image or crop has less detail than `min_detail`."
        return [
            NewSample(position, sample, {}, "too_flat", message, skipped=True)
            for position in self._positions
            for sample in self.samples
        ]

    @property
    def items(self) -> list[Item]:
        """The item and its copies."""
        return [self.item, *self.copies]

    @property
    def _positions(self) -> list[int]:
        return [item.position for item in self.items]


def pending_items(store: Store, claim: Claim, samples: int) -> list[PendingItem]:
    """Returns each distinct image of a shard that lacks any of its samples 0 to `samples` - 1, in order."""
    with store.database.read() as session:
        repository = SampleRepository(session)
        pending = repository.pending_samples(claim.job.id, samples, claim.start, claim.stop)
        groups: dict[Hashable, list[Item]] = {}
        for item in repository.list_items(claim.job.id, claim.start, claim.stop):
            if item.position in pending:
                groups.setdefault(_image_key(item, pending[item.position]), []).append(item)
        return [PendingItem(first, pending[first.position], copies) for first, *copies in groups.values()]


def _image_key(item: Item, samples: Sequence[int]) -> Hashable:
    """Returns what two items have in common that are computed once. A rejected upload is like no other."""
    if item.sha256 is None:
        return item.position
    return item.sha256, tuple(item.crop or ()), samples if isinstance(samples, range) else tuple(samples)


def shard_done(job: Job, items: Sequence[PendingItem], seconds: float) -> ShardDone:
    """Returns the outcome of a shard by the time of its pending items."""
    if not items:
        return ShardDone(None)
    target = TAR_SECONDS if result_store(job.parameters) is ResultStore.shards else SHARD_SECONDS
    usual = target * len(items) / max(seconds, 1e-3)
    return ShardDone(max(1, min(int(usual), MAX_GROWTH * len(items), MAX_SHARD_ITEMS)))


def check_disk_space(store: Store) -> None:
    """Checks that results can be stored. Call this before each batch; finished results stay.

    Raises `JobFailedError` at the service's own storage limit. Raises `OSError` on a full disk, which is transient.
    """
    if store.quota.available_on_disk() <= 0:
        raise OSError(errno.ENOSPC, "the disk has less free space than PATINA_MIN_FREE_BYTES")
    if not store.quota.available():
        raise JobFailedError(
            "storage_full",
            "Storage quota exceeded. Delete datasets that are no longer needed, or raise PATINA_MAX_STORAGE_BYTES. "
            "Then retry the job; finished results are kept.",
        )
