"""Photos as the loop sees them: 8-bit arrays in one memory-mapped file, and random patches of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.geometry import reflected

PIXELS, SHAPES = "pixels.u8", "shapes.json"


class PhotosError(ValueError):
    """The photos cannot be trained on; the message says why and what to do."""


class Photos:
    """Photos in a folder that `write` filled. Only the pages that are looked at are held in memory."""

    def __init__(self, folder: Path):
        self.shapes: list[tuple[int, int]] = [(h, w) for h, w in json.loads((folder / SHAPES).read_text())]
        ends = np.cumsum([0, *(height * width * 3 for height, width in self.shapes)])
        pixels = np.memmap(folder / PIXELS, np.uint8, "r") if self.shapes else np.empty(0, np.uint8)
        self._photos = [
            np.asarray(pixels[start:end]).reshape(*shape, 3)
            for shape, start, end in zip(self.shapes, ends, ends[1:], strict=False)
        ]

    @classmethod
    def write(cls, folder: Path, images: Iterable[NDArray[np.uint8]]) -> Photos:
        """Writes decoded images, each (H, W, 3) uint8, one after the other; nothing holds them all."""
        folder.mkdir(parents=True, exist_ok=True)
        shapes = []
        with (folder / PIXELS).open("wb") as file:
            for image in images:
                if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                    raise ValueError(f"a photo is (H, W, 3) uint8, not {image.shape} {image.dtype}")
                file.write(np.ascontiguousarray(image).data)
                shapes.append(image.shape[:2])
        (folder / SHAPES).write_text(json.dumps(shapes))
        return cls(folder)

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3)."""
        return self._photos[index]

    def at_least(self, side: int) -> list[int]:
        """The indices of the photos that a patch of `side` fits into."""
        return [index for index, shape in enumerate(self.shapes) if min(shape) >= side]


def draw_patches(
    photos: Photos,
    count: int,
    side: int,
    generator: torch.Generator,
    *,
    per_photo: int = 1,
    margin: tuple[int, int] = (0, 0),
    turned: bool = True,
    among: list[int] | None = None,
    grid: int = 1,
) -> Tensor:
    """Random patches, (count, 3, side, side) uint8; each `per_photo` in a row are of one photo.

    `margin` is how many pixels around it, (before, after) in both directions, are given with each patch; beyond the
    photo's border they are its reflection. `turned` patches are flipped and turned at random, all of a photo alike.
    Photos smaller than a patch are left out, and where `among` is given all but those. Raises PhotosError where none
    is left. Patches start at multiples of `grid` from the photo's corner.
    """
    usable = photos.at_least(side) if among is None else among
    if not usable:
        raise PhotosError(f"none of {len(photos)} photos is {side} pixels wide and high")
    patches = []
    for _ in range(count // per_photo):
        photo = photos[usable[_below(len(usable), generator)]]
        turns, flip = (_below(4, generator), _below(2, generator)) if turned else (0, 0)
        for _ in range(per_photo):
            top, left = (
                grid * _below((length - side) // grid + 1, generator) - margin[0] for length in photo.shape[:2]
            )
            patch = np.rot90(_cut(photo, top, left, side + sum(margin)), turns)
            patches.append(patch[:, ::-1] if flip else patch)
    return torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2).contiguous()


def _cut(photo: NDArray[np.uint8], top: int, left: int, side: int) -> NDArray[np.uint8]:
    """A square of the photo, which is reflected where the square lies beyond it."""
    height, width = photo.shape[:2]
    if min(top, left) >= 0 and top + side <= height and left + side <= width:
        return photo[top : top + side, left : left + side]
    rows, cols = reflected(top, side, height).numpy(), reflected(left, side, width).numpy()
    return np.asarray(photo[rows][:, cols])


def _below(bound: int, generator: torch.Generator) -> int:
    return int(torch.randint(bound, (), generator=generator))
