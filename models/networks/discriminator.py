"""The PatchGAN discriminator (section 3.4 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The defaults are the seed's run."""

    width: int = 64
    scores: int = 64  # maps of scores
    stride: int = 2  # of the second and third convolution
    # Spectral instead of instance normalisation, which hides the very amplitude that noise has to be judged by.
    spectral_norm: bool = False


class PatchDiscriminator(nn.Module):
    """Scores how real each neighbourhood of a low-resolution image looks."""

    def __init__(self, config: DiscriminatorConfig):
        super().__init__()
        self.config = config
        width, stride = config.width, config.stride

        def conv(before: int, after: int, stride: int = 1) -> nn.Module:
            layer = nn.Conv2d(before, after, 3, stride, padding=1)
            return spectral_norm(layer) if config.spectral_norm else layer

        def norm(channels: int) -> nn.Module:
            return nn.Identity() if config.spectral_norm else nn.InstanceNorm2d(channels)

        self.body = nn.Sequential(
            conv(3, width),
            nn.LeakyReLU(0.2, inplace=True),
            conv(width, 2 * width, stride),
            norm(2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            conv(2 * width, 4 * width, stride),
            norm(4 * width),
            nn.LeakyReLU(0.2, inplace=True),
            conv(4 * width, 8 * width),
            norm(8 * width),
            nn.LeakyReLU(0.2, inplace=True),
            conv(8 * width, config.scores),
        )

    def forward(self, lr: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] → scores (B, scores, h / stride², w / stride²), towards 1 for real, 0 for made."""
        scores: Tensor = self.body(lr)
        return scores
