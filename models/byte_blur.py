"""Blurring on a processor that multiplies matrices of bytes: as exact, and in half of the time.

A tap in steps is 256 times one signed byte, and another. Pixels are bytes, so that both are summed in whole numbers;
each row of an image is read where it lies, colours side by side, `scale` pixels being the channels of one position.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.grid import STEPS

BAND_SUMS = 2**18  # in a band's answer before its two halves are added up; that and its pixels fit into the cache
HIGH = 256
MOST_STEPS = 127 * HIGH + 127  # of a tap whose two parts are signed bytes

Window = Callable[[slice, NDArray[np.uint8]], None]


@cache
def multiplies_bytes() -> bool:
    return bool(torch.cpu.get_capabilities().get("amx_int8", False))


def fits(kernels: Tensor) -> bool:
    """Whether these kernels can be taken apart into bytes; not those that leave nearly all weight at one tap."""
    return float(kernels.max()) * STEPS <= MOST_STEPS


def byte_blur(read: Window, kernels: Tensor, scale: int, blurred: Tensor) -> None:
    """Fills blurred (n, 3, h, w) with what kernels (n, K, L) on the grid give.

    `read(rows, pixels)` fills pixels (rows, cols, 3) with these rows of the window, the first of which is its row 0.
    """
    (count, tall, _), (height, width) = kernels.shape, blurred.shape[2:]
    weight, adding = _weights(kernels, scale)
    sums, positions = len(weight), weight.shape[3]
    step = min(height, max(1, BAND_SUMS // (sums * width)))
    pixels = np.empty((scale * (step - 1) + tall, scale * (width - 1 + positions), 3), np.uint8)
    image = torch.from_numpy(pixels).view(1, len(pixels), -1, 3 * scale).permute(0, 3, 1, 2)
    ones, zeros, stride = torch.ones(sums), torch.zeros(sums, dtype=torch.int32), [scale, 1]
    where = (stride, [0, 0], [1, 1], 1)  # stride, padding, dilation, groups
    packed = torch.ops.onednn.qconv_prepack(weight, ones, 1.0, 0, *where, list(image.shape))
    answer = blurred.view(3 * count, -1)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        seen = slice(scale * top, scale * (bottom - 1) + tall)
        read(seen, pixels[: seen.stop - seen.start])
        made = torch.ops.onednn.qconv2d_pointwise(
            *(image[:, :, : seen.stop - seen.start], 1.0, 0, packed, ones, zeros, None, *where),
            *(1.0, 0, torch.float32, "none", [], ""),
        )  # (1, sums, rows, w), channels last
        rows = made.permute(0, 2, 3, 1).reshape(-1, sums)
        torch.mm(adding, rows.T, out=answer[:, top * width : bottom * width])


def _weights(kernels: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    """Of the convolution, (2·n·3, 3·scale, K, positions) int8, and of adding its answers up, (n·3, 2·n·3).

    The latter has a step's size in it. Both are exact in float32, as is every sum.
    """
    count, tall, wide = kernels.shape
    steps = (kernels * STEPS).round().int()
    high = (steps + HIGH // 2) // HIGH
    positions = -(-wide // scale)
    parts = torch.zeros(2, count, 3, tall, positions * scale, 3, dtype=torch.int8)
    for colour in range(3):
        parts[0, :, colour, :, :wide, colour] = high
        parts[1, :, colour, :, :wide, colour] = steps - HIGH * high
    weight = parts.view(2 * count * 3, tall, positions, 3 * scale).permute(0, 3, 1, 2).contiguous()
    identity = torch.eye(3 * count) / STEPS
    return weight, torch.cat([HIGH * identity, identity], 1)
