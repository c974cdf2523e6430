"""The PatchGAN discriminator.

Section 3.4 of "Learning the Degradation Distribution for Blind Image Super-Resolution", CVPR 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The discriminator's shape. The defaults are those of the preset `seed`."""

    width: int = 64
    scores: int = 64  # output channels
    stride: int = 2  # of the second and third convolution
    # Not in the paper: spectral norm instead of instance norm, which hides the amplitude that noise is judged by.
    spectral_norm: bool = False


class PatchDiscriminator(nn.Module):
    """Scores how real each neighborhood of a low-resolution image seems."""

    def __init__(self, config: DiscriminatorConfig):
        super().__init__()
        self.config = config
        width, stride = config.width, config.stride

        def conv(in_channels: int, out_channels: int, stride: int = 1) -> nn.Module:
            layer = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1)
            return spectral_norm(layer) if config.spectral_norm else layer

        def norm(channels: int) -> nn.Module:
            return nn.Identity() if config.spectral_norm else nn.InstanceNorm2d(channels)

        self.body = nn.Sequential(
            conv(3, width),  # (B, width, h, w)
            nn.LeakyReLU(0.2, inplace=True),
            conv(width, 2 * width, stride),  # (B, 2·width, h / stride, w / stride)
            norm(2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            conv(2 * width, 4 * width, stride),  # (B, 4·width, h / stride², w / stride²)
            norm(4 * width),
            nn.LeakyReLU(0.2, inplace=True),
            conv(4 * width, 8 * width),  # (B, 8·width, h / stride², w / stride²)
            norm(8 * width),
            nn.LeakyReLU(0.2, inplace=True),
            conv(8 * width, config.scores),  # (B, scores, h / stride², w / stride²)
        )

    def forward(self, lr: Tensor) -> Tensor:
        """Returns scores (B, scores, h / stride², w / stride²) of lr (B, 3, h, w) in [0, 1]. 1 is real, 0 generated."""
        scores: Tensor = self.body(lr)
        return scores
