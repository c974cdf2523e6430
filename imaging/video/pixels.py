"""Converts frames to RGB by their own matrix and range, and separates fields.

Eight bits are converted by libswscale, which is exact to a level. Its conversion of more bits loses all below the
eighth, so they are converted here. Chroma is interpolated in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.video.reformatter import Interpolation

from imaging.video.info import BT709, BT2020, RGB_MATRIX, SMPTE240M, ColorTags

if TYPE_CHECKING:
    from av.video.plane import VideoPlane
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8] | NDArray[np.uint16]

FLAGS = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND
# Weights of red and blue in luma, by the matrix (ITU-T H.273); all others are BT.601.
LUMA_WEIGHTS = {BT709: (0.2126, 0.0722), SMPTE240M: (0.212, 0.087), BT2020: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
BT601_WEIGHTS = (0.299, 0.114)
# libswscale's numbers of matrices. It has BT.601 under several.
SWS_MATRIX = {BT709: 1, SMPTE240M: 7, BT2020: 9, 10: 9}
SWS_BT601 = 5
STRIP_ROWS = 64  # converted at a time, so that floats take little memory


def to_rgb(frame: av.VideoFrame, tags: ColorTags, bits: int) -> Pixels:
    """Returns (h, w, 3): uint8, or uint16 over the full scale for more than 8 `bits`."""
    if frame.format.is_rgb or tags.matrix == RGB_MATRIX:
        as_stored: NDArray[Any] = frame.reformat(format="rgb24" if bits <= 8 else "rgb48le").to_ndarray()
        return np.ascontiguousarray(as_stored)
    if bits <= 8:
        converted: NDArray[Any] = frame.reformat(
            format="rgb24",
            interpolation=FLAGS,
            src_colorspace=SWS_MATRIX.get(tags.matrix, SWS_BT601),
            src_color_range=2 if tags.full_range else 1,
            dst_color_range=2,
        ).to_ndarray()
        return np.ascontiguousarray(converted)
    return _convert_deep(frame, tags, bits)


def from_rgb(pixels: NDArray[Any], tags: ColorTags) -> av.VideoFrame:
    """Returns pixels (h, w, 3) as a frame with limited range: yuv420p of uint8, yuv420p10le of uint16.

    An odd width or height grows by one, with the border repeated: chroma has half of each.
    """
    height, width, _ = pixels.shape
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    if pixels.itemsize == 1:
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24").reformat(
            format="yuv420p",
            interpolation=FLAGS | Interpolation.FULL_CHR_H_INP,
            src_color_range=2,
            dst_colorspace=SWS_MATRIX.get(tags.matrix, SWS_BT601),
            dst_color_range=1,
        )
    return _from_deep(pixels, tags)


def luma_of(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Returns (h, w) with 8 bits, as stored."""
    gray = frame if frame.format.name.startswith("yuv") and frame.format.components[0].bits == 8 else None
    plane = (gray or frame.reformat(format="gray")).planes[0]
    return _read_rows(plane, np.uint8)[: plane.height, : plane.width]


def split_fields(frame: av.VideoFrame) -> tuple[av.VideoFrame, av.VideoFrame]:
    """Returns the top and the bottom field of an interlaced frame, each with half of its rows.

    Planes are split before colors are converted: the rows of chroma belong to fields, too.
    """
    rows_of_chroma = max(1, round(frame.height / max(1, frame.format.chroma_height(frame.height))))
    height = frame.height // (2 * rows_of_chroma) * rows_of_chroma
    fields = []
    for first in (0, 1):
        field = av.VideoFrame(frame.width, height, frame.format.name)
        for source, target in zip(frame.planes, field.planes, strict=True):
            rows = _read_rows(source, np.uint8)[first::2][: target.height]
            stored = np.zeros((target.buffer_size // target.line_size, target.line_size), np.uint8)
            width = min(source.line_size, target.line_size)
            stored[: len(rows), :width] = rows[:, :width]
            target.update(stored.tobytes())
        field.colorspace, field.color_range = frame.colorspace, frame.color_range
        fields.append(field)
    return fields[0], fields[1]


def turn(pixels: NDArray[Any], rotation: int) -> Pixels:
    """Returns the pixels turned counterclockwise by a multiple of 90 degrees."""
    return np.ascontiguousarray(np.rot90(pixels, rotation // 90))


def _convert_deep(frame: av.VideoFrame, tags: ColorTags, bits: int) -> NDArray[np.uint16]:
    depth = 16 if bits > 12 else 12 if bits > 10 else 10
    full = frame.reformat(format=f"yuv444p{depth}le", interpolation=FLAGS)
    height, width = full.height, full.width
    planes = [_read_rows(plane, np.dtype("<u2"))[:height, :width] for plane in full.planes]
    step, middle = 2 ** (depth - 8), 2 ** (depth - 1)
    if tags.full_range:
        offset, luma_range, chroma_range = 0, 2**depth - 1, 2**depth - 1
    else:
        offset, luma_range, chroma_range = 16 * step, 219 * step, 224 * step
    red, green, blue = _luma_weights(tags)
    rgb = np.empty((height, width, 3), np.uint16)
    for top in range(0, height, STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        luma, chroma_b, chroma_r = (plane[rows].astype(np.float32) for plane in planes)
        y = (luma - offset) / luma_range
        cb, cr = (chroma_b - middle) / chroma_range, (chroma_r - middle) / chroma_range
        r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
        g = (y - red * r - blue * b) / green
        strip = np.stack([r, g, b], -1)
        rgb[rows] = np.clip(strip * 65535 + 0.5, 0, 65535).astype(np.uint16)
    return rgb


def _from_deep(pixels: NDArray[Any], tags: ColorTags) -> av.VideoFrame:
    """Chroma lies at the left of two pixels and between two rows, as MPEG-2 and its successors have it."""
    height, width, _ = pixels.shape
    red, green, blue = _luma_weights(tags)
    frame = av.VideoFrame(width, height, "yuv420p10le")
    planes = [np.zeros((plane.height, plane.line_size // 2), "<u2") for plane in frame.planes]
    for top in range(0, height, STRIP_ROWS):
        r, g, b = np.moveaxis(pixels[top : top + STRIP_ROWS].astype(np.float32) / 65535, -1, 0)
        luma = red * r + green * g + blue * b
        rows = slice(top // 2, (top + STRIP_ROWS) // 2)
        planes[0][top : top + STRIP_ROWS, :width] = (luma * 876 + 64.5).astype(np.uint16)
        for samples, color, weight in ((planes[1], b, blue), (planes[2], r, red)):
            chroma = (color - luma) / (2 * (1 - weight))
            chroma = (chroma[::2] + chroma[1::2]) / 2
            around = np.pad(chroma, ((0, 0), (1, 1)), mode="edge")
            sited = (around[:, :-2:2] + 2 * around[:, 1:-1:2] + around[:, 2::2]) / 4
            samples[rows, : width // 2] = (sited * 896 + 512.5).astype(np.uint16)
    for plane, samples in zip(frame.planes, planes, strict=True):
        plane.update(samples.tobytes())
    return frame


def _read_rows(plane: VideoPlane, kind: Any) -> NDArray[Any]:
    """Returns all rows that are stored, with what fills them up."""
    return np.frombuffer(memoryview(plane), kind).reshape(-1, plane.line_size // np.dtype(kind).itemsize)


def _luma_weights(tags: ColorTags) -> tuple[float, float, float]:
    red, blue = LUMA_WEIGHTS.get(tags.matrix, BT601_WEIGHTS)
    return red, 1 - red - blue, blue
