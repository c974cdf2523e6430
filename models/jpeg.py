"""Simulates JPEG compression, the last step of many photos, and estimates its quality from a decoded photo.

Not in the paper, and no network: a camera's or a website's encoder is a standard (ITU-T T.81). Its only free choice,
the quality, can be read from the block transform of a decoded photo.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from models.color import LUMA_WEIGHTS, RGB_TO_YCBCR, YCBCR_TO_RGB

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
MCU_SIZE = 16  # pixels a side of a minimum coded unit: chroma is halved, then cut into blocks of 8
NO_JPEG = 100  # the quality of a photo without visible compression; nothing is done to it


def compress(lr: Tensor, quality: Tensor) -> Tensor:
    """Sends lr (B, 3, h, w), in 0..255, through JPEG of quality (B,), 1..100, with chroma at half size.

    Returns the decoded images in 0..255. Images of quality 100 come back unchanged. The gradient skips rounding, and is
    0 through coefficients that are rounded to 0: nothing may be learned from what is lost.
    """
    height, width = lr.shape[2:]
    padded = functional.pad(lr, (0, -width % MCU_SIZE, 0, -height % MCU_SIZE), mode="replicate")  # as encoders do
    # Codecs round after every step. Where there is little color, that removes most of its fine noise.
    ycbcr = _round_ste(
        torch.einsum("oc,bchw->bohw", lr.new_tensor(RGB_TO_YCBCR), padded) - lr.new_tensor([128, 0, 0])[:, None, None]
    )
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)[:, None, None]
    luma_table, chroma_table = (_scale_table(lr.new_tensor(table), scale) for table in (LUMA_TABLE, CHROMA_TABLE))
    luma = _round_ste(_quantize_blocks(ycbcr[:, :1], luma_table))
    chroma = _round_ste(_quantize_blocks(_round_ste(functional.avg_pool2d(ycbcr[:, 1:], 2)), chroma_table))
    chroma = _round_ste(functional.interpolate(chroma, scale_factor=2.0, mode="bilinear"))  # as decoders smooth it
    decoded = torch.cat([luma + 128, chroma], 1)  # (B, 3, H, W), padded
    rgb = torch.einsum("oc,bchw->bohw", lr.new_tensor(YCBCR_TO_RGB), decoded)[:, :, :height, :width].clamp(0, 255)
    return torch.where((quality < NO_JPEG)[:, None, None, None], _round_ste(rgb), lr)


def estimate_quality(photo: Tensor) -> int:
    """Estimates the quality of the last JPEG compression of a decoded photo (3, h, w) in 0..255. 100 if none shows.

    The coefficients of its transform lie near multiples of the quality's table. This shows only if blocks still start
    at the photo's corner, so not in photos that were resized or cropped since.
    """
    height, width = photo.shape[1] // 8 * 8, photo.shape[2] // 8 * 8
    if not (height and width):
        return NO_JPEG
    luma = torch.einsum("c,chw->hw", photo.new_tensor(LUMA_WEIGHTS), photo)[:height, :width] - 128
    # A clipped channel hides what rounding did, so blocks with black or white pixels are left out.
    saturated = ((photo <= 0) | (photo >= 255)).any(0)[:height, :width].unfold(0, 8, 8).unfold(1, 8, 8)
    coefficients = _dct_blocks(luma[None, None])[0, 0][~saturated.any(-1).any(-1)]  # (N, 8, 8)
    best_error, best_quality = 0.3, NO_JPEG
    for quality in range(5, 96):
        scale = 5000 / quality if quality < 50 else 200 - 2 * quality
        table = _scale_table(photo.new_tensor(LUMA_TABLE), scale)
        steps = coefficients / table
        # Coefficients that were not rounded to 0; a step of 3 is the finest that rounded pixels still show.
        informative = (steps.abs() > 0.5) & (table >= 3)
        informative[:, 0, 0] = False  # a block's mean; in flat photos all are the same
        if informative.sum() < 64:
            continue
        # Relative to 1/12, the mean square of uniformly distributed coefficients.
        error = 12 * (steps - steps.round())[informative].square().mean().item()
        if error < best_error:
            best_error, best_quality = error, quality
    return best_quality


def _scale_table(table: Tensor, scale: Tensor | float) -> Tensor:
    """Scales a quantization table (8, 8) as encoders do: `scale` is in percent."""
    return ((table * scale + 50) / 100).floor().clamp(1, 255)


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
    """Rounds each block of planes (B, C, 8m, 8n) to multiples of table (B, 8, 8), in the transform's domain."""
    dct, steps = _dct_matrix(planes), table[:, None, None, None]
    coefficients = _dct_blocks(planes) / steps
    rounded = _round_ste(coefficients) * (coefficients.abs() > 0.5)
    blocks = dct.T @ (rounded * steps) @ dct
    return blocks.transpose(3, 4).flatten(4, 5).flatten(2, 3)


def _round_ste(values: Tensor) -> Tensor:
    """Rounds, with a straight-through gradient."""
    return values + (values.round() - values).detach()
