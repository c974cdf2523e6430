"""What of a degrade job is made from one reading of a file."""

from __future__ import annotations

from store.tables import Item
from worker.degrade import by_file
from worker.images import WaitingItem


def test_squares_of_an_image_go_together_until_there_are_samples_enough() -> None:
    """What was refused has no file, and its own reason each time."""
    files = ["a"] * 5 + [None] * 2 + ["b"] * 3 + ["a"]
    samples = [4] * 5 + [1] * 2 + [20, 10, 7] + [1]
    shards = [
        WaitingItem(Item(position=number, sha256=file), range(count))
        for number, (file, count) in enumerate(zip(files, samples, strict=True))
    ]
    together = [[shard.item.position for shard in some] for some in by_file(shards)]
    assert together == [[0, 1, 2, 3], [4], [5], [6], [7], [8], [9], [10]]
    assert list(by_file([])) == []
