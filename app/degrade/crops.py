"""Images that are cut into squares before they are degraded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from store.repositories.jobs import NewItem


def count_crops(sizes: Iterable[tuple[int, int]], side: int, step: int) -> int:
    """How many `cut` makes of images of these (height, width): of one large image it may be a hundred million."""
    return sum(
        _number(height, side, step) * _number(width, side, step)
        for height, width in sizes
        if min(height, width) >= side
    )


def _number(length: int, side: int, step: int) -> int:
    """Of `_starts`."""
    return 1 - (side - length) // step


def cut(
    items: Sequence[tuple[str, NewItem]], sizes: Mapping[str, tuple[int, int]], side: int, step: int
) -> list[tuple[str, NewItem]]:
    """(stem, item) for every square of `side` pixels, `stem_s001` and so on; what was refused stays as it is.

    `sizes` are (height, width) by SHA-256. Squares lie `step` pixels apart, and the last ones at the border, so that
    all of an image is in one.
    """
    squares = []
    for stem, item in items:
        if item.sha256 is None:
            squares.append((stem, item))
            continue
        height, width = sizes[item.sha256]
        if min(height, width) < side:
            message = f"The image has {width}×{height} pixels; a square of {side}×{side} does not fit into it."
            squares.append((stem, NewItem(item.name, None, "image_too_small", message)))
            continue
        corners = [(top, left) for top in _starts(height, side, step) for left in _starts(width, side, step)]
        squares += [
            (f"{stem}_s{number:03}", replace(item, crop=(top, left, side, side)))
            for number, (top, left) in enumerate(corners, start=1)
        ]
    return squares


def _starts(length: int, side: int, step: int) -> list[int]:
    starts = list(range(0, length - side + 1, step))
    return starts if starts[-1] + side == length else [*starts, length - side]
