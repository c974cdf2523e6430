"""Blurring on a processor that multiplies bytes: as exact, and in half of the time.

A tap in steps is 256 times one signed byte, and another. Pixels are bytes, so that both are summed in whole numbers;
`scale` pixels of a row are the channels of one position, and rows that lie `scale` apart share a pass.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from models.fixed_point import STEPS

FEWEST_SUMS = 16  # of a pass, for as many fill a vector register; where kernels are few, several rows of each share it
BAND_SUMS = 2**19  # in a band's answer before its two halves are added up; more, and it leaves the cache
HIGH = 256
MOST_STEPS = 127 * HIGH + 127  # of a tap whose two parts are signed bytes

Window = Callable[[slice], Tensor]


@cache
def multiplies_bytes() -> bool:
    """Whether it adds up products of bytes in 32 bits: older ones do in 16, which is too few."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_vnni", False) or capabilities.get("amx_int8", False))


def fits(kernels: Tensor) -> bool:
    """Whether these kernels can be taken apart into bytes; not those that leave nearly all weight at one tap."""
    return float(kernels.max()) * STEPS <= MOST_STEPS


def byte_blur(read: Window, kernels: Tensor, scale: int, blurred: Tensor) -> None:
    """Fills blurred (n, 3, h, w) with what kernels (n, K, L) on the grid give.

    `read(rows)` gives (3, rows, cols) uint8: these rows of the image, counted from the first tap of pixel (0, 0), and
    the columns of w − 1 + ⌈L / scale⌉ positions from there on.
    """
    count, (height, width) = len(kernels), blurred.shape[2:]
    together = max(1, FEWEST_SUMS // (2 * count))  # rows that share a pass
    weight, adding = _weights(kernels, scale, together)
    sums, _, tall, positions = weight.shape
    passes = -(-height // together)
    step = min(passes, max(1, BAND_SUMS // (3 * sums * width)))
    ones, zeros, stride = torch.ones(sums), torch.zeros(sums, dtype=torch.int32), [scale * together, 1]
    where = (stride, [0, 0], [1, 1], 1)  # stride, padding, dilation, groups
    shape = [3, scale, scale * together * (step - 1) + tall, width - 1 + positions]
    packed = torch.ops.onednn.qconv_prepack(weight, ones, 1.0, 0, *where, shape)
    for first in range(0, passes, step):
        some = min(step, passes - first)
        top = first * together
        planes = read(slice(scale * top, scale * together * (first + some - 1) + tall))
        # (3, scale, rows, positions), channels last
        image = planes.view(*planes.shape[:2], -1, scale).permute(0, 3, 1, 2)
        made = torch.ops.onednn.qconv2d_pointwise(
            *(image, 1.0, 0, packed, ones, zeros, None, *where),
            *(1.0, 0, torch.float32, "none", [], ""),
        )  # (3, sums, passes, w), channels last
        added = adding @ made.flatten(2)  # (3, n·together, passes·w)
        rows = added.view(3, count, together, some, width).permute(1, 0, 3, 2, 4).flatten(2, 3)
        blurred[:, :, top : top + together * some] = rows[:, :, : height - top]


def _weights(kernels: Tensor, scale: int, together: int) -> tuple[Tensor, Tensor]:
    """Of the convolution, (2·n·together, scale, rows, positions) int8, and of adding its answers up,
    (n·together, 2·n·together).

    The latter has a step's size in it. Both are exact in float32, as is every sum.
    """
    count, tall, wide = kernels.shape
    steps = (kernels * STEPS).round().int()
    high = (steps + HIGH // 2) // HIGH
    positions = -(-wide // scale)
    parts = torch.zeros(2, count, together, tall + scale * (together - 1), positions * scale, dtype=torch.int8)
    for row in range(together):
        seen = slice(scale * row, scale * row + tall)
        parts[0, :, row, seen, :wide] = high
        parts[1, :, row, seen, :wide] = steps - HIGH * high
    weight = parts.view(-1, parts.shape[3], positions, scale).permute(0, 3, 1, 2).contiguous()
    identity = torch.eye(count * together) / STEPS
    return weight, torch.cat([HIGH * identity, identity], 1)
