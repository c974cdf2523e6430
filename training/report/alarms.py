"""Checks a report's metrics. Alarms say in plain English what is wrong and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from training.report.kinds import MIN_SIGMA, NOISE_OFFSET, Kind, KindComparison, Kinds
from training.report.metrics import ColorBias, KernelMetrics, OvershootComparison, PhotoSet, ReportMetrics

MIN_PHOTOS, FEW_PHOTOS = 8, 30
MIN_NOISE_RATIO = 0.4  # of the real photos' noise
NEGLIGIBLE_SIGMA = 1.0  # 8-bit levels; a smaller difference in noise does not matter
MIN_DIVERSITY = 0.02  # total variation distance between kernels
OFF_CENTER = 0.1, 0.5  # high-resolution pixels: warning, error
COLOR_SHIFT = 1.0, 3.0  # 8-bit levels: warning, error
MAX_BORDER_MASS = 0.1  # share of the kernels
SEPARABLE = 0.7, 0.85  # held-out accuracy minus two standard errors: warning, error
MAX_SCORE = 0.5  # below, photos may be distinguishable, but by little that matters
HIGH_SCORE = 0.7  # above, photos differ, even if the classifier separates few
CONTENT_GAP = 0.75  # held-out accuracy minus two standard errors, by content
MIN_RESIZED, MIN_RESIZED_SHARE = 2, 0.3  # photos that were compressed, then resized
KIND_NOISE_SHARE = 0.5  # of that difference which generated photos must have
OVERSHOOT = 2.0, 4.0  # standard errors of the difference: warning, error
KIND_SHARE = 0.25  # difference between a kind's shares of the real and of the generated photos
KIND_DISTANCE = 0.3  # of a kind's mean from the real one, relative to the distance between both kinds
KIND_NOISE = 2.0  # 8-bit levels between the noise of sharper and blurrier real photos
D_SATURATED = 0.03  # the discriminator's loss


@dataclass(frozen=True)
class Alarm:
    code: str
    severity: Literal["warning", "error"]
    message: str


def find_alarms(metrics: ReportMetrics) -> tuple[Alarm, ...]:
    """Returns all alarms, errors first."""
    alarms = [
        *find_model_alarms(metrics.kernels, metrics.colors, is_finite=metrics.is_finite),
        *_check_noise(metrics),
        *_check_training(metrics),
        *check_overshoot(metrics.overshoot),
        *_check_kinds(metrics.kinds),
        *_check_photos(metrics),
    ]
    return tuple(sorted(alarms, key=lambda alarm: alarm.severity))  # "error" sorts before "warning"


def find_model_alarms(kernels: KernelMetrics, colors: ColorBias, *, is_finite: bool) -> Iterator[Alarm]:
    """Yields the alarms that need no real photos. They also apply while a degradation is still being learned."""
    if not is_finite:
        yield Alarm(
            "not_finite", "error", "The networks output numbers that are not finite. Train again with another seed."
        )
        return
    if kernels.diversity < MIN_DIVERSITY:
        yield Alarm(
            "kernels_collapsed",
            "error",
            "Kernel collapse: all kernels are identical, so every photo gets one blur. Train with the preset "
            "`default` for ten minutes or more. If it persists, use another seed or more photos.",
        )
    if (distance := kernels.off_center.mean) > OFF_CENTER[0]:
        yield Alarm(
            "kernels_off_center",
            "error" if distance > OFF_CENTER[1] else "warning",
            f"Kernels lie {distance:.2f} high-resolution pixels off the sampled point, so every training pair is "
            "shifted. The preset `default` keeps them centered.",
        )
    if kernels.border_mass > MAX_BORDER_MASS:
        yield Alarm(
            "kernel_window_too_small",
            "warning",
            f"{kernels.border_mass:.0%} of the kernel mass lies in the outermost taps: the kernel window is too small. "
            "Check that the scale is right. A larger scale has a larger window.",
        )
    shift = max((colors.red, colors.green, colors.blue), key=abs)
    if abs(shift) > COLOR_SHIFT[0]:
        yield Alarm(
            "color_shift",
            "error" if abs(shift) > COLOR_SHIFT[1] else "warning",
            f"Generated photos differ from the clean ones by {colors.red:+.1f}, {colors.green:+.1f} and "
            f"{colors.blue:+.1f} levels in red, green and blue. Noise should not shift colors. Train with the preset "
            "`default`.",
        )


def _check_noise(metrics: ReportMetrics) -> Iterator[Alarm]:
    fine = metrics.predicted.luma_fine
    sigma = metrics.noise.std.mean
    vanished = sigma < MIN_NOISE_RATIO * fine.real_mean and fine.real_mean - fine.generated_mean > NEGLIGIBLE_SIGMA
    if metrics.is_finite and vanished:
        yield Alarm(
            "noise_vanished",
            "error",
            f"The model generates noise of {sigma:.1f} levels (standard deviation), but the real photos show about "
            f"{fine.real_mean:.1f}. Train with the preset `default` for ten minutes or more. If it persists, use "
            "another seed or more photos.",
        )


def _check_training(metrics: ReportMetrics) -> Iterator[Alarm]:
    test = metrics.two_sample
    if test and (lower_bound := test.accuracy - 2 * test.uncertainty) > SEPARABLE[0]:
        yield Alarm(
            "distinguishable",
            "error" if lower_bound > SEPARABLE[1] and metrics.score > MAX_SCORE else "warning",
            f"A classifier separates generated from real photos {test.accuracy:.0%} of the time; 50% is perfect. "
            f"{_describe_difference(metrics)} Use clean photos of similar things, and train for ten minutes or more.",
        )
    elif metrics.score > HIGH_SCORE:
        yield Alarm(
            "high_score",
            "warning",
            f"The score is {metrics.score:.2f}; a perfect model has 0.1 to 0.3. {_describe_difference(metrics)} Use "
            "clean photos of similar things, and train for ten minutes or more.",
        )
    if metrics.discriminator_loss is not None and metrics.discriminator_loss < D_SATURATED:
        yield Alarm(
            "discriminator_saturated",
            "warning",
            f"The discriminator's loss was {metrics.discriminator_loss:.3f} at the end (0.25 is undecided): the "
            "discriminator saturated and stopped providing gradient. Train with another seed, or with the preset "
            "`default`, which does not depend on it.",
        )


def check_overshoot(overshoot: OvershootComparison | None) -> Iterator[Alarm]:
    """Yields an alarm if generated photos are sharpened less or more than real ones."""
    if overshoot is None or abs(overshoot.difference) <= OVERSHOOT[0] * overshoot.error:
        return
    amounts = ("little", "much") if overshoot.difference > 0 else ("much", "little")
    yield Alarm(
        "sharpening_differs",
        "error" if abs(overshoot.difference) > OVERSHOOT[1] * overshoot.error else "warning",
        f"Beside clear edges, real photos overshoot by {overshoot.real:.1%} of the step, generated ones by "
        f"{overshoot.generated:.1%}: they are sharpened too {amounts[0]}. A network that trains on them sharpens too "
        f"{amounts[1]}. Train with the preset `default`, which learns sharpening. Use more photos with clear edges.",
    )


def _check_kinds(kinds: Kinds | None) -> Iterator[Alarm]:
    if kinds is None:
        return
    for comparison, quantity in ((kinds.by_blur, "blur"), (kinds.by_noise, "noise")):
        if comparison is None or len(comparison.real) == 1 or not _differ(comparison, quantity):
            continue
        real, generated = (_describe_kinds(found, quantity) for found in (comparison.real, comparison.generated))
        yield Alarm(
            "kinds_merged",
            "warning",
            f"Real photos are of two kinds: {real}. Generated ones are {generated}. Train for ten minutes or more. If "
            "it persists, use more photos, or train a dataset for each kind.",
        )
    noise, learned = ([kind.noise or 0.0 for kind in found] for found in (kinds.by_blur.real, kinds.by_blur.generated))
    spread = noise[-1] - noise[0]
    if abs(spread) > KIND_NOISE and (learned[-1] - learned[0]) / spread < KIND_NOISE_SHARE:
        yield Alarm(
            "kinds_mixed",
            "warning",
            f"Sharper real photos have noise of {noise[0]:.1f} levels, blurrier ones of {noise[-1]:.1f}, but generated "
            f"ones of {learned[0]:.1f} and {learned[-1]:.1f}: a model draws blur and noise independently. Train a "
            "dataset for each kind.",
        )


def _differ(comparison: KindComparison, quantity: str) -> bool:
    """Whether the generated photos are not of the real photos' two kinds, or not in the same shares."""
    if len(comparison.generated) == 1:
        return True
    (first, second), generated = (
        [_locate(kind, quantity) for kind in found] for found in (comparison.real, comparison.generated)
    )
    errors = (math.dist(first, generated[0]), math.dist(second, generated[1]))
    share = comparison.generated[0].share - comparison.real[0].share
    return abs(share) > KIND_SHARE or max(errors) > KIND_DISTANCE * math.dist(first, second)


def _locate(kind: Kind, quantity: str) -> tuple[float, ...]:
    if quantity == "noise":
        return (math.log((kind.noise or 0) + NOISE_OFFSET),)
    return tuple(math.log(max(width, MIN_SIGMA)) for width in (kind.major, kind.minor))


def _describe_kinds(kinds: tuple[Kind, ...], quantity: str) -> str:
    values = (
        f"{kind.noise or 0:.1f} levels of noise"
        if quantity == "noise"
        else f"blur of {kind.major:.1f} × {kind.minor:.1f} pixels"
        for kind in kinds
    )
    if len(kinds) == 1:
        return f"of one kind, with {next(values)}"
    return " and ".join(f"{kind.share:.0%} with {value}" for kind, value in zip(kinds, values, strict=True))


def _check_photos(metrics: ReportMetrics) -> Iterator[Alarm]:
    for photos, code, kind, benefit in (
        (metrics.photos.real, "too_few_real_photos", "real", "the spread of blur and noise"),
        (metrics.photos.clean, "too_few_clean_photos", "clean", "the content of photos"),
    ):
        if photos.used < FEW_PHOTOS:
            yield Alarm(
                code,
                "error" if photos.used < MIN_PHOTOS else "warning",
                f"There {_count_photos(photos, kind)} to learn from: {FEW_PHOTOS} or more show {benefit} better. "
                "Add some.",
            )
    content = metrics.photos.content
    if content and content.accuracy - 2 * content.uncertainty > CONTENT_GAP:
        yield Alarm(
            "content_mismatch",
            "warning",
            f"Real and clean photos show different content: brightness, color and contrast alone separate "
            f"{content.accuracy:.0%} of them. Some of that may have been learned as blur or noise. Use clean photos of "
            "similar things.",
        )


def find_resized_alarm(resized: int, inspected: int) -> tuple[Alarm, ...]:
    """Returns an alarm if many of the photos without JPEG blocks were compressed before they were resized."""
    if resized < MIN_RESIZED or resized < MIN_RESIZED_SHARE * inspected:
        return ()
    return (
        Alarm(
            "compressed_then_resized",
            "warning",
            f"{resized} of {inspected} real photos show blocks that are not of 8 pixels: compressed, then resized, or "
            "enlarged. That is not reproduced; some of it was learned as blur or noise. Use the photos in "
            "their original size.",
        ),
    )


def _count_photos(photos: PhotoSet, kind: str) -> str:
    num_small = photos.photos - photos.used
    too_small = f" (and {num_small} too small)" if num_small else ""
    verb, plural = ("is", "") if photos.used == 1 else ("are", "s")
    return f"{verb} only {photos.used} {kind} photo{plural}{too_small}"


def _describe_difference(metrics: ReportMetrics) -> str:
    """Says how generated photos differ, by the predictions of the regressor: in blur, noise or something else."""
    major, minor, fine = metrics.predicted.major, metrics.predicted.minor, metrics.predicted.luma_fine
    blur = (major.generated_mean - major.real_mean + minor.generated_mean - minor.real_mean) / 2
    noise = fine.generated_mean - fine.real_mean
    differences = []
    if abs(blur) > 0.15:
        differences.append(f"{'blurrier' if blur > 0 else 'sharper'} by about {abs(blur):.1f} pixels")
    if abs(noise) > NEGLIGIBLE_SIGMA:
        differences.append(f"{'noisier' if noise > 0 else 'cleaner'} by about {abs(noise):.0f} levels")
    if differences:
        return f"Generated photos look {' and '.join(differences)}."
    return "They differ in kind more than in the strength of blur and noise."
