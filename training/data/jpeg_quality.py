"""Estimates the JPEG qualities of photos."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from models.jpeg import NO_JPEG, estimate_quality
from training.data.photos import Photos

CROP = 256  # side in pixels of the corner that is inspected


def estimate_jpeg_quality(photo: NDArray[np.uint8]) -> int:
    """Returns the JPEG quality of a photo (H, W, 3), 1..100; 100 if it shows no compression."""
    corner = np.array(photo[:CROP, :CROP])
    return estimate_quality(torch.from_numpy(corner).permute(2, 0, 1).float())


def estimate_jpeg_qualities(photos: Photos, max_photos: int) -> list[int]:
    """Returns the qualities of at most `max_photos` photos, evenly spaced. Empty if none shows compression."""
    stride = 1 + (len(photos) - 1) // max_photos
    qualities = [estimate_jpeg_quality(photos[index]) for index in range(0, len(photos), stride)]
    return qualities if min(qualities) < NO_JPEG else []
