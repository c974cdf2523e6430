"""Which images of a degrade job are worked on together: the squares of one, and those that are small."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from models.inference.blur import KERNELS_AT_ONCE
from worker.jobs.items import WaitingItem

SMALL_BYTES = 2**19  # of the files of a batch, if it has several
BATCHES_A_LANE = 4  # at least, or lanes would wait for the one that has the last of them


def batches(shards: Sequence[WaitingItem], size: Callable[[str], float], lanes: int) -> Iterator[Sequence[WaitingItem]]:
    """Shards in their order, some at a time, of as many samples as kernels are drawn at once if there are so many.

    Squares of one image go together, for it is read but once then; images in small files where there is enough for all
    lanes. `size` tells the bytes of a file by its SHA-256; it is asked once for the squares of an image.
    """
    fair = sum(len(shard.samples) for shard in shards) // (BATCHES_A_LANE * lanes)
    batch, samples, total, own = list[WaitingItem](), 0, 0.0, 0.0
    for shard in shards:
        sha256 = shard.item.sha256
        same = sha256 is not None and bool(batch) and sha256 == batch[-1].item.sha256
        most = KERNELS_AT_ONCE if same else min(KERNELS_AT_ONCE, fair)
        if not same:
            own = math.inf if sha256 is None else size(sha256)  # what was refused has no file
        if batch and (samples + len(shard.samples) > most or (not same and total + own > SMALL_BYTES)):
            yield batch
            batch, samples, total, same = [], 0, 0.0, False
        batch.append(shard)
        samples += len(shard.samples)
        total += 0 if same else own
    if batch:
        yield batch
