"""A page that fills from top to bottom, and the drawings that several sheets share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]  # (height, width, 3)
Array = NDArray[np.floating]
Color = tuple[int, int, int]

PAPER: Color = (250, 248, 244)
INK: Color = (38, 42, 44)
MUTED: Color = (122, 128, 128)
RULE: Color = (218, 214, 206)
TRUTH: Color = (196, 142, 74)  # copper: the camera
LEARNED: Color = (47, 134, 117)  # verdigris: the model
ALARM: Color = (176, 58, 46)

WIDTH, MARGIN, GAP = 1600, 56, 20  # pixels
CONTENT_WIDTH = WIDTH - 2 * MARGIN
LARGE, NORMAL, SMALL = 28, 18, 15  # font sizes
MAX_HEIGHT = 6000
LINE_HEIGHT = 28

NEAREST = Image.Resampling.NEAREST  # keeps pixels visible


class Page:
    """A page of fixed width. `y` is the position of the next drawing."""

    def __init__(self, summary: str) -> None:
        self.image = Image.new("RGB", (WIDTH, MAX_HEIGHT), PAPER)
        self.y = MARGIN
        self._draw = ImageDraw.Draw(self.image)
        self._sections = 0
        self.draw_text(MARGIN, self.y, "Patina", 60, LEARNED)
        self.draw_text(MARGIN + 4, self.y + 78, summary, 22)
        self.y += 128

    def to_image(self) -> Image.Image:
        """Returns the page, cropped below the last drawing."""
        return self.image.crop((0, 0, WIDTH, self.y + MARGIN // 2))

    def start_section(self, title: str) -> None:
        self._sections += 1
        self._draw.line((MARGIN, self.y, WIDTH - MARGIN, self.y), RULE, 2)
        self.draw_text(MARGIN, self.y + 16, str(self._sections), LARGE, LEARNED)
        self.draw_text(MARGIN + 32, self.y + 16, title, LARGE)
        self.y += 70

    def draw_text(self, x: float, y: float, text: str, size: int = NORMAL, color: Color = INK) -> None:
        self._draw.text((x, y), text, color, ImageFont.load_default(size))

    def draw_paragraph(self, text: str, *, indent: int = 0) -> None:
        """Draws text, wrapped at the right margin."""
        font = ImageFont.load_default(NORMAL)
        line = ""
        for word in [*text.split(), None]:
            longer = f"{line} {word}".strip()
            if word is not None and self._draw.textlength(longer, font) <= CONTENT_WIDTH - indent:
                line = longer
                continue
            self.draw_text(MARGIN + indent, self.y, line)
            self.y += LINE_HEIGHT
            line = word or ""

    def draw_column_titles(self, titles: Sequence[tuple[str, Color]], width: int) -> None:
        """Draws titles above columns of `width` pixels."""
        for column, (title, color) in enumerate(titles):
            self.draw_text(MARGIN + column * (width + GAP), self.y, title, NORMAL, color)
        self.y += 32

    def draw_row(
        self,
        pictures: Sequence[Picture],
        size: int | tuple[int, int],
        resample: Image.Resampling | None = None,
    ) -> None:
        """Draws pictures below their column titles. By default enlarged pictures keep visible pixels."""
        width, height = (size, size) if isinstance(size, int) else size
        for column, picture in enumerate(pictures):
            default = Image.Resampling.LANCZOS if picture.shape[0] > height else NEAREST
            self.draw_picture(MARGIN + column * (width + GAP), self.y, picture, (width, height), resample or default)
        self.y += height + GAP // 2

    def draw_picture(
        self, x: int, y: int, picture: Picture, size: int | tuple[int, int], resample: Image.Resampling
    ) -> None:
        """Draws a picture in a square, or in a box (width, height) with the picture's aspect ratio."""
        box = (size, size) if isinstance(size, int) else size
        self.image.paste(Image.fromarray(picture).resize(box, resample), (x, y))

    def draw_badge(self, x: int, y: int, text: str) -> None:
        font = ImageFont.load_default(NORMAL)
        width = int(self._draw.textlength(text, font))
        self._draw.rounded_rectangle((x, y, x + width + 20, y + 30), 6, INK)
        self._draw.text((x + 10, y + 4), text, PAPER, font)

    def draw_kernels(self, kernels: Sequence[Array], left: int, color: Color = LEARNED) -> None:
        """Draws one row of kernels from `left` to the right margin."""
        side = (WIDTH - MARGIN - left - (len(kernels) - 1) * GAP // 2) // len(kernels)
        for index, kernel in enumerate(kernels):
            self.draw_picture(left + index * (side + GAP // 2), self.y, kernel_colormap(kernel, color), side, NEAREST)
        self.y += side + GAP // 2

    def draw_histogram(
        self, left: int, width: int, height: int, title: str, distributions: Sequence[tuple[Array, Color]]
    ) -> None:
        """Draws a filled density of each distribution over one axis. `y` does not change."""
        all_values = np.concatenate([values for values, _ in distributions])
        low, high = float(all_values.min()), float(all_values.max())
        margin = max(0.08 * (high - low), 0.1)
        low, high = low - margin, high + margin
        grid = np.linspace(low, high, width)
        densities = [_estimate_density(values, grid) for values, _ in distributions]
        # A very narrow density would flatten the first one, so its peak is cut off.
        peak = min(max(float(density.max()) for density in densities), 2.5 * float(densities[0].max()))
        panel = Image.new("RGBA", (width, height), (*PAPER, 0))
        for density, (_, color) in zip(densities, distributions, strict=True):
            edge = [
                (float(column), height - 2 - min(value / peak, 1) * (height - 8))
                for column, value in enumerate(density)
            ]
            panel = Image.alpha_composite(panel, _fill_below(edge, (width, height), color))
        self.image.paste(panel, (left, self.y), panel)
        self._draw_axis(left, width, height, low, high)
        self.draw_text(left, self.y + height + 30, title)

    def draw_curve(
        self, left: int, width: int, height: int, title: str, points: Sequence[tuple[float, float]], color: Color
    ) -> None:
        """Draws a line through points (x, y) and labels the first and last y. `y` does not change."""
        low, high, highest = points[0][0], points[-1][0], max(y for _, y in points)
        edge = [
            ((x - low) / (high - low) * (width - 1), height - 2 - y / (highest or 1) * (height - 32)) for x, y in points
        ]
        panel = _fill_below(edge, (width, height), color)
        self.image.paste(panel, (left, self.y), panel)
        for (x, y), (_, value), anchor in zip((edge[0], edge[-1]), (points[0], points[-1]), ("ld", "rd"), strict=True):
            font = ImageFont.load_default(SMALL)
            self._draw.text((left + x, self.y + y - 4), f"{value:.1f}", INK, font, anchor=anchor)
        self._draw_axis(left, width, height, low, high)
        self.draw_text(left, self.y + height + 30, title)

    def _draw_axis(self, left: int, width: int, height: int, low: float, high: float) -> None:
        base = self.y + height
        self._draw.line((left, base, left + width, base), MUTED, 1)
        for tick in np.linspace(low, high, 5)[1:-1]:
            x = left + (tick - low) / (high - low) * width
            self._draw.line((x, base, x, base + 5), MUTED, 1)
            label = f"{tick:.{0 if high - low > 40 else 1 if high - low > 0.4 else 2}f}"
            self._draw.text((x, base + 8), label, MUTED, ImageFont.load_default(SMALL), anchor="ma")


def crop_square(picture: Picture) -> Picture:
    """Returns the largest square in the picture's center."""
    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    return picture[top : top + side, left : left + side]


def kernel_colormap(kernel: Array, color: Color = LEARNED) -> Picture:
    """Maps taps from white over `color` to dark. The square root makes the faint tails visible."""
    level = np.sqrt(np.clip(kernel / max(float(kernel.max()), 1e-12), 0, 1))[..., None]
    white, middle, dark = (np.array(tone, float) for tone in ((255, 255, 255), color, (16, 30, 30)))
    shade = np.where(
        level < 0.6, white + (middle - white) * level / 0.6, middle + (dark - middle) * (level - 0.6) / 0.4
    )
    picture: Picture = shade.round().astype(np.uint8)
    return picture


def _fill_below(edge: Sequence[tuple[float, float]], size: tuple[int, int], color: Color) -> Image.Image:
    """Returns a transparent layer (width, height) with a line and the filled area below it."""
    layer = Image.new("RGBA", size, (*color, 0))
    draw = ImageDraw.Draw(layer)
    draw.polygon([(edge[0][0], float(size[1])), *edge, (edge[-1][0], float(size[1]))], (*color, 80))
    draw.line(list(edge), (*color, 255), 3)
    return layer


def _estimate_density(values: Array, grid: Array) -> Array:
    """Estimates a density on the grid, with a Gaussian kernel of Silverman's bandwidth."""
    bandwidth = 1.06 * max(float(np.std(values)), 1e-3 * float(np.ptp(grid))) * len(values) ** -0.2
    distance = (grid[:, None] - values[None, :]) / bandwidth
    density: Array = np.exp(-0.5 * distance**2).mean(axis=1) / bandwidth
    return density
