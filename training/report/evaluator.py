"""The report of a trained model: metrics that show without ground truth whether training worked.

What the degradation generates is measured directly (metrics.py). Whether it equals what happened to the real photos is
judged by crops (crops.py) of both. They are compared in what a regressor (regressor.py) predicts for them, because it
has learned to ignore content. Different content of real and clean photos still shifts its predictions. Where the sets
differ in kind, the report says so, and its other metrics are less reliable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import mean
from typing import NamedTuple

import torch
from torch import Tensor

from models.compression import CompressionBank
from models.degradation import Degradation, eval_mode
from models.losses import quantize_ste
from training.data.compressions import collect_compressions
from training.data.photos import Photos
from training.data.resized_blocks import count_resized
from training.estimator.network import load_pretrained_estimator
from training.estimator.overshoot import MAX_PHOTOS, measure_generated_overshoot, measure_real_overshoot
from training.estimator.spectra import POWER_FLOOR
from training.report.alarms import Alarm, find_alarms, find_resized_alarm
from training.report.crops import (
    CropFeatures,
    CropGeometry,
    evenly_spaced,
    make_generator,
    sample_hr_windows,
    sample_real_crops,
)
from training.report.kinds import Kinds, Strengths, compare_kinds, estimate_strengths
from training.report.metrics import (
    NoiseAccumulator,
    OvershootComparison,
    PhotoSet,
    PhotoSets,
    PredictedStats,
    ReportMetrics,
    StatComparison,
    measure_kernels,
    principal_axes,
)
from training.report.regressor import STAT_NAMES, StatRegressor
from training.report.two_sample import two_sample_accuracy
from training.state import RealFeatures

NUM_CROPS = 240  # groups of crops of real photos, and as many of generated ones
SIM_FACTOR = 4  # the regressor trains on this many times as many simulated photos,
MIN_SIMULATED = 64  # but at least on these
LEVELS_PER_PIXEL = 4.0  # levels of noise std that weigh as much in the score as a pixel of width
OVERSHOOT_PER_PIXEL = 0.2  # of the step at an edge; weighs as much in the score as a pixel of width
LAST_POINTS = 20  # points of the history over which the discriminator's loss is averaged


@dataclass(frozen=True)
class Report(ReportMetrics):
    alarms: tuple[Alarm, ...]


def eval_crops_for(seconds: float) -> int:
    """Returns how many crops keep a report's cost below 5% of a training of `seconds`."""
    return round(min(NUM_CROPS, max(8, seconds)))


class Evaluator:
    """Evaluates degradations that were learned from the same photos, which it reads only once.

    Building it takes about 25 ms of one core for each crop, then a `score` 5 ms and a `report` 10 ms. Degradations must
    be on `device`. The same seed gives the same result. Raises PhotosError if a set has no photo of 32 low-resolution
    pixels.
    """

    def __init__(
        self,
        lr_photos: Photos,
        hr_photos: Photos,
        scale: int,
        *,
        seed: int = 0,
        num_crops: int = NUM_CROPS,
        device: str = "cpu",
    ):
        self.lr_photos, self.hr_photos = lr_photos, hr_photos
        self.scale, self.seed, self.num_crops, self.device = scale, seed, num_crops, device
        self.geometry = CropGeometry.choose(lr_photos, hr_photos, scale)
        self.features = CropFeatures()
        self.real_photos = evenly_spaced(lr_photos, self.geometry.side, num_crops)
        self.clean_photos = evenly_spaced(hr_photos, self.geometry.side * scale, num_crops)
        compressions = collect_compressions(lr_photos)  # first: crops start at blocks
        self.resized_alarm = find_resized_alarm(*count_resized(lr_photos))
        sampled = sample_real_crops(lr_photos, self.geometry, self.real_photos, make_generator(self.seed, 0))
        crops = [crop.float() for crop in sampled]
        self.real_content = torch.stack([self.features.content_features(crop) for crop in crops])
        self.regressor = StatRegressor.fit(
            hr_photos,
            self.geometry,
            self.features,
            scale=scale,
            count=max(SIM_FACTOR * num_crops, MIN_SIMULATED),
            compressions=CompressionBank(compressions),
            generator=make_generator(self.seed, 1),
        )
        self.real_stats = self.regressor(torch.stack([self.features.degradation_features(crop) for crop in crops]))

    def score(self, degradation: Degradation) -> float:
        """Computes the score without its part for sharpening, which follows the training's candidates.

        The lower of two is better; a perfect model scores 0.1 to 0.3.
        """
        return _compute_score(self._compare(self._predict_unsharpened(degradation)))

    def report(
        self,
        degradation: Degradation,
        history: Sequence[dict[str, float]] = (),
        real_features: RealFeatures | None = None,
    ) -> Report:
        """Computes the report.

        `history` is the metric history of the degradation's training, `real_features` what its estimator predicted for
        the real photos. Without the latter, kinds of photos are not compared.
        """
        accumulator, is_finite = NoiseAccumulator(), True
        kernels, features, content = list[Tensor](), list[Tensor](), list[Tensor]()
        photos = self.real_photos, self.clean_photos
        for crop in self.generate(degradation):
            accumulator.add(crop.noise, crop.blurred)
            kernels.append(crop.kernel)
            features.append(self.features.degradation_features(crop.lr))
            content.append(self.features.content_features(crop.blurred))
            is_finite = is_finite and crop.is_finite
        stats, sharpened_two_sample = self.regressor(torch.stack(features)), None
        compared = [self._compare(stats)]
        if degradation.config.kernel.sharpening_amount:
            sharpened_two_sample = two_sample_accuracy(self.real_stats, stats, *photos)
            stats = self._predict_unsharpened(degradation)
            compared.append(self._compare(stats))
        overshoot = self._compare_overshoot(degradation)
        losses = [point["discriminator"] for point in history if "discriminator" in point][-LAST_POINTS:]
        real = _describe_photos(self.lr_photos, self.geometry.side)
        clean = _describe_photos(self.hr_photos, self.geometry.side * self.scale)
        kinds = self._compare_kinds(torch.stack(kernels), torch.tensor(accumulator.stds), real_features)
        metrics = ReportMetrics(
            # Spectra with the mask and without count alike: texture agrees without it, edges with it.
            score=mean(_compute_score(predicted, kinds) for predicted in compared)
            + _compute_overshoot_score(overshoot),
            two_sample=two_sample_accuracy(self.real_stats, stats, *photos),
            sharpened_two_sample=sharpened_two_sample,
            predicted=compared[-1],
            overshoot=overshoot,
            kernels=measure_kernels(torch.stack(kernels), degradation.kernel_origin, self.scale),
            noise=accumulator.get_noise_metrics(),
            colors=accumulator.get_color_bias(),
            photos=PhotoSets(real, clean, two_sample_accuracy(self.real_content, torch.stack(content), *photos)),
            kinds=kinds,
            discriminator_loss=sum(losses) / len(losses) if losses else None,
            num_crops=self.num_crops,
            is_finite=is_finite,
        )
        return Report(**vars(metrics), alarms=find_alarms(metrics) + self.resized_alarm)

    def generate(self, degradation: Degradation) -> Iterator[GeneratedCrop]:
        """Yields crops that the degradation generates, always from the same positions in the same photos."""
        config, latents = degradation.config, make_generator(self.seed, 2)
        windows = sample_hr_windows(
            self.hr_photos,
            self.geometry,
            self.clean_photos,
            make_generator(self.seed, 3),
            scale=self.scale,
            size=config.kernel.size,
            top=degradation.kernel_origin[0],
        )
        side, crops_per_photo = self.geometry.side, self.geometry.crops_per_photo
        with eval_mode(degradation), torch.no_grad():
            for window in windows:
                drawn = degradation.draw_latents(
                    crops_per_photo, (side, side), latents, crops_per_photo=crops_per_photo
                ).to(self.device)
                degraded = degradation(
                    window.to(self.device), drawn, padded_input=True, crops_per_photo=crops_per_photo
                )
                lr, noise, kernel = (
                    tensor.float().cpu() for tensor in (degraded.lr, degraded.noise, degraded.kernel[0])
                )
                is_finite = all(bool(tensor.isfinite().all()) for tensor in (lr, noise, kernel))
                if not is_finite:
                    lr, noise, kernel = (tensor.nan_to_num(0, 0, 0) for tensor in (lr, noise, kernel))
                yield GeneratedCrop(
                    kernel, 255 * (lr - noise), 255 * noise.expand_as(lr), 255 * quantize_ste(lr), is_finite
                )

    def _predict_unsharpened(self, degradation: Degradation) -> Tensor:
        """Predicts the stats (N, 8) of photos that are generated without the kernels' unsharp mask."""
        with without_sharpening(degradation):
            features = [self.features.degradation_features(crop.lr) for crop in self.generate(degradation)]
        return self.regressor(torch.stack(features))

    def _compare_overshoot(self, degradation: Degradation) -> OvershootComparison | None:
        max_photos = min(MAX_PHOTOS, self.num_crops)  # as everything here, few after a short training
        real = measure_real_overshoot(self.lr_photos, max_photos)
        generated = measure_generated_overshoot(
            degradation, self.hr_photos, seed=self.seed, device=self.device, max_photos=max_photos
        )
        if real is None or generated is None:
            return None
        return OvershootComparison(real.mean, real.error, generated.mean, generated.error)

    def _compare_kinds(self, kernel: Tensor, noise_std: Tensor, features: RealFeatures | None) -> Kinds | None:
        """Compares kinds of real photos with those of generated ones, of kernel (N, K, K) and noise_std (N,)."""
        real = features and estimate_strengths(features, load_pretrained_estimator(), self.scale)
        if real is None:
            return None
        major, minor = (width.nan_to_num(0) for width in principal_axes(kernel)[:2])
        num_photos = len(self.lr_photos.indices_fitting(self.geometry.side))
        return compare_kinds(real, num_photos, Strengths(major, minor, noise_std))

    def _compare(self, stats: Tensor) -> PredictedStats:
        comparisons = {}
        for index, name in enumerate(STAT_NAMES):
            real, generated = (
                self.scale * values
                if name in ("major", "minor")
                else ((2 * values).exp() - POWER_FLOOR).clamp_min(0).sqrt()
                for values in (self.real_stats[:, index], stats[:, index])
            )
            comparisons[name] = StatComparison(
                real.mean().item(),
                real.std(correction=0).item(),
                generated.mean().item(),
                generated.std(correction=0).item(),
                (real.sort().values - generated.sort().values).abs().mean().item(),
            )
        return PredictedStats(**comparisons)


class GeneratedCrop(NamedTuple):
    """Generated crops of one photo, in 8-bit levels."""

    kernel: Tensor  # (K, K), shared by all crops
    blurred: Tensor  # (crops, 3, side, side)
    noise: Tensor  # (crops, 3, side, side)
    lr: Tensor  # (crops, 3, side, side), rounded
    is_finite: bool


def _compute_score(predicted: PredictedStats, kinds: Kinds | None = None) -> float:
    """Returns the distance of widths, in pixels, and of noise stds, in units of LEVELS_PER_PIXEL.

    Content blurs the regressor's predictions until it hardly sees merged kinds. So where the estimator predicted
    the real photos' widths, the distance from these counts for half of the widths.
    """
    widths, stds = list[float](), list[float]()
    for name, comparison in vars(predicted).items():
        (widths if name in ("major", "minor") else stds).append(comparison.distance)
    width = sum(widths) / len(widths)
    if kinds:
        width = (width + kinds.blur_distance) / 2
    return width + sum(stds) / len(stds) / LEVELS_PER_PIXEL


def _compute_overshoot_score(overshoot: OvershootComparison | None) -> float:
    """Returns the difference of overshoots in units of OVERSHOOT_PER_PIXEL, shrunk by what may be chance."""
    if overshoot is None:
        return 0.0
    certainty = max(0.0, 1 - (overshoot.error / (abs(overshoot.difference) + 1e-9)) ** 2)
    return certainty * abs(overshoot.difference) / OVERSHOOT_PER_PIXEL


@contextmanager
def without_sharpening(degradation: Degradation) -> Iterator[None]:
    """Sets the kernels' unsharp mask aside, and the temperature that holds their width under it."""
    config = degradation.config
    if not config.kernel.sharpening_amount:
        yield
        return
    kernel = replace(config.kernel, sharpening_amount=0.0, temperature=1.0)
    degradation.config, degradation.kernel.config = replace(config, kernel=kernel), kernel
    try:
        yield
    finally:
        degradation.config, degradation.kernel.config = config, config.kernel


def _describe_photos(photos: Photos, side: int) -> PhotoSet:
    return PhotoSet(len(photos), len(photos.indices_fitting(side)), min(min(shape) for shape in photos.shapes))
