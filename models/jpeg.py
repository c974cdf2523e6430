"""Simulates JPEG compression, the last step of many photos.

Not in the paper, and no network: a camera's or a website's encoder is a standard (ITU-T T.81). Its free choices are the
quantization tables and how many pixels share a chroma sample. A file says both.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from models.color import RGB_TO_YCBCR, YCBCR_TO_RGB

# The standard's example tables (annex K), which nearly all encoders scale by their quality.
LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA_TABLE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
BLOCK = 8  # samples a side of a block
MCU_SIZE = 16  # pixels a side of a minimum coded unit where chroma is halved, then cut into blocks
NO_JPEG = 100  # the quality of a photo without visible compression; nothing is done to it


def compress(lr: Tensor, quality: Tensor) -> Tensor:
    """Sends lr (B, 3, h, w), in 0..255, through JPEG of quality (B,), 1..100, with the standard tables and 4:2:0.

    Returns the decoded images in 0..255. Images of quality 100 come back unchanged.
    """
    compressed = compress_with_tables(lr, scale_standard_tables(quality), (2, 2))
    return torch.where((quality < NO_JPEG)[:, None, None, None], compressed, lr)


def compress_with_tables(lr: Tensor, tables: Tensor, sampling: tuple[int, int]) -> Tensor:
    """Sends lr (B, 3, h, w), in 0..255, through JPEG with tables (B, 3, 8, 8) of Y, Cb and Cr.

    `sampling` is the number of pixels (across, down) for each chroma sample: (2, 2) is 4:2:0, (1, 1) is 4:4:4. Blocks
    start at the image's corner. Returns the decoded images in 0..255, rounded. The gradient skips rounding, and is 0
    through coefficients that are rounded to 0: nothing may be learned from what is lost.
    """
    height, width = lr.shape[2:]
    across, down = sampling
    padding = 0, -width % (BLOCK * across), 0, -height % (BLOCK * down)
    padded = functional.pad(lr, padding, mode="replicate")  # as encoders do
    # Codecs round after every step. Where there is little color, that removes most of its fine noise.
    ycbcr = _round_ste(
        torch.einsum("oc,bchw->bohw", lr.new_tensor(RGB_TO_YCBCR), padded) - lr.new_tensor([128, 0, 0])[:, None, None]
    )
    luma = _round_ste(_quantize_blocks(ycbcr[:, :1], tables[:, :1]))
    chroma = ycbcr[:, 1:]
    if sampling != (1, 1):
        chroma = _round_ste(functional.avg_pool2d(chroma, (down, across)))
    chroma = _round_ste(_quantize_blocks(chroma, tables[:, 1:]))
    if sampling != (1, 1):
        # libjpeg smooths where one or two pixels share a sample, and repeats where more do.
        mode = "bilinear" if max(sampling) == 2 else "nearest"
        chroma = _round_ste(functional.interpolate(chroma, scale_factor=(float(down), float(across)), mode=mode))
    decoded = torch.cat([luma + 128, chroma], 1)  # (B, 3, H, W), padded
    rgb = torch.einsum("oc,bchw->bohw", lr.new_tensor(YCBCR_TO_RGB), decoded)[:, :, :height, :width].clamp(0, 255)
    return _round_ste(rgb)


def scale_standard_tables(quality: Tensor) -> Tensor:
    """Returns the tables (B, 3, 8, 8) of Y, Cb and Cr that nearly all encoders use at quality (B,), 1..100."""
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)[:, None, None]  # in percent
    luma, chroma = (
        ((quality.new_tensor(table).to(scale) * scale + 50) / 100).floor().clamp(1, 255)
        for table in (LUMA_TABLE, CHROMA_TABLE)
    )
    return torch.stack([luma, chroma, chroma], 1)


def _dct_matrix(like: Tensor) -> Tensor:
    """Returns the orthonormal 8-point cosine transform, (frequency, position)."""
    position, frequency = torch.arange(8.0), torch.arange(8.0)[:, None]
    rows = torch.cos((2 * position + 1) * frequency * math.pi / 16) / 2
    rows[0] /= math.sqrt(2)
    return rows.to(like)


def _dct_blocks(planes: Tensor) -> Tensor:
    """Transforms planes (B, C, 8m, 8n) into coefficients (B, C, m, n, 8, 8)."""
    dct = _dct_matrix(planes)
    return dct @ planes.unfold(2, 8, 8).unfold(3, 8, 8) @ dct.T


def _quantize_blocks(planes: Tensor, table: Tensor) -> Tensor:
    """Rounds each block of planes (B, C, 8m, 8n) to multiples of table (B, C, 8, 8), in the transform's domain."""
    dct, steps = _dct_matrix(planes), table[:, :, None, None]
    coefficients = _dct_blocks(planes) / steps
    rounded = _round_ste(coefficients) * (coefficients.abs() > 0.5)
    blocks = dct.T @ (rounded * steps) @ dct
    return blocks.transpose(3, 4).flatten(4, 5).flatten(2, 3)


def _round_ste(values: Tensor) -> Tensor:
    """Rounds, with a straight-through gradient."""
    return values + (values.round() - values).detach()
