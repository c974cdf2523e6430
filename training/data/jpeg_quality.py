"""The JPEG qualities that photos have been through."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from models.jpeg import UNCOMPRESSED, read_quality
from training.data.photos import Photos

CORNER = 256  # side in pixels of the part that is read


def quality_of(photo: NDArray[np.uint8]) -> int:
    """The JPEG quality of a photo (H, W, 3), 100 where none shows."""
    corner = np.array(photo[:CORNER, :CORNER])
    return read_quality(torch.from_numpy(corner).permute(2, 0, 1).float())


def qualities_of(photos: Photos, most: int) -> list[int]:
    """The qualities of at most so many photos of a set, evenly taken; empty where none shows any."""
    qualities = [quality_of(photos[index]) for index in range(0, len(photos), 1 + (len(photos) - 1) // most)]
    return qualities if min(qualities) < UNCOMPRESSED else []
