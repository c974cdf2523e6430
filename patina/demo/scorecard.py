"""What was learned, against the truth: measured, in a table, and in words that do not flatter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table

from patina.client.archive import Manifest
from patina.demo.camera import Camera, blur_and_sample
from patina.demo.measure import kernel_shape, wasserstein
from patina.demo.photographs import load
from patina.demo.sheet import Restoration
from patina.sheet.page import Picture

Values = NDArray[np.float64]

TRUE_DRAWS = 512
NEAR, FAR = 0.1, 0.4  # distance in parts of the true mean: below the first is near, above the second is far
ROUNDING = 0.5 + 0.02  # half a level, and what 32-bit arithmetic may add


@dataclass(frozen=True)
class Row:
    """One property, measured on the camera's own draws and on the learned ones."""

    title: str
    unit: str
    truth: Values
    again: Values  # as many draws of the camera as there are learned ones: what luck alone would score
    learned: Values

    @property
    def distance(self) -> float:
        return wasserstein(self.learned, self.truth)

    @property
    def floor(self) -> float:
        return wasserstein(self.again, self.truth)

    @property
    def in_words(self) -> str:
        share = self.distance / float(self.truth.mean())
        return "near" if share < NEAR else "far off" if share > FAR else "on the way"


@dataclass(frozen=True)
class Comparison:
    shown: tuple[Row, ...]
    off_centre: float  # mean, in pixels of the clean image
    triplets: int
    wrong: int  # triplets whose kernel and noise do not give their low-resolution image


def compare(camera: Camera, clean: Mapping[str, Picture], folder: Path, lines: Sequence[Manifest]) -> Comparison:
    rng = np.random.default_rng(12345)
    learned_shapes, learned_noise, true_noise, again_noise, wrong = [], [], [], [], 0
    for line in lines:
        photograph = clean[Path(line["source"]).stem]
        kernel, noise = np.load(folder / line["kernel"]), np.load(folder / line["noise"])
        origin, scale = tuple(line["kernel_origin"]), line["scale"]
        claimed = blur_and_sample(photograph, kernel, origin, scale) + noise.astype(np.float64) * 255
        wrong += bool(np.abs(np.clip(claimed, 0, 255) - load(folder / line["lr"])).max() > ROUNDING)
        learned_shapes.append(kernel_shape(kernel, origin, scale))
        learned_noise.append(float(np.std(noise)) * 255)
        true_noise.append(camera.shoot(photograph, rng).noise_level)
        again_noise.append(camera.shoot(photograph, rng).noise_level)
    truth = [kernel_shape(camera.draw_kernel(rng), camera.origin, camera.scale) for _ in range(TRUE_DRAWS)]
    again = [kernel_shape(camera.draw_kernel(rng), camera.origin, camera.scale) for _ in lines]
    widths = [
        Row(
            title,
            "pixels",
            *(np.array([getattr(shape, axis) for shape in shapes]) for shapes in (truth, again, learned_shapes)),
        )
        for title, axis in (("blur, wide axis", "major"), ("blur, narrow axis", "minor"))
    ]
    noise_row = Row("noise level", "of 255", np.array(true_noise), np.array(again_noise), np.array(learned_noise))
    off_centre = float(np.mean([shape.off_centre for shape in learned_shapes]))
    return Comparison((*widths, noise_row), off_centre, len(lines), wrong)


def verdict(comparison: Comparison, restorations: Mapping[str, Restoration]) -> Group:
    table = Table(
        title="What was learned, against the truth",
        caption="Mean ± spread. Off by: Wasserstein-1 distance of the two distributions. Luck: what as many photos of "
        "the camera itself would be off by; nothing can be expected to do better.",
    )
    for heading in ("", "the camera", "learned", "off by", "luck", ""):
        table.add_column(heading, justify="left" if not heading else "right")
    for row in comparison.shown:
        table.add_row(
            f"{row.title} ({row.unit})",
            _spread(row.truth),
            _spread(row.learned),
            f"{row.distance:.2f}",
            f"{row.floor:.2f}",
            row.in_words,
        )
    centred = "centred" if comparison.off_centre < 0.1 else "off centre: every pair is shifted"
    table.add_row("kernel, off centre (pixels)", "0.00", f"{comparison.off_centre:.2f}", "", "", centred)
    sums = "all add up" if not comparison.wrong else f"{comparison.wrong} do not add up"
    table.add_row("triplets", "", str(comparison.triplets), "", "", sums)
    return Group(table, _enlarged(restorations))


def _enlarged(restorations: Mapping[str, Restoration]) -> Table:
    table = Table(title="Super-resolution of the camera's photos (PSNR of the luma, dB)")
    for heading in ("photo", "bicubic", "Patina", "gain"):
        table.add_column(heading, justify="left" if heading == "photo" else "right")
    for name, case in restorations.items():
        _add_gain(table, name, case.bicubic_psnr, case.restored_psnr)
    table.add_section()
    means = np.mean([(case.bicubic_psnr, case.restored_psnr) for case in restorations.values()], axis=0)
    _add_gain(table, "mean", float(means[0]), float(means[1]))
    return table


def _add_gain(table: Table, name: str, bicubic: float, restored: float) -> None:
    table.add_row(name, f"{bicubic:.2f}", f"{restored:.2f}", f"{restored - bicubic:+.2f}")


def _spread(values: Values) -> str:
    return f"{values.mean():.2f} ± {values.std():.2f}"
