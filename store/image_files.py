"""Which image files are accepted, and how their pixels are read and written."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
EXIF_ORIENTATION = 0x0112
SIDEWAYS = {5, 6, 7, 8}  # EXIF orientations that swap width and height
TIFF_BITS_PER_SAMPLE = 258
PNG_BIT_DEPTH_AT = 24  # offset of the bit depth in a PNG file: signature 8, chunk head 8, width 4, height 4
DECODED_ON_ARRIVAL = 24_000_000  # pixels; larger images are decoded only where memory is planned for, by the worker

# The limit is ours (`max_pixels`), checked on the header before any pixel is decoded.
Image.MAX_IMAGE_PIXELS = None


class ImageRefusedError(ValueError):
    """An image that is not taken; `code` is stable, the message says what is wrong and what to do."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class ImageSize:
    width: int
    height: int


def check_image(file: Path, *, max_pixels: int) -> ImageSize:
    """The size, with its EXIF orientation applied, of an image file that can be used; else `ImageRefusedError`.

    The header is read first. Images of up to 24 megapixels are then decoded, so that a damaged one is refused on
    arrival; larger ones are only checked for completeness where their format allows it.
    """
    with file.open("rb") as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata, which does not concern the pixels
        image = _open(opened)
        with image:
            pixels = image.width * image.height
            if pixels > max_pixels:
                raise ImageRefusedError(
                    "image_too_large",
                    f"The image has {pixels:,} pixels; at most {max_pixels:,} are accepted. Cut it into parts, "
                    "or raise PATINA_MAX_IMAGE_PIXELS.",
                )
            try:
                sideways = image.getexif().get(EXIF_ORIENTATION) in SIDEWAYS
                if pixels <= DECODED_ON_ARRIVAL:
                    image.load()
                elif image.format == "PNG":
                    image.verify()
            except Exception as error:  # a decoder may raise anything on damaged bytes
                raise _corrupt(error) from error
            return ImageSize(image.height, image.width) if sideways else ImageSize(image.width, image.height)


def read_rgb(source: Path | BinaryIO) -> NDArray[np.uint8]:
    """The pixels of an image file, (height, width, 3) uint8, its EXIF orientation applied.

    Greyscale becomes three equal channels, alpha is dropped, palettes are resolved, and of several frames the first is
    taken. Raises `ImageRefusedError` for what is no such image.
    """
    with source.open("rb") if isinstance(source, Path) else source as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _open(opened)
        with image:
            try:
                upright = ImageOps.exif_transpose(image)
                # Palettes with transparency pass through RGBA, or Pillow would warn and guess.
                has_palette_alpha = upright.mode == "P" and "transparency" in upright.info
                return np.array((upright.convert("RGBA") if has_palette_alpha else upright).convert("RGB"))
            except Exception as error:
                raise _corrupt(error) from error


def write_png(pixels: NDArray[np.uint8]) -> bytes:
    """(height, width, 3) uint8 as a PNG file, lossless; level 1 is three times as fast as the default, 5% larger."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _open(opened: BinaryIO) -> Image.Image:
    head = opened.read(PNG_BIT_DEPTH_AT + 1)
    opened.seek(0)
    if not head:
        raise ImageRefusedError("empty_file", "The file is empty.")
    try:
        image = Image.open(opened, formats=FORMATS)
    except Exception as error:
        raise ImageRefusedError(
            "not_an_image", "The file is not a PNG, JPEG, WebP, TIFF or BMP image; convert it to one of these."
        ) from error
    # Pillow cuts 16-bit colour to 8 without a word, so the file itself is asked.
    bits = 8
    if image.format == "PNG":
        bits = head[PNG_BIT_DEPTH_AT]
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = max(image.tag_v2.get(TIFF_BITS_PER_SAMPLE, (8,)))  # a number for each channel
    if bits > 8 or image.mode.startswith(("I", "F")):
        raise ImageRefusedError(
            "more_than_8_bits",
            "The image has more than 8 bits a channel; Patina works on 8-bit images. Convert it first, "
            "so that you decide how its range is mapped.",
        )
    return image


def _corrupt(error: Exception) -> ImageRefusedError:
    return ImageRefusedError(
        "corrupt_image", f"The image is damaged or cut off ({error}); send it again or leave it out."
    )
