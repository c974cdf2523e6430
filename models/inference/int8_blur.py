"""Blurs with int8 dot products: as exact as the float path, in half of the time.

A tap in fixed point is 256 times one signed byte, plus another. Pixels are bytes, so both parts are summed in whole
numbers. `scale` neighboring pixels of a row become channels of one position. Rows that lie `scale` apart share a pass.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from models.fixed_point import FIXED_POINT_SCALE, quantize_kernels

MIN_CHANNELS = 16  # output channels of a pass, which fill a vector register; with few kernels, several rows share it
BAND_ELEMENTS = 2**19  # of a band's output before its two halves are combined; more would leave the cache
RADIX = 256
MAX_TAP = 127 * RADIX + 127  # in fixed point; both of its parts are signed bytes

ReadRows = Callable[[slice], Tensor]


@cache
def supports_int8_dot() -> bool:
    """Checks whether int8 convolutions are fast and exact on this processor, with this version of torch.

    Processors without VNNI or AMX sum products in 16 bits, which overflow. The torch operators are private and may
    change, so one small blur must agree with the float path.
    """
    capabilities = torch.cpu.get_capabilities()
    if not (capabilities.get("avx512_vnni", False) or capabilities.get("amx_int8", False)):
        return False
    try:
        return _agrees_with_float()
    except Exception:  # a missing operator, other arguments, another layout: the float path does the work
        return False


def _agrees_with_float() -> bool:
    generator = torch.Generator().manual_seed(0)
    hr = torch.randint(128, 256, (3, 19, 20), generator=generator, dtype=torch.uint8)  # bright: 16 bits would overflow
    kernels = quantize_kernels(torch.rand(3, 5, 6, generator=generator) - 0.2)  # some taps are negative
    blurred = torch.empty(3, 3, 8, 8)
    blur_int8(lambda rows: hr[:, rows].contiguous(), kernels, 2, blurred)
    return torch.equal(blurred, functional.conv2d(hr[:, None].float(), kernels[:, None], stride=2).transpose(0, 1))


def kernels_fit_int8(kernels: Tensor) -> bool:
    """Checks whether the taps split into signed bytes. Kernels with nearly all weight on one tap do not."""
    return float(kernels.max()) * FIXED_POINT_SCALE <= MAX_TAP


def blur_int8(read_rows: ReadRows, kernels: Tensor, scale: int, blurred: Tensor) -> None:
    """Fills blurred (n, 3, h, w) with the image blurred and sampled by quantized kernels (n, K, L).

    `read_rows(rows)` returns these rows of the image, (3, rows, cols) uint8. Rows and columns count from the first tap
    of pixel (0, 0). The columns are those of w − 1 + ⌈L / scale⌉ positions.
    """
    count, (height, width) = len(kernels), blurred.shape[2:]
    rows_per_pass = max(1, MIN_CHANNELS // (2 * count))
    weight, combine = _pack_weights(kernels, scale, rows_per_pass)
    channels, _, window_height, positions = weight.shape
    passes = -(-height // rows_per_pass)
    step = min(passes, max(1, BAND_ELEMENTS // (3 * channels * width)))
    ones, zeros, stride = torch.ones(channels), torch.zeros(channels, dtype=torch.int32), [scale * rows_per_pass, 1]
    geometry = (stride, [0, 0], [1, 1], 1)  # stride, padding, dilation, groups
    shape = [3, scale, scale * rows_per_pass * (step - 1) + window_height, width - 1 + positions]
    packed = torch.ops.onednn.qconv_prepack(weight, ones, 1.0, 0, *geometry, shape)
    for first in range(0, passes, step):
        band = min(step, passes - first)
        top = first * rows_per_pass
        planes = read_rows(slice(scale * top, scale * rows_per_pass * (first + band - 1) + window_height))
        # (3, scale, rows, positions), channels last
        image = planes.view(*planes.shape[:2], -1, scale).permute(0, 3, 1, 2)
        sums = torch.ops.onednn.qconv2d_pointwise(
            *(image, 1.0, 0, packed, ones, zeros, None, *geometry),
            *(1.0, 0, torch.float32, "none", [], ""),
        )  # (3, channels, band, w), channels last
        combined = combine @ sums.flatten(2)  # (3, n·rows_per_pass, band·w)
        rows = combined.view(3, count, rows_per_pass, band, width).permute(1, 0, 3, 2, 4).flatten(2, 3)
        blurred[:, :, top : top + rows_per_pass * band] = rows[:, :, : height - top]


def _pack_weights(kernels: Tensor, scale: int, rows_per_pass: int) -> tuple[Tensor, Tensor]:
    """Splits kernels (n, K, L) into int8 weights, and builds the matrix that combines their outputs.

    The weights are (2·n·rows_per_pass, scale, rows, positions). The matrix is (n·rows_per_pass, 2·n·rows_per_pass) and
    includes the fixed-point unit. Both are exact in float32, and so is every sum.
    """
    count, kernel_h, kernel_w = kernels.shape
    taps = (kernels * FIXED_POINT_SCALE).round().int()
    high = (taps + RADIX // 2) // RADIX
    positions = -(-kernel_w // scale)
    window_height = kernel_h + scale * (rows_per_pass - 1)
    parts = torch.zeros(2, count, rows_per_pass, window_height, positions * scale, dtype=torch.int8)
    for row in range(rows_per_pass):
        rows = slice(scale * row, scale * row + kernel_h)
        parts[0, :, row, rows, :kernel_w] = high
        parts[1, :, row, rows, :kernel_w] = taps - RADIX * high
    weight = parts.view(-1, parts.shape[3], positions, scale).permute(0, 3, 1, 2).contiguous()
    identity = torch.eye(count * rows_per_pass) / FIXED_POINT_SCALE
    return weight, torch.cat([RADIX * identity, identity], 1)
