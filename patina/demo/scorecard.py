"""The demo's scorecard: learned blur and noise against the simulated camera's ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table

from patina.archive import ManifestLine
from patina.demo.camera import Camera, blur_and_downsample
from patina.demo.measure import measure_kernel, wasserstein
from patina.demo.photographs import load_picture
from patina.demo.sheet import Restoration
from patina.sheet.page import Picture

Values = NDArray[np.float64]

TRUTH_SAMPLES = 512
CLOSE, FAR = 0.1, 0.4  # distance / true mean: below the first is close, above the second is far off
ROUNDING = 0.5 + 0.02  # half a level, and the error of 32-bit arithmetic


@dataclass(frozen=True)
class PropertyScore:
    """One property, measured on samples of the camera and of the model."""

    title: str
    unit: str
    truth: Values
    resample: Values  # the camera again, with as many samples as the model
    learned: Values

    @property
    def distance(self) -> float:
        return wasserstein(self.learned, self.truth)

    @property
    def noise_floor(self) -> float:
        """Distance that the camera itself has with as many samples; nothing can be expected to do better."""
        return wasserstein(self.resample, self.truth)

    @property
    def rating(self) -> str:
        relative = self.distance / float(self.truth.mean())
        return "close" if relative < CLOSE else "far off" if relative > FAR else "fair"


@dataclass(frozen=True)
class Comparison:
    properties: tuple[PropertyScore, ...]
    center_offset: float  # mean over the kernels, in pixels of the clean image
    num_triplets: int
    num_inconsistent: int  # triplets whose kernel and noise do not reproduce their low-resolution image


def compare(camera: Camera, clean: Mapping[str, Picture], folder: Path, lines: Sequence[ManifestLine]) -> Comparison:
    """Compares the triplets in `folder`, one per manifest line, with new photos of the camera."""
    rng = np.random.default_rng(12345)
    learned_shapes, learned_noise, true_noise, resampled_noise, num_inconsistent = [], [], [], [], 0
    for line in lines:
        photograph = clean[Path(line["source"]).stem]
        kernel, noise = np.load(folder / line["kernel"]), np.load(folder / line["noise"])
        origin, scale = tuple(line["kernel_origin"]), line["scale"]
        expected = blur_and_downsample(photograph, kernel, origin, scale) + noise.astype(np.float64) * 255
        error = np.abs(np.clip(expected, 0, 255) - load_picture(folder / line["lr"])).max()
        num_inconsistent += bool(error > ROUNDING)
        learned_shapes.append(measure_kernel(kernel, origin, scale))
        learned_noise.append(float(np.std(noise)) * 255)
        true_noise.append(camera.shoot(photograph, rng).noise_std)
        resampled_noise.append(camera.shoot(photograph, rng).noise_std)
    true_shapes = [measure_kernel(camera.sample_kernel(rng), camera.origin, camera.scale) for _ in range(TRUTH_SAMPLES)]
    resampled_shapes = [measure_kernel(camera.sample_kernel(rng), camera.origin, camera.scale) for _ in lines]
    blur_scores = [
        PropertyScore(
            title,
            "pixels",
            *(
                np.array([getattr(shape, axis) for shape in shapes])
                for shapes in (true_shapes, resampled_shapes, learned_shapes)
            ),
        )
        for title, axis in (("blur sigma, major axis", "major"), ("blur sigma, minor axis", "minor"))
    ]
    noise_score = PropertyScore(
        "noise std", "of 255", np.array(true_noise), np.array(resampled_noise), np.array(learned_noise)
    )
    center_offset = float(np.mean([shape.center_offset for shape in learned_shapes]))
    return Comparison((*blur_scores, noise_score), center_offset, len(lines), num_inconsistent)


def render_scorecard(comparison: Comparison, restorations: Mapping[str, Restoration]) -> Group:
    table = Table(
        title="Learned degradation against the ground truth",
        caption="Mean ± standard deviation. Distance: Wasserstein-1 between the two distributions. Noise floor: the "
        "distance that as many photos of the camera itself have.",
    )
    for heading in ("", "camera", "learned", "distance", "noise floor", ""):
        table.add_column(heading, justify="left" if not heading else "right")
    for score in comparison.properties:
        table.add_row(
            f"{score.title} ({score.unit})",
            _format_distribution(score.truth),
            _format_distribution(score.learned),
            f"{score.distance:.2f}",
            f"{score.noise_floor:.2f}",
            score.rating,
        )
    centered = "centered" if comparison.center_offset < 0.1 else "off center: every pair is shifted"
    table.add_row("kernel center offset (pixels)", "0.00", f"{comparison.center_offset:.2f}", "", "", centered)
    inconsistent = comparison.num_inconsistent
    consistent = "all consistent" if not inconsistent else f"{inconsistent} inconsistent"
    table.add_row("triplets", "", str(comparison.num_triplets), "", "", consistent)
    return Group(table, _render_psnr(restorations))


def _render_psnr(restorations: Mapping[str, Restoration]) -> Table:
    table = Table(title="Super-resolution of the camera's photos (luma PSNR, dB)")
    for heading in ("photo", "bicubic", "Patina", "gain"):
        table.add_column(heading, justify="left" if heading == "photo" else "right")
    for name, restoration in restorations.items():
        _add_psnr_row(table, name, restoration.bicubic_psnr, restoration.restored_psnr)
    table.add_section()
    means = np.mean([(each.bicubic_psnr, each.restored_psnr) for each in restorations.values()], axis=0)
    _add_psnr_row(table, "mean", float(means[0]), float(means[1]))
    return table


def _add_psnr_row(table: Table, name: str, bicubic: float, restored: float) -> None:
    table.add_row(name, f"{bicubic:.2f}", f"{restored:.2f}", f"{restored - bicubic:+.2f}")


def _format_distribution(values: Values) -> str:
    return f"{values.mean():.2f} ± {values.std():.2f}"
