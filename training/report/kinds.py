"""Finds kinds of photos, such as sharp and shaken ones, among the real and among the generated photos.

Real photos show their blur and noise only through the estimator. Its predictions, without what scenes add
(training/estimator/scene_effects.py), are distributed as the true widths are, also in sets of two kinds. What generated
photos got is known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from training.estimator.network import DegradationEstimator, get_features
from training.estimator.widths import noise_std_of_amplitude, widths_of_spectrum
from training.state import RealFeatures

MIN_PHOTOS, MIN_GENERATED = 30, 100  # of fewer, kinds are not distinguished
# Two kinds, if the density of photos between them is below this, relative to the smaller kind's peak: below 0.24 with
# 116 photos, 0.15 with 40. Simulated cameras of one kind have 0.5 or more (docs/experiments/038-a-truthful-report.md).
MAX_VALLEY, VALLEY_ERROR = 0.36, 1.3  # the limit for many photos, and by how much 1 / √photos lowers it
CLEAR_VALLEY, DOUBTFUL_VALLEY = 0.1, 0.5  # the limit for generated photos, where real ones are of one kind, or of two
MIN_SHARE = 0.15  # of a kind
MIN_EVIDENCE = 1.5  # for two kinds, relative to the Bayesian information criterion's penalty
MIN_SIGMA, NOISE_OFFSET = 0.3, 0.5  # pixels and levels; widths and noise are compared by logarithms, limited by these
NUM_QUANTILES = 200  # that distances are computed from
STARTS = (0.3, 0.5, 0.7)  # quantiles at which the photos are first divided
ITERATIONS = 80
POOLED_SHARE, POOLED_SPREAD = 0.04, 0.3  # of a covariance, as in scene_effects.py
MIN_VARIANCE = 1e-3


@dataclass(frozen=True)
class Kind:
    """The photos of a kind. Means over them."""

    share: float  # of all photos
    major: float  # sigma in high-resolution pixels
    minor: float
    noise: float | None  # standard deviation in 8-bit levels; None if the estimator does not predict it


@dataclass(frozen=True)
class KindComparison:
    """One kind, or two kinds, the sharper or the cleaner one first."""

    real: tuple[Kind, ...]
    generated: tuple[Kind, ...]


@dataclass(frozen=True)
class Kinds:
    by_blur: KindComparison
    by_noise: KindComparison | None  # None if the estimator does not predict the real photos' noise
    blur_distance: float  # Wasserstein-1 between the widths of real and generated photos, mean of both axes, in pixels


class Strengths(NamedTuple):
    """Blur and noise of photos."""

    major: Tensor  # (N,) sigmas in high-resolution pixels
    minor: Tensor
    noise: Tensor | None  # (N,) standard deviations in 8-bit levels


class _Mixture(NamedTuple):
    likelihood: Tensor  # mean logarithm over the points
    share: Tensor  # (2,)
    mean: Tensor  # (2, D)
    covariance: Tensor  # (2, D, D)
    kind: Tensor  # (N, 2), probabilities


def estimate_strengths(real: RealFeatures, estimator: DegradationEstimator, scale: int) -> Strengths | None:
    """Converts predictions for real photos to widths and noise. None if scenes' effects were not estimated.

    Without noise, where it was measured in even areas instead: the estimator takes such noise for texture.
    """
    if not len(real.corrected_spectrum):
        return None
    spread, mean = (estimator.get_buffer(name).cpu() for name in ("target_std", "target_mean"))
    bins = real.corrected_spectrum.shape[1]
    spectrum = real.corrected_spectrum.cpu() * spread[:bins] + mean[:bins]
    amplitude = real.predicted.noise_amplitude.cpu()
    targets = slice(bins, bins + amplitude.shape[1])
    noise = noise_std_of_amplitude(amplitude * spread[targets] + mean[targets])
    widths = widths_of_spectrum(get_features(scale).spectra, spectrum, scale)
    return Strengths(*widths, None if len(real.noise_curves) else noise)


def compare_kinds(real: Strengths, num_photos: int, generated: Strengths) -> Kinds | None:
    """Finds the kinds of both. `real` has one or more entries for each photo. None if there are too few photos."""
    if num_photos < MIN_PHOTOS or len(generated.major) < MIN_GENERATED:
        return None
    by_blur = _compare(real, generated, num_photos, _blur_points(real), _blur_points(generated))
    by_noise = None
    if real.noise is not None and generated.noise is not None:
        noises = _noise_points(real.noise), _noise_points(generated.noise)
        by_noise = _compare(real, generated, num_photos, *noises)
    distance = (_distance(real.major, generated.major) + _distance(real.minor, generated.minor)) / 2
    return Kinds(by_blur, by_noise, distance)


def _distance(first: Tensor, second: Tensor) -> float:
    """Returns the Wasserstein-1 distance between values (N,) and (M,)."""
    at = (torch.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES
    return float((first.quantile(at) - second.quantile(at)).abs().mean())


def _compare(
    real: Strengths, generated: Strengths, num_photos: int, real_points: Tensor, generated_points: Tensor
) -> KindComparison:
    found = _find_kinds(real, real_points, num_photos, _max_valley(num_photos))
    # Generated photos are known without error, so few of them easily seem to have gaps; those of two kinds may overlap.
    max_valley = DOUBTFUL_VALLEY if len(found) == 2 else CLEAR_VALLEY
    return KindComparison(found, _find_kinds(generated, generated_points, len(generated_points), max_valley))


def _max_valley(num_photos: int) -> float:
    return MAX_VALLEY - VALLEY_ERROR / math.sqrt(num_photos)


def _blur_points(strengths: Strengths) -> Tensor:
    return torch.stack([strengths.major, strengths.minor], 1).clamp_min(MIN_SIGMA).log()


def _noise_points(noise: Tensor) -> Tensor:
    return (noise + NOISE_OFFSET).log()[:, None]


def _find_kinds(strengths: Strengths, points: Tensor, num_photos: int, max_valley: float) -> tuple[Kind, ...]:
    """Divides photos into two kinds by points (N, D), if there are two."""
    points = points.double()
    points = (points - points.mean(0)) / points.std(0).clamp_min(1e-3)
    fits = [_fit_mixture(points, start) for start in _starts(points)]
    mixture = max(fits, key=lambda fit: float(fit.likelihood))
    are_two = (
        float(mixture.share.min()) >= MIN_SHARE
        and _measure_valley(mixture) < max_valley
        and _is_likelier(mixture, points, num_photos)
    )
    weights = mixture.kind.T.float() if are_two else torch.ones(1, len(points))
    kinds = (_describe(strengths, weight) for weight in weights)
    first = points.mean(1)  # of the sharper or cleaner photos it is lower
    order = [float((weight * first).sum() / weight.sum()) for weight in weights]
    return tuple(kind for _, kind in sorted(zip(order, kinds, strict=True), key=lambda pair: pair[0]))


def _describe(strengths: Strengths, weight: Tensor) -> Kind:
    weight = weight / weight.sum() if (total := float(weight.sum())) else weight
    major, minor, noise = (None if values is None else float((weight * values).sum()) for values in strengths)
    assert major is not None
    assert minor is not None
    return Kind(total / len(weight), major, minor, noise)


def _starts(points: Tensor) -> Iterator[Tensor]:
    """Yields divisions (N, 2) of points (N, D): along each axis and the longest direction, at three quantiles."""
    longest = torch.linalg.svd(points - points.mean(0), full_matrices=False)[2][:1]
    for axis in torch.cat([torch.eye(points.shape[1], dtype=points.dtype), longest]):
        position = points @ axis
        for quantile in STARTS:
            above = (position > position.quantile(quantile)).to(points.dtype)
            yield torch.stack([1 - above, above], 1)


def _fit_mixture(points: Tensor, kind: Tensor) -> _Mixture:
    """Fits a mixture of two normal distributions to points (N, D) by expectation maximization."""
    (count, size), identity = points.shape, torch.eye(points.shape[1], dtype=points.dtype)
    for _ in range(ITERATIONS):
        number = kind.sum(0) + 1e-6
        share, mean = number / number.sum(), kind.T @ points / number[:, None]
        residual = points[:, None] - mean
        scatter = torch.einsum("nk,nkd,nke->kde", kind, residual, residual)
        prior = POOLED_SHARE * POOLED_SPREAD * scatter.sum(0)
        covariance = (scatter + prior) / (number + POOLED_SHARE * count)[:, None, None] + MIN_VARIANCE * identity
        distance = torch.einsum("nkd,kde,nke->nk", residual, torch.linalg.inv(covariance), residual)
        log = share.log() - 0.5 * (distance + torch.logdet(covariance) + size * math.log(2 * math.pi))
        kind = log.softmax(1)
    return _Mixture(log.logsumexp(1).mean(), share, mean, covariance, kind)


def _measure_valley(mixture: _Mixture) -> float:
    """Returns the lowest density between both means, relative to the lower peak, along the axis that divides best."""
    share, mean, covariance = mixture.share, mixture.mean, mixture.covariance
    axis = torch.linalg.solve(covariance.sum(0), mean[1] - mean[0])
    center, sigma = mean @ axis, torch.einsum("d,kde,e->k", axis, covariance, axis).sqrt()
    position = center[0] + (center[1] - center[0]) * torch.linspace(0, 1, 201, dtype=mean.dtype)
    density = (share / sigma * (-0.5 * ((position[:, None] - center) / sigma).square()).exp()).sum(1)
    lowest = int(density.argmin())
    return float(density[lowest] / torch.minimum(density[: lowest + 1].max(), density[lowest:].max()))


def _is_likelier(mixture: _Mixture, points: Tensor, num_photos: int) -> bool:
    """Whether two kinds explain `num_photos` photos much better than one, by the Bayesian information criterion."""
    size = points.shape[1]
    covariance = torch.cov(points.T).view(size, size) + MIN_VARIANCE * torch.eye(size, dtype=points.dtype)
    one = -0.5 * (float(torch.logdet(covariance)) + size * (1 + math.log(2 * math.pi)))
    num_parameters = size + size * (size + 1) / 2 + 1
    penalty = num_parameters * math.log(num_photos)
    return 2 * num_photos * (float(mixture.likelihood) - one) > MIN_EVIDENCE * penalty
