"""What a report finds; alarms.py says in words what of it is bad."""

from __future__ import annotations

from dataclasses import dataclass

from training.report.metrics import Colours, Kernels, Noise
from training.report.two_sample import TwoSample


@dataclass(frozen=True)
class Seen:
    """What the reader tells of looks: means and standard deviations over photos, and how far they are apart.

    It shrinks what it is unsure of, so spreads are smaller than those of kernels and noise themselves, and both errs by
    what photos show: only real and made are to be compared, not either with the figures of the degradation.
    """

    real_mean: float
    real_std: float
    made_mean: float
    made_std: float
    distance: float  # Wasserstein-1, in the same unit


@dataclass(frozen=True)
class Readings:
    """Widths in high-resolution pixels, the rest standard deviations of noise in 8-bit levels."""

    major: Seen
    minor: Seen
    luma_coarse: Seen  # below 0.2 cycles a low-resolution pixel
    luma_fine: Seen  # above 0.3
    colour_coarse: Seen
    colour_fine: Seen
    in_shade: Seen  # in the darker half of a photo
    in_light: Seen


@dataclass(frozen=True)
class PhotoSet:
    photos: int
    used: int  # those large enough to be looked at
    smallest_side: int  # in pixels


@dataclass(frozen=True)
class PhotoSets:
    real: PhotoSet
    clean: PhotoSet
    # How well real and clean photos are told apart by brightness, colours and contrast of blocks of 8 low-resolution
    # pixels, which blur and noise hardly change: by what they show.
    content: TwoSample | None


@dataclass(frozen=True)
class Findings:
    """All figures are finite; what could not be measured is None."""

    # 0 is perfect: how far widths are apart in pixels, and noise in units of 4 levels, as the reader sees them.
    score: float
    two_sample: TwoSample | None  # real looks against made ones; 0.5 is perfect
    readings: Readings
    kernels: Kernels
    noise: Noise
    colours: Colours
    photos: PhotoSets
    discriminator_loss: float | None  # at the end of the training: 0.25 when it cannot tell, 0 when it always can
    looks: int  # at real photos, and as many at made ones
    finite: bool  # False: kernels or noise were not; such values have been taken as 0
