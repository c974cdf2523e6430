"""The contact sheet: what went in, what came out and how near it is, on one page that needs no other explanation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from patina.demo.photographs import Picture

Array = NDArray[np.floating]
Colour = tuple[int, int, int]

PAPER: Colour = (250, 248, 244)
INK: Colour = (38, 42, 44)
FAINT: Colour = (122, 128, 128)
RULE: Colour = (218, 214, 206)
TRUTH: Colour = (196, 142, 74)  # copper: what the camera did
LEARNED: Colour = (47, 134, 117)  # verdigris: what Patina learned

WIDTH, MARGIN, GAP = 1600, 56, 20
INNER = WIDTH - 2 * MARGIN
NOISE_GAIN = 6  # noise is shown so many times stronger, around grey


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
    page = _Page()
    page.heading(story)
    page.given(story.real, story.clean)
    page.made(story.triplets)
    page.compared(story.true_kernels, story.learned_kernels, story.spreads)
    page.restored(story.restorations)
    return page.finished()


class _Page:
    """A sheet that is filled from top to bottom; `self._y` is where the next line goes."""

    def __init__(self) -> None:
        self._image = Image.new("RGB", (WIDTH, 6000), PAPER)
        self._draw = ImageDraw.Draw(self._image)
        self._y = MARGIN

    def finished(self) -> Image.Image:
        return self._image.crop((0, 0, WIDTH, self._y + MARGIN // 2))

    # The sections

    def heading(self, story: Story) -> None:
        self._text(MARGIN, self._y, "Patina", 60, LEARNED)
        self._text(MARGIN + 4, self._y + 78, story.summary, 22, INK)
        self._y += 128

    def given(self, real: Sequence[Picture], clean: Sequence[Picture]) -> None:
        self._section("1", "What went in: photos from one camera, and clean photos. No pairs")
        half = (INNER - 2 * GAP) // 2
        for left, title, colour, pictures in (
            (MARGIN, "low-resolution photos from one camera", TRUTH, real),
            (MARGIN + half + 2 * GAP, "clean photos (here: the other halves of such photographs)", INK, clean),
        ):
            side = (half - GAP * (len(pictures) - 1) // 2) // len(pictures)
            for index, picture in enumerate(pictures):
                self._picture(left + index * (side + GAP // 2), self._y, _square(picture), side)
            self._text(left, self._y + side + 8, title, 18, colour)
        self._y += side + 50

    def made(self, triplets: Sequence[Triplet]) -> None:
        self._section("2", "What came out: any clean photo, worn down as that camera would have done it")
        side = (INNER - 4 * GAP) // 5
        titles = (
            ("clean photo", INK),
            ("made by Patina", LEARNED),
            ("its blur kernel", LEARNED),
            (f"its noise, {NOISE_GAIN} times stronger", LEARNED),
            ("the camera's own photo of it", TRUTH),
        )
        for column, (title, colour) in enumerate(titles):
            self._text(MARGIN + column * (side + GAP), self._y, title, 18, colour)
        self._y += 32
        for triplet in triplets:
            panels = (
                (_square(triplet.clean), Image.Resampling.LANCZOS),
                (_square(triplet.lr), Image.Resampling.NEAREST),
                (_heat(triplet.kernel), Image.Resampling.NEAREST),
                (_square(_around_grey(triplet.noise, triplet.lr.shape)), Image.Resampling.NEAREST),
                (_square(triplet.camera_lr), Image.Resampling.NEAREST),
            )
            for column, (picture, resample) in enumerate(panels):
                self._picture(MARGIN + column * (side + GAP), self._y, picture, side, resample)
            self._y += side + GAP // 2
        self._y += 22

    def compared(self, true: Sequence[Array], learned: Sequence[Array], spreads: Sequence[Spread]) -> None:
        self._section("3", "How near it came: the camera was a pretend one, so the truth is known")
        count = min(len(true), len(learned))
        label = 170
        side = (INNER - label - (count - 1) * GAP // 2) // count
        for title, colour, kernels in (("the camera's", TRUTH, true), ("learned", LEARNED, learned)):
            self._text(MARGIN, self._y + side // 2 - 24, title, 20, colour)
            self._text(MARGIN, self._y + side // 2 + 2, "blur kernels", 16, FAINT)
            for index in range(count):
                self._picture(
                    MARGIN + label + index * (side + GAP // 2),
                    self._y,
                    _heat(kernels[index], colour),
                    side,
                    Image.Resampling.NEAREST,
                )
            self._y += side + GAP // 2
        self._y += 12
        width = (INNER - (len(spreads) - 1) * 2 * GAP) // len(spreads)
        for index, spread in enumerate(spreads):
            self._histogram(MARGIN + index * (width + 2 * GAP), self._y, width, 130, spread)
        self._y += 130 + 76

    def restored(self, restorations: Sequence[Restoration]) -> None:
        self._section(
            "4", "And the way back: a super-resolution network, trained along the way, for that camera's photos"
        )
        width = (INNER - 2 * GAP) // 3
        height = width * 3 // 4
        titles = (("enlarged (bicubic)", INK), ("super-resolved by Patina", LEARNED), ("the truth", TRUTH))
        for column, (title, colour) in enumerate(titles):
            self._text(MARGIN + column * (width + GAP), self._y, title, 18, colour)
        self._y += 32
        for case in restorations:
            panels = (
                (case.bicubic, f"{case.bicubic_psnr:.1f} dB"),
                (case.restored, f"{case.restored_psnr:.1f} dB"),
                (case.truth, ""),
            )
            for column, (picture, note) in enumerate(panels):
                x = MARGIN + column * (width + GAP)
                self._picture(x, self._y, picture, (width, height), Image.Resampling.BICUBIC)
                if note:
                    self._badge(x + 10, self._y + height - 40, note)
            self._y += height + GAP // 2
        self._y += 10

    # The means

    def _section(self, number: str, title: str) -> None:
        self._draw.line((MARGIN, self._y, WIDTH - MARGIN, self._y), RULE, 2)
        self._text(MARGIN, self._y + 16, number, 28, LEARNED)
        self._text(MARGIN + 32, self._y + 16, title, 28, INK)
        self._y += 70

    def _text(self, x: float, y: float, text: str, size: int, colour: Colour) -> None:
        self._draw.text((x, y), text, colour, ImageFont.load_default(size))

    def _badge(self, x: int, y: int, text: str) -> None:
        font = ImageFont.load_default(18)
        width = int(self._draw.textlength(text, font))
        self._draw.rounded_rectangle((x, y, x + width + 20, y + 30), 6, INK)
        self._draw.text((x + 10, y + 4), text, PAPER, font)

    def _picture(
        self,
        x: int,
        y: int,
        picture: Picture,
        size: int | tuple[int, int],
        resample: Image.Resampling = Image.Resampling.LANCZOS,
    ) -> None:
        """In a square of that side, or in a box of that (width, height), in whose shape the picture is expected."""
        box = (size, size) if isinstance(size, int) else size
        self._image.paste(Image.fromarray(picture).resize(box, resample), (x, y))

    def _histogram(self, left: int, top: int, width: int, height: int, spread: Spread) -> None:
        """Two filled outlines over one axis; where they cover each other, what was learned is right."""
        everything = np.concatenate([spread.truth, spread.learned])
        low, high = float(everything.min()), float(everything.max())
        margin = max(0.08 * (high - low), 0.1)
        low, high = low - margin, high + margin
        grid = np.linspace(low, high, width)
        outlines = [_density(values, grid) for values in (spread.truth, spread.learned)]
        # What has hardly any spread would be a spire that flattens the truth; it is cut off instead.
        tallest = min(max(float(outline.max()) for outline in outlines), 2.5 * float(outlines[0].max()))
        panel = Image.new("RGBA", (width, height), (*PAPER, 0))
        for outline, colour in zip(outlines, (TRUTH, LEARNED), strict=True):
            layer = Image.new("RGBA", (width, height), (*colour, 0))
            edge = [
                (column, height - 2 - min(value / tallest, 1) * (height - 8)) for column, value in enumerate(outline)
            ]
            draw = ImageDraw.Draw(layer)
            draw.polygon([(0.0, float(height)), *edge, (float(width - 1), float(height))], (*colour, 80))
            draw.line(edge, (*colour, 255), 3)
            panel = Image.alpha_composite(panel, layer)
        self._image.paste(panel, (left, top), panel)
        base = top + height
        self._draw.line((left, base, left + width, base), FAINT, 1)
        for tick in np.linspace(low, high, 5)[1:-1]:
            x = left + (tick - low) / (high - low) * width
            self._draw.line((x, base, x, base + 5), FAINT, 1)
            self._draw.text((x, base + 8), f"{tick:.1f}", FAINT, ImageFont.load_default(15), anchor="ma")
        self._text(left, base + 30, f"{spread.title}, {spread.unit}", 18, INK)


def _density(values: Array, grid: Array) -> Array:
    """A kernel density estimate with Silverman's width."""
    width = 1.06 * max(float(np.std(values)), 1e-3 * float(np.ptp(grid))) * len(values) ** -0.2
    distance = (grid[:, None] - values[None, :]) / width
    outline: Array = np.exp(-0.5 * distance**2).mean(axis=1) / width
    return outline


def _square(picture: Picture) -> Picture:
    """The square in the middle."""
    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    return picture[top : top + side, left : left + side]


def _heat(kernel: Array, colour: Colour = LEARNED) -> Picture:
    """From the paper's white to the colour to dark; the square root lets the faint tails be seen."""
    level = np.sqrt(np.clip(kernel / kernel.max(), 0, 1))[..., None]
    paper, middle, dark = (np.array(tone, float) for tone in ((255, 255, 255), colour, (16, 30, 30)))
    shade = np.where(
        level < 0.6, paper + (middle - paper) * level / 0.6, middle + (dark - middle) * (level - 0.6) / 0.4
    )
    picture: Picture = shade.round().astype(np.uint8)
    return picture


def _around_grey(noise: Array, shape: tuple[int, ...]) -> Picture:
    shown = 127.5 + np.broadcast_to(noise, shape) * 255 * NOISE_GAIN
    picture: Picture = np.clip(np.rint(shown), 0, 255).astype(np.uint8)
    return picture
