"""Photos as 8-bit arrays in one memory-mapped file, and random patches of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.geometry import reflect_indices

PIXELS_FILE, SHAPES_FILE = "pixels.u8", "shapes.json"


class PhotosError(ValueError):
    """The photos cannot be trained on. The message says why and what to do."""


class Photos:
    """Photos in a folder that `write` filled. Only pages that are accessed are held in memory."""

    def __init__(self, folder: Path):
        self.shapes: list[tuple[int, int]] = [(h, w) for h, w in json.loads((folder / SHAPES_FILE).read_text())]
        ends = np.cumsum([0, *(height * width * 3 for height, width in self.shapes)])
        pixels = np.memmap(folder / PIXELS_FILE, np.uint8, "r") if self.shapes else np.empty(0, np.uint8)
        self._photos = [
            np.asarray(pixels[start:end]).reshape(*shape, 3)
            for shape, start, end in zip(self.shapes, ends, ends[1:], strict=False)
        ]

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

    def indices_fitting(self, side: int) -> list[int]:
        """Returns the indices of photos that a patch of `side` fits into."""
        return [index for index, shape in enumerate(self.shapes) if min(shape) >= side]


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
    grid: int = 1,
) -> Tensor:
    """Draws random patches, (count, 3, side, side) uint8. Each `crops_per_photo` consecutive ones share a photo.

    `margin` adds pixels (before, after) each patch in both directions, reflected beyond the photo's border. `augment`
    flips and rotates at random, all patches of a photo alike. `indices` restricts the photos; the default is all that
    a patch fits into. Positions are multiples of `grid`. Raises PhotosError if no photo is left.
    """
    usable = photos.indices_fitting(side) if indices is None else indices
    if not usable:
        raise PhotosError(f"None of {len(photos)} photos is {side} pixels wide and high. Add larger ones.")
    patches = []
    for _ in range(count // crops_per_photo):
        photo = photos[usable[_randint(len(usable), generator)]]
        rotations, flip = (_randint(4, generator), _randint(2, generator)) if augment else (0, 0)
        for _ in range(crops_per_photo):
            top, left = (
                grid * _randint((length - side) // grid + 1, generator) - margin[0] for length in photo.shape[:2]
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


def _randint(bound: int, generator: torch.Generator) -> int:
    return int(torch.randint(bound, (), generator=generator))
