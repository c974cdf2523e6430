"""The noise network: z_n, and with `condition_on_image` the blurred image, give the noise.

Section 3.3 of "Learning the Degradation Distribution for Blind Image Super-Resolution", CVPR 2022.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

NOISE_UNIT = 4 / 255  # std of an untrained network's filtered noise; with this unit its weights are about 1
MAX_LOG_GAIN = 3  # a photo's noise std lies within e^±3 of NOISE_UNIT


@dataclass(frozen=True)
class NoiseConfig:
    """The noise network's shape. The defaults are those of the preset `seed`.

    With neither `spatial` nor `condition_on_image`, noise is one value for the whole image.
    With `condition_on_image` alone, it is a random tone curve.
    Raises ValueError for switches that contradict each other.
    """

    condition_on_image: bool = False  # the blurred image is a second input, so noise can depend on content
    spatial: bool = False  # one z_n for each low-resolution pixel; else one for each image
    z: int = 3  # channels of z_n
    width: int = 32
    blocks: int = 8
    dim: int = 1  # channels of the noise: 3, or 1 for noise that is equal in all channels
    head_kernel: int = 1  # taps a side of the first convolution
    body_kernel: int = 1  # taps a side of the residual blocks' convolutions
    batch_norm: bool = True
    # Not in the paper. Above 0, learned filters correlate white noise between pixels and channels into `num_filters`
    # maps. The network's output is gains: noise is the sum of the maps times their gains. So noise has mean 0, and one
    # z_n for each image sets its level and its kind.
    num_filters: int = 0
    filter_size: int = 5  # taps a side
    # Not in the paper. z_n becomes uniform: photos of one camera differ within bounds, and a network gives a normal
    # latent long tails.
    uniform_latent: bool = False
    # Not in the paper. Std of additional gray noise, relative to the local contrast: aliasing, interpolation and
    # denoising leave more at edges than in even areas. Needs filters. It is not learned.
    edge_noise: float = 0.0

    def __post_init__(self) -> None:
        if self.dim not in (1, 3):
            raise ValueError(f"noise has 1 or 3 channels, not {self.dim}")
        if {self.head_kernel, self.body_kernel} - {1, 3}:
            raise ValueError("the noise network's convolutions are 1x1 or 3x3")
        if self.head_kernel + self.body_kernel > 2 and not self.spatial:
            raise ValueError("3x3 convolutions in the noise network need spatial=True")
        filters_fit = self.condition_on_image and not self.spatial and self.dim == 3 and self.filter_size % 2
        if self.num_filters and not filters_fit:
            raise ValueError("noise filters need condition_on_image=True, spatial=False, dim=3 and an odd size")
        if self.edge_noise and not self.num_filters:
            raise ValueError("noise at edges needs noise filters")

    @property
    def margin(self) -> int:
        """Pixels of white noise that are drawn beyond each border of the image."""
        return self.filter_size // 2 if self.num_filters else 0

    @property
    def receptive_radius(self) -> int:
        """Distance in low-resolution pixels of the farthest input pixel that a pixel of noise depends on."""
        return self.head_kernel // 2 + 2 * self.blocks * (self.body_kernel // 2)


class ResidualBlock(nn.Module):
    """Adds the output of two convolutions to their input."""

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
        in_channels = config.z + 3 * config.condition_on_image
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, config.width, config.head_kernel, padding=config.head_kernel // 2),
            nn.BatchNorm2d(config.width) if config.batch_norm else nn.Identity(),
            nn.ReLU(inplace=True),
            *(ResidualBlock(config.width, config.body_kernel, config.batch_norm) for _ in range(config.blocks)),
        )
        self.head = nn.Conv2d(config.width, config.dim * max(1, config.num_filters), 1)
        self.filters = nn.Conv2d(3, config.num_filters, config.filter_size, bias=False) if config.num_filters else None
        # Returns the log of one gain for the whole image: noise levels differ more between photos than within one.
        # It is named `level`, not `log_gain`, because saved files have its tensors under this name.
        self.level = (
            nn.Sequential(nn.Conv2d(config.z, config.width, 1), nn.ReLU(), nn.Conv2d(config.width, 1, 1))
            if config.num_filters
            else None
        )
        self._init_weights()

    def _init_weights(self) -> None:
        with torch.no_grad():
            self.head.bias.zero_()  # type: ignore[union-attr]
            if self.filters is None:
                self.head.weight.zero_()  # as published: no noise yet, and every image the same
                return
            # Near-white noise of NOISE_UNIT in every channel. The random rest lets filters and gains diverge.
            self.head.weight.mul_(0.3)
            self.filters.weight.mul_(0.3)
            middle = self.config.filter_size // 2
            for channel in range(min(3, self.config.num_filters)):
                self.filters.weight[channel, channel, middle, middle] += 1
                self.head.bias.view(3, -1)[channel, channel] = 1  # type: ignore[union-attr]

    def forward(self, z: Tensor, blurred: Tensor, white_noise: Tensor) -> Tensor:
        """Returns noise (B, dim, h or 1, w or 1) for z (B, z, h or 1, w or 1) and blurred (B, 3, h, w) in [0, 1].

        z has the image's size if `spatial`, else 1 × 1. white_noise (B, 3, h + 2·margin, w + 2·margin) is used only
        with filters. The blurred image is detached, so noise does not shape the kernel.
        """
        z = image_z = self.warp_latent(z)
        if self.config.condition_on_image:
            z = torch.cat([z.expand(-1, -1, *blurred.shape[2:]), blurred.detach()], 1)  # (B, z + 3, h, w)
        noise: Tensor = self.head(self.body(z))  # (B, dim, h or 1, w or 1), with filters (B, 3·F, h, w)
        if self.filters is None:
            return noise
        assert self.level is not None
        filtered: Tensor = self.filters(white_noise) * noise_gain(self.level, image_z)  # (B, F, h, w)
        gains = noise.view(len(noise), 3, self.config.num_filters, *noise.shape[2:])  # (B, 3, F, h, w)
        noise = NOISE_UNIT * (gains * filtered[:, None]).sum(2)  # (B, 3, h, w)
        return noise + self.edge_noise(blurred.detach(), white_noise) if self.config.edge_noise else noise

    def edge_noise(self, blurred: Tensor, white_noise: Tensor) -> Tensor:
        """Returns the noise at edges, (B, 1, h, w), equal in all channels; inputs as for `forward`."""
        margin = self.config.margin
        inner = white_noise[:, :, margin : white_noise.shape[2] - margin, margin : white_noise.shape[3] - margin]
        return self.config.edge_noise * local_contrast(blurred) * inner.sum(1, keepdim=True) / math.sqrt(3)

    def warp_latent(self, z: Tensor) -> Tensor:
        """Makes z uniform if the config asks for it. Its mean stays 0 and its variance 1."""
        return math.sqrt(3) * (z / math.sqrt(2)).erf() if self.config.uniform_latent else z


def local_contrast(images: Tensor) -> Tensor:
    """Returns the local contrast (B, 1, h, w) of images (B, 3, h, w): the slope of their mean, per pixel.

    It is the root of the squared central differences, smoothed by a Gaussian of sigma 1. Borders are repeated.
    """
    mean = functional.pad(images.mean(1, keepdim=True), (4, 4, 4, 4), "replicate")
    across = (mean[:, :, 1:-1, 2:] - mean[:, :, 1:-1, :-2]) / 2
    down = (mean[:, :, 2:, 1:-1] - mean[:, :, :-2, 1:-1]) / 2
    taps = (-0.5 * torch.arange(-3, 4, device=images.device, dtype=images.dtype) ** 2).exp()
    taps = (taps / taps.sum()).view(1, 1, 1, -1)
    power = functional.conv2d(functional.conv2d(across**2 + down**2, taps), taps.mT)
    return (power + 1e-10).sqrt()


def filter_correlation_penalty(network: NoiseNetwork) -> Tensor:
    """Returns the share of the filters' power outside their middle tap, 0..1; 0 if noise pixels are independent."""
    assert network.filters is not None
    power = network.filters.weight.square().sum((0, 1))  # (K, K)
    middle = len(power) // 2
    return 1 - power[middle, middle] / power.sum()


def latent_gain_penalty(network: NoiseNetwork) -> Tensor:
    """Returns the sum of squares of the weights from z to the gains; 0 if photos' noise differs in level alone."""
    first = network.body[0]
    assert isinstance(first, nn.Conv2d)
    return first.weight[:, : network.config.z].square().sum()


def clip_noise(noise: Tensor, blurred: Tensor) -> Tensor:
    """Removes the part of the noise that takes blurred + noise out of [0, 1]. Both have one shape."""
    return torch.minimum(torch.maximum(noise, -blurred), 1 - blurred)


def noise_gain(level: nn.Module, z: Tensor) -> Tensor:
    """Returns the gain of each image's filtered noise, (B, 1, 1, 1), for z (B, z, 1, 1)."""
    gain: Tensor = (MAX_LOG_GAIN * (level(z) / MAX_LOG_GAIN).tanh()).exp()
    return gain
