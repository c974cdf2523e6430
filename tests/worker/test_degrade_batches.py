"""What of a degrade job is worked on together."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from store.db.tables import Item
from worker.jobs.degrade_batches import batches
from worker.jobs.items import WaitingItem

LARGE, SMALL = 10**7, 10**5  # bytes


def positions(
    files: Sequence[str | None], samples: Sequence[int], sizes: dict[str, int], lanes: int = 1
) -> list[list[int]]:
    shards = [
        WaitingItem(Item(position=number, sha256=file), range(count))
        for number, (file, count) in enumerate(zip(files, samples, strict=True))
    ]
    together = batches(shards, sizes.__getitem__, lanes)
    return [[shard.item.position for shard in batch] for batch in together]


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_squares_of_an_image_go_together_until_there_are_samples_enough(size: int) -> None:
    """What was refused has no file, and its own reason each time."""
    files = ["a"] * 5 + [None] * 2 + ["b"] * 3 + ["a"]
    samples = [4] * 5 + [1] * 2 + [20, 10, 7] + [1]
    alone = [[4], [5], [6], [7], [8], [9], [10]]
    assert positions(files, samples, {"a": size, "b": size}, lanes=20) == [[0, 1, 2, 3], *alone]
    assert positions([], [], {}) == []


def test_small_files_go_together_by_samples_and_by_bytes() -> None:
    many = [f"{number}" for number in range(64)]
    of_one_sample = positions(many, [1] * 64, dict.fromkeys(many, 10))
    assert of_one_sample == [list(range(first, first + 16)) for first in range(0, 64, 16)]
    assert {len(batch) for batch in positions(many, [4] * 64, dict.fromkeys(many, 10))} == {4}
    assert {len(batch) for batch in positions(many, [1] * 64, dict.fromkeys(many, 2 * SMALL))} == {2}
    assert positions(many, [1] * 64, dict.fromkeys(many, LARGE)) == [[number] for number in range(64)]
    mixed = {name: LARGE if name == "20" else 10 for name in many}
    assert [batch for batch in positions(many, [1] * 64, mixed) if 20 in batch] == [[20]]


def test_each_lane_gets_some() -> None:
    many = [f"{number}" for number in range(64)]
    assert len(positions(many, [1] * 64, dict.fromkeys(many, 10), lanes=4)) == 16
    assert positions(many[:8], [1] * 8, dict.fromkeys(many, 10), lanes=4) == [[number] for number in range(8)]
