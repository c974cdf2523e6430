"""The PatchGAN discriminator (section 3.4 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The defaults are the seed's run."""

    width: int = 64
    scores: int = 64  # maps of scores
    stride: int = 2  # of the second and third convolution


class PatchDiscriminator(nn.Module):
    """Scores how real each neighbourhood of a low-resolution image looks."""

    def __init__(self, config: DiscriminatorConfig):
        super().__init__()
        self.config = config
        width, stride = config.width, config.stride
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, 2 * width, 3, stride, padding=1),
            nn.InstanceNorm2d(2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * width, 4 * width, 3, stride, padding=1),
            nn.InstanceNorm2d(4 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(4 * width, 8 * width, 3, padding=1),
            nn.InstanceNorm2d(8 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(8 * width, config.scores, 3, padding=1),
        )

    def forward(self, lr: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] → scores (B, scores, h / stride², w / stride²), towards 1 for real, 0 for made."""
        scores: Tensor = self.body(lr)
        return scores
