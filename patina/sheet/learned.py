"""The contact sheet of a model: real photos beside made ones, how these are made, and what the report says."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from patina.client.schemas import SHOWN, Report
from patina.sheet.page import ALARM, GAP, INK, INNER, LEARNED, MARGIN, PIXELS, TRUTH, Array, Page, Picture, heat

BESIDE, COLUMNS = 6, 3  # patches on either side, in rows of so many
KERNEL_ROWS = 2
NOISE_GAIN = 6  # as `training.report.gallery` draws it
PLOT = 130


@dataclass(frozen=True)
class Example:
    """All three pictures are of one size."""

    clean: Picture
    lr: Picture
    noise: Picture  # around grey
    kernel: Array


@dataclass(frozen=True)
class Learned:
    """What a training shows of its model, taken from the files that it wrote."""

    real: Sequence[Picture]
    made: Sequence[Picture]
    examples: Sequence[Example]
    kernels: Sequence[Array]
    major: Array  # widths of 128 kernels, in high-resolution pixels
    minor: Array
    noise: Sequence[tuple[float, float]]  # (brightness, level), both in 8-bit levels

    @classmethod
    def read(cls, files: Mapping[str, bytes]) -> Learned:
        """From the contents of `SHOWN`, by name."""
        gallery, patches, examples = (files[name] for name in SHOWN)
        form = json.loads(gallery)
        tiles = _tiles(patches, form["side"])
        shown = _tiles(examples, form["side"] * form["scale"])
        kernels = [_kernel(kernel, form["kernel_size"]) for kernel in form["example_kernels"]]
        return cls(
            real=[tile for tile, real in zip(tiles, form["real"], strict=True) if real],
            made=[tile for tile, real in zip(tiles, form["real"], strict=True) if not real],
            examples=[Example(*each) for each in zip(shown[::3], shown[1::3], shown[2::3], kernels, strict=True)],
            kernels=[_kernel(kernel, form["kernel_size"]) for kernel in form["kernels"]],
            major=np.array([width["major"] for width in form["widths"]]),
            minor=np.array([width["minor"] for width in form["widths"]]),
            noise=[(each["brightness"], each["level"]) for each in form["noise"]["by_brightness"]],
        )


def contact_sheet(summary: str, learned: Learned, report: Report | None) -> Image.Image:
    """Without patches to compare, it begins with what is made."""
    page = Page(summary)
    if learned.real:
        _beside(page, learned)
    _examples(page, learned.examples)
    _degradation(page, learned)
    if report:
        _verdict(page, report)
    return page.finished()


def _beside(page: Page, learned: Learned) -> None:
    page.section("Real photos, and what Patina makes of clean ones. They should look alike")
    half = (INNER - 2 * GAP) // 2
    side = (half - (COLUMNS - 1) * GAP // 2) // COLUMNS
    for left, title, colour, patches in (
        (MARGIN, "cut from the real photos", TRUTH, learned.real),
        (MARGIN + half + 2 * GAP, "made by Patina, of clean photos", LEARNED, learned.made),
    ):
        page.text(left, page.y, title, colour=colour)
        for index, patch in enumerate(patches[:BESIDE]):
            row, column = divmod(index, COLUMNS)
            step = side + GAP // 2
            page.picture(left + column * step, page.y + 32 + row * step, patch, side, PIXELS)
    page.y += 32 + BESIDE // COLUMNS * (side + GAP // 2) + 22


def _examples(page: Page, examples: Sequence[Example]) -> None:
    page.section("How they are made: each clean photo gets a blur and noise of its own")
    side = (INNER - 3 * GAP) // 4
    titles = (
        ("clean photo", INK),
        ("made of it", LEARNED),
        ("by this blur kernel", LEARNED),
        (f"and this noise, {NOISE_GAIN} times stronger", LEARNED),
    )
    page.titles(titles, side)
    for example in examples:
        page.row((example.clean, example.lr, heat(example.kernel), example.noise), side)
    page.y += 22


def _degradation(page: Page, learned: Learned) -> None:
    page.section("What was learned: distributions, from which every photo's blur and noise is drawn")
    count = len(learned.kernels) // KERNEL_ROWS
    for row in range(KERNEL_ROWS):
        page.kernels(learned.kernels[row * count : (row + 1) * count], MARGIN)
    page.y += 12
    width = (INNER - 4 * GAP) // 3
    lefts = [MARGIN + column * (width + 2 * GAP) for column in range(3)]
    page.histogram(
        lefts[0], width, PLOT, "width of blur, wide axis, in pixels of the clean photo", [(learned.major, LEARNED)]
    )
    page.histogram(lefts[1], width, PLOT, "narrow axis", [(learned.minor, LEARNED)])
    if len(learned.noise) > 1:
        page.curve(lefts[2], width, PLOT, "noise, of 255, by the photo's brightness", learned.noise, LEARNED)
    page.y += PLOT + 76


def _verdict(page: Page, report: Report) -> None:
    page.section("How good it is, by its report")
    page.paragraph(f"Score {report.score:.2f}: 0 is perfect, and of two models of the same photos the lower is better.")
    if test := report.two_sample:
        page.paragraph(
            f"A small classifier tells made photos from real ones {test.accuracy:.0%} ± {test.uncertainty:.0%} of the "
            "time; 50% is perfect, for then it guesses."
        )
    for alarm in report.alarms:
        colour = ALARM if alarm.severity == "alarm" else TRUTH
        page.text(MARGIN, page.y, f"{alarm.severity}:", colour=colour)
        page.paragraph(alarm.message, indent=90)
    if not report.alarms:
        page.paragraph("Nothing is wrong with it that can be measured.")
    page.y += 10


def _tiles(png: bytes, side: int) -> list[Picture]:
    """Row by row."""
    with Image.open(io.BytesIO(png)) as image:
        pixels = np.asarray(image.convert("RGB"))
    rows, columns = pixels.shape[0] // side, pixels.shape[1] // side
    return [
        pixels[row * side : (row + 1) * side, column * side : (column + 1) * side]
        for row in range(rows)
        for column in range(columns)
    ]


def _kernel(form: dict[str, Any], size: int) -> Array:
    """Its shape; its largest tap is 255."""
    return np.frombuffer(base64.b64decode(form["taps"]), np.uint8).reshape(size, size).astype(np.float64)
