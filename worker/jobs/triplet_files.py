"""Encodes triplets as files in the requested formats."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imaging.png import write_png
from models.color import LUMA_WEIGHTS
from models.inference.triplet import Triplet
from store.degrade_options import DegradeOptions, LrFormat

WEBP_EFFORT = 1  # of 6 and of 100; more takes ten times as long for a 10% smaller file


def _encode_webp(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", lossless=True, quality=WEBP_EFFORT, method=WEBP_EFFORT)
    return buffer.getvalue()


LR_ENCODERS: dict[LrFormat, Callable[[NDArray[np.uint8]], bytes]] = {
    LrFormat.png: write_png,
    LrFormat.webp: _encode_webp,
}


def encode_triplet(triplet: Triplet, options: DegradeOptions, seed_key: str, sample: int) -> dict[str, bytes]:
    """Returns the content of each requested file, by kind: lr, kernel, noise. `seed_key` and `sample` seed the JPEG."""
    lr = triplet.lr
    if quality := options.jpeg_quality(seed_key, sample):
        lr = _apply_jpeg(lr, quality)
    files = {"lr": LR_ENCODERS[options.lr_format](lr)}
    for kind, array in (("kernel", triplet.kernel), ("noise", triplet.noise)):
        if kind not in options.exclude:
            files[kind] = encode_npy(array)
    return files


def mean_gradient(pixels: NDArray[np.uint8]) -> float:
    """Returns the mean absolute luma difference of adjacent pixels, 0..255, of an image (H, W, 3). 0 if it is flat."""
    luma = pixels @ np.array(LUMA_WEIGHTS, np.float32)
    differences = [np.abs(np.diff(luma, axis=axis)) for axis in (0, 1) if luma.shape[axis] > 1]
    return float(np.mean([difference.mean() for difference in differences])) if differences else 0.0


def _apply_jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


def encode_npy(array: NDArray[np.float32]) -> bytes:
    """Returns the bytes that `numpy.save` writes, without its copy of the array."""
    buffer = io.BytesIO()
    array = np.ascontiguousarray(array)
    np.lib.format.write_array_header_1_0(buffer, np.lib.format.header_data_from_array_1_0(array))
    buffer.write(array.data)
    return buffer.getvalue()
