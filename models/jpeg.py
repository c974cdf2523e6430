"""JPEG compression as the last thing that happens to a photo: what it takes away, and how to see that it did.

No network: a camera's or a web site's encoder is a standard (ITU-T T.81), whose only free choice, the quality, can be
read off a decoded photo's block transform.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

# The standard's example tables (annex K), which nearly all encoders scale by their quality.
LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))
BLOCK = 16  # pixels a side that are compressed together, for chroma is halved and then cut into blocks of 8
UNCOMPRESSED = 100  # the quality of a photo that shows no compression; nothing is done to it


def compress(lr: Tensor, quality: Tensor) -> Tensor:
    """lr (B, 3, h, w) in 8-bit levels through JPEG of quality (B,), 1..100, chroma at half size: decoded, in 0..255.

    Gradients pass by what was not rounded to 0, as if it had not been rounded at all: what is lost shall not be learned
    from. Images of quality 100 come back as they are.
    """
    height, width = lr.shape[2:]
    padded = functional.pad(lr, (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate")  # as encoders do
    # Codecs round after every step: where there is hardly any colour, that is most of the fine noise in it.
    ycc = _round(
        torch.einsum("oc,bchw->bohw", lr.new_tensor(TO_YCC), padded) - lr.new_tensor([128, 0, 0])[:, None, None]
    )
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)[:, None, None]
    tables = [((lr.new_tensor(table) * scale + 50) / 100).floor().clamp(1, 255) for table in (LUMA, CHROMA)]
    luma = _round(_through_blocks(ycc[:, :1], tables[0]))
    chroma = _round(_through_blocks(_round(functional.avg_pool2d(ycc[:, 1:], 2)), tables[1]))
    chroma = _round(functional.interpolate(chroma, scale_factor=2.0, mode="bilinear"))  # as decoders smooth it
    decoded = torch.cat([luma + 128, chroma], 1)
    rgb = torch.einsum("oc,bchw->bohw", lr.new_tensor(TO_RGB), decoded)[:, :, :height, :width].clamp(0, 255)
    return torch.where((quality < UNCOMPRESSED)[:, None, None, None], _round(rgb), lr)


def read_quality(photo: Tensor) -> int:
    """The JPEG quality that a decoded photo (3, h, w), in 8-bit levels, has last been through; 100 where none shows.

    Its transform's coefficients then lie on multiples of the quality's table, but for the rounding of pixels. This is
    seen where the blocks still start at the photo's corner, so not in photos that were resized or cropped since.
    """
    height, width = photo.shape[1] // 8 * 8, photo.shape[2] // 8 * 8
    if not (height and width):
        return UNCOMPRESSED
    luma = torch.einsum("c,chw->hw", photo.new_tensor(TO_YCC[0]), photo)[:height, :width] - 128
    # Where a channel was cut off at black or white, more than rounding happened.
    cut_off = ((photo <= 0) | (photo >= 255)).any(0)[:height, :width].unfold(0, 8, 8).unfold(1, 8, 8)
    coefficients = _blocks(luma[None, None])[0, 0][~cut_off.any(-1).any(-1)]  # (N, 8, 8)
    best, quality_of_best = 0.3, UNCOMPRESSED
    for quality in range(5, 96):
        scale = 5000 / quality if quality < 50 else 200 - 2 * quality
        table = ((photo.new_tensor(LUMA) * scale + 50) / 100).floor().clamp(1, 255)
        steps = coefficients / table
        # Those that are not rounded to 0 tell; a step of 3 is the finest that rounded pixels still show.
        telling = (steps.abs() > 0.5) & (table >= 3)
        telling[:, 0, 0] = False  # the mean of a block; in flat photos all are the same
        if telling.sum() < 64:
            continue
        # Against 1/12 for coefficients that lie anywhere.
        off = 12 * (steps - steps.round())[telling].square().mean().item()
        if off < best:
            best, quality_of_best = off, quality
    return quality_of_best


def _transform(like: Tensor) -> Tensor:
    """The orthonormal 8-point cosine transform, (frequency, place)."""
    place, frequency = torch.arange(8.0), torch.arange(8.0)[:, None]
    rows = torch.cos((2 * place + 1) * frequency * math.pi / 16) / 2
    rows[0] /= math.sqrt(2)
    return rows.to(like)


def _blocks(planes: Tensor) -> Tensor:
    """(B, C, 8m, 8n) → coefficients (B, C, m, n, 8, 8)."""
    transform = _transform(planes)
    return transform @ planes.unfold(2, 8, 8).unfold(3, 8, 8) @ transform.T


def _through_blocks(planes: Tensor, table: Tensor) -> Tensor:
    """planes (B, C, 8m, 8n), each block rounded in steps of table (B, 8, 8)."""
    transform, steps = _transform(planes), table[:, None, None, None]
    coefficients = _blocks(planes) / steps
    kept = _round(coefficients) * (coefficients.abs() > 0.5)
    blocks = transform.T @ (kept * steps) @ transform
    return blocks.transpose(3, 4).flatten(4, 5).flatten(2, 3)


def _round(values: Tensor) -> Tensor:
    return values + (values.round() - values).detach()
