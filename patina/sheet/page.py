"""A page that is filled from top to bottom, and what is drawn on it the same way wherever it stands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]  # (height, width, 3)
Array = NDArray[np.floating]
Colour = tuple[int, int, int]

PAPER: Colour = (250, 248, 244)
INK: Colour = (38, 42, 44)
FAINT: Colour = (122, 128, 128)
RULE: Colour = (218, 214, 206)
TRUTH: Colour = (196, 142, 74)  # copper: what the camera did
LEARNED: Colour = (47, 134, 117)  # verdigris: what Patina learned
ALARM: Colour = (176, 58, 46)

WIDTH, MARGIN, GAP = 1600, 56, 20
INNER = WIDTH - 2 * MARGIN
LARGE, NORMAL, SMALL = 28, 18, 15  # sizes of letters
TALLEST = 6000
LINE = 28

PIXELS = Image.Resampling.NEAREST  # leaves pixels as pixels


class Page:
    """`y` is where the next line goes."""

    def __init__(self, summary: str) -> None:
        self.image = Image.new("RGB", (WIDTH, TALLEST), PAPER)
        self.y = MARGIN
        self._draw = ImageDraw.Draw(self.image)
        self._sections = 0
        self.text(MARGIN, self.y, "Patina", 60, LEARNED)
        self.text(MARGIN + 4, self.y + 78, summary, 22)
        self.y += 128

    def finished(self) -> Image.Image:
        return self.image.crop((0, 0, WIDTH, self.y + MARGIN // 2))

    def section(self, title: str) -> None:
        self._sections += 1
        self._draw.line((MARGIN, self.y, WIDTH - MARGIN, self.y), RULE, 2)
        self.text(MARGIN, self.y + 16, str(self._sections), LARGE, LEARNED)
        self.text(MARGIN + 32, self.y + 16, title, LARGE)
        self.y += 70

    def text(self, x: float, y: float, text: str, size: int = NORMAL, colour: Colour = INK) -> None:
        self._draw.text((x, y), text, colour, ImageFont.load_default(size))

    def paragraph(self, text: str, *, indent: int = 0) -> None:
        """Broken into lines where they end at the margin."""
        font = ImageFont.load_default(NORMAL)
        line = ""
        for word in [*text.split(), None]:
            longer = f"{line} {word}".strip()
            if word is not None and self._draw.textlength(longer, font) <= INNER - indent:
                line = longer
                continue
            self.text(MARGIN + indent, self.y, line)
            self.y += LINE
            line = word or ""

    def titles(self, titles: Sequence[tuple[str, Colour]], width: int) -> None:
        """Over columns so wide."""
        for column, (title, colour) in enumerate(titles):
            self.text(MARGIN + column * (width + GAP), self.y, title, NORMAL, colour)
        self.y += 32

    def row(
        self,
        pictures: Sequence[Picture],
        size: int | tuple[int, int],
        resample: Image.Resampling | None = None,
    ) -> None:
        """Side by side, as far apart as titles; small ones keep their pixels unless told otherwise."""
        width, height = (size, size) if isinstance(size, int) else size
        for column, picture in enumerate(pictures):
            usual = Image.Resampling.LANCZOS if picture.shape[0] > height else Image.Resampling.NEAREST
            self.picture(MARGIN + column * (width + GAP), self.y, picture, (width, height), resample or usual)
        self.y += height + GAP // 2

    def picture(
        self, x: int, y: int, picture: Picture, size: int | tuple[int, int], resample: Image.Resampling
    ) -> None:
        """In a square of that side, or in a box of that (width, height), in whose shape the picture is expected."""
        box = (size, size) if isinstance(size, int) else size
        self.image.paste(Image.fromarray(picture).resize(box, resample), (x, y))

    def badge(self, x: int, y: int, text: str) -> None:
        font = ImageFont.load_default(NORMAL)
        width = int(self._draw.textlength(text, font))
        self._draw.rounded_rectangle((x, y, x + width + 20, y + 30), 6, INK)
        self._draw.text((x + 10, y + 4), text, PAPER, font)

    def kernels(self, kernels: Sequence[Array], left: int, colour: Colour = LEARNED) -> None:
        """One row of them from `left` to the margin."""
        side = (WIDTH - MARGIN - left - (len(kernels) - 1) * GAP // 2) // len(kernels)
        for index, kernel in enumerate(kernels):
            self.picture(left + index * (side + GAP // 2), self.y, heat(kernel, colour), side, PIXELS)
        self.y += side + GAP // 2

    def histogram(
        self, left: int, width: int, height: int, title: str, spreads: Sequence[tuple[Array, Colour]]
    ) -> None:
        """A filled outline of each over one axis; where two cover each other, they agree. `y` stays where it is."""
        everything = np.concatenate([values for values, _ in spreads])
        low, high = float(everything.min()), float(everything.max())
        margin = max(0.08 * (high - low), 0.1)
        low, high = low - margin, high + margin
        grid = np.linspace(low, high, width)
        outlines = [_density(values, grid) for values, _ in spreads]
        # What has hardly any spread would be a spire that flattens the first one; it is cut off instead.
        tallest = min(max(float(outline.max()) for outline in outlines), 2.5 * float(outlines[0].max()))
        panel = Image.new("RGBA", (width, height), (*PAPER, 0))
        for outline, (_, colour) in zip(outlines, spreads, strict=True):
            edge = [
                (float(column), height - 2 - min(value / tallest, 1) * (height - 8))
                for column, value in enumerate(outline)
            ]
            panel = Image.alpha_composite(panel, _filled(edge, (width, height), colour))
        self.image.paste(panel, (left, self.y), panel)
        self._axis(left, width, height, low, high)
        self.text(left, self.y + height + 30, title)

    def curve(
        self, left: int, width: int, height: int, title: str, points: Sequence[tuple[float, float]], colour: Colour
    ) -> None:
        """A line through points (x, y) over the ground, with the first and the last y; `y` stays where it is."""
        low, high, highest = points[0][0], points[-1][0], max(y for _, y in points)
        edge = [
            ((x - low) / (high - low) * (width - 1), height - 2 - y / (highest or 1) * (height - 32)) for x, y in points
        ]
        panel = _filled(edge, (width, height), colour)
        self.image.paste(panel, (left, self.y), panel)
        for (x, y), (_, value), anchor in zip((edge[0], edge[-1]), (points[0], points[-1]), ("ld", "rd"), strict=True):
            font = ImageFont.load_default(SMALL)
            self._draw.text((left + x, self.y + y - 4), f"{value:.1f}", INK, font, anchor=anchor)
        self._axis(left, width, height, low, high)
        self.text(left, self.y + height + 30, title)

    def _axis(self, left: int, width: int, height: int, low: float, high: float) -> None:
        base = self.y + height
        self._draw.line((left, base, left + width, base), FAINT, 1)
        for tick in np.linspace(low, high, 5)[1:-1]:
            x = left + (tick - low) / (high - low) * width
            self._draw.line((x, base, x, base + 5), FAINT, 1)
            words = f"{tick:.{0 if high - low > 40 else 1 if high - low > 0.4 else 2}f}"
            self._draw.text((x, base + 8), words, FAINT, ImageFont.load_default(SMALL), anchor="ma")


def square(picture: Picture) -> Picture:
    """The square in the middle."""
    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    return picture[top : top + side, left : left + side]


def heat(kernel: Array, colour: Colour = LEARNED) -> Picture:
    """From white to the colour to dark; the square root lets the faint tails be seen."""
    level = np.sqrt(np.clip(kernel / max(float(kernel.max()), 1e-12), 0, 1))[..., None]
    white, middle, dark = (np.array(tone, float) for tone in ((255, 255, 255), colour, (16, 30, 30)))
    shade = np.where(
        level < 0.6, white + (middle - white) * level / 0.6, middle + (dark - middle) * (level - 0.6) / 0.4
    )
    picture: Picture = shade.round().astype(np.uint8)
    return picture


def _filled(edge: Sequence[tuple[float, float]], size: tuple[int, int], colour: Colour) -> Image.Image:
    """The ground below a line, and the line."""
    layer = Image.new("RGBA", size, (*colour, 0))
    draw = ImageDraw.Draw(layer)
    draw.polygon([(edge[0][0], float(size[1])), *edge, (edge[-1][0], float(size[1]))], (*colour, 80))
    draw.line(list(edge), (*colour, 255), 3)
    return layer


def _density(values: Array, grid: Array) -> Array:
    """A kernel density estimate with Silverman's width."""
    width = 1.06 * max(float(np.std(values)), 1e-3 * float(np.ptp(grid))) * len(values) ** -0.2
    distance = (grid[:, None] - values[None, :]) / width
    outline: Array = np.exp(-0.5 * distance**2).mean(axis=1) / width
    return outline
