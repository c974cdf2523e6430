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
    # Pixels lie in 0..pixel_range inside the network. Biases start below 1 and move by the learning rate, so 1 lets
    # them adapt to noise within a short training. 255 in official checkpoints.
    pixel_range: int = 255
    # In eval mode, the border is repeated by this many low-resolution pixels, whose enlargement is cut off. Else the
    # zeros that each convolution pads with change the outermost pixels. 0 in official checkpoints.
    border: int = 0

    def __post_init__(self) -> None:
        check_scale(self.scale)
        if self.pixel_range not in (1, 255):
            raise ValueError(f"pixel_range is 1 or 255, not {self.pixel_range}")
        if self.border < 0:
            raise ValueError(f"border is 0 or more, not {self.border}")

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
    """Adds `sign` times the mean color of DIV2K, on the scale 0..pixel_range. Not trained."""

    def __init__(self, sign: int, pixel_range: int):
        super().__init__(3, 3, 1)
        with torch.no_grad():
            # Computed on the CPU even if the network is built on the meta device: there, both operations import 800
            # modules, which delayed the first job of a worker by seconds.
            self.weight.copy_(torch.eye(3, device="cpu").view(3, 3, 1, 1))
            mean = torch.tensor(DIV2K_MEAN, device="cpu")
            self.bias.copy_(sign * pixel_range * mean)  # type: ignore[union-attr]
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
        self.sub_mean, self.add_mean = (MeanShift(sign, config.pixel_range) for sign in (-1, +1))
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
        config = self.config
        border = 0 if self.training else config.border
        padded = functional.pad(lr, [border] * 4, mode="replicate") if border else lr
        features = self.head(self.sub_mean(padded * config.pixel_range))  # (B, width, h, w)
        features = features + self.body(features)  # (B, width, h, w)
        residual = (tail or self.tail)(features)  # (B, 3, s·h, s·w)
        if config.global_skip:
            # No mean shift: the bicubic enlargement has the mean already.
            sr = residual / config.pixel_range + enlarge_bicubic(padded, config.scale)
        else:
            sr = self.add_mean(residual) / config.pixel_range
        cut = config.scale * border
        return sr[:, :, cut : sr.shape[2] - cut, cut : sr.shape[3] - cut] if cut else sr
