"""Predicts blur and noise from crop features, for the report. Quick to fit, and independent of the training.

The estimator (estimator/network.py) is better at it, but the degradation was trained to please it, and the paper's
presets have none. This regressor fits a thousand simulated photos in a few seconds. Content misleads it, and it shrinks
what it is unsure of, but equally for real and generated photos. So its predictions for both are compared.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.compression import CompressionBank
from models.geometry import centered_kernel_size, centered_origin, conv_strided
from training.data.photos import Photos
from training.data.simulation import random_kernels, random_noise
from training.estimator.spectra import POWER_FLOOR, WINDOW, extract_windows
from training.report.crops import CropFeatures, CropGeometry, evenly_spaced, sample_hr_windows
from training.report.metrics import principal_axes

WIDTH, ENSEMBLE, UPDATES, BATCH, LEARNING_RATE = 64, 3, 400, 128, 1e-2
COARSE_NOISE, FINE_NOISE = (0.05, 0.2), (0.3, 0.5)  # in cycles per low-resolution pixel
STAT_NAMES = ("major", "minor", "luma_coarse", "luma_fine", "color_coarse", "color_fine", "dark", "bright")


class StatRegressor:
    """Maps features (N, F) to the 8 stats of STAT_NAMES: widths in low-resolution pixels, logarithms of noise stds."""

    def __init__(self, features: Tensor, targets: Tensor, generator: torch.Generator):
        """Trains on features (N, F) with known stats (N, 8)."""
        self.mean, self.std = features.mean(0), features.std(0) + 1e-3
        self.target_mean, self.target_std = targets.mean(0), targets.std(0) + 1e-3
        self.target_range = targets.amin(0), targets.amax(0)
        inputs, normalized = self._normalize(features), (targets - self.target_mean) / self.target_std
        with torch.random.fork_rng(devices=[]):  # layers draw from torch's global generator, which is not ours to move
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            self.members = [
                nn.Sequential(
                    nn.Linear(features.shape[1], WIDTH),
                    nn.SiLU(),
                    nn.Linear(WIDTH, WIDTH),
                    nn.SiLU(),
                    nn.Linear(WIDTH, targets.shape[1]),
                )
                for _ in range(ENSEMBLE)
            ]
        for member in self.members:
            self._fit_member(member, inputs, normalized, generator)

    @classmethod
    def fit(
        cls,
        photos: Photos,
        geometry: CropGeometry,
        features: CropFeatures,
        *,
        scale: int,
        count: int,
        compressions: CompressionBank,
        generator: torch.Generator,
    ) -> StatRegressor:
        """Trains on `count` crops of clean photos with random degradations and one of the compressions each."""
        size = centered_kernel_size(scale)
        indices = evenly_spaced(photos, geometry.side * scale, count)
        top = centered_origin(size, scale)
        windows = sample_hr_windows(photos, geometry, indices, generator, scale=scale, size=size, top=top)
        kernels = random_kernels(count, size, scale, generator)
        inputs, targets = [], []
        for window, kernel in zip(windows, kernels, strict=True):
            blurred = 255 * conv_strided(window, kernel.expand(geometry.crops_per_photo, -1, -1), scale)
            noisy = (blurred + random_noise(blurred, geometry.crops_per_photo, generator)).clamp(0, 255).round()
            if not compressions.is_empty:
                noisy = compressions(noisy, compressions.draw(1, generator).expand(geometry.crops_per_photo))
            inputs.append(features.degradation_features(noisy))
            targets.append(target_stats(features, kernel, noisy - blurred, blurred, scale))
        return cls(torch.stack(inputs), torch.stack(targets), generator)

    @torch.no_grad()
    def __call__(self, features: Tensor) -> Tensor:
        """Predicts stats (N, 8) from features (N, F)."""
        predicted = torch.stack([member(self._normalize(features)) for member in self.members]).mean(0)
        return (predicted * self.target_std + self.target_mean).clamp(*self.target_range)

    def _normalize(self, features: Tensor) -> Tensor:
        # Clamped to the range of the examples, because a network extrapolates arbitrarily.
        return ((features - self.mean) / self.std).clamp(-4, 4)

    @staticmethod
    def _fit_member(member: nn.Module, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> None:
        optimizer = torch.optim.AdamW(member.parameters(), lr=LEARNING_RATE, weight_decay=0.1)
        for update in range(UPDATES):
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 + math.cos(math.pi * update / UPDATES)) / 2
            batch = torch.randint(len(inputs), (BATCH,), generator=generator)
            loss = nn.functional.smooth_l1_loss(member(inputs[batch]), targets[batch])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()


def target_stats(features: CropFeatures, kernel: Tensor, noise: Tensor, blurred: Tensor, scale: int) -> Tensor:
    """Computes the true stats (8,) of one photo: kernel (K, K), noise and blurred (B, 3, side, side) in levels."""
    major, minor, _, _ = principal_axes(kernel[None])
    power = features.spectra.power(extract_windows(noise, WINDOW // 2)).mean(0).flatten(1)  # (3, frequencies)
    radius = features.spectra.radius.flatten()
    bands = [power[:, (radius >= low) & (radius < high)].mean(1) for low, high in (COARSE_NOISE, FINE_NOISE)]
    square, brightness = noise.square().mean(1).flatten(), blurred.mean(1).flatten()
    bright = brightness > brightness.median()
    halves = [square[half].mean() if half.any() else square.mean() for half in (~bright, bright)]
    powers = [*(band[0] for band in bands), *(band[1:].mean() for band in bands), *halves]
    widths = torch.cat([major, minor]) / scale
    return torch.cat([widths, (torch.stack(powers) + POWER_FLOOR).log() / 2])
