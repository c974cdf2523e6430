"""Response schema of a model's report. Pixels are high-resolution ones, levels are 8-bit ones unless noted."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

# Names in stored reports and histories of earlier versions: old -> new.
RENAMED_FIELDS = {
    "at_border": "border_mass",
    "below": "corr_down",
    "colour_coarse": "color_coarse",
    "colour_fine": "color_fine",
    "colours": "colors",
    "diagonal": "corr_diagonal",
    "finite": "is_finite",
    "green_blue": "corr_green_blue",
    "in_light": "bright",
    "in_shade": "dark",
    "level": "std",
    "looks": "num_crops",
    "made_mean": "generated_mean",
    "made_std": "generated_std",
    "off_centre": "off_center",
    "readings": "predicted",
    "red_blue": "corr_red_blue",
    "red_green": "corr_red_green",
    "right": "corr_right",
}
RENAMED_CODES = {
    "colours_drift": "color_shift",
    "discriminator_won": "discriminator_saturated",
    "kernels_off_centre": "kernels_off_center",
    "kernels_too_wide": "kernel_window_too_small",
    "photos_unlike": "content_mismatch",
    "told_apart": "distinguishable",
}
# The same in training/state.py, which the API may not import.
RENAMED_METRICS = {"aim": "fit", "noise_levels": "noise_std", "plainness": "regularization"}


class SummaryRead(BaseModel):
    """A distribution."""

    mean: float
    std: float
    p5: float
    p50: float
    p95: float


class FrequencyResponseRead(BaseModel):
    frequency: float = Field(description="Cycles per pixel.")
    response: float = Field(description="Response of the kernels, 0..1, mean over kernels and directions.")


class KernelMetricsRead(BaseModel):
    """A width is the standard deviation along an axis, in pixels: a Gaussian's sigma."""

    major: SummaryRead
    minor: SummaryRead
    elongation: float = Field(description="Mean of major / minor.")
    orientation: float = Field(description="0: elongated in all directions alike; 1: all in the same direction.")
    off_center: SummaryRead = Field(description="Distance of a kernel's center of mass from the sampled point, pixels.")
    transfer: list[FrequencyResponseRead]
    diversity: float = Field(description="Mean total variation distance of two kernels: 0 all equal, 1 disjoint.")
    border_mass: float = Field(description="Mean share of a kernel in the outermost taps of its window.")


class BrightnessNoiseRead(BaseModel):
    brightness: float = Field(description="Center of a bin of 32 levels.")
    std: float = Field(description="Standard deviation of the noise there, in levels.")


class NoiseMetricsRead(BaseModel):
    """The noise before rounding, including the JPEG residual; in levels."""

    std: SummaryRead = Field(description="Standard deviation in a photo.")
    by_brightness: list[BrightnessNoiseRead]
    corr_right: float = Field(description="Correlation with the neighbor to the right, −1..1.")
    corr_down: float
    corr_diagonal: float
    corr_red_green: float = Field(description="Correlation between channels.")
    corr_green_blue: float
    corr_red_blue: float


class ColorBiasRead(BaseModel):
    """How much brighter generated photos are than clean ones, in levels."""

    red: float
    green: float
    blue: float
    spread: float = Field(description="Standard deviation over photos.")


class StatComparisonRead(BaseModel):
    """A predicted statistic of real and of generated photos. Compare them with each other only."""

    real_mean: float
    real_std: float
    generated_mean: float
    generated_std: float
    distance: float = Field(description="Wasserstein-1 distance between the two distributions.")


class PredictedStatsRead(BaseModel):
    """Blur widths in pixels; noise std by color and frequency, and in the darker and brighter half of a photo."""

    major: StatComparisonRead
    minor: StatComparisonRead
    luma_coarse: StatComparisonRead
    luma_fine: StatComparisonRead
    color_coarse: StatComparisonRead
    color_fine: StatComparisonRead
    dark: StatComparisonRead
    bright: StatComparisonRead


class TwoSampleRead(BaseModel):
    accuracy: float = Field(description="Held-out accuracy of a small classifier; 0.5: it guesses, 1: always correct.")
    uncertainty: float = Field(description="Standard error, from the variation between photos.")


class PhotoSetRead(BaseModel):
    photos: int
    used: int = Field(description="Photos that are large enough.")
    smallest_side: int = Field(description="In pixels of the photos.")


class PhotoSetsRead(BaseModel):
    real: PhotoSetRead
    clean: PhotoSetRead
    content: TwoSampleRead | None = Field(
        description="Real against clean photos by coarse brightness, color and contrast alone: by their content."
    )


class KindRead(BaseModel):
    """Photos of a kind, such as sharp or shaken ones. Means over them."""

    share: float = Field(description="Of all photos, 0..1.")
    major: float = Field(description="Blur sigma along the major axis, in pixels.")
    minor: float = Field(description="Blur sigma along the minor axis, in pixels.")
    noise: float | None = Field(description="Standard deviation in levels; null if it was not estimated.")


class KindComparisonRead(BaseModel):
    """One kind of photos, or two, the sharper or the cleaner one first."""

    real: list[KindRead] = Field(description="Estimated, without ground truth.")
    generated: list[KindRead] = Field(description="As drawn from the model.")


class KindsRead(BaseModel):
    by_blur: KindComparisonRead
    by_noise: KindComparisonRead | None = Field(description="Null if the real photos' noise was not estimated.")
    blur_distance: float = Field(
        description="Wasserstein-1 distance of widths between real and generated photos, mean of both axes, in pixels."
    )


class OvershootRead(BaseModel):
    """How far pixels beside clear edges overshoot, as a fraction of the step: the sign of sharpening."""

    real: float = Field(description="Mean over real photos.")
    real_error: float = Field(description="Its standard error.")
    generated: float = Field(description="Mean over generated photos.")
    generated_error: float = Field(description="Its standard error.")


class AlarmRead(BaseModel):
    code: str = Field(description="Stable; for programs.")
    severity: Literal["warning", "error"]
    message: str = Field(description="What is wrong and what to do, for people.")


def _compare(real: float, generated: float, spread: float) -> dict[str, float]:
    return {
        "real_mean": real,
        "real_std": spread,
        "generated_mean": generated,
        "generated_std": spread,
        "distance": abs(generated - real) + 0.1,
    }


_EXAMPLE: dict[str, Any] = {
    "score": 0.31,
    "two_sample": {"accuracy": 0.56, "uncertainty": 0.03},
    "sharpened_two_sample": None,
    "predicted": {
        "major": _compare(2.4, 2.5, 0.5),
        "minor": _compare(1.6, 1.6, 0.4),
        **{name: _compare(7.2, 6.8, 1.9) for name in ("luma_coarse", "luma_fine", "color_coarse", "color_fine")},
        "dark": _compare(5.1, 4.9, 1.6),
        "bright": _compare(9.0, 8.5, 2.2),
    },
    "overshoot": {"real": 0.012, "real_error": 0.008, "generated": -0.004, "generated_error": 0.007},
    "kernels": {
        "major": {"mean": 2.6, "std": 0.6, "p5": 1.5, "p50": 2.7, "p95": 3.4},
        "minor": {"mean": 1.7, "std": 0.5, "p5": 0.9, "p50": 1.6, "p95": 2.7},
        "elongation": 1.6,
        "orientation": 0.08,
        "off_center": {"mean": 0.001, "std": 0.0, "p5": 0.0, "p50": 0.001, "p95": 0.002},
        "transfer": [{"frequency": 0.03125, "response": 0.92}, {"frequency": 0.125, "response": 0.38}],
        "diversity": 0.36,
        "border_mass": 0.004,
    },
    "noise": {
        "std": {"mean": 8.1, "std": 2.2, "p5": 4.4, "p50": 8.0, "p95": 11.9},
        "by_brightness": [{"brightness": 16.0, "std": 3.9}, {"brightness": 208.0, "std": 10.8}],
        "corr_right": 0.02,
        "corr_down": 0.01,
        "corr_diagonal": 0.0,
        "corr_red_green": 0.03,
        "corr_green_blue": 0.02,
        "corr_red_blue": 0.01,
    },
    "colors": {"red": 0.1, "green": -0.1, "blue": 0.2, "spread": 0.3},
    "photos": {
        "real": {"photos": 120, "used": 120, "smallest_side": 192},
        "clean": {"photos": 29, "used": 29, "smallest_side": 500},
        "content": {"accuracy": 0.52, "uncertainty": 0.04},
    },
    "kinds": {
        "by_blur": {
            "real": [
                {"share": 0.54, "major": 0.96, "minor": 0.83, "noise": 3.7},
                {"share": 0.46, "major": 2.72, "minor": 0.99, "noise": 3.5},
            ],
            "generated": [
                {"share": 0.5, "major": 0.87, "minor": 0.83, "noise": 3.4},
                {"share": 0.5, "major": 2.91, "minor": 0.87, "noise": 3.4},
            ],
        },
        "by_noise": {
            "real": [{"share": 1, "major": 1.77, "minor": 0.9, "noise": 3.6}],
            "generated": [{"share": 1, "major": 1.89, "minor": 0.85, "noise": 3.4}],
        },
        "blur_distance": 0.1,
    },
    "discriminator_loss": 0.22,
    "num_crops": 240,
    "is_finite": True,
    "photo_checks": {
        "lr": {"used": 120, "left_out": {"enlarged": 3}, "warnings": {}},
        "hr": {"used": 29, "left_out": {}, "warnings": {"compressed": 2}},
    },
    "alarms": [
        {
            "code": "too_few_clean_photos",
            "severity": "warning",
            "message": "There are only 29 clean photos to learn from: 30 or more show the content of photos better. "
            "Add some.",
        }
    ],
}


class PhotoSelectionRead(BaseModel):
    """What the checks of photos found in the photos of a role."""

    used: int = Field(description="Number of photos that were used.")
    left_out: dict[str, int] = Field(description="Number of photos that were left out, by the code of the reason.")
    warnings: dict[str, int] = Field(description="Number of used photos with each finding.")


class ReportRead(BaseModel):
    """Shows without ground truth whether training worked. A metric that could not be measured is null."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    score: float = Field(
        description="0 is perfect; of two models of the same photos the one with the lower score is better. The "
        "distance of blur widths, in pixels, plus that of noise stds, in units of 4 levels, plus that of overshoots "
        "in fifths of the step."
    )
    two_sample: TwoSampleRead | None = Field(
        description="Real against generated photos. Like `predicted`, of photos generated without the kernels' unsharp "
        "mask; `overshoot` compares sharpening."
    )
    sharpened_two_sample: TwoSampleRead | None = Field(
        None, description="The same with the kernels' unsharp mask. Null if there is none."
    )
    predicted: PredictedStatsRead
    overshoot: OvershootRead | None = Field(None, description="Null if too few photos have clear edges.")
    kernels: KernelMetricsRead
    noise: NoiseMetricsRead
    colors: ColorBiasRead
    photos: PhotoSetsRead
    kinds: KindsRead | None = Field(
        None,
        description="Kinds of photos. Null with fewer than 30 real photos, after a training below 100 seconds, and "
        "for the paper's presets.",
    )
    discriminator_loss: float | None = Field(
        description="At the end of the training. 0.25: undecided, 0: it always separates real from generated."
    )
    num_crops: int = Field(description="Number of groups of crops that were compared, real and generated each.")
    is_finite: bool = Field(description="False: the model outputs numbers that are not finite.")
    alarms: list[AlarmRead] = Field(description="What is wrong, errors first; empty if nothing is.")
    photo_checks: dict[str, PhotoSelectionRead] = Field(
        {}, description="By role, what the checks of photos found before the training."
    )

    @classmethod
    def from_stored(cls, content: bytes | str) -> ReportRead:
        """Parses a stored report of this or an earlier version."""
        report = _rename_fields(json.loads(content))
        for alarm in report["alarms"]:
            alarm["code"] = RENAMED_CODES.get(alarm["code"], alarm["code"])
            alarm["severity"] = "error" if alarm["severity"] == "alarm" else alarm["severity"]
        return cls.model_validate(report)


def rename_metrics(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """Gives the metrics in a stored training history their current names."""
    return [{RENAMED_METRICS.get(name, name): value for name, value in point.items()} for point in history]


def _rename_fields(value: Any) -> Any:
    if isinstance(value, list):
        return [_rename_fields(item) for item in value]
    if isinstance(value, dict):
        return {RENAMED_FIELDS.get(name, name): _rename_fields(inner) for name, inner in value.items()}
    return value
