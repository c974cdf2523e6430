"""The demo's contact sheet: what went in, what came out and how near it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from patina.sheet.page import FAINT, GAP, INK, INNER, LEARNED, MARGIN, TRUTH, Array, Page, Picture, heat, square

NOISE_GAIN = 6  # noise is shown so many times stronger, around grey
LABEL = 170  # pixels before a row of kernels
PLOT = 130


@dataclass(frozen=True)
class Triplet:
    clean: Picture
    lr: Picture
    kernel: Array
    noise: Array  # in units of full scale, (h, w, 3)
    camera_lr: Picture  # what the camera itself makes of the clean photograph; nobody has shown it to Patina


@dataclass(frozen=True)
class Restoration:
    bicubic: Picture
    restored: Picture
    truth: Picture
    bicubic_psnr: float
    restored_psnr: float


@dataclass(frozen=True)
class Spread:
    """One property of the degradation: how it is distributed at the camera, and as learned."""

    title: str
    unit: str
    truth: Array
    learned: Array


@dataclass(frozen=True)
class Story:
    """All that the sheet shows."""

    summary: str
    real: Sequence[Picture]
    clean: Sequence[Picture]
    triplets: Sequence[Triplet]
    true_kernels: Sequence[Array]
    learned_kernels: Sequence[Array]
    spreads: Sequence[Spread]
    restorations: Sequence[Restoration]


def contact_sheet(story: Story) -> Image.Image:
    page = Page(story.summary)
    _given(page, story.real, story.clean)
    _made(page, story.triplets)
    _compared(page, story.true_kernels, story.learned_kernels, story.spreads)
    _restored(page, story.restorations)
    return page.finished()


def _given(page: Page, real: Sequence[Picture], clean: Sequence[Picture]) -> None:
    page.section("What went in: photos from one camera, and clean photos. No pairs")
    half = (INNER - 2 * GAP) // 2
    for left, title, colour, pictures in (
        (MARGIN, "low-resolution photos from one camera", TRUTH, real),
        (MARGIN + half + 2 * GAP, "clean photos (here: the other halves of such photographs)", INK, clean),
    ):
        side = (half - GAP * (len(pictures) - 1) // 2) // len(pictures)
        for index, picture in enumerate(pictures):
            at = left + index * (side + GAP // 2)
            page.picture(at, page.y, square(picture), side, Image.Resampling.LANCZOS)
        page.text(left, page.y + side + 8, title, colour=colour)
    page.y += side + 50


def _made(page: Page, triplets: Sequence[Triplet]) -> None:
    page.section("What came out: any clean photo, worn down as that camera would have done it")
    side = (INNER - 4 * GAP) // 5
    titles = (
        ("clean photo", INK),
        ("made by Patina", LEARNED),
        ("its blur kernel", LEARNED),
        (f"its noise, {NOISE_GAIN} times stronger", LEARNED),
        ("the camera's own photo of it", TRUTH),
    )
    page.titles(titles, side)
    for triplet in triplets:
        noise = square(_around_grey(triplet.noise, triplet.lr.shape))
        panels = (square(triplet.clean), square(triplet.lr), heat(triplet.kernel), noise, square(triplet.camera_lr))
        page.row(panels, side)
    page.y += 22


def _compared(page: Page, true: Sequence[Array], learned: Sequence[Array], spreads: Sequence[Spread]) -> None:
    page.section("How near it came: the camera was a pretend one, so the truth is known")
    count = min(len(true), len(learned))
    for title, colour, kernels in (("the camera's", TRUTH, true), ("learned", LEARNED, learned)):
        page.text(MARGIN, page.y + 34, title, 20, colour)
        page.text(MARGIN, page.y + 60, "blur kernels", 16, FAINT)
        page.kernels(kernels[:count], MARGIN + LABEL, colour)
    page.y += 12
    width = (INNER - (len(spreads) - 1) * 2 * GAP) // len(spreads)
    for index, spread in enumerate(spreads):
        left = MARGIN + index * (width + 2 * GAP)
        outlines = [(spread.truth, TRUTH), (spread.learned, LEARNED)]
        page.histogram(left, width, PLOT, f"{spread.title}, {spread.unit}", outlines)
    page.y += PLOT + 76


def _restored(page: Page, restorations: Sequence[Restoration]) -> None:
    page.section("And the way back: a super-resolution network, trained along the way, for that camera's photos")
    width = (INNER - 2 * GAP) // 3
    height = width * 3 // 4
    page.titles((("enlarged (bicubic)", INK), ("super-resolved by Patina", LEARNED), ("the truth", TRUTH)), width)
    for case in restorations:
        top = page.y
        page.row((case.bicubic, case.restored, case.truth), (width, height), Image.Resampling.BICUBIC)
        for column, quality in enumerate((case.bicubic_psnr, case.restored_psnr)):
            page.badge(MARGIN + column * (width + GAP) + 10, top + height - 40, f"{quality:.1f} dB")
    page.y += 10


def _around_grey(noise: Array, shape: tuple[int, ...]) -> Picture:
    shown = 127.5 + np.broadcast_to(noise, shape) * 255 * NOISE_GAIN
    picture: Picture = np.clip(np.rint(shown), 0, 255).astype(np.uint8)
    return picture
