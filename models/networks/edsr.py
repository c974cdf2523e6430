"""EDSR (baseline): "Enhanced Deep Residual Networks for Single Image Super-Resolution", Lim et al., CVPRW 2017.

It is the super-resolution network of section 3.4 of "Learning the Degradation Distribution for Blind Image
Super-Resolution", CVPR 2022. The names in its state dict are those of the EDSR authors' PyTorch code, so that official
checkpoints load.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.geometry import check_scale

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)  # of its training images, RGB in 0..1
UPSAMPLE_FACTORS: dict[int, tuple[int, ...]] = {1: (), 2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}  # by scale


@dataclass(frozen=True)
class EDSRConfig:
    """EDSR's shape. The defaults are the paper's EDSR. Raises ValueError for a scale that is not one of SCALES."""

    scale: int = 4
    width: int = 64
    blocks: int = 16
    residual_scale: float = 1.0
    # Adds a bicubic enlargement; an untrained network returns just that. At scale 1 it is the image itself. Not in
    # official checkpoints.
    global_skip: bool = False
    # One convolution makes all s² pixels of a low-resolution pixel. A third of the work. Not in official checkpoints.
    single_upsample: bool = False

    def __post_init__(self) -> None:
        check_scale(self.scale)

    @property
    def receptive_radius(self) -> int:
        """Distance of the farthest low-resolution pixel that an output pixel depends on, in low-resolution pixels."""
        body = 1 + 2 * self.blocks + 1
        # A 3×3 convolution at f times the size has a radius of 1/f. Bicubic interpolation has a radius of 2.
        factors = () if self.single_upsample else UPSAMPLE_FACTORS[self.scale]
        tail = 1.0 + sum(1 / math.prod(factors[: count + 1]) for count in range(len(factors)))
        return max(body + math.ceil(tail), 2 * self.global_skip)


def enlarge_bicubic(lr: Tensor, scale: int) -> Tensor:
    """Enlarges lr (B, 3, h, w) to (B, 3, s·h, s·w) by bicubic interpolation. At scale 1 it returns lr itself."""
    if scale == 1:
        return lr
    return functional.interpolate(lr, size=(scale * lr.shape[2], scale * lr.shape[3]), mode="bicubic")


class MeanShift(nn.Conv2d):
    """Adds `sign` times the mean color of DIV2K, on the 0..255 scale. Not trained."""

    def __init__(self, sign: int):
        super().__init__(3, 3, 1)
        with torch.no_grad():
            self.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
            self.bias.copy_(sign * 255 * torch.tensor(DIV2K_MEAN))  # type: ignore[union-attr]
        self.requires_grad_(False)


class ResidualBlock(nn.Module):
    """Adds the scaled output of two 3×3 convolutions to their input."""

    def __init__(self, width: int, scale: float):
        super().__init__()
        self.scale = scale
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) * self.scale  # type: ignore[no-any-return]


class EDSR(nn.Module):
    """Enlarges low-resolution images."""

    def __init__(self, config: EDSRConfig):
        super().__init__()
        self.config = config
        width = config.width
        self.sub_mean, self.add_mean = MeanShift(-1), MeanShift(+1)
        self.head = nn.Sequential(nn.Conv2d(3, width, 3, padding=1))
        self.body = nn.Sequential(
            *(ResidualBlock(width, config.residual_scale) for _ in range(config.blocks)),
            nn.Conv2d(width, width, 3, padding=1),
        )
        upsampler = [
            layer
            for factor in UPSAMPLE_FACTORS[config.scale]
            for layer in (nn.Conv2d(width, width * factor**2, 3, padding=1), nn.PixelShuffle(factor))
        ]
        last = nn.Conv2d(width, 3, 3, padding=1)
        if config.single_upsample:
            last = nn.Conv2d(width, 3 * config.scale**2, 3, padding=1)
            self.tail = nn.Sequential(nn.Sequential(last, nn.PixelShuffle(config.scale)))
        else:
            self.tail = nn.Sequential(nn.Sequential(*upsampler), last)
        if config.global_skip:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, lr: Tensor, tail: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Enlarges lr (B, 3, h, w) in [0, 1] to (B, 3, s·h, s·w), about [0, 1]. `tail` replaces the network's own."""
        features = self.head(self.sub_mean(lr * 255))  # (B, width, h, w)
        features = features + self.body(features)  # (B, width, h, w)
        residual = (tail or self.tail)(features)  # (B, 3, s·h, s·w)
        if self.config.global_skip:
            # No mean shift: the bicubic enlargement has the mean already.
            return residual / 255 + enlarge_bicubic(lr, self.config.scale)
        return self.add_mean(residual) / 255  # type: ignore[no-any-return]
