"""Reads blur and noise off looks, for the report: quickly learned, and by nothing that the training was led by.

The estimator (estimator.py) does the same better, but a degradation was led to please it, and the paper's presets have
none. This one learns from a thousand simulated looks in a few seconds. It errs by what photos show and shrinks what it
is unsure of, but alike for real and made photos; so what it says of the ones is compared with what it says of the
others.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.geometry import centred_origin, centred_size, sample_window
from models.jpeg import compress
from training.data.photos import Photos
from training.data.simulation import random_kernels, random_noise
from training.estimator.spectra import FLOOR, WINDOW, windows_of
from training.report.crops import Geometry, LookStatistics, clean_windows, spread_over
from training.report.metrics import axes_of

WIDTH, MEMBERS, UPDATES, EXAMPLES, RATE = 64, 3, 400, 128, 1e-2
COARSE_NOISE, FINE_NOISE = (0.05, 0.2), (0.3, 0.5)  # in cycles a low-resolution pixel
READINGS = ("major", "minor", "luma_coarse", "luma_fine", "colour_coarse", "colour_fine", "in_shade", "in_light")


class Reader:
    """Figures of a look → what READINGS names: widths in low-resolution pixels, logarithms of levels of noise."""

    def __init__(self, looks: Tensor, truths: Tensor, generator: torch.Generator):
        """Learns from looks (N, F) whose readings (N, 8) are known."""
        self.mean, self.std = looks.mean(0), looks.std(0) + 1e-3
        self.truth_mean, self.truth_std = truths.mean(0), truths.std(0) + 1e-3
        self.truth_range = truths.amin(0), truths.amax(0)
        inputs, targets = self._scaled(looks), (truths - self.truth_mean) / self.truth_std
        with torch.random.fork_rng(devices=[]):  # layers start from torch's own random numbers, not ours to move
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            self.members = [
                nn.Sequential(
                    nn.Linear(looks.shape[1], WIDTH),
                    nn.SiLU(),
                    nn.Linear(WIDTH, WIDTH),
                    nn.SiLU(),
                    nn.Linear(WIDTH, truths.shape[1]),
                )
                for _ in range(MEMBERS)
            ]
        for member in self.members:
            self._fit(member, inputs, targets, generator)

    @classmethod
    def learned(
        cls,
        photos: Photos,
        geometry: Geometry,
        statistics: LookStatistics,
        *,
        scale: int,
        count: int,
        qualities: list[int],
        generator: torch.Generator,
    ) -> Reader:
        """From `count` looks at clean photos that were degraded at random, and compressed as the real ones were."""
        size = centred_size(scale)
        indices = spread_over(photos, geometry.side * scale, count)
        top = centred_origin(size, scale)
        windows = clean_windows(photos, geometry, indices, generator, scale=scale, size=size, top=top)
        kernels = random_kernels(count, size, scale, generator)
        looks, truths = [], []
        for window, kernel in zip(windows, kernels, strict=True):
            blurred = 255 * sample_window(window, kernel.expand(geometry.crops, -1, -1), scale)
            noisy = (blurred + random_noise(blurred, geometry.crops, generator)).clamp(0, 255).round()
            if qualities:
                quality = qualities[int(torch.randint(len(qualities), (), generator=generator))]
                noisy = compress(noisy, noisy.new_full((geometry.crops,), quality))
            looks.append(statistics.of_look(noisy))
            truths.append(truth_of(statistics, kernel, noisy - blurred, blurred, scale))
        return cls(torch.stack(looks), torch.stack(truths), generator)

    @torch.no_grad()
    def __call__(self, looks: Tensor) -> Tensor:
        """looks (N, F) → (N, 8)."""
        told = torch.stack([member(self._scaled(looks)) for member in self.members]).mean(0)
        return (told * self.truth_std + self.truth_mean).clamp(*self.truth_range)

    def _scaled(self, looks: Tensor) -> Tensor:
        # Nothing beyond what it has learned from, where a network says anything.
        return ((looks - self.mean) / self.std).clamp(-4, 4)

    @staticmethod
    def _fit(member: nn.Module, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> None:
        optimizer = torch.optim.AdamW(member.parameters(), lr=RATE, weight_decay=0.1)
        for update in range(UPDATES):
            optimizer.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * update / UPDATES)) / 2
            some = torch.randint(len(inputs), (EXAMPLES,), generator=generator)
            loss = nn.functional.smooth_l1_loss(member(inputs[some]), targets[some])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()


def truth_of(statistics: LookStatistics, kernel: Tensor, noise: Tensor, blurred: Tensor, scale: int) -> Tensor:
    """What is to be read off a look: kernel (K, K), noise and blurred (B, 3, side, side) in 8-bit levels → (8,)."""
    major, minor, _, _ = axes_of(kernel[None])
    power = statistics.spectra.power(windows_of(noise, WINDOW // 2)).mean(0).flatten(1)  # (3, frequencies)
    radius = statistics.spectra.radius.flatten()
    bands = [power[:, (radius >= low) & (radius < high)].mean(1) for low, high in (COARSE_NOISE, FINE_NOISE)]
    square, brightness = noise.square().mean(1).flatten(), blurred.mean(1).flatten()
    bright = brightness > brightness.median()
    halves = [square[half].mean() if half.any() else square.mean() for half in (~bright, bright)]
    powers = [*(band[0] for band in bands), *(band[1:].mean() for band in bands), *halves]
    widths = torch.cat([major, minor]) / scale
    return torch.cat([widths, (torch.stack(powers) + FLOOR).log() / 2])
