"""What is kept of a triplet, in the form that was asked for."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imaging.png import write_png
from models.inference.triplet import Triplet
from store.degrade_options import DegradeOptions, LrFormat

WEBP_EFFORT = 1  # of 6 and of 100; more takes ten times as long for a file a tenth smaller
LUMA = np.array((0.299, 0.587, 0.114), np.float32)


def encoded(triplet: Triplet, options: DegradeOptions, key: str, sample: int) -> dict[str, bytes]:
    """Each file that is kept, by what it is; `key` and `sample` name the sample."""
    lr = triplet.lr
    if quality := options.jpeg_quality(key, sample):
        lr = _through_jpeg(lr, quality)
    files = {"lr": write_png(lr) if options.lr_format is LrFormat.png else _webp(lr)}
    for what, array in (("kernel", triplet.kernel), ("noise", triplet.noise)):
        if what not in options.leave_out:
            files[what] = npy(array)
    return files


def detail(pixels: NDArray[np.uint8]) -> float:
    """The mean difference of neighbouring pixels' brightness in an image (H, W, 3), in levels; 0 where it is flat."""
    luma = pixels @ LUMA
    differences = [np.abs(np.diff(luma, axis=axis)) for axis in (0, 1) if luma.shape[axis] > 1]
    return float(np.mean([difference.mean() for difference in differences])) if differences else 0.0


def _through_jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


def _webp(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", lossless=True, quality=WEBP_EFFORT, method=WEBP_EFFORT)
    return buffer.getvalue()


def npy(array: NDArray[np.float32]) -> bytes:
    """What `numpy.save` writes, without its copy of the array."""
    buffer = io.BytesIO()
    array = np.ascontiguousarray(array)
    np.lib.format.write_array_header_1_0(buffer, np.lib.format.header_data_from_array_1_0(array))
    buffer.write(array.data)
    return buffer.getvalue()
