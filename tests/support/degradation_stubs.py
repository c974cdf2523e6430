"""Degradations with known kernels and noise, for reports and galleries."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.degradation import Degradation, DegradationConfig, Latents
from models.networks.kernel import KernelConfig
from models.networks.noise import NoiseConfig

SIZE = 24


def make_gaussian(major: float, minor: float, angle: float = 0.0, shift: float = 0.0) -> Tensor:
    """Returns a kernel (24, 24). Sigmas are in taps, `angle` in radians from the rows; `shift` moves it down."""
    offset = torch.arange(float(SIZE)) - (SIZE - 1) / 2
    y, x = (offset - shift)[:, None], offset[None]
    along, across = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
    kernel = (-0.5 * ((along / major) ** 2 + (across / minor) ** 2)).exp()
    return kernel / kernel.sum()


class FixedKernels(nn.Module):
    """A kernel network that picks from a list."""

    def __init__(self, kernels: Tensor):
        super().__init__()
        self.kernels = kernels

    def forward(self, z: Tensor) -> Tensor:
        index = (torch.special.ndtr(z[:, 0, 0, 0]) * len(self.kernels)).long()
        return self.kernels[index.clamp_max(len(self.kernels) - 1)]


class StubDegradation(Degradation):
    """White noise with an std drawn for each photo, and a tint, in 8-bit levels. It may grow with brightness."""

    def __init__(
        self,
        kernels: Tensor,
        sigmas: tuple[float, float],
        *,
        tint: tuple[float, float, float] = (0, 0, 0),
        by_brightness: float = 0.0,
    ):
        noise = NoiseConfig(condition_on_image=True, z=4, width=4, blocks=1, dim=3, num_filters=4)
        super().__init__(DegradationConfig(4, KernelConfig(size=SIZE, blocks=1), noise, center_kernels=True))
        self.kernel = FixedKernels(kernels)  # type: ignore[assignment]
        self.sigmas, self.tint, self.by_brightness = sigmas, tint, by_brightness

    def draw_noise(self, latents: Latents, blurred: Tensor) -> Tensor:
        low, high = self.sigmas
        sigma = low + (high - low) * torch.special.ndtr(latents.noise[:, :1])
        sigma = sigma + self.by_brightness * 255 * blurred
        tint = torch.tensor(self.tint)[:, None, None]
        noise: Tensor = (sigma * latents.white_noise[:, :, 2:-2, 2:-2] + tint) / 255
        return noise


def make_stub(wider: float = 0.0, *, one_kernel: bool = False, shift: float = 0.0, **noise: object) -> StubDegradation:
    """Returns a stub with noise of 3 to 7 levels, and Gaussians of 1.5 to 2.5 by 1 to 2 pixels in all directions."""
    draws = torch.rand(64, 3, generator=torch.Generator().manual_seed(0))
    draws = draws[:1].expand(64, 3) if one_kernel else draws
    kernels = [
        make_gaussian(1.5 + major + wider, 1 + minor + wider, math.pi * turn, shift)
        for major, minor, turn in draws.tolist()
    ]
    return StubDegradation(torch.stack(kernels), **{"sigmas": (3, 7), **noise})  # type: ignore[arg-type]
