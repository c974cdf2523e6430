"""Plans a degrade job: what is processed together. Only this module decides that.

The plan has two stages, because the number of pixels of a file is known only after the file was opened:

1. `plan_batches` works on records and file sizes, before the first thread starts.
2. `split_by_pixels` and `split_by_bytes` divide a batch inside the thread that processes it.

The plan affects speed and memory only. A triplet depends on (seed, image, sample) and never on its batch.
`TripletSampler` may run a batch in several passes to limit its own memory. It neither reorders nor regroups samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from models.inference.blur import KERNEL_BATCH
from worker.jobs.items import PendingItem

THREADS_PER_CORE = 2  # a thread often waits for the disk
BATCHES_PER_THREAD = 4  # at least; with fewer, threads idle while the last batches finish
SHARED_BATCH_BYTES = 2**19  # maximum size of a batch's files, if it has several; larger files gain nothing
BATCH_PIXELS = 2**21  # maximum of a batch's images, unless one image alone has more
PIXELS_IN_FLIGHT = 48_000_000  # of all threads together; one larger image is processed alone
FLUSH_BYTES = 2**20  # triplets are stored in groups of this size: a disk syncs many small files as fast as a few

Part = TypeVar("Part")


@dataclass(frozen=True)
class FileWork:
    """A stored file and the pending samples of its crops. The file is read once for all of them."""

    items: Sequence[PendingItem]  # all with the same file

    @property
    def num_samples(self) -> int:
        return sum(len(item.samples) for item in self.items)


@dataclass(frozen=True)
class OpenedFile:
    """A file of a batch whose header was read."""

    path: Path
    pixels: int
    items: Sequence[PendingItem]


Batch = Sequence[FileWork]


def plan_batches(pending: Sequence[PendingItem], file_size: Callable[[str], float], threads: int) -> Sequence[Batch]:
    """Returns batches in the order of the items. One thread processes a batch at a time.

    `file_size` returns the bytes of a blob, or infinity if it is missing. It is called once for consecutive crops.
    """
    parts = [part for item in pending for part in _split_samples(item, threads)]
    # A model draws up to KERNEL_BATCH kernels in one pass, so small images share a batch up to that many samples.
    # With few samples in total they share less, so that every thread gets enough batches.
    samples_per_thread = sum(len(part.samples) for part in parts) // threads
    shared_samples = min(KERNEL_BATCH, samples_per_thread // BATCHES_PER_THREAD)
    batches = list[list[FileWork]]()
    batch_samples, batch_bytes = 0, math.inf
    for work, size in _group_crops(parts, file_size):
        batch_samples += work.num_samples
        batch_bytes += size
        if batches and batch_samples <= shared_samples and batch_bytes <= SHARED_BATCH_BYTES:
            batches[-1].append(work)
        else:
            batches.append([work])
            batch_samples, batch_bytes = work.num_samples, size
    return batches


def _split_samples(item: PendingItem, threads: int) -> Iterator[PendingItem]:
    """Divides the samples of one image among threads, into parts of at least KERNEL_BATCH samples each."""
    count = max(1, min(threads, len(item.samples) // KERNEL_BATCH))
    for part in range(count):
        yield replace(item, samples=item.samples[part::count])


def _group_crops(parts: Iterable[PendingItem], file_size: Callable[[str], float]) -> Iterator[tuple[FileWork, float]]:
    """Groups consecutive crops of one image up to KERNEL_BATCH samples. Yields each group and the bytes of its file."""
    for _, of_file in groupby(parts, key=lambda part: part.item.sha256 or part.item.position):
        crops = list(of_file)
        sha256 = crops[0].item.sha256
        size = math.inf if sha256 is None else file_size(sha256)  # a rejected upload has no file
        for group in _group_up_to(crops, KERNEL_BATCH, lambda crop: len(crop.samples)):
            yield FileWork(group), size


def split_by_pixels(files: Sequence[OpenedFile]) -> Iterator[list[OpenedFile]]:
    """Divides the files of a batch into groups of at most BATCH_PIXELS. Small files may hold large images."""
    return _group_up_to(files, BATCH_PIXELS, lambda file: file.pixels)


def split_by_bytes(parts: Iterable[Part], size: Callable[[Part], int]) -> Iterator[list[Part]]:
    """Yields each group of results once it reaches FLUSH_BYTES, so that it is stored while others are computed."""
    group, total = list[Part](), 0
    for part in parts:
        group.append(part)
        total += size(part)
        if total >= FLUSH_BYTES:
            yield group
            group, total = [], 0
    if group:
        yield group


def _group_up_to(parts: Iterable[Part], limit: int, size: Callable[[Part], int]) -> Iterator[list[Part]]:
    """Groups consecutive parts up to a total size. A part above the limit is alone."""
    group, total = list[Part](), 0
    for part in parts:
        if group and total + size(part) > limit:
            yield group
            group, total = [], 0
        group.append(part)
        total += size(part)
    if group:
        yield group
