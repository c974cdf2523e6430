"""Writes super-resolved images in the requested format, row by row where the format allows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

import numpy as np
from PIL import Image

from imaging.image_info import Picture
from imaging.metadata import EXIF_PREFIX, FileMetadata, clean_exif, clean_xmp, srgb_profile
from imaging.png import PngWriter
from imaging.rejections import ImageRejected
from imaging.tiff import TiffTooLarge, TiffWriter
from models.inference.streaming import Pixels
from store.sr_options import Depth, ImageFormat, Metadata, SrOptions
from worker.jobs.alpha import AlphaEnlarger

# Formats that are encoded whole, and the longest side in pixels that each can have.
MAX_SIDE = {ImageFormat.jpeg: 65_500, ImageFormat.webp: 16_383, ImageFormat.avif: 65_536}
MAX_PIXELS_IN_MEMORY = 300_000_000
MAX_JPEG_SEGMENT = 65_000  # bytes of EXIF or XMP
FULL_CHROMA_QUALITY = 90  # from this quality on, colors of JPEG and AVIF have all pixels
DEFAULT_QUALITY = {ImageFormat.jpeg: 95, ImageFormat.webp: 90, ImageFormat.avif: 85}
AVIF_SPEED = 8  # of 10; slower is hardly smaller


class RowWriter(Protocol):
    def write(self, rows: Any) -> None: ...


def bits_of(picture: Picture, options: SrOptions) -> int:
    """Returns the bits per channel of the result."""
    if options.depth is Depth.keep:
        return min(options.image_format.max_bits, 8 * picture.rgb.itemsize)
    return int(options.depth)


def write_result(path: Path, picture: Picture, scale: int, rows: Iterator[Pixels], options: SrOptions) -> None:
    """Writes the enlarged `rows` of a picture to a file. Raises `ImageRejected` if the format cannot hold the image."""
    bits = bits_of(picture, options)
    alpha = None if picture.alpha is None else AlphaEnlarger(picture.alpha, scale, bits)
    written = 0
    try:
        with path.open("wb") as file, _open(file, picture, scale, options) as writer:
            for band in rows:
                last = written + len(band)
                writer.write(band if alpha is None else np.dstack([band, alpha.rows(written, last)]))
                written = last
    except TiffTooLarge as error:
        raise _too_large(options.image_format, "4 GiB") from error


def _open(file: BinaryIO, picture: Picture, scale: int, options: SrOptions) -> AbstractContextManager[RowWriter]:
    height, width = (scale * side for side in picture.rgb.shape[:2])
    image_format = options.image_format
    layout: dict[str, Any] = {"channels": 3 if picture.alpha is None else 4, "bits": bits_of(picture, options)}
    metadata = FileMetadata(picture.profile)  # always, because the pixels need it
    if options.metadata is Metadata.keep:
        metadata = FileMetadata(picture.profile, clean_exif(picture.exif, width, height), clean_xmp(picture.xmp))
    if image_format is ImageFormat.png:
        return PngWriter(file, width, height, metadata=metadata, **layout)
    labeled = FileMetadata(metadata.profile or srgb_profile(), metadata.exif, metadata.xmp)
    if image_format is ImageFormat.tiff:
        return TiffWriter(file, width, height, metadata=labeled, **layout)
    if max(width, height) > MAX_SIDE[image_format]:
        raise _too_large(image_format, f"{MAX_SIDE[image_format]:,} pixels on a side")
    if width * height > MAX_PIXELS_IN_MEMORY:
        raise _too_large(image_format, f"{MAX_PIXELS_IN_MEMORY:,} pixels here")
    return _WholeImage(file, (height, width), options, labeled)


class _WholeImage:
    """Collects the rows of an image with 8 bits per channel, and encodes them at the end."""

    def __init__(self, file: BinaryIO, size: tuple[int, int], options: SrOptions, labels: FileMetadata):
        self._file, self._size, self._format, self._labels = file, size, options.image_format, labels
        self._quality = options.quality or DEFAULT_QUALITY[self._format]
        self._pixels: Pixels | None = None
        self._rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None or self._pixels is None:
            return
        options: dict[str, Any] = {"quality": self._quality, "icc_profile": self._labels.profile}
        exif, xmp = self._labels.exif, self._labels.xmp
        full_chroma = self._quality >= FULL_CHROMA_QUALITY
        if self._format is ImageFormat.jpeg:
            exif, xmp = (data if len(data) <= MAX_JPEG_SEGMENT else b"" for data in (exif, xmp))
            options |= {"subsampling": 0 if full_chroma else 2, "optimize": True}
        if self._format is ImageFormat.avif:
            options |= {"speed": AVIF_SPEED, "subsampling": "4:4:4" if full_chroma else "4:2:0"}
        if exif:
            options["exif"] = EXIF_PREFIX + exif
        if xmp:
            options["xmp"] = xmp
        Image.fromarray(self._pixels).save(self._file, self._format.upper(), **options)

    def write(self, rows: Pixels) -> None:
        if self._format is ImageFormat.jpeg and rows.shape[2] == 4:
            rows = _flatten(rows)
        if self._pixels is None:
            self._pixels = np.empty((*self._size, rows.shape[2]), np.uint8)
        self._pixels[self._rows : self._rows + len(rows)] = rows
        self._rows += len(rows)


def _flatten(rgba: Pixels) -> Pixels:
    """Returns RGB on white, since JPEG has no transparency."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    pixels: Pixels = np.rint(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return pixels


def _too_large(image_format: ImageFormat, limit: str) -> ImageRejected:
    return ImageRejected(
        "too_large_for_format",
        f"The result is too large for {image_format.upper()}, which holds at most {limit}. Ask for format=png.",
    )
