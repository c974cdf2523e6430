"""Form of a model's report. Pixels are high-resolution ones, levels those of 8 bits, unless a description says else."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class SpreadOut(BaseModel):
    """How something is distributed."""

    mean: float
    std: float
    p5: float
    p50: float
    p95: float


class TransferOut(BaseModel):
    frequency: float = Field(description="Cycles a pixel.")
    response: float = Field(description="What the kernels leave of it, 0..1, mean over directions.")


class KernelsOut(BaseModel):
    """A width is the standard deviation along an axis, in pixels: a Gaussian's sigma."""

    major: SpreadOut
    minor: SpreadOut
    elongation: float = Field(description="Mean of major / minor.")
    orientation: float = Field(description="0: elongated in all directions alike; 1: all in the same.")
    off_centre: SpreadOut = Field(description="Pixels from a kernel's centre of mass to the point that is sampled.")
    transfer: list[TransferOut]
    diversity: float = Field(description="Mean total variation between two kernels: 0 all the same, 1 nothing shared.")
    at_border: float = Field(description="Mean share of a kernel in the outermost taps of its window.")


class BrightnessOut(BaseModel):
    brightness: float = Field(description="Middle of a range of 32 levels.")
    level: float = Field(description="Standard deviation of the noise there, in levels.")


class NoiseOut(BaseModel):
    """What is added to the blurred photo, with what compression does to it, before rounding; in levels."""

    level: SpreadOut = Field(description="Standard deviation in a photo.")
    by_brightness: list[BrightnessOut]
    right: float = Field(description="Correlation with the neighbour to the right.")
    below: float
    diagonal: float
    red_green: float = Field(description="Correlation between channels.")
    green_blue: float
    red_blue: float


class ColoursOut(BaseModel):
    """By how many levels made photos are brighter than clean ones."""

    red: float
    green: float
    blue: float
    spread: float = Field(description="Standard deviation from photo to photo.")


class SeenOut(BaseModel):
    """What is read off real and made photos. Only to be compared with each other."""

    real_mean: float
    real_std: float
    made_mean: float
    made_std: float
    distance: float = Field(description="Wasserstein-1 distance between the two distributions.")


class ReadingsOut(BaseModel):
    """Widths of blur in pixels, levels of noise by colour and fineness, and in the darker and brighter half."""

    major: SeenOut
    minor: SeenOut
    luma_coarse: SeenOut
    luma_fine: SeenOut
    colour_coarse: SeenOut
    colour_fine: SeenOut
    in_shade: SeenOut
    in_light: SeenOut


class TwoSampleOut(BaseModel):
    accuracy: float = Field(description="Held-out accuracy of a small classifier; 0.5: it cannot tell, 1: always.")
    uncertainty: float = Field(description="Standard error, from photo to photo.")


class PhotoSetOut(BaseModel):
    photos: int
    used: int = Field(description="Those that are large enough.")
    smallest_side: int = Field(description="In pixels of the photos.")


class PhotoSetsOut(BaseModel):
    real: PhotoSetOut
    clean: PhotoSetOut
    content: TwoSampleOut | None = Field(
        description="Real against clean photos by coarse brightness, colour and contrast alone: by what they show."
    )


class AlarmOut(BaseModel):
    code: str = Field(description="Stable; for programs to branch on.")
    severity: Literal["warning", "alarm"]
    message: str = Field(description="What is wrong and what to do, for people.")


def _seen(real: float, made: float, spread: float) -> dict[str, float]:
    apart = abs(made - real)
    return {"real_mean": real, "real_std": spread, "made_mean": made, "made_std": spread, "distance": apart + 0.1}


_EXAMPLE: dict[str, Any] = {
    "score": 0.31,
    "two_sample": {"accuracy": 0.56, "uncertainty": 0.03},
    "readings": {
        "major": _seen(2.4, 2.5, 0.5),
        "minor": _seen(1.6, 1.6, 0.4),
        **{name: _seen(7.2, 6.8, 1.9) for name in ("luma_coarse", "luma_fine", "colour_coarse", "colour_fine")},
        "in_shade": _seen(5.1, 4.9, 1.6),
        "in_light": _seen(9.0, 8.5, 2.2),
    },
    "kernels": {
        "major": {"mean": 2.6, "std": 0.6, "p5": 1.5, "p50": 2.7, "p95": 3.4},
        "minor": {"mean": 1.7, "std": 0.5, "p5": 0.9, "p50": 1.6, "p95": 2.7},
        "elongation": 1.6,
        "orientation": 0.08,
        "off_centre": {"mean": 0.001, "std": 0.0, "p5": 0.0, "p50": 0.001, "p95": 0.002},
        "transfer": [{"frequency": 0.03125, "response": 0.92}, {"frequency": 0.125, "response": 0.38}],
        "diversity": 0.36,
        "at_border": 0.004,
    },
    "noise": {
        "level": {"mean": 8.1, "std": 2.2, "p5": 4.4, "p50": 8.0, "p95": 11.9},
        "by_brightness": [{"brightness": 16.0, "level": 3.9}, {"brightness": 208.0, "level": 10.8}],
        "right": 0.02,
        "below": 0.01,
        "diagonal": 0.0,
        "red_green": 0.03,
        "green_blue": 0.02,
        "red_blue": 0.01,
    },
    "colours": {"red": 0.1, "green": -0.1, "blue": 0.2, "spread": 0.3},
    "photos": {
        "real": {"photos": 120, "used": 120, "smallest_side": 192},
        "clean": {"photos": 29, "used": 29, "smallest_side": 500},
        "content": {"accuracy": 0.52, "uncertainty": 0.04},
    },
    "discriminator_loss": 0.22,
    "looks": 240,
    "finite": True,
    "alarms": [
        {
            "code": "too_few_clean_photos",
            "severity": "warning",
            "message": "There are only 29 clean photos to learn from: 30 or more tell what photos may show better. "
            "Add some.",
        }
    ],
}


class ReportOut(BaseModel):
    """Tells without any ground truth whether training worked. A figure that could not be measured is null."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    score: float = Field(
        description="0 is perfect; of two models of the same photos the one with the lower score is the better one. "
        "How far widths of blur are apart, in pixels, and noise, in units of 4 levels."
    )
    two_sample: TwoSampleOut | None = Field(description="Real photos against made ones.")
    readings: ReadingsOut
    kernels: KernelsOut
    noise: NoiseOut
    colours: ColoursOut
    photos: PhotoSetsOut
    discriminator_loss: float | None = Field(
        description="At the end of the training. 0.25: it cannot tell, 0: it always can."
    )
    looks: int = Field(description="So many crops of real photos, and of made ones, were looked at.")
    finite: bool = Field(description="False: the model makes numbers that are not finite.")
    alarms: list[AlarmOut] = Field(description="What is wrong, the worst first; empty if nothing is.")
