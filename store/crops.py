"""Crops of images: squares into which images are split before they are degraded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from store.repositories.samples import NewItem


def count_crops(sizes: Iterable[tuple[int, int]], side: int, step: int) -> int:
    """Counts the crops of images with these (height, width); a large image may have a hundred million."""
    return sum(
        _count_starts(height, side, step) * _count_starts(width, side, step)
        for height, width in sizes
        if min(height, width) >= side
    )


def _count_starts(length: int, side: int, step: int) -> int:
    """Returns the length of `_starts` without building it."""
    return 1 - (side - length) // step


def split_into_crops(
    items: Sequence[tuple[str, NewItem]], sizes: Mapping[str, tuple[int, int]], side: int, step: int
) -> list[tuple[str, NewItem]]:
    """Returns (output name, item) for every crop of `side` pixels, named `NAME_s001` and so on. Failed items stay.

    `sizes` maps SHA-256 to (height, width). Crops are `step` pixels apart; the last ones touch the border, so that
    they cover the whole image.
    """
    crops = []
    for output_name, item in items:
        if item.sha256 is None:
            crops.append((output_name, item))
            continue
        height, width = sizes[item.sha256]
        if min(height, width) < side:
            message = f"The image has {width}×{height} pixels, less than a crop of {side}×{side}."
            crops.append((output_name, NewItem(item.name, None, "image_too_small", message)))
            continue
        corners = [(top, left) for top in _starts(height, side, step) for left in _starts(width, side, step)]
        crops += [
            (f"{output_name}_s{number:03}", replace(item, crop=(top, left, side, side)))
            for number, (top, left) in enumerate(corners, start=1)
        ]
    return crops


def _starts(length: int, side: int, step: int) -> list[int]:
    starts = list(range(0, length - side + 1, step))
    return starts if starts[-1] + side == length else [*starts, length - side]
