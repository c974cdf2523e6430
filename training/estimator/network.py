"""Reads blur and noise off a photo, having seen other photos degraded in every way.

Matching *what a photo looks like* compares contents as much as cameras. So an estimator tells a photo's kernel and
noise from its windows, whatever it shows; it has learned that on photos of its own (pretraining.py), and comes with
Patina. Kernel and noise network are led until what it says of their images is distributed as what it says of the real
ones. What it errs by does no harm there so long as it errs alike on both; only the first phase, which aims at what it
says, takes its word.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from training.estimator.spectra import FLOOR, WINDOW, Spectra, windows_of

FAINTEST = 3e-4  # of a kernel's power response; below it nothing is left to see
NOISE_RINGS = ((0.05, 0.15), (0.15, 0.28), (0.28, 0.4), (0.4, 0.71))  # in cycles a pixel
WIDTH = 192
WEIGHTS = Path(__file__).with_name("weights.safetensors")  # in half precision


class Estimator(nn.Module):
    """Windows of one photo, in any number and order → its kernel's spectrum and its noise.

    Each window is read, read again beside what all of them look like together, and what is seen in all is told.
    """

    def __init__(self, width: int = WIDTH):
        super().__init__()
        spectra = Spectra()
        self.features = 3 * spectra.bins + 4
        self.kernel_targets, self.noise_targets = spectra.bins, 3 * len(NOISE_RINGS) + 1
        self.read = nn.Sequential(nn.Linear(self.features, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.context = nn.Sequential(nn.Linear(3 * width, width), nn.SiLU())
        self.reread = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.tell = nn.Sequential(
            nn.Linear(3 * width, width), nn.SiLU(), nn.Linear(width, self.kernel_targets + self.noise_targets)
        )
        self.register_buffer("mean", torch.zeros(self.features))
        self.register_buffer("std", torch.ones(self.features))
        self.register_buffer("target_mean", torch.zeros(self.kernel_targets + self.noise_targets))
        self.register_buffer("target_std", torch.ones(self.kernel_targets + self.noise_targets))

    def scale_to(self, features: Tensor, kernel: Tensor, noise: Tensor) -> None:
        """Takes the scales of inputs and targets from examples: features (N, W, F), targets (N, …)."""
        self.mean.copy_(features.mean((0, 1)))  # type: ignore[operator]
        self.std.copy_(features.std((0, 1)).clamp_min(0.01))  # type: ignore[operator]
        self.target_mean.copy_(torch.cat([kernel, noise], 1).mean(0))  # type: ignore[operator]
        # One scale for all of a kernel and one for all of noise: what hardly varies shall not count as much.
        scales = [targets.std(0).mean().expand(targets.shape[1]) for targets in (kernel, noise)]
        self.target_std.copy_(torch.cat(scales))  # type: ignore[operator]

    def scaled(self, kernel: Tensor, noise: Tensor) -> Tensor:
        """Targets (N, …) as this network tells them."""
        scaled: Tensor = (torch.cat([kernel, noise], 1) - self.target_mean) / self.target_std  # type: ignore[operator]
        return scaled

    def forward(self, features: Tensor) -> Tensor:
        """features (N, W, F) of N photos' windows → (N, kernel_targets + noise_targets), scaled."""
        seen: Tensor = self.read((features - self.mean) / self.std)  # type: ignore[operator]  # (N, W, width)
        context = self.context(_pooled(seen))[:, None].expand_as(seen)
        seen = seen + self.reread(torch.cat([seen, context], 2))
        told: Tensor = self.tell(_pooled(seen))
        return told


def _pooled(seen: Tensor) -> Tensor:
    """(N, W, width) → (N, 3 · width): mean, spread and soft maximum, for the sharpest windows tell most of blur."""
    sharpest = (3 * seen).logsumexp(1) / 3 - math.log(seen.shape[1]) / 3
    mean = seen.mean(1)
    spread = ((seen - mean[:, None]).square().mean(1) + 1e-12).sqrt()  # a seventh of the time of torch's own std
    return torch.cat([mean, spread, sharpest], 1)


class Statistics:
    """What is measured of photos, kernels and noise for the estimator."""

    def __init__(self, scale: int, device: torch.device | str = "cpu"):
        self.scale = scale
        self.spectra = Spectra(device)
        radius = self.spectra.radius
        rings = torch.stack([(radius >= low) & (radius < high) for low, high in NOISE_RINGS]).flatten(1).float()
        self.rings = (rings / rings.sum(1, keepdim=True)).T  # (frequencies, rings)

    def windows(self, crops: Tensor, quality: Tensor, per_photo: int) -> Tensor:
        """Features (B / per_photo, W, F) of the overlapping windows of crops (B, 3, side, side), in 8-bit levels.

        quality (B,) is that of the photos' JPEG, 100 for none.
        """
        windows = windows_of(crops, WINDOW // 2)  # (B·n², 3, 32, 32)
        brightness = torch.einsum("oc,bc->bo", self.spectra.opponent, windows.mean((2, 3))) / 100
        compression = (1 - quality / 100).repeat_interleave(len(windows) // len(crops))[:, None]
        features = torch.cat([self.spectra.log_power(windows).flatten(1), brightness, compression], 1)
        return features.view(len(crops) // per_photo, -1, features.shape[1])

    @staticmethod
    def light(windows: Tensor) -> Tensor:
        """Features (N, W, F) of N photos' windows → how light each is, (N,); 0 is black, 9 white."""
        return 2 * windows[:, :, -4].mean(1)  # weighs about as much as what is told of noise

    def of_kernels(self, kernel: Tensor) -> Tensor:
        """kernel (B, K, K) → (B, bins): for a Gaussian its width in that direction, times the frequency."""
        return (-(self.spectra.of_kernels(kernel, self.scale) + FAINTEST).log()).clamp_min(0).sqrt()

    def of_noise(self, noise: Tensor, blurred: Tensor, per_photo: int) -> Tensor:
        """noise and blurred (B, 3, side, side), levels → (B / per_photo, …).

        The root of its amplitude by colour and ring, and the logarithm of how much larger it is in the brighter half.
        (With the logarithm of the amplitude a few far too noisy photos would hardly count.)
        """
        power = (self.spectra.power(windows_of(noise, WINDOW)).flatten(2) @ self.rings).flatten(1)  # (B·n², 3 · rings)
        power = power.view(len(noise) // per_photo, -1, power.shape[1]).mean(1)
        square = noise.square().mean(1).view(len(power), -1)
        bright = blurred.mean(1).view(len(power), -1)
        bright = (bright > bright.median(1, keepdim=True).values).float()
        in_light = (square * bright).sum(1) / bright.sum(1).clamp_min(1)
        in_shade = (square * (1 - bright)).sum(1) / (1 - bright).sum(1).clamp_min(1)
        tilt = (in_light + FLOOR).log() - (in_shade + FLOOR).log()
        return torch.cat([(power + FLOOR) ** 0.25, tilt[:, None] / 2], 1)


def experienced() -> Estimator:
    """One that has learned, as pretraining.py left it."""
    estimator = Estimator()
    estimator.load_state_dict({name: tensor.float() for name, tensor in load_file(WEIGHTS).items()})
    return estimator


@cache
def statistics_of(scale: int, device: str = "cpu") -> Statistics:
    """Always the same for these two: their tables take longer to make than to use."""
    return Statistics(scale, device)
