"""The noise network: z_n, and where asked the blurred image → noise (section 3.3 of the paper)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

MOST = 3  # logarithm of how far a photo's level may lie from LEVEL
LEVEL = 4 / 255  # the unit of fields of noise and the level that they start at, so that weights are about 1


@dataclass(frozen=True)
class NoiseConfig:
    """The defaults are the seed's run.

    With neither `spatial` nor `mix`, noise is one value for a whole image; with `mix` alone, a random tone curve.
    """

    mix: bool = False  # the blurred image enters, so that noise can depend on it
    spatial: bool = False  # a z_n for every low-resolution pixel rather than for every image
    z: int = 3
    width: int = 32
    blocks: int = 8
    dim: int = 1  # channels of noise: 3, or 1 for noise that is the same in all
    head_size: int = 1
    body_size: int = 1
    batch_norm: bool = True
    # More than 0: the network's output is not the noise but gains. White noise, which learned filters correlate between
    # pixels and channels into so many fields, is multiplied by them and added up. So noise has mean 0 by construction,
    # and a z_n for every image sets its level and kind, beside chance in every pixel.
    fields: int = 0
    field_size: int = 5  # of the learned filters
    # z_n enters evenly distributed rather than normally. What photos of one camera differ by has ends; what a network
    # makes of a normal latent has long tails.
    even: bool = False

    def __post_init__(self) -> None:
        if self.dim not in (1, 3):
            raise ValueError(f"noise has 1 or 3 channels, not {self.dim}")
        if {self.head_size, self.body_size} - {1, 3}:
            raise ValueError("the noise network's convolutions are 1x1 or 3x3")
        if self.head_size + self.body_size > 2 and not self.spatial:
            raise ValueError("3x3 convolutions in the noise network need spatial=True")
        if self.fields and (self.spatial or not self.mix or self.dim != 3 or not self.field_size % 2):
            raise ValueError("fields of noise need mix=True, spatial=False, dim=3 and filters of odd size")

    @property
    def margin(self) -> int:
        """How many pixels of white noise are drawn beyond each border of the image."""
        return self.field_size // 2 if self.fields else 0

    @property
    def halo(self) -> int:
        """How many low-resolution pixels around it a pixel of noise depends on."""
        return self.head_size // 2 + 2 * self.blocks * (self.body_size // 2)


class ResidualBlock(nn.Module):
    """Two convolutions added to their input."""

    def __init__(self, width: int, size: int, batch_norm: bool):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, size, padding=size // 2),
            nn.BatchNorm2d(width) if batch_norm else nn.Identity(),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, size, padding=size // 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)  # type: ignore[no-any-return]


class NoiseNetwork(nn.Module):
    """Draws noise in units of 1 = full scale."""

    def __init__(self, config: NoiseConfig):
        super().__init__()
        self.config = config
        self.body = nn.Sequential(
            nn.Conv2d(config.z + 3 * config.mix, config.width, config.head_size, padding=config.head_size // 2),
            nn.BatchNorm2d(config.width) if config.batch_norm else nn.Identity(),
            nn.ReLU(inplace=True),
            *(ResidualBlock(config.width, config.body_size, config.batch_norm) for _ in range(config.blocks)),
        )
        self.head = nn.Conv2d(config.width, config.dim * max(1, config.fields), 1)
        self.filters = nn.Conv2d(3, config.fields, config.field_size, bias=False) if config.fields else None
        # The logarithm of a factor for all of an image, for levels differ between photos by more than in one.
        self.level = (
            nn.Sequential(nn.Conv2d(config.z, config.width, 1), nn.ReLU(), nn.Conv2d(config.width, 1, 1))
            if config.fields
            else None
        )
        self._start()

    def _start(self) -> None:
        with torch.no_grad():
            self.head.bias.zero_()  # type: ignore[union-attr]
            if self.filters is None:
                self.head.weight.zero_()  # as published: no noise yet, and every image the same
                return
            # All but white noise of LEVEL in every channel; what is random lets filters and gains become different.
            self.head.weight.mul_(0.3)
            self.filters.weight.mul_(0.3)
            middle = self.config.field_size // 2
            for channel in range(min(3, self.config.fields)):
                self.filters.weight[channel, channel, middle, middle] += 1
                self.head.bias.view(3, -1)[channel, channel] = 1  # type: ignore[union-attr]

    def forward(self, z: Tensor, blurred: Tensor, white: Tensor) -> Tensor:
        """z (B, z, h, w) if spatial else (B, z, 1, 1), blurred (B, 3, h, w) in [0, 1] → noise (B, dim, h or 1, w or 1).

        white (B, 3, h + 2·margin, w + 2·margin) is looked at where there are fields. The blurred image enters detached,
        so that noise does not shape the kernel.
        """
        z = image_z = self.entering(z)
        if self.config.mix:
            z = torch.cat([z.expand(-1, -1, *blurred.shape[2:]), blurred.detach()], 1)  # (B, z + 3, h, w)
        noise: Tensor = self.head(self.body(z))
        if self.filters is None:
            return noise
        assert self.level is not None
        fields: Tensor = self.filters(white) * level_factor(self.level, image_z)  # (B, fields, h, w)
        gains = noise.view(len(noise), 3, self.config.fields, *noise.shape[2:])
        return LEVEL * (gains * fields[:, None]).sum(2)

    def entering(self, z: Tensor) -> Tensor:
        """z as the layers see it: where it is evened out, of mean 0 and variance 1 still."""
        return math.sqrt(3) * (z / math.sqrt(2)).erf() if self.config.even else z


def correlation(network: NoiseNetwork) -> Tensor:
    """Share of the filters' power that lies beside their middle tap, 0..1: 0 where pixels of noise are independent."""
    assert network.filters is not None
    power = network.filters.weight.square().sum((0, 1))  # (K, K)
    middle = len(power) // 2
    return 1 - power[middle, middle] / power.sum()


def diversity(network: NoiseNetwork) -> Tensor:
    """Sum of the squares of what z enters the gains by: 0 where photos' noise differs in its level alone."""
    first = network.body[0]
    assert isinstance(first, nn.Conv2d)
    return first.weight[:, : network.config.z].square().sum()


def within_range(noise: Tensor, blurred: Tensor) -> Tensor:
    """Noise of as many pixels as the blurred image in [0, 1], less what clipping their sum to [0, 1] takes away."""
    return torch.minimum(torch.maximum(noise, -blurred), 1 - blurred)


def level_factor(level: nn.Module, z: Tensor) -> Tensor:
    """What an image's fields are multiplied by, (B, 1, 1, 1), for z (B, z, 1, 1)."""
    factor: Tensor = (MOST * (level(z) / MOST).tanh()).exp()
    return factor
