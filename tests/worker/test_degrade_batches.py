"""The plan of a degrade job: what is processed together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from models.inference.blur import KERNEL_BATCH
from store.db.tables import Item
from worker.jobs.degrade_batches import (
    BATCH_PIXELS,
    FLUSH_BYTES,
    OpenedFile,
    plan_batches,
    split_by_bytes,
    split_by_pixels,
)
from worker.jobs.items import PendingItem

LARGE, SMALL = 10**7, 10**5  # bytes


def plan(
    files: Sequence[str | None], samples: Sequence[int], sizes: dict[str, int], threads: int = 1
) -> list[list[tuple[int, int]]]:
    """Returns (position, number of samples) of the items of each batch. File names stand for SHA-256s."""
    pending = [
        PendingItem(Item(position=position, sha256=file), range(count))
        for position, (file, count) in enumerate(zip(files, samples, strict=True))
    ]
    batches = plan_batches(pending, sizes.__getitem__, threads)
    return [[(item.item.position, len(item.samples)) for work in batch for item in work.items] for batch in batches]


def positions(
    files: Sequence[str | None], samples: Sequence[int], sizes: dict[str, int], threads: int = 1
) -> list[list[int]]:
    return [[position for position, _ in batch] for batch in plan(files, samples, sizes, threads)]


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_crops_of_an_image_share_a_batch_up_to_a_kernel_batch(size: int) -> None:
    """A rejected upload has no file, and each has its own reason."""
    files = ["a"] * 5 + [None] * 2 + ["b"] * 3 + ["a"]
    samples = [4] * 5 + [1] * 2 + [20, 10, 7] + [1]
    alone = [[4], [5], [6], [7], [8], [9], [10]]
    assert positions(files, samples, {"a": size, "b": size}, threads=20) == [[0, 1, 2, 3], *alone]
    assert positions([], [], {}) == []


def test_small_files_share_a_batch_up_to_samples_and_bytes() -> None:
    many = [f"{number}" for number in range(64)]
    of_one_sample = positions(many, [1] * 64, dict.fromkeys(many, 10))
    assert of_one_sample == [list(range(first, first + 16)) for first in range(0, 64, 16)]
    assert {len(batch) for batch in positions(many, [4] * 64, dict.fromkeys(many, 10))} == {4}
    assert {len(batch) for batch in positions(many, [1] * 64, dict.fromkeys(many, 2 * SMALL))} == {2}
    assert positions(many, [1] * 64, dict.fromkeys(many, LARGE)) == [[number] for number in range(64)]
    mixed = {name: LARGE if name == "20" else 10 for name in many}
    assert [batch for batch in positions(many, [1] * 64, mixed) if 20 in batch] == [[20]]


def test_every_thread_gets_several_batches() -> None:
    many = [f"{number}" for number in range(64)]
    assert len(positions(many, [1] * 64, dict.fromkeys(many, 10), threads=4)) == 16
    assert positions(many[:8], [1] * 8, dict.fromkeys(many, 10), threads=4) == [[number] for number in range(8)]


def test_many_samples_of_one_image_are_split_among_threads() -> None:
    assert plan(["a"], [100], {"a": LARGE}, threads=4) == [[(0, 25)]] * 4
    assert plan(["a"], [2 * KERNEL_BATCH], {"a": LARGE}, threads=4) == [[(0, KERNEL_BATCH)]] * 2
    assert plan(["a"], [2 * KERNEL_BATCH - 1], {"a": LARGE}, threads=4) == [[(0, 2 * KERNEL_BATCH - 1)]]


def test_the_size_of_a_file_is_read_once_for_its_crops() -> None:
    read = list[str]()

    def file_size(sha256: str) -> float:
        read.append(sha256)
        return SMALL

    plan_batches([PendingItem(Item(position=position, sha256="a"), range(9)) for position in range(5)], file_size, 2)
    assert read == ["a"]


def test_a_batch_is_split_by_pixels_and_a_large_image_is_alone() -> None:
    sizes = [BATCH_PIXELS // 2, BATCH_PIXELS // 2, 1, 3 * BATCH_PIXELS, 5]
    files = [OpenedFile(Path(), pixels, []) for pixels in sizes]
    groups = [[file.pixels for file in group] for group in split_by_pixels(files)]
    assert groups == [sizes[:2], sizes[2:3], sizes[3:4], sizes[4:]]


def test_results_are_stored_as_soon_as_there_are_enough_bytes() -> None:
    sizes = [FLUSH_BYTES - 1, 1, 2 * FLUSH_BYTES, 3]
    assert list(split_by_bytes(sizes, lambda size: size)) == [sizes[:2], sizes[2:3], sizes[3:]]
