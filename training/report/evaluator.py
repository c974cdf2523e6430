"""The report of a trained model: figures that tell without any ground truth whether training worked.

What the degradation makes is measured directly (figures.py). Whether that is what happened to the real photos can only
be judged by looks (looks.py) at both. They are compared in what a reader (reader.py) tells of them, for what it has
learned to pass over is what photos show. That real and clean photos show different things still shifts what it says;
where they differ in kind the report says so, and then its other figures are worth less.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from models.degradation import Degradation, evaluating
from models.losses import quantise
from training.data.jpeg_quality import qualities_of
from training.data.photos import Photos
from training.estimator.spectra import FLOOR
from training.report.alarms import Alarm, alarms_of
from training.report.crops import Geometry, LookStatistics, clean_windows, generator_for, real_crops, spread_over
from training.report.findings import Findings, PhotoSet, PhotoSets, Readings, Seen
from training.report.metrics import NoiseSums, kernels_of
from training.report.regressor import READINGS, Reader
from training.report.two_sample import told_apart

LOOKS = 240  # at real photos and as many at made ones
SIMULATED = 4  # times as many looks does the reader learn from,
FEWEST_SIMULATED = 64  # but no fewer than these
QUALITIES = 24  # photos whose JPEG quality is read, at most
LEVELS_A_PIXEL = 4.0  # so many levels of noise weigh as much in the score as a pixel of width
LAST_POINTS = 20  # of the training's curve, over which the discriminator's loss is averaged


@dataclass(frozen=True)
class Report(Findings):
    alarms: tuple[Alarm, ...]


def looks_within(seconds: float) -> int:
    """How many looks a report may take after so long a training, to cost less than 5% of it."""
    return round(min(LOOKS, max(8, seconds)))


class Judge:
    """Judges degradations that were learned from the same photos, for which it reads these only once.

    Making one takes about 25 ms for each look, then a `score` 5 ms and a `report` 10 ms, of one core. Degradations are
    to be on `device`. The same seed gives the same judgement. Raises PhotosError where a set has no photo of 32
    low-resolution pixels.
    """

    def __init__(
        self,
        lr_photos: Photos,
        hr_photos: Photos,
        scale: int,
        *,
        seed: int = 0,
        looks: int = LOOKS,
        device: str = "cpu",
    ):
        self.lr_photos, self.hr_photos = lr_photos, hr_photos
        self.scale, self.seed, self.looks, self.device = scale, seed, looks, device
        self.geometry = Geometry.fitting(lr_photos, hr_photos, scale)
        self.statistics = LookStatistics()
        self.real_photos = spread_over(lr_photos, self.geometry.side, looks)
        self.clean_photos = spread_over(hr_photos, self.geometry.side * scale, looks)
        crops = [
            crop.float() for crop in real_crops(lr_photos, self.geometry, self.real_photos, generator_for(self.seed, 0))
        ]
        self.real_content = torch.stack([self.statistics.of_content(crop) for crop in crops])
        self.reader = Reader.learned(
            hr_photos,
            self.geometry,
            self.statistics,
            scale=scale,
            count=max(SIMULATED * looks, FEWEST_SIMULATED),
            qualities=qualities_of(lr_photos, QUALITIES),
            generator=generator_for(self.seed, 1),
        )
        self.real = self.reader(torch.stack([self.statistics.of_look(crop) for crop in crops]))

    def score(self, degradation: Degradation) -> float:
        """0 is perfect; of two degradations the one with the lower score is the better one."""
        made = torch.stack([self.statistics.of_look(made.lr) for made in self.made(degradation)])
        return _score(self._readings(self.reader(made)))

    def report(self, degradation: Degradation, history: Sequence[dict[str, float]] = ()) -> Report:
        """`history` is the curve of the degradation's training."""
        sums, finite = NoiseSums(), True
        kernels, looks, content = list[Tensor](), list[Tensor](), list[Tensor]()
        for made in self.made(degradation):
            sums.add(made.noise, made.blurred)
            kernels.append(made.kernel)
            looks.append(self.statistics.of_look(made.lr))
            content.append(self.statistics.of_content(made.blurred))
            finite = finite and made.finite
        told = self.reader(torch.stack(looks))
        readings = self._readings(told)
        losses = [point["discriminator"] for point in history if "discriminator" in point][-LAST_POINTS:]
        sides = self.geometry.side, self.geometry.side * self.scale
        real, clean = (_photo_set(*of) for of in zip((self.lr_photos, self.hr_photos), sides, strict=True))
        photos = self.real_photos, self.clean_photos
        findings = Findings(
            score=_score(readings),
            two_sample=told_apart(self.real, told, *photos),
            readings=readings,
            kernels=kernels_of(torch.stack(kernels), degradation.kernel_origin, self.scale),
            noise=sums.noise(),
            colours=sums.colours(),
            photos=PhotoSets(real, clean, told_apart(self.real_content, torch.stack(content), *photos)),
            discriminator_loss=sum(losses) / len(losses) if losses else None,
            looks=self.looks,
            finite=finite,
        )
        return Report(**vars(findings), alarms=alarms_of(findings))

    def made(self, degradation: Degradation) -> Iterator[Made]:
        """Looks at photos that this degradation makes; at the same places of the same photos whatever it is."""
        config, latents = degradation.config, generator_for(self.seed, 2)
        windows = clean_windows(
            self.hr_photos,
            self.geometry,
            self.clean_photos,
            generator_for(self.seed, 3),
            scale=self.scale,
            size=config.kernel.size,
            top=degradation.kernel_origin[0],
        )
        side, crops = self.geometry.side, self.geometry.crops
        with evaluating(degradation), torch.no_grad():
            for window in windows:
                drawn = degradation.draw_latents(crops, (side, side), latents, per_photo=crops).to(self.device)
                made = degradation(window.to(self.device), drawn, surrounded=True, per_photo=crops)
                lr, noise, kernel = (tensor.float().cpu() for tensor in (made.lr, made.noise, made.kernel[0]))
                finite = all(bool(tensor.isfinite().all()) for tensor in (lr, noise, kernel))
                if not finite:
                    lr, noise, kernel = (tensor.nan_to_num(0, 0, 0) for tensor in (lr, noise, kernel))
                yield Made(kernel, 255 * (lr - noise), 255 * noise.expand_as(lr), 255 * quantise(lr), finite)

    def _readings(self, made: Tensor) -> Readings:
        seen = {}
        for index, name in enumerate(READINGS):
            real, ours = (
                self.scale * told if name in ("major", "minor") else ((2 * told).exp() - FLOOR).clamp_min(0).sqrt()
                for told in (self.real[:, index], made[:, index])
            )
            seen[name] = Seen(
                real.mean().item(),
                real.std(correction=0).item(),
                ours.mean().item(),
                ours.std(correction=0).item(),
                (real.sort().values - ours.sort().values).abs().mean().item(),
            )
        return Readings(**seen)


class Made(NamedTuple):
    """A look at a made photo, in 8-bit levels."""

    kernel: Tensor  # (K, K), the one of all its crops
    blurred: Tensor  # (crops, 3, side, side)
    noise: Tensor  # likewise
    lr: Tensor  # likewise, rounded
    finite: bool


def _score(readings: Readings) -> float:
    widths, levels = list[float](), list[float]()
    for name, seen in vars(readings).items():
        (widths if name in ("major", "minor") else levels).append(seen.distance)
    return sum(widths) / len(widths) + sum(levels) / len(levels) / LEVELS_A_PIXEL


def _photo_set(photos: Photos, side: int) -> PhotoSet:
    return PhotoSet(len(photos), len(photos.at_least(side)), min(min(shape) for shape in photos.shapes))
