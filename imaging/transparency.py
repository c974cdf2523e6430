"""Finds the part of an image that is not transparent. Learning uses only that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imaging.image_info import Rectangle

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OPAQUE = 250 / 255  # nobody sees the difference to 1
CELLS = 256  # along the longer side: the search takes whole cells
MIN_SHARE = 0.25  # of the image's area


def find_opaque(alpha: NDArray[np.uint8] | NDArray[np.uint16]) -> Rectangle | None:
    """Returns a large rectangle of an alpha plane (h, w) without transparency; None if it is less than a quarter.

    The rectangle is the largest one up to a 256th of the longer side, and cannot grow.
    """
    import numpy as np  # noqa: PLC0415 - the API seldom needs it and starts faster without it

    opaque = alpha >= OPAQUE * np.iinfo(alpha.dtype).max
    height, width = opaque.shape
    if opaque.all():
        return 0, 0, height, width
    side = -(-max(height, width) // CELLS)
    padded = np.pad(opaque, ((0, -height % side), (0, -width % side)), constant_values=True)
    cells = np.asarray(padded.reshape(padded.shape[0] // side, side, padded.shape[1] // side, side).all((1, 3)))
    top, left, rows, columns = _largest_rectangle(cells)
    if not rows:
        return None
    bottom, right = min((top + rows) * side, height), min((left + columns) * side, width)
    rectangle = _grow(opaque, top * side, left * side, bottom, right)
    return rectangle if rectangle[2] * rectangle[3] >= MIN_SHARE * height * width else None


def _largest_rectangle(cells: NDArray[np.bool_]) -> Rectangle:
    """Returns the largest rectangle of true cells, by the method of the largest rectangle in a histogram."""
    best, best_area = (0, 0, 0, 0), 0
    heights = [0] * cells.shape[1]
    for row, line in enumerate(cells.tolist()):
        heights = [above + 1 if cell else 0 for above, cell in zip(heights, line, strict=True)]
        stack: list[tuple[int, int]] = []  # (first column, height), ever higher
        for column, height in enumerate([*heights, 0]):
            start = column
            while stack and stack[-1][1] >= height:
                start, tall = stack.pop()
                if tall * (column - start) > best_area:
                    best, best_area = (row - tall + 1, start, tall, column - start), tall * (column - start)
            stack.append((start, height))
    return best


def _grow(opaque: NDArray[np.bool_], top: int, left: int, bottom: int, right: int) -> Rectangle:
    """Moves each border outwards while all pixels there are opaque."""
    while top and opaque[top - 1, left:right].all():
        top -= 1
    while bottom < len(opaque) and opaque[bottom, left:right].all():
        bottom += 1
    while left and opaque[top:bottom, left - 1].all():
        left -= 1
    while right < opaque.shape[1] and opaque[top:bottom, right].all():
        right += 1
    return top, left, bottom - top, right - left
