"""Photos as 8-bit arrays in one memory-mapped file, and random patches of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.compression import Compression
from models.geometry import reflect_indices
from models.jpeg import MCU_SIZE

PIXELS_FILE, SHAPES_FILE = "pixels.u8", "shapes.json"


class PhotosError(ValueError):
    """The photos cannot be trained on. The message says why and what to do."""


@dataclass(frozen=True)
class PhotoCompression:
    """The compression of a photo's pixels, and (row, column) of a corner of its blocks, in luma and chroma."""

    compression: Compression
    origin: tuple[int, int] = (0, 0)

    def crop(self, top: int, left: int) -> PhotoCompression:
        """Returns the compression of the photo without its first `top` rows and `left` columns."""
        down, across = self.compression.unit
        return PhotoCompression(self.compression, ((self.origin[0] - top) % down, (self.origin[1] - left) % across))


class Photos:
    """Photos in a folder that `write` filled. Only pages that are accessed are held in memory.

    `compressions` are those of the photos, None where unknown. `training.data.compressions` inspects them.
    """

    def __init__(self, folder: Path):
        self.shapes: list[tuple[int, int]] = [(h, w) for h, w in json.loads((folder / SHAPES_FILE).read_text())]
        ends = np.cumsum([0, *(height * width * 3 for height, width in self.shapes)])
        pixels = np.memmap(folder / PIXELS_FILE, np.uint8, "r") if self.shapes else np.empty(0, np.uint8)
        self._photos = [
            np.asarray(pixels[start:end]).reshape(*shape, 3)
            for shape, start, end in zip(self.shapes, ends, ends[1:], strict=False)
        ]
        self.compressions: list[PhotoCompression | None] = [None] * len(self.shapes)
        self.inspected = False  # for compressions that no file says

    @classmethod
    def write(cls, folder: Path, images: Iterable[NDArray[np.uint8]]) -> Photos:
        """Writes decoded images, each (H, W, 3) uint8, one at a time. Raises ValueError for another shape or dtype."""
        folder.mkdir(parents=True, exist_ok=True)
        shapes = []
        with (folder / PIXELS_FILE).open("wb") as file:
            for image in images:
                if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                    raise ValueError(f"a photo is (H, W, 3) uint8, not {image.shape} {image.dtype}")
                file.write(np.ascontiguousarray(image).data)
                shapes.append(image.shape[:2])
        (folder / SHAPES_FILE).write_text(json.dumps(shapes))
        return cls(folder)

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Returns one photo, (H, W, 3)."""
        return self._photos[index]

    def get_grid(self, index: int) -> tuple[slice, slice]:
        """Returns the rows and columns at which JPEG blocks of a photo start, in luma and chroma.

        Where that is not known, they are as those of most photos.
        """
        known = self.compressions[index]
        if known is None or not known.compression.luma:
            return slice(0, None, MCU_SIZE), slice(0, None, MCU_SIZE)
        (top, left), (down, across) = known.origin, known.compression.unit
        return slice(top, None, down), slice(left, None, across)

    def indices_fitting(self, side: int) -> list[int]:
        """Returns the indices of photos that a patch of `side` fits into."""
        return [index for index, shape in enumerate(self.shapes) if min(shape) >= side]


def thin_out(indices: list[int], limit: int) -> list[int]:
    """Returns at most `limit` of the indices, evenly spaced."""
    return indices[:: 1 + (len(indices) - 1) // limit]


def sample_patches(
    photos: Photos,
    count: int,
    side: int,
    generator: torch.Generator,
    *,
    crops_per_photo: int = 1,
    margin: tuple[int, int] = (0, 0),
    augment: bool = True,
    indices: list[int] | None = None,
    on_grid: bool = False,
) -> Tensor:
    """Draws random patches, (count, 3, side, side) uint8. Each `crops_per_photo` consecutive ones share a photo.

    `margin` adds pixels (before, after) each patch in both directions, reflected beyond the photo's border. `augment`
    flips and rotates at random, all patches of a photo alike. `indices` restricts the photos; the default is all that
    a patch fits into. With `on_grid` patches start where JPEG blocks of the photo do. Raises PhotosError if no photo is
    left.
    """
    usable = photos.indices_fitting(side) if indices is None else indices
    if not usable:
        raise PhotosError(f"None of {len(photos)} photos is {side} pixels wide and high. Add larger ones.")
    patches = []
    for _ in range(count // crops_per_photo):
        index = usable[_randint(len(usable), generator)]
        photo, grid = photos[index], photos.get_grid(index) if on_grid else (slice(0, None), slice(0, None))
        rotations, flip = (_randint(4, generator), _randint(2, generator)) if augment else (0, 0)
        for _ in range(crops_per_photo):
            top, left = (
                _draw_position(length - side, starts, generator) - margin[0]
                for length, starts in zip(photo.shape, grid, strict=False)
            )
            patch = np.rot90(_crop_reflect(photo, top, left, side + sum(margin)), rotations)
            patches.append(patch[:, ::-1] if flip else patch)
    return torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2).contiguous()


def _crop_reflect(photo: NDArray[np.uint8], top: int, left: int, side: int) -> NDArray[np.uint8]:
    """Crops a square, with reflection beyond the photo's border."""
    height, width = photo.shape[:2]
    if min(top, left) >= 0 and top + side <= height and left + side <= width:
        return photo[top : top + side, left : left + side]
    rows, cols = reflect_indices(top, side, height).numpy(), reflect_indices(left, side, width).numpy()
    return np.asarray(photo[rows][:, cols])


def _draw_position(last: int, starts: slice, generator: torch.Generator) -> int:
    """Draws one of `starts` up to `last`; 0 if there is none."""
    positions = range(last + 1)[starts] or range(1)
    return positions[_randint(len(positions), generator)]


def _randint(bound: int, generator: torch.Generator) -> int:
    return int(torch.randint(bound, (), generator=generator))
