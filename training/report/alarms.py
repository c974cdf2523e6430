"""Says in words when a training went wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from training.report.findings import Findings, PhotoSet
from training.report.metrics import Colours, Kernels

FEWEST, FEW = 8, 30  # photos
VANISHED = 0.4  # share of the real photos' noise
FAINT = 1.0  # levels; so little more or less noise does not matter
SAME_KERNEL = 0.02  # total variation between kernels
OFF_CENTRE = 0.1, 0.5  # high-resolution pixels: warning, alarm
DRIFT = 1.0, 3.0  # 8-bit levels: warning, alarm
BORDER = 0.1  # share of kernels
APART = 0.7, 0.85  # held-out accuracy less two standard errors: warning, alarm
UNLIKE = 0.75  # likewise, by content
WON = 0.03  # the discriminator's loss


@dataclass(frozen=True)
class Alarm:
    code: str
    severity: Literal["warning", "alarm"]
    message: str


def alarms_of(found: Findings) -> tuple[Alarm, ...]:
    """The worst first."""
    alarms = [
        *alarms_of_model(found.kernels, found.colours, finite=found.finite),
        *_of_noise(found),
        *_of_training(found),
        *_of_photos(found),
    ]
    return tuple(sorted(alarms, key=lambda alarm: alarm.severity))  # "alarm" comes before "warning"


def alarms_of_model(kernels: Kernels, colours: Colours, *, finite: bool) -> Iterator[Alarm]:
    """What is wrong with a degradation whatever the real photos are; also of one that is still being learned."""
    if not finite:
        yield Alarm(
            "not_finite", "alarm", "The networks give numbers that are not finite. Train again, with another seed."
        )
        return
    if kernels.diversity < SAME_KERNEL:
        yield Alarm(
            "kernels_collapsed",
            "alarm",
            "All kernels are the same: of the different blurs of the real photos one is left. Train with the preset "
            "`default` for ten minutes or more; if it stays, with another seed or more photos.",
        )
    if (off := kernels.off_centre.mean) > OFF_CENTRE[0]:
        yield Alarm(
            "kernels_off_centre",
            "alarm" if off > OFF_CENTRE[1] else "warning",
            f"Kernels lie {off:.2f} high-resolution pixels beside the sampled point, so every training pair is "
            "shifted. The preset `default` holds them centred.",
        )
    if kernels.at_border > BORDER:
        yield Alarm(
            "kernels_too_wide",
            "warning",
            f"{kernels.at_border:.0%} of the kernels lies in the outermost taps of their window, which is too small "
            "for them. Are the real photos really so many times smaller than what is wanted? A larger scale has a "
            "larger window.",
        )
    shift = max((colours.red, colours.green, colours.blue), key=abs)
    if abs(shift) > DRIFT[0]:
        yield Alarm(
            "colours_drift",
            "alarm" if abs(shift) > DRIFT[1] else "warning",
            f"Made photos differ from the clean ones by {colours.red:+.1f}, {colours.green:+.1f} and "
            f"{colours.blue:+.1f} levels in red, green and blue. Noise should shift no colour: train with the preset "
            "`default`.",
        )


def _of_noise(found: Findings) -> Iterator[Alarm]:
    fine = found.readings.luma_fine
    vanished = found.noise.level.mean < VANISHED * fine.real_mean and fine.real_mean - fine.made_mean > FAINT
    if found.finite and vanished:
        yield Alarm(
            "noise_vanished",
            "alarm",
            f"The model makes noise of {found.noise.level.mean:.1f} levels, but the real photos show about "
            f"{fine.real_mean:.1f}. Train with the preset `default` for ten minutes or more; if it stays, with another "
            "seed or more photos.",
        )


def _of_training(found: Findings) -> Iterator[Alarm]:
    test = found.two_sample
    if test and (sure := test.accuracy - 2 * test.uncertainty) > APART[0]:
        yield Alarm(
            "told_apart",
            "alarm" if sure > APART[1] else "warning",
            f"Made photos are told from real ones in {test.accuracy:.0%} of the cases, where 50% would be perfect: "
            f"{_what_differs(found)}. Clean photos that show the same kind of things as the real ones may help, and "
            "ten minutes or more of training where it had less.",
        )
    if found.discriminator_loss is not None and found.discriminator_loss < WON:
        yield Alarm(
            "discriminator_won",
            "warning",
            f"The discriminator's loss was {found.discriminator_loss:.3f} in the end (0.25 is a draw): it tells made "
            "photos from real ones at a glance, and nothing was learned from it any more. Train with another seed, or "
            "with the preset `default`, which does not depend on it.",
        )


def _of_photos(found: Findings) -> Iterator[Alarm]:
    for photos, code, kind, what in (
        (found.photos.real, "too_few_real_photos", "real", "the spread of blur and noise"),
        (found.photos.clean, "too_few_clean_photos", "clean", "what photos may show"),
    ):
        if photos.used < FEW:
            yield Alarm(
                code,
                "alarm" if photos.used < FEWEST else "warning",
                f"There {_are(photos, kind)} to learn from: {FEW} or more tell {what} better. Add some.",
            )
    content = found.photos.content
    if content and content.accuracy - 2 * content.uncertainty > UNLIKE:
        yield Alarm(
            "photos_unlike",
            "warning",
            f"Real and clean photos show different things: by brightness, colours and contrast alone "
            f"{content.accuracy:.0%} of them are told apart. Some of that may have been taken for blur or noise. Clean "
            "photos of the same kind of things as the real ones help.",
        )


def _are(photos: PhotoSet, kind: str) -> str:
    left_out = photos.photos - photos.used
    too_small = f" (besides {left_out} too small)" if left_out else ""
    return f"{'is' if photos.used == 1 else 'are'} only {photos.used} {kind} photo{'s' * (photos.used != 1)}{too_small}"


def _what_differs(found: Findings) -> str:
    """In words, by what the reader says: blur, noise or else."""
    major, minor, fine = found.readings.major, found.readings.minor, found.readings.luma_fine
    blur = (major.made_mean - major.real_mean + minor.made_mean - minor.real_mean) / 2
    noise = fine.made_mean - fine.real_mean
    words = []
    if abs(blur) > 0.15:
        words.append(f"{'blurrier' if blur > 0 else 'sharper'} by about {abs(blur):.1f} pixels")
    if abs(noise) > FAINT:
        words.append(f"{'noisier' if noise > 0 else 'cleaner'} by about {abs(noise):.0f} levels")
    if words:
        return f"they look {' and '.join(words)}"
    return "they differ in kind more than in strength of blur and noise"
